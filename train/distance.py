"""How far an utterance's features are from those of training: a flag for input that the model has not learned.

The distance in a stream is the root mean square of the utterance's normalised features, which is the Mahalanobis
distance under a diagonal covariance, divided by the root of the number of features (Lee et al. 2018, arXiv 1807.03888,
section 2.1, with one class). It notices unusually large features, not unusual combinations. A threshold per stream is
a quantile over val.
"""

from __future__ import annotations

import numpy as np

from train.data.corpus import Corpus

# The share of utterances like those of training that all streams together flag.
FALSE = 0.05


def thresholds(data: Corpus) -> dict[str, float]:
    """Return {modality: the distance above which an utterance is far}, without streams that val lacks.

    Each stream flags an equal part of FALSE of val.
    """
    found = {}
    for modality, stream in data.streams.items():
        known = stream.distances()[data.split == "val"]
        if np.isfinite(known).any():
            found[modality] = float(np.nanquantile(known, 1 - FALSE / len(data.streams)))
    return found


def far(data: Corpus, limits: dict[str, float]) -> dict[str, np.ndarray]:
    """Return {modality: [N] bool, whether each utterance is farther than its limit}; a missing feature is not."""
    return {modality: data.streams[modality].distances() > limit for modality, limit in limits.items()}
