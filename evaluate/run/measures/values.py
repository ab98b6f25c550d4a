"""Numbers: concordance (CCC), correlation and mean absolute error, each the mean over the values.

A value named `sentiment` is scored in the unit of CMU-MOSI and MOSEI, from -3 to 3, as MMSA does
(github.com/thuiar/MMSA, `__eval_mosei_regression` of src/MMSA/utils/metricsTop.py):

    acc7           share of equal whole numbers, both numbers clipped to -3 … 3 and rounded
    acc2_has0      share of equal signs, where 0 counts as positive ("has 0": negative or not)
    acc2_non0      share of equal signs among utterances whose truth is not 0 ("non 0": negative or positive)
    f1_has0, f1_non0   weighted F1 of the same two classes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from evaluate.run import metrics, resamples
from evaluate.run.measures.measure import Ends, Measure, mean, mean_answers
from evaluate.run.results import Prediction

SENTIMENT = "sentiment"
SIGNS = ("acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc7")
MOMENTS = 7
LARGEST = 3


class Numbers(Measure):
    """Predicted numbers against annotated ones."""

    metrics = ("ccc", "pearson", "mae")

    @override
    def scores(self, answers: np.ndarray, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        found = self._from_sums(self._sums(answers, rows).sum(axis=0))
        return {name: metrics.finite(float(value)) for name, value in found.items()}

    @override
    def details(self, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        values = {}
        for k, name in enumerate(self.run.names):
            truth = self.run.truth[rows, k]
            found = moments_scores(moments(truth, prediction.probabilities[rows, k]).sum(axis=0))
            values[name] = {key: metrics.finite(float(value)) for key, value in found.items()}
            values[name]["rated"] = int((~np.isnan(truth)).sum())
        return {**self.scores(prediction.probabilities, prediction, rows), "values": values}

    @override
    def over_seeds(self, seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        values = {}
        for name in self.run.names:
            tables = [one["values"][name] for one in seeds]
            values[name] = {key: mean(tables, key)["mean"] for key in self.metrics}
            values[name] |= {"ccc_sd": mean(tables, "ccc")["sd"], "rated": tables[0]["rated"]}
        shown = [key for key in (*self.metrics, *SIGNS) if key in seeds[0]]
        return {**{key: mean(seeds, key) for key in shown}, "values": values}

    @override
    def intervals(self, rows: np.ndarray) -> Ends | None:
        each = [self._sums(p.probabilities, rows) for p in self.run.predictions]
        count = self.run.params.evaluate.bootstrap
        return resamples.intervals(each, self.run.dialogues[rows], count, self._from_sums)

    @override
    def columns(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        run = self.run
        average = mean_answers(run)
        columns = dict(zip(run.names, run.truth.T, strict=True))
        for p in run.predictions:
            columns |= {
                f"seed{p.seed} {name}": x for name, x in zip(run.names, p.probabilities.T, strict=True)
            }
        return columns, {f"predicted {name}": x for name, x in zip(run.names, average.T, strict=True)}

    @override
    def constant(self, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Return the mean of each value; NaN for a value that is never rated."""
        truth = self.run.truth[rows]
        return "the mean of train", np.array([x[~np.isnan(x)].mean() for x in truth.T])

    def _sums(self, answers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return what each utterance adds to the sums of `_from_sums`: `[n, 7 K]`, with sentiment `[n, 7 K + 14]`."""
        truth, found = self.run.truth[rows], answers[rows].astype(float)
        parts = [moments(truth[:, k], found[:, k]) for k in range(truth.shape[1])]
        if SENTIMENT in self.run.names:
            k = self.run.names.index(SENTIMENT)
            parts.append(signs(truth[:, k], found[:, k]))
        return np.concatenate(parts, axis=1)

    def _from_sums(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores, `[...]` each: means over the values, and those of sentiment."""
        count = MOMENTS * len(self.run.names)
        each = np.split(totals[..., :count], len(self.run.names), axis=-1)
        scores = [moments_scores(one) for one in each]
        found = {name: np.mean([one[name] for one in scores], axis=0) for name in self.metrics}
        return found | (signs_scores(totals[..., count:]) if SENTIMENT in self.run.names else {})


def moments(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return `[n, 7]`: 1, x, y, x², y², x y and |x - y| of annotated x and predicted y; 0 where unrated."""
    x, y = truth.astype(float), answers.astype(float)
    parts = np.stack([np.ones(len(x)), x, y, x**2, y**2, x * y, np.abs(x - y)], axis=1)
    return np.where(np.isnan(x)[:, None], 0.0, parts)


def moments_scores(totals: np.ndarray) -> dict[str, np.ndarray]:
    """Return ccc, pearson and mae, `[...]` each, from sums of `moments` `[..., 7]`; NaN where undefined.

    CCC = 2 cov / (var x + var y + (mean x - mean y)²) with divisor n (Lin 1989, doi 10.2307/2532051, equation 2.4).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mx, my, xx, yy, xy, error = (totals[..., i] / totals[..., 0] for i in range(1, MOMENTS))
        vx, vy, cov = xx - mx**2, yy - my**2, xy - mx * my
        return {
            "ccc": 2 * cov / (vx + vy + (mx - my) ** 2),
            "pearson": cov / np.sqrt(np.where((vx > 0) & (vy > 0), vx * vy, np.nan)),
            "mae": error,
        }


def signs(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return `[n, 14]`: for 0 as positive and for 0 left out, hits, truths and answers of both signs; then acc7's."""
    rated = ~np.isnan(truth)
    parts: list[np.ndarray] = []
    for there, true, found in (
        (rated, truth >= 0, answers >= 0),
        (rated & (truth != 0), truth > 0, answers > 0),
    ):
        parts += [there & (true == found) & (true == sign) for sign in (False, True)]
        parts += [there & (one == sign) for one in (true, found) for sign in (False, True)]
    with np.errstate(invalid="ignore"):
        same = np.rint(np.clip(truth, -LARGEST, LARGEST)) == np.rint(np.clip(answers, -LARGEST, LARGEST))
    return np.stack([*parts, rated & same, rated], axis=1).astype(float)


def signs_scores(totals: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of sentiment, `[...]` each, from sums of `signs` `[..., 14]`; NaN where undefined."""
    found: dict[str, np.ndarray] = {}
    with np.errstate(invalid="ignore"):
        for name, start in (("has0", 0), ("non0", 6)):
            both = metrics.from_counts(*(totals[..., start + i : start + i + 2] for i in (0, 2, 4)))
            found |= {f"acc2_{name}": both["accuracy"], f"f1_{name}": both["weighted_f1"]}
        return {**found, "acc7": totals[..., 12] / totals[..., 13]}
