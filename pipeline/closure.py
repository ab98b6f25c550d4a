"""Which of this project's modules a module imports, directly or not: what a stage depends on, and what a feature's
fingerprint is made of. Read from the source, so that nobody has to keep a list.

Imports inside functions count; those under `if TYPE_CHECKING:` do not, since nothing runs there.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "extract", "train", "evaluate")
# What may not change a byte of any output: where and how something runs, what is said or refused, and this file.
NEUTRAL = (
    "extract.__main__",
    "extract.engine.",
    "pipeline.check",
    "pipeline.command",
    "pipeline.closure",
    "pipeline.disk",
    "pipeline.env",
    "pipeline.errors",
    "pipeline.inputs",
    "pipeline.locks",
    "pipeline.messages",
    "pipeline.names",
    "pipeline.probe",
    "pipeline.settings",
    "pipeline.spreadsheet",
    "pipeline.strict",
)


def closure(*modules: str, without: Collection[str] = ()) -> frozenset[str]:
    """Return the dotted names of `modules` and of all that they import; packages of an empty `__init__` are left out.

    Args:
        modules: dotted names, such as `train.__main__`.
        without: names, and packages as `extract.engine.`, that are left out; what they import is not.

    Raises:
        FileNotFoundError: one of `modules` is none of this project's.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imports(name)
    return frozenset(name for name in found if not _is_left_out(name, without) and not _is_empty(name))


def path_of(module: str) -> Path:
    """Return a module's file, relative to the project's folder.

    Raises:
        FileNotFoundError: it is none of this project's modules.
    """
    found = _file(module)
    if found is None:
        raise FileNotFoundError(f"{module}: no module of this project")
    return found.relative_to(ROOT)


def source_hash(modules: Collection[str]) -> str:
    """Return the sha256, hex, over the source of modules given by dotted names; line endings do not count."""
    digest = hashlib.sha256()
    for module in sorted(modules):
        digest.update((ROOT / path_of(module)).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _is_left_out(name: str, without: Collection[str]) -> bool:
    return any(name == one or (one.endswith(".") and name.startswith(one)) for one in without)


@cache
def _is_empty(module: str) -> bool:
    body = ast.parse((ROOT / path_of(module)).read_text(encoding="utf-8")).body
    return all(isinstance(node, ast.Expr) for node in body)


@cache
def _file(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    files = (place.with_name(place.name + ".py"), place / "__init__.py")
    return next((path for path in files if path.is_file()), None)


@cache
def _imports(module: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path_of(module)).read_text(encoding="utf-8"))
    named = {name for node in _running(tree) for name in _named(node)}
    # To import a.b.c runs a and a.b first.
    every = {
        ".".join(name.split(".")[: i + 1]) for name in named | {module} for i in range(name.count(".") + 1)
    }
    return frozenset(name for name in every if name.split(".")[0] in PACKAGES and _file(name)) - {module}


def _running(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the import statements that can run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            for other in child.orelse:
                yield from _running(other)
        else:
            yield from _running(child)


def _named(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
