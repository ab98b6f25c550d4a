"""Find the project's modules that a module imports, directly or indirectly.

A stage's deps and a feature's fingerprint are derived from this import closure, which is read from the source. Imports
inside functions count. Imports under `if TYPE_CHECKING:` do not, because they never run.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "extract", "train", "evaluate")
# Modules that cannot change an output's bytes: scheduling, messages, validation, and this module.
NEUTRAL = (
    "extract.__main__",
    "extract.engine.",
    "pipeline.check",
    "pipeline.command",
    "pipeline.closure",
    "pipeline.datasheet",
    "pipeline.disk",
    "pipeline.env",
    "pipeline.errors",
    "pipeline.inputs",
    "pipeline.listen",
    "pipeline.locks",
    "pipeline.markdown",
    "pipeline.messages",
    "pipeline.names",
    "pipeline.probe",
    "pipeline.progress",
    "pipeline.settings",
    "pipeline.spreadsheet",
    "pipeline.strict",
)


def closure(*modules: str, without: Collection[str] = ()) -> frozenset[str]:
    """Return the dotted names of `modules` and of their imports, without packages whose `__init__` is empty.

    Args:
        *modules: dotted names, such as `train.__main__`.
        without: modules, and packages such as `extract.engine.`, to leave out; their imports are included.

    Raises:
        FileNotFoundError: if one of `modules` is not a module of this project.
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
        FileNotFoundError: if it is not a module of this project.
    """
    found = _file(module)
    if found is None:
        raise FileNotFoundError(f"{module}: not a module of this project")
    return found.relative_to(ROOT)


def source_hash(modules: Collection[str]) -> str:
    """Return the sha256 (hex) of the modules' source, given by dotted names, with line ends as LF."""
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
    # Importing a.b.c first runs a and a.b.
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
