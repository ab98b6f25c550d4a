"""The files in a user's folder: links are followed, hidden names are not read, and a name is found however it is spelt.

A name may lie on disk in another Unicode form than in a table: macOS writes `é` as two characters.
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
    """Return the files with one of `suffixes` (lower case; any case on disk), sorted.

    Args:
        below: look into the folders below, too.

    Raises:
        UserError: a folder cannot be read, or one is there twice, by a link.
    """
    seen: dict[tuple[int, int], Path] = {}
    return sorted(path for path in _walk(folder, below, (), seen) if path.suffix.lower() in suffixes)


def spelt(cells: Iterable[str], root: Path) -> dict[str, str]:
    """Return {media cell: the cell as its file is spelt on disk}; a cell without a file stays as it is."""

    @cache
    def names(folder: Path) -> dict[str, str]:
        return {normalize("NFC", name): name for name in _names(folder)}

    def found(cell: str) -> str:
        file = fragments.split(cell)[0]
        if file.isascii() or os.path.exists(root / file):
            return cell
        path = Path()
        for part in Path(file).parts:
            path /= names(root / path).get(normalize("NFC", part), part)
        return path.as_posix() + cell[len(file) :] if os.path.exists(root / path) else cell

    return {cell: found(cell) for cell in cells}


def _walk(
    folder: Path, below: bool, above: tuple[tuple[int, int], ...], seen: dict[tuple[int, int], Path]
) -> Iterator[Path]:
    if not folder.is_dir():
        return
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link to a folder that it lies in
    if seen.setdefault(here, folder) != folder:
        raise UserError(f"{folder} and {seen[here]} are one folder, by a link; keep one of them")
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
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
