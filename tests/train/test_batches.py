"""Caches and labels → normalised dataset → padded batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.tables.schema import read_utterances
from tests.train import small
from train.data.order import batches
from train.fusion.build import read as load


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)


def test_statistics_are_the_train_splits_present_features():
    data = load(small.params())
    for modality, x in data.features.items():
        present = data.present[modality]
        train = present & torch.from_numpy(data.split == "train")
        assert torch.allclose(x[train].mean(0), torch.zeros(x.shape[1]), atol=1e-5)
        assert torch.allclose(x[train].std(0, correction=0), torch.ones(x.shape[1]), atol=1e-4)
        assert (x[~present] == 0).all()
        assert not present.all()


def test_speaker_statistics_shrink_to_the_global_ones():
    data = load(small.params(train={"normalise": "speaker"}))
    with FeatureCache("data/features/voice.h5") as cache:
        raw, ok = cache.pooled().astype(float), cache.status == 0
    mean, sd = data.statistics["audio"].mean, data.statistics["audio"].sd
    who = [(u.session, u.speaker) for u in data.utterances]
    for i in np.flatnonzero(ok)[:20]:
        own = raw[[j for j in np.flatnonzero(ok) if who[j] == who[i]]]
        n = len(own)
        expected = (raw[i] - (n * own.mean(0) + 10 * mean) / (n + 10)) / (
            (n * own.std(0) + 10 * sd) / (n + 10)
        )
        assert np.allclose(data.features["audio"][i], expected, atol=1e-4)


def test_a_dimension_that_never_varies_carries_nothing():
    names = [u.utterance for u in read_utterances()]
    x = np.random.default_rng(0).normal(size=(len(names), 7)).astype(np.float32)
    x[:, 2] = 1e6
    small.cache(small.Path(), "audio", names, x, np.ones(len(names), bool))
    data = load(small.params())
    assert (data.features["audio"][:, 2] == 0).all()
    assert torch.isfinite(data.features["audio"]).all()


def test_batches_hold_whole_dialogues_padded_at_the_end():
    data = load(small.params())
    batch = data.batch([3, 0, 7])
    assert batch.lengths.tolist() == [stop - start for start, stop in (data.turns[d] for d in (3, 0, 7))]
    assert batch.indices.tolist() == [r for d in (3, 0, 7) for r in range(*data.turns[d])]
    for b, d in enumerate((3, 0, 7)):
        start, stop = data.turns[d]
        assert torch.equal(batch.features["text"][b, : stop - start], data.features["text"][start:stop])
        assert (batch.features["text"][b, stop - start :] == 0).all()
        assert not batch.present["text"][b, stop - start :].any()
    assert torch.equal(batch.labels, data.labels[batch.indices])


def test_every_dialogue_is_in_one_batch():
    order = [d for group in batches(range(11), 4, torch.Generator().manual_seed(0)) for d in group]
    assert sorted(order) == list(range(11))
    assert order != list(range(11))


def test_class_counts_are_the_train_splits():
    data = load(small.params())
    train = data.labels[torch.from_numpy(data.split == "train")]
    assert data.goal.counts.tolist() == [int((train == c).sum()) for c in range(3)]


def test_a_modality_without_features_is_dropped_and_said_so():
    names = [u.utterance for u in read_utterances()]
    small.cache(
        small.Path(), "visual", names, np.zeros((len(names), 5), np.float32), np.zeros(len(names), bool)
    )
    data = load(small.params())
    assert sorted(data.features) == ["audio", "text"]
    assert "failed" in data.dropped["visual"]


def test_a_stream_of_another_modality_is_refused():
    streams = {"text": "voice", "audio": "voice", "visual": "look"}
    with pytest.raises(UserError, match=r"train\.streams\.text='voice'.*audio"):
        load(small.params(train={"streams": streams}))


def test_rows_that_are_not_the_tables_are_refused():
    names = [u.utterance for u in read_utterances()]
    names[4] = "somebody else"
    small.cache(small.Path(), "text", names, np.ones((len(names), 12), np.float32), np.ones(len(names), bool))
    with pytest.raises(UserError, match=r"words\.h5: its utterances differ from .*row 5"):
        load(small.params())


def test_a_damaged_cache_is_refused_with_its_name():
    path = small.Path("data/features/words.h5")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"words\.h5"):
        load(small.params())
