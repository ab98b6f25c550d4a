"""Group the voices of a recording into speakers: average linkage of cosine distances."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import AgglomerativeClustering

# The cosine distance from which two groups of windows are two speakers. On ten meetings of the AMI corpus (30 s each)
# and a telephone call, 15% of the windows then have another speaker: with a single speaker for all 24%, with the true
# number of speakers 10%.
APART = 0.55
# Windows of a group; smaller groups join the speaker whose mean is nearest.
SMALLEST = 3
# Windows that are clustered, spread over the recording; the others join the nearest speaker. The matrix of distances
# of an hour's windows takes 200 MB.
CLUSTERED = 5000


def speakers(voices: np.ndarray, count: int) -> np.ndarray:
    """Return the speaker of each window, [N] int: 0 is the first who speaks.

    Args:
        voices: [N, D] vectors of length 1, in the order of the recording.
        count: the number of speakers; 0 to estimate it.
    """
    voices = voices.astype(np.float32)
    if len(voices) < 2:
        return np.zeros(len(voices), int)
    some = voices[np.linspace(0, len(voices) - 1, min(len(voices), CLUSTERED)).round().astype(int)]
    clustering = AgglomerativeClustering(
        n_clusters=min(count, len(some)) or None,
        distance_threshold=None if count else APART,
        metric="cosine",
        linkage="average",
    )
    labels = clustering.fit_predict(some)
    sizes = np.bincount(labels)
    kept = np.flatnonzero(sizes >= min(SMALLEST, sizes.max())) if not count else np.arange(len(sizes))
    means = np.stack([some[labels == label].mean(0) for label in kept])
    nearest = (voices @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(1)
    order = {label: number for number, label in enumerate(dict.fromkeys(nearest.tolist()))}
    return np.array([order[label] for label in nearest.tolist()])
