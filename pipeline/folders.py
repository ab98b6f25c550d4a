"""Find files in a user's folder: follow links, skip hidden names, and match names in any Unicode form.

A name on disk may have a different Unicode form than in a table: macOS writes `é` as two characters.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from unicodedata import normalize

from pipeline import fragments
from pipeline.errors import UserError


def files(folder: Path, *suffixes: str, below: bool = True) -> list[Path]:
    """Return the files with one of `suffixes`, sorted.

    Args:
        folder: the folder to search.
        *suffixes: in lower case; they match any case on disk.
        below: whether to search subfolders.

    Raises:
        UserError: if a folder cannot be read, or a link makes one folder occur twice.
    """
    seen: dict[tuple[int, int], Path] = {}
    return sorted(path for path in _walk(folder, below, (), seen) if path.suffix.lower() in suffixes)


def spelt(cells: Iterable[str], root: Path) -> dict[str, str]:
    """Return {media cell: the cell with its file's spelling on disk}; a cell without a file is unchanged."""

    @cache
    def names(folder: Path) -> dict[str, str]:
        return {normalize("NFC", name): name for name in _names(folder)}

    def found(cell: str) -> str:
        file = fragments.split(cell).file
        if file.isascii() or os.path.exists(root / file):
            return cell
        path = Path()
        for part in Path(file).parts:
            path /= names(root / path).get(normalize("NFC", part), part)
        return path.as_posix() + cell[len(file) :] if os.path.exists(root / path) else cell

    return {cell: found(cell) for cell in cells}


def stems(names: Iterable[str]) -> dict[str, str]:
    """Return {file: name without suffix}, each name once: `talk.mp4` → `talk`, folders joined by `_`.

    If two files give the same name, the later one keeps its suffix: `talk.wav`.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for file in names:
        path = Path(file)
        name = "_".join(path.with_suffix("").parts)
        if name in taken:
            name = "_".join(path.parts)
        while name in taken:
            name += "_"
        taken.add(name)
        found[file] = name
    return found


def _walk(
    folder: Path, below: bool, above: tuple[tuple[int, int], ...], seen: dict[tuple[int, int], Path]
) -> Iterator[Path]:
    if not folder.is_dir():
        return
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link to one of its parent folders
    if seen.setdefault(here, folder) != folder:
        raise UserError(f"{folder} and {seen[here]} are the same folder, through a link; keep one of them")
    for name in _names(folder):
        if name.startswith("."):
            continue
        if not (folder / name).is_dir():
            yield folder / name
        elif below:
            yield from _walk(folder / name, below, (*above, here), seen)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder)) if folder.is_dir() else []
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}; check its permissions") from None
