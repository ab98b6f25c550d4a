"""The distance from training: what it is, what it flags, and its file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from train import distance
from train.data.corpus import Statistics
from train.data.dialogues import Pooled
from train.data.normalise import normalised, statistics
from train.distance import EXPLAINED, FALSE, LEAST, Region, far, fit

SPLITS = ["train"] * 400 + ["val"] * 200 + ["test"] * 200 + ["strange"] * 40


def pooled(x: np.ndarray, present: np.ndarray, train: np.ndarray) -> Pooled:
    stats = statistics(x, train & present)
    values = torch.from_numpy(normalised(x, present, stats, None))
    return Pooled(SimpleNamespace(stream="s"), stats, values, torch.from_numpy(present))  # type: ignore[arg-type]


def features(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """`count` features of `dim` numbers, most of whose variance lies in five directions."""
    mixed = np.random.default_rng(dim).normal(size=(5, dim))
    return rng.normal(size=(count, 5)) @ mixed + 0.1 * rng.normal(size=(count, dim))


def corpus(seed: int = 3, strange: float = 2.0) -> Any:
    """400 rows of train, 200 of val, 200 of test, and 40 strange ones: `strange` times as large."""
    rng, split = np.random.default_rng(seed), np.array(SPLITS)
    streams = {}
    for name, dim in (("audio", 30), ("visual", 60)):
        x = features(rng, len(split), dim)
        x[split == "strange"] *= strange
        present = rng.random(len(split)) > 0.05
        streams[name] = pooled((5 + 3 * x).astype(np.float32), present, split == "train")
    return SimpleNamespace(streams=streams, split=split)


def test_a_distance_is_the_root_mean_square_of_what_the_components_leave():
    region = Region(np.array([1, 0, 0], np.float32), np.array([[0, 1, 0]], np.float32), 1.0)
    x = np.array([[1, 9, 0], [4, 9, 4], [1, 0, -3]], np.float64)
    assert region.distances(x) == pytest.approx([0, np.sqrt(25 / 3), np.sqrt(3)])


def test_vectors_are_normalised_features():
    x = np.array([[1.0, 10.0], [3.0, 30.0], [2.0, 50.0]], np.float32)
    stream = pooled(x, np.array([True, True, False]), np.array([True, True, False]))
    assert stream.statistics == Statistics(pytest.approx([2, 20]), pytest.approx([1, 10]))
    assert stream.available().tolist() == [True, True, False]
    assert stream.vectors(np.array([1, 0])) == pytest.approx(np.array([[1.0, 1.0], [-1.0, -1.0]]))


def test_components_explain_the_share_and_one_less_does_not():
    data = corpus()
    for name, region in fit(data).items():
        rows = np.flatnonzero((data.split == "train") & data.streams[name].available())
        x = data.streams[name].vectors(rows)
        centred, kept = x - x.mean(0), len(region.components)
        variances = np.linalg.svd(centred, compute_uv=False) ** 2
        explained = np.cumsum(variances) / variances.sum()
        assert explained[kept - 2] < EXPLAINED <= explained[kept - 1]
        assert region.mean == pytest.approx(x.mean(0), abs=1e-6)
        rest = (region.distances(x) ** 2).sum() * x.shape[1] / variances.sum()
        assert rest == pytest.approx(1 - explained[kept - 1], rel=1e-4)
        assert region.components.dtype == region.mean.dtype == np.float32
        assert (region.components[range(kept), np.abs(region.components).argmax(1)] > 0).all()


def test_few_rows_and_many_rows_give_the_same_distances():
    """With fewer rows than features the decomposition is another one: rows that are repeated change nothing else."""
    x = np.random.default_rng(3).normal(size=(24, 30)).astype(np.float32)
    split = np.array(["train"] * 20 + ["val"] * 4)
    once = SimpleNamespace(streams={"audio": pooled(x, split != "", split == "train")}, split=split)
    y, repeated = np.concatenate([np.tile(x[:20], (3, 1)), x[20:]]), np.array(["train"] * 60 + ["val"] * 4)
    thrice = SimpleNamespace(
        streams={"audio": pooled(y, repeated != "", repeated == "train")}, split=repeated
    )
    few, many = fit(once)["audio"], fit(thrice)["audio"]
    assert few.limit == pytest.approx(many.limit, rel=1e-4)
    assert few.components == pytest.approx(many.components, abs=1e-4)


def test_few_like_those_of_training_and_all_larger_ones_are_flagged():
    data = corpus()
    flags = far(data, fit(data))
    either = flags["audio"] | flags["visual"]
    assert either[data.split == "test"].mean() < 2 * FALSE
    assert either[data.split == "strange"].all()
    for name, found in flags.items():
        assert not found[~data.streams[name].available()].any(), "a missing feature is not far"


def test_an_unusual_combination_of_usual_sizes_is_flagged():
    """Each number of a strange row is that of a random train row, so only their correlation is unusual."""
    data, rng = corpus(strange=1.0), np.random.default_rng(5)
    rows = np.flatnonzero(data.split == "strange")
    train = np.flatnonzero((data.split == "train") & data.streams["visual"].available())
    values = data.streams["visual"].features
    for column in range(values.shape[1]):
        values[rows, column] = values[rng.choice(train, len(rows)), column]
    data.streams["visual"].present[rows] = True
    size = values.double().square().mean(1).sqrt().numpy()
    limit = np.quantile(size[(data.split == "val") & data.streams["visual"].available()], 1 - FALSE / 2)
    assert (size[rows] < limit).all(), "their size tells nothing"
    assert far(data, fit(data))["visual"][rows].all()


def test_regions_depend_on_train_and_val_alone():
    one, other = corpus(), corpus()
    for stream in other.streams.values():
        stream.features[other.split == "test"] = 9.0
    assert parts(fit(one)) == parts(fit(other))


def test_a_stream_that_train_or_val_lacks_has_no_region():
    data = corpus()
    data.streams["audio"].present[data.split == "val"] = False
    assert set(fit(data)) == {"visual"}
    data.streams["visual"].present[data.split == "train"] = False
    assert fit(data) == {}


def test_rounding_is_not_far():
    """The last feature is a sum of others: the components leave nothing of it but rounding."""
    data = corpus()
    values = data.streams["audio"].features
    values[:, 3:] = values[:, :3].repeat(1, 9)
    regions = fit(data)
    assert regions["audio"].limit == LEAST
    assert not far(data, regions)["audio"].any()
    values[-1, -1] += 1.0
    data.streams["audio"].present[-1] = True
    assert far(data, regions)["audio"].nonzero()[0].tolist() == [len(data.split) - 1]


def test_constant_features_have_no_component(tmp_path):
    data = corpus()
    data.streams["audio"].features[data.split == "train"] = 0.5
    region = fit(data)["audio"]
    assert region.components.shape == (0, 30)
    assert region.distances(np.full((1, 30), 2.5)) == pytest.approx([2.0])
    read_again(tmp_path, fit(data))


def test_the_file_keeps_the_regions_and_has_the_same_bytes(tmp_path):
    first = read_again(tmp_path / "one", fit(corpus()))
    assert first == read_again(tmp_path / "two", fit(corpus()))
    assert distance.write(tmp_path / "one", {}) == ""
    assert not (tmp_path / "one" / distance.FILE).exists()


def read_again(folder: Path, regions: dict[str, Region]) -> bytes:
    """Write the regions, check that reading gives the same, and return the file's bytes."""
    folder.mkdir(exist_ok=True)
    record: Any = SimpleNamespace(
        distance=distance.write(folder, regions),
        far={name: region.limit for name, region in regions.items()},
        dims={name: len(region.mean) for name, region in regions.items()},
    )
    assert parts(distance.read(folder, record)) == parts(regions)
    return (folder / distance.FILE).read_bytes()


def parts(regions: dict[str, Region]) -> dict[str, Any]:
    return {n: (r.mean.tobytes(), r.components.tobytes(), r.limit) for n, r in regions.items()}
