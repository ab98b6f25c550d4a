"""Votes: the distance of the predicted distribution from the votes', and the scores against the majority vote.

An utterance whose votes are tied counts only for the distance, so `scored` counts utterances with a majority.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import rel_entr
from typing_extensions import override

from evaluate.run import resamples
from evaluate.run.measures.labels import Labels
from evaluate.run.measures.measure import Ends
from evaluate.run.results import Prediction


class Votes(Labels):
    """Kullback-Leibler divergence KL(votes ‖ model) in nats, beside the scores of labels."""

    metrics = (*Labels.metrics, "kl")

    @override
    def scores(self, answers: np.ndarray, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        return {**super().scores(answers, prediction, rows), "kl": float(self._kl(answers, rows).mean())}

    @override
    def details(self, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        kl = self._kl(prediction.probabilities, rows)
        return {**super().details(prediction, rows), "kl": float(kl.mean())}

    @override
    def intervals(self, rows: np.ndarray) -> Ends | None:
        ends = super().intervals(rows)
        split = self._with_ties(rows)
        one = np.ones(len(split))
        sums = [np.stack([self._kl(p.probabilities, rows), one], 1) for p in self.run.predictions]
        count = self.run.params.evaluate.bootstrap
        found = resamples.intervals(
            sums, self.run.dialogues[split], count, lambda s: {"kl": s[:, 0] / s[:, 1]}
        )
        return {**ends, **found} if ends is not None and found is not None else None

    @override
    def constant(self, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Return the mean shares."""
        average = self.shares[self._with_ties(rows)].mean(axis=0)
        return self.run.names[int(average.argmax())], average

    def _kl(self, answers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the divergence of every utterance with votes in the split of `rows`, `[m]`."""
        split = self._with_ties(rows)
        tiny = np.finfo(np.float64).tiny  # a probability of 0 in float32
        return np.asarray(
            rel_entr(self.shares[split], np.maximum(answers[split].astype(float), tiny)).sum(axis=1)
        )

    def _with_ties(self, rows: np.ndarray) -> np.ndarray:
        run = self.run
        return np.flatnonzero((run.splits == run.splits[rows[0]]) & ~np.isnan(self.shares).all(axis=1))

    @property
    def shares(self) -> np.ndarray:
        """`[N, C]` shares of the votes, NaN where unlabelled."""
        assert self.run.shares is not None
        return self.run.shares
