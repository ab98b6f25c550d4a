"""The distance from training: what it is, and what it flags."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from train.data.corpus import Statistics
from train.data.dialogues import Pooled
from train.data.normalise import normalised, statistics
from train.distance import FALSE, far, thresholds


def pooled(x: np.ndarray, present: np.ndarray, train: np.ndarray) -> Pooled:
    stats = statistics(x, train & present)
    values = torch.from_numpy(normalised(x, present, stats, None))
    return Pooled(SimpleNamespace(stream="s"), stats, values, torch.from_numpy(present))  # type: ignore[arg-type]


def corpus(rng: np.random.Generator, strange: int = 40) -> Any:
    """400 rows of train, 200 of val, 200 of test, and strange ones: of twice the spread."""
    split = np.array(["train"] * 400 + ["val"] * 200 + ["test"] * 200 + ["strange"] * strange)
    spread = np.where(split == "strange", 2.0, 1.0)[:, None]
    streams = {}
    for name, dim in (("audio", 30), ("visual", 60)):
        x = (5 + 3 * spread * rng.normal(size=(len(split), dim))).astype(np.float32)
        present = rng.random(len(split)) > 0.05
        streams[name] = pooled(x, present, split == "train")
    return SimpleNamespace(streams=streams, split=split)


def test_a_distance_is_the_root_mean_square_of_normalised_features():
    x = np.array([[1.0, 10.0], [3.0, 30.0], [2.0, 50.0]], np.float32)
    stream = pooled(x, np.array([True, True, False]), np.array([True, True, False]))
    assert stream.statistics == Statistics(pytest.approx([2, 20]), pytest.approx([1, 10]))
    assert stream.distances()[:2] == pytest.approx([1.0, 1.0])
    assert np.isnan(stream.distances()[2])


def test_few_like_those_of_training_and_all_others_are_flagged():
    data = corpus(np.random.default_rng(3))
    flags = far(data, thresholds(data))
    either = flags["audio"] | flags["visual"]
    assert either[data.split == "test"].mean() < 2 * FALSE
    assert either[data.split == "strange"].all()
    for name, found in flags.items():
        assert not found[~data.streams[name].present.numpy()].any(), "a missing feature is not far"


def test_thresholds_depend_on_train_and_val_alone():
    one, other = corpus(np.random.default_rng(3), 40), corpus(np.random.default_rng(3), 40)
    for stream in other.streams.values():
        stream.features[other.split == "test"] = 9.0
    assert thresholds(one) == thresholds(other)


def test_a_stream_that_val_lacks_has_no_threshold():
    data = corpus(np.random.default_rng(3))
    data.streams["audio"].present[data.split == "val"] = False
    assert set(thresholds(data)) == {"visual"}
