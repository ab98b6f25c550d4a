"""What an exchange writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.features import FeatureCache
from pipeline.params import CorpusParams
from pipeline.tables.schema import Utterance


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus; row i of each part is the same utterance.

    Attributes:
        params: the corpus section of params.yaml.
        utterances: the table of utterances.
        labels: the table of labels.
        streams: the open streams by name.
    """

    params: CorpusParams
    utterances: Sequence[Utterance]
    labels: pd.DataFrame
    streams: Mapping[str, FeatureCache]

    def rows(self, split: str) -> list[int]:
        """Return the numbers of a split's rows."""
        return [int(row) for row in np.flatnonzero(self.labels["split"] == split)]
