"""Detect inputs of a stage that change while it runs.

DVC records a stage's params and deps in dvc.lock as they are when the stage ends. If an input changed during the run,
dvc.lock would pair it with outputs from the old input, and DVC would never make them again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params import PARAMS
from pipeline.settings import read_yaml

State = tuple[tuple[str, int, int, int], ...]


class Inputs:
    """The inputs of a stage. Create it before reading any input, and call `check` at the end.

    Args:
        params: dotted names in params.yaml, as in dvc.yaml.
        paths: files and folders; they may be missing.
    """

    def __init__(self, params: Sequence[str], paths: Iterable[Path] = ()) -> None:
        self.params, self.paths = params, list(paths)
        self._values = self._read_params()
        self._states = [_state(path) for path in self.paths]
        self._hashes = [_hash(path) for path in self.paths]

    def check(self, outs: Sequence[Path] = ()) -> None:
        """Remove the files and folders `outs` if an input has changed.

        Raises:
            UserError: if an input has changed.
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
            f"changed while the stage ran: {'; '.join(changed)}. Its outputs came from the old input and were removed; "
            "run the stage again"
        )

    def _changed(self) -> list[str]:
        changed = []
        try:
            values = self._read_params()
            changed += [f"{PARAMS}: {name}" for name in self.params if values[name] != self._values[name]]
        except UserError as error:
            changed.append(str(error))
        # Hash a path again only if its state changed: caches may have gigabytes.
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
    """Return name, size, modification time and inode of every file; if they are unchanged, so is the content."""
    found = ((file, os.stat(file)) for file in _files(path))
    return tuple((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino) for file, stat in found)


def _hash(path: Path) -> str:
    """Return the sha256 of a file's content, or of a folder's names, sizes and times, because media are large."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(repr(_state(path)).encode()).hexdigest()
