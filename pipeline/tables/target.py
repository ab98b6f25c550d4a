"""What a model learns of an utterance (`corpus.target`), and how labels.csv writes it.

    single   one label: `joy`
    soft     votes or shares: `joy:3|neutral:2`, `joy|joy|neutral` (one vote each), `joy:0.6|neutral:0.4`
    multi    several labels: `joy|surprise`
    values   numbers, each in a column of its own, named in `corpus.values`: valence, arousal, sentiment

The first three are written in the column `emotion`; an empty cell means unlabelled. An empty number means unrated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.tables.schema import decimal

if TYPE_CHECKING:
    from pipeline.params import CorpusParams, TargetKind

BETWEEN, COUNT = "|", ":"


@dataclass(frozen=True)
class Target:
    """What a model learns.

    Attributes:
        labels: `corpus.labels`, the labels in the column `emotion`.
        kind: `corpus.target`.
        values: `corpus.values`, the columns of numbers.
    """

    labels: Sequence[str]
    kind: TargetKind = "single"
    values: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """The names of a model's outputs, in order."""
        return list(self.values if self.kind == "values" else self.labels)

    def mistake(self, emotion: str) -> str:
        """Return why a cell of the column `emotion` is invalid, or an empty string."""
        try:
            self.shares(emotion)
        except ValueError as error:
            return str(error)
        return ""

    def shares(self, emotion: str) -> dict[str, float]:
        """Return {label: votes} of a cell of the column `emotion`, with one vote for each label of `multi`.

        Raises:
            ValueError: if the cell names an unknown label, or is not written as `kind` requires.
        """
        found: dict[str, float] = {}
        if not emotion:
            return found
        several = self.kind in ("soft", "multi")
        for part in emotion.split(BETWEEN) if several else [emotion]:
            label, votes = self._part(part)
            if label not in self.labels:
                raise ValueError(self._unknown(label, emotion))
            if self.kind == "multi" and label in found:
                raise ValueError(f"duplicate label {label!r}; name each label once")
            found[label] = found.get(label, 0.0) + votes
        return found

    def _unknown(self, label: str, emotion: str) -> str:
        named = f"{label!r} " if label != emotion else ""
        known = f"is not in corpus.labels ({', '.join(self.labels)})"
        if BETWEEN in label:
            known += "; corpus.target=soft reads votes, corpus.target=multi several labels"
        return named + known

    def _part(self, part: str) -> tuple[str, float]:
        """Return a label and its votes; a label may contain a colon."""
        label, colon, votes = part.rpartition(COUNT)
        if self.kind != "soft" or part in self.labels or not colon:
            return part, 1.0
        try:
            number = decimal(votes)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{votes!r} is not a number of votes above 0, such as 3 or 0.6")
        return label, number


def target_of(corpus: CorpusParams) -> Target:
    """Return what a model learns of a corpus."""
    return Target(corpus.labels, corpus.target, corpus.values)
