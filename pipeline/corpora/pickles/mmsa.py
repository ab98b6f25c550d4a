"""Read MMSA's pickles: {train, valid, test} → {field: one value per clip}.

    id [N] VIDEO$_$CLIP, raw_text [N], regression_labels [N]
    text [N, L, D], audio [N, L, D], vision [N, L, D]     zeros follow a clip's frames
    audio_lengths [N], vision_lengths [N]                 in unaligned pickles
    text_bert [N, 3, L]                                   row 1 is 1 for each word piece of a clip

An aligned pickle has one frame per word piece. https://github.com/thuiar/MMSA, `data_loader.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpora.pickles import unpickle
from pipeline.corpora.pickles.texts import AGAIN, SHARED, checked
from pipeline.errors import UserError

PARTS = ("train", "valid", "test")
BETWEEN = "$_$"
EXACT = 2**53  # integers below it are exact as float64


@dataclass(frozen=True)
class Part:
    """One split of a pickle.

    Attributes:
        path: the file.
        name: train, valid or test.
        fields: the values by field, unchecked.
        ids: the clips' ids, one per row.
    """

    path: Path
    name: str
    fields: dict[str, Any]
    ids: list[str]

    def texts(self, field: str) -> list[str]:
        """Return a field of strings, one per clip.

        Raises:
            UserError: if the field is missing or holds anything else.
        """
        found = _texts(self.path, self.name, field, self.fields)
        if len(found) != len(self.ids):
            raise self._wrong(field, f"{len(found)} texts for {len(self.ids)} clips")
        return found

    def numbers(self, field: str, dims: int) -> np.ndarray:
        """Return a field of numbers with `dims` dimensions, [N, …] f4; the first dimension is the clips.

        Raises:
            UserError: if the field is missing, holds anything else, or has another shape.
        """
        found = self.fields.get(field)
        if isinstance(found, list) and all(map(_is_number, found)):
            found = np.array(found, np.float64)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
            raise self._wrong(field, f"a {type(found).__name__}; expected an array of numbers")
        if found.ndim != dims or len(found) != len(self.ids):
            raise self._wrong(
                field, f"shape {found.shape}; expected {dims} dimensions, {len(self.ids)} clips"
            )
        with np.errstate(over="ignore"):
            return found.astype(np.float32)

    def _wrong(self, field: str, why: str) -> UserError:
        return UserError(f"{self.path}: {self.name}: {field}: {why}; {AGAIN}")


def read_parts(path: Path) -> list[Part]:
    """Return the splits of a pickle.

    Raises:
        UserError: if the pickle is refused or has another layout.
    """
    value = unpickle.load(path)
    named = {name: value[name] for name in PARTS if name in value} if isinstance(value, dict) else {}
    if not named or not all(isinstance(fields, dict) for fields in named.values()):
        raise UserError(f"{path}: not MMSA's layout: it has no train, valid or test with fields; {AGAIN}")
    return [Part(path, name, fields, _texts(path, name, "id", fields)) for name, fields in named.items()]


def _texts(path: Path, name: str, field: str, fields: dict[str, Any]) -> list[str]:
    found = fields.get(field)
    found = found.tolist() if isinstance(found, np.ndarray) else found
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise UserError(f"{path}: {name}: {field}: missing, or not a list of texts; {AGAIN}")
    return checked(found, SHARED * path.stat().st_size, str(path), f"{name}: {field}")


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.number) or (isinstance(value, int) and abs(value) < EXACT)
