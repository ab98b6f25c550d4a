"""One label per utterance: the scores of evaluate/run/metrics.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from evaluate.run import metrics
from evaluate.run.measures.measure import Ends, Measure, mean, mean_answers
from evaluate.run.results import Prediction, leaders

WRONG = 20


class Labels(Measure):
    """The most probable label against the true one."""

    metrics: ClassVar[tuple[str, ...]] = metrics.METRICS
    others = ("calibration_error", "calibration_error_before", "aurc", "risk_at_80")

    @property
    @override
    def known(self) -> np.ndarray:
        return self.run.truth >= 0

    @override
    def scores(self, answers: np.ndarray, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        return metrics.scores(self.run.truth[rows], answers[rows].argmax(axis=1), len(self.run.names))

    @override
    def details(self, prediction: Prediction, rows: np.ndarray) -> dict[str, Any]:
        truth, names = self.run.truth[rows], self.run.names
        probabilities = prediction.probabilities[rows]
        predicted = probabilities.argmax(axis=1)
        calibration = metrics.calibration(truth, probabilities)
        before = metrics.uncalibrated(probabilities, prediction.temperature)
        confusion = metrics.confusion(truth, predicted, len(names))
        shares = (
            None if confusion is None else confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
        )
        return {
            **metrics.scores(truth, predicted, len(names)),
            "calibration_error": calibration["error"],
            "calibration_error_before": metrics.calibration(truth, before)["error"],
            "temperature": prediction.temperature,
            **metrics.selective(truth, probabilities),
            "labels": metrics.per_label(truth, predicted, names),
            "confusion": None if confusion is None else confusion.tolist(),
            "confusion_normalised": None if shares is None else shares.tolist(),
            "calibration": calibration["bins"],
        }

    @override
    def over_seeds(self, seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        labels = {}
        for name in self.run.names:
            tables = [one["labels"][name] for one in seeds]
            labels[name] = {key: mean(tables, key)["mean"] for key in ("precision", "recall", "f1")}
            labels[name] |= {"f1_sd": mean(tables, "f1")["sd"], "support": tables[0]["support"]}
        return {**{key: mean(seeds, key) for key in (*self.metrics, *self.others)}, "labels": labels}

    @override
    def intervals(self, rows: np.ndarray) -> Ends | None:
        predicted = np.stack([p.probabilities[rows].argmax(axis=1) for p in self.run.predictions])
        run = self.run
        return metrics.intervals(
            run.truth[rows], predicted, run.dialogues[rows], run.params.evaluate.bootstrap
        )

    @override
    def columns(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        names = self.run.names
        average = mean_answers(self.run)
        columns: dict[str, Any] = {
            "emotion": [names[i] if i >= 0 else "" for i in self.run.truth],
            "predicted": [names[i] for i in average.argmax(axis=1)],
        }
        for p in self.run.predictions:
            columns[f"seed{p.seed}"] = [names[i] for i in p.probabilities.argmax(axis=1)]
        return columns, dict(zip(names, average.T, strict=True))

    @override
    def constant(self, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Return the most frequent label."""
        count = len(self.run.names)
        label = int(np.bincount(self.run.truth[rows], minlength=count).argmax())
        return self.run.names[label], np.eye(count)[label]

    @override
    def leaders(self, prediction: Prediction) -> np.ndarray:
        return leaders(prediction)

    @override
    def wrong(self, rows: np.ndarray) -> list[dict[str, Any]]:
        run, truth = self.run, self.run.truth
        probabilities = run.first.probabilities
        predicted = probabilities.argmax(axis=1)
        wrong = [i for i in rows if predicted[i] != truth[i]]
        wrong.sort(key=lambda i: -probabilities[i, predicted[i]])
        return [
            {
                "utterance": run.utterances[i].utterance,
                "dialogue": run.utterances[i].dialogue,
                "turn": run.utterances[i].turn,
                "speaker": run.utterances[i].speaker,
                "text": run.utterances[i].text,
                "emotion": run.names[truth[i]],
                "predicted": run.names[predicted[i]],
                "probability": float(probabilities[i, predicted[i]]),
                "probability_of_true": float(probabilities[i, truth[i]]),
            }
            for i in wrong[:WRONG]
        ]
