"""What a stage reads, compared at its end with what it was at its start.

DVC writes a stage's params and deps into dvc.lock as they are when the stage ends. An input that was edited meanwhile
would be recorded beside outputs that were not made from it, and nothing would ever make them again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params import PARAMS, read_yaml

State = tuple[tuple[str, int, int, int], ...]


class Inputs:
    """The inputs of a stage. Make one before anything is read; call `check` when all is done.

    Args:
        params: dotted names in params.yaml, as dvc.yaml lists them.
        paths: files, and folders whose files count. One that is not there is an input too.
    """

    def __init__(self, params: Sequence[str], paths: Iterable[Path] = ()) -> None:
        self.params, self.paths = params, list(paths)
        self._values = self._read_params()
        self._states = [_state(path) for path in self.paths]
        self._hashes = [_hash(path) for path in self.paths]

    def check(self, outs: Sequence[Path] = ()) -> None:
        """Remove `outs`, files and folders, if an input has changed.

        Raises:
            UserError: an input has changed.
        """
        changed = self._changed()
        if not changed:
            return
        for out in outs:
            if out.is_dir():
                shutil.rmtree(out)
            else:
                out.unlink(missing_ok=True)
        raise UserError(
            f"changed while the stage ran: {'; '.join(changed)}. What it made came from the old input and is not "
            "kept; run it again"
        )

    def _changed(self) -> list[str]:
        changed = []
        try:
            values = self._read_params()
            changed += [f"{PARAMS}: {name}" for name in self.params if values[name] != self._values[name]]
        except UserError as error:
            changed.append(str(error))
        # Hashed again only where something touched it: caches may have gigabytes.
        changed += [
            str(path)
            for path, state, digest in zip(self.paths, self._states, self._hashes, strict=True)
            if _state(path) != state and _hash(path) != digest
        ]
        return changed

    def _read_params(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        whole = read_yaml(PARAMS) if self.params else {}
        for name in self.params:
            value: Any = whole
            for key in name.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            found[name] = value
        return found


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []


def _state(path: Path) -> State:
    """Name, size, time of change and inode of every file: as long as they stay, nobody wrote to it."""
    found = ((file, os.stat(file)) for file in _files(path))
    return tuple((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino) for file, stat in found)


def _hash(path: Path) -> str:
    """The sha256 of a file; of a folder over names, sizes and times, since media are many and large."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(repr(_state(path)).encode()).hexdigest()
