"""List the text of every `UserError` for reviewers: `python -m tests.docs.messages` writes tests/docs/messages.txt.

A placeholder shows its expression.
"""

from __future__ import annotations

import ast
from pathlib import Path

from pipeline.closure import PACKAGES, ROOT

LIST = Path(__file__).with_name("messages.txt")


def messages() -> list[tuple[str, str]]:
    """Return (file, text) of every `UserError` that the packages raise, in the order of the source."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return [
        (file.relative_to(ROOT).as_posix(), _text(node.args[0]))
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UserError"
    ]


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(map(_text, node.values))
        case ast.FormattedValue():
            return f"{{{ast.unparse(node.value)}}}"
        case ast.BinOp(op=ast.Add()):
            return _text(node.left) + _text(node.right)
        case ast.IfExp():
            return _text(node.body) + _text(node.orelse)
    return f"{{{ast.unparse(node)}}}"


def page() -> str:
    """Return the list, one message per line."""
    return "".join(f"{file}: {text}\n" for file, text in ((f, t.replace("\n", "\\n")) for f, t in messages()))


if __name__ == "__main__":
    LIST.write_text(page(), encoding="utf-8")
