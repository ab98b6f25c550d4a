"""Frames as training sees them: cut, normalised, ragged, in memory or on disk, drawn and padded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.errors import UserError
from pipeline.features import FeatureCache
from tests.train import small
from train.data import memory
from train.fusion.build import read as load


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMOFUSE_FRAMES_SHARE", raising=False)
    small.make(tmp_path)
    small.add_frames(tmp_path)


def params(**sections):
    sections["model"] = {"name": "foalnet", **sections.get("model", {})}
    sections["train"] = {"frames": "f4", **sections.get("train", {})}
    return small.params(**sections)


def raw(modality: str) -> list[np.ndarray]:
    """[T, D] of every row, as the cache has them."""
    with FeatureCache(Path(f"data/features/{small.STREAM[modality]}.h5")) as cache:
        return [cache.frames(i).astype(np.float64) for i in range(len(cache))]


def test_statistics_are_those_of_the_train_splits_frames():
    data = load(params())
    for modality, found in data.statistics.items():
        train = np.concatenate([x for x, s in zip(raw(modality), data.split, strict=True) if s == "train"])
        np.testing.assert_allclose(found.mean, train.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.sd, train.std(0), rtol=1e-12)
        for i, x in enumerate(raw(modality)):
            np.testing.assert_allclose(data.frames[modality][i], (x - found.mean) / found.sd, atol=1e-5)


def test_a_speakers_own_statistics_count_its_utterances():
    data = load(params(train={"normalise": "speaker"}))
    found, rows = data.statistics["audio"], raw("audio")
    who = [(u.session, u.speaker) for u in data.utterances]
    mine = [i for i, name in enumerate(who) if name == who[0] and len(rows[i])]
    own = np.concatenate([rows[i] for i in mine])
    mean = (len(mine) * own.mean(0) + 10 * found.mean) / (len(mine) + 10)
    sd = (len(mine) * own.std(0) + 10 * found.sd) / (len(mine) + 10)
    np.testing.assert_allclose(data.frames["audio"][mine[0]], (rows[mine[0]] - mean) / sd, atol=1e-5)


def test_a_dimension_that_never_varies_is_zero(tmp_path):
    with FeatureCache(tmp_path / "data/features/voice.h5") as cache:
        names, here = cache.utterances, cache.status == 0
    same = [np.full((3, 7), 1e7, "f4") for _ in names]
    small.cache(tmp_path, "audio", names, np.full((len(names), 7), 1e7, "f4"), here, same)
    data = load(params())
    assert all((data.frames["audio"][i] == 0).all() for i in data.units())


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_on_disk_and_in_memory_are_the_same_numbers(monkeypatch, capsys, dtype):
    held = load(params(train={"frames": dtype}))
    monkeypatch.setenv("EMOFUSE_FRAMES_SHARE", "0")
    there = load(params(train={"frames": dtype}))
    assert "GB of frames stay on disk" in capsys.readouterr().out
    chosen = held.units()
    a, b = held.batch(chosen), there.batch(chosen)
    for modality in held.dims:
        assert held.frames[modality]._held is not None
        assert there.frames[modality]._held is None
        assert torch.equal(a.features[modality], b.features[modality])
        assert held.frames[modality][chosen[0]].dtype == np.dtype(dtype)
        assert held.frames[modality].nbytes == held.frames[modality].kept.sum() * held.dims[modality] * (
            2 if dtype == "f2" else 4
        )


def test_the_share_is_of_what_the_job_may_take(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    limit.write_text("4096\n")
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (str(limit), str(tmp_path / "absent")))
    assert memory._memory() == 4096
    limit.write_text("max\n")
    assert memory._memory() > 2**28
    monkeypatch.setenv("EMOFUSE_FRAMES_SHARE", "half")
    with pytest.raises(UserError, match="EMOFUSE_FRAMES_SHARE=half"):
        load(params())


def test_what_overflows_half_precision_stays_finite(tmp_path):
    with FeatureCache(tmp_path / "data/features/voice.h5") as cache:
        names, here = cache.utterances, cache.status == 0
    test = pd.read_csv("data/labels.csv")["split"] == "test"
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(2, 7)).astype("f4") * (1e9 if t else 1) for t in test]
    small.cache(tmp_path, "audio", names, rng.normal(size=(len(names), 7)).astype("f4"), here, rows)
    data = load(params(train={"frames": "f2"}))
    assert all(np.isfinite(data.frames["audio"][i]).all() for i in data.units())


def test_frames_beyond_the_cut_are_not_seen(tmp_path):
    data = load(params(train={"audio_seconds": 0.35, "visual_frames": 2}))
    for modality, most in ("audio", 4), ("visual", 2):
        lengths = np.array([len(x) for x in raw(modality)])
        assert (data.frames[modality].kept == np.minimum(lengths, most)).all()
        assert lengths.max() > most
    # Neither as input nor in the statistics.
    whole = load(params())
    assert not np.allclose(whole.statistics["audio"].mean, data.statistics["audio"].mean)
    # However short the cut, what has frames keeps one.
    data = load(params(train={"audio_seconds": 1e-9}))
    assert set(data.frames["audio"].kept) == {0, 1}


def test_a_batch_is_padded_to_its_own_longest_and_missing_is_masked():
    data = load(params())
    kept = data.frames["audio"].kept
    gone = np.flatnonzero(kept == 0).tolist()
    short = np.flatnonzero((kept > 0) & (kept < 4)).tolist()
    batch = data.batch([*gone[:1], *short[:3]])
    assert batch.features["audio"].shape[1] == kept[short[:3]].max()
    assert batch.present["audio"].sum(1).tolist() == [0, *kept[short[:3]]]
    for b, i in enumerate(batch.indices.tolist()):
        x = batch.features["audio"][b]
        assert torch.equal(x[: kept[i]], torch.from_numpy(data.frames["audio"][i].copy()))
        assert (x[kept[i] :] == 0).all()
        assert batch.labels[b] == data.labels[i]
    assert data.batch(gone[:1]).features["audio"].shape == (1, 1, 7)


def test_buckets_pad_less_and_lose_nobody():
    data = load(params())
    lengths = sum(stream.kept for stream in data.frames.values())

    def padded(groups):
        return sum(len(g) * lengths[g].max() - lengths[g].sum() for g in groups)

    plain = [list(range(i, min(i + 5, len(lengths)))) for i in range(0, len(lengths), 5)]
    bucketed = list(data.groups(data.units(), 5))
    assert sorted(i for group in bucketed for i in group) == data.units()
    assert padded(bucketed) < padded(plain) / 3
    drawn = list(data.groups(data.units("train"), 5, torch.Generator().manual_seed(0)))
    assert sum(map(len, drawn)) == len(data.units("train"))
    assert padded(drawn) < padded(plain) / 3


def test_every_emotion_is_drawn_equally_often():
    data = load(params())
    rare = torch.zeros_like(data.labels)
    rare[data.units("train")[:3]] = 1
    data.labels.copy_(rare)
    chosen, generator, counts = data.units("train"), torch.Generator().manual_seed(0), torch.zeros(2)
    for _ in range(60):
        for group in data.groups(chosen, 8, generator):
            counts += torch.bincount(data.labels[group], minlength=2)
    assert counts[1] / counts.sum() == pytest.approx(0.5, abs=0.03)


def test_draws_follow_the_generators_state():
    data = load(params())

    def draw(generator):
        return list(data.groups(data.units("train"), 4, generator))

    generator = torch.Generator().manual_seed(3)
    first, state = draw(generator), generator.get_state()
    second = draw(generator)
    generator.set_state(state)
    assert draw(generator) == second != first


def test_a_stream_without_frames_names_the_param(tmp_path):
    small.make(tmp_path)  # writes all three without
    with pytest.raises(UserError, match=r"train\.streams\.audio=voice: .*set extract\.voice\.frames to f2"):
        load(params())


def test_text_is_left_out_and_said_so():
    data = load(params())
    assert set(data.dims) == {"audio", "visual"}
    assert "audio and visual" in data.dropped["text"]


def test_a_stream_of_the_other_modality_is_refused():
    with pytest.raises(UserError, match=r"train\.streams\.audio='look'.*modality visual"):
        load(params(train={"streams": {"text": "none", "audio": "look", "visual": "none"}}))
