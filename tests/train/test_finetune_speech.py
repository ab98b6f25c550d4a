"""Fine-tuning speech encoders: convolutions frozen, group norm never padded, media as extraction reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from extract.encoders.speech import SpeechEncoder
from extract.engine import run
from extract.streams import base_of, load_checked
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import Target
from tests.extract import tiny_models
from tests.extract.make_clips import clip
from tests.extract.project import inline
from tests.train import tuned

KINDS = ["wavlm", "wav2vec2-base"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("speech")
    return {kind: tiny_models.speech(root / kind, kind) for kind in [*KINDS, "hubert", "data2vec", "whisper"]}


@pytest.fixture(scope="module")
def media(tmp_path_factory, checkpoints) -> Path:
    """Tones whose pitch tells the emotion; those of the test split are not there."""
    root = tmp_path_factory.mktemp("media")
    tuned.make(root, checkpoints["wavlm"], "speech", dialogues=12)
    utterances = read_utterances(root / "data/utterances.csv")
    table = read_labels(utterances, Target(tuned.LABELS), root / "data/labels.csv")
    rng = np.random.default_rng(0)
    for u, emotion, part in zip(utterances, table["emotion"], table["split"], strict=True):
        if part != "test":
            times = np.arange(int(16000 * rng.uniform(0.2, 0.5))) / 16000
            tone = 0.3 * np.sin(2 * np.pi * tuned.PITCH[emotion] * times)
            clip(root / u.media, video=False, codec="pcm_s16le", sound=tone.astype(np.float32))
    return root


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch, media) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    monkeypatch.setenv("EMOFUSE_MEDIA", str(media))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr("extract.engine.local.extract", inline)
    return tmp_path


def make(root: Path, weights: Path, **settings) -> None:
    tuned.make(root, weights, "speech", dialogues=12, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_all_but_the_convolutions_is_fitted(monkeypatch, project, checkpoints, kind):
    make(project, checkpoints[kind], training={"epochs": 1})
    tuned.finetune(monkeypatch)
    before = load_file(checkpoints[kind] / "model.safetensors")
    after = load_file("weights/tuned/model.safetensors")
    assert after.keys() == before.keys()
    for name in before:
        frozen = name.startswith(("feature_extractor.", "masked_spec_embed"))
        # Keys' biases move every score of a query alike, so that softmax gives them no gradient but noise.
        if "k_proj.bias" not in name:
            assert torch.equal(before[name], after[name]) == frozen, name
    assert Path("weights/tuned/preprocessor_config.json").exists()
    config = [
        json.loads((folder / "config.json").read_text())
        for folder in (checkpoints[kind], Path("weights/tuned"))
    ]
    assert config[0] == config[1]


def test_it_learns_and_its_features_are_taken(monkeypatch, project, checkpoints, media):
    make(project, checkpoints["wavlm"], training={"epochs": 6, "lr": 3e-3})
    tuned.finetune(monkeypatch)
    losses = [row["train_loss"] for row in tuned.record()["history"]]
    assert losses[-1] < 0.6 * losses[0]
    with pytest.raises(UserError, match=r"12 media files .* are not under"):
        run.run("tuned")
    whole = project / "media"
    shutil.copytree(media, whole)
    monkeypatch.setenv("EMOFUSE_MEDIA", str(whole))
    for u in read_utterances():
        if not (whole / u.media).exists():
            clip(whole / u.media, video=False, codec="pcm_s16le", sound=np.full(8000, 0.1, np.float32))
    make(project, checkpoints["wavlm"], training={"epochs": 6, "lr": 3e-3})
    run.run("tuned")
    with FeatureCache("data/features/tuned.h5") as cache:
        assert cache.counts() == {"ok": 48}
        assert cache.meta.weights_saw["fold"] == "none"


@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert", "data2vec"])
def test_models_that_padding_would_change_are_never_padded(monkeypatch, project, checkpoints, kind):
    make(project, checkpoints[kind], training={"epochs": 1})
    sizes, whole = [], SpeechEncoder._hidden
    monkeypatch.setattr(
        SpeechEncoder, "_hidden", lambda self, net, batch: sizes.append(len(batch)) or whole(self, net, batch)
    )
    tuned.finetune(monkeypatch)
    assert set(sizes) == {1}


def test_only_the_first_window_of_a_long_utterance_counts(project, checkpoints):
    make(project, checkpoints["wavlm"], window=2.0, overlap=0.5)
    encoder, _ = base_of("tuned", load_checked())
    sound = np.random.default_rng(0).standard_normal(16000 * 5).astype(np.float32)
    network = encoder.network().eval()
    a, b = (encoder.vectors(network, [x])[0] for x in (sound, sound[:32000]))
    assert torch.equal(a, b)
    assert encoder.size(sound) == 32000


def test_a_very_short_utterance_can_be_trained_on(project, checkpoints):
    make(project, checkpoints["wavlm"])
    encoder, _ = base_of("tuned", load_checked())
    network = encoder.network()
    assert network.training
    encoder.vectors(network, [np.ones(700, np.float32)]).sum().backward()


def test_whisper_is_refused(monkeypatch, project, checkpoints):
    make(project, checkpoints["whisper"])
    with pytest.raises(UserError, match="Whisper cannot be fine-tuned"):
        tuned.finetune(monkeypatch)


def test_media_that_are_not_there_are_the_users_error(monkeypatch, project, checkpoints):
    make(project, checkpoints["wavlm"])
    monkeypatch.setenv("EMOFUSE_MEDIA", str(project))
    with pytest.raises(UserError, match=r"tuned: train: d00_u0: d00_u0\.wav is not under .*EMOFUSE_MEDIA"):
        tuned.finetune(monkeypatch)
