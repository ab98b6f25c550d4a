"""Settings that were taken and failed hours later, or that overwrote what they should not."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from evaluate.check import main as check_main
from extract.encoders import stream_params
from extract.networks.pretrained import load_config
from extract.networks.weights import content_hash, resolve
from pipeline.env import device
from pipeline.errors import UserError
from pipeline.features.__main__ import main as features_main
from pipeline.params import PARAMS, CorpusParams, TrainParams
from pipeline.strict import validate
from tests.extract import tiny_models
from tests.extract.project import Project, sentences


@pytest.mark.parametrize("field", ["lr", "weight_decay", "audio_seconds"])
def test_infinity_is_no_value(field):
    params = {"streams": {"text": "t", "audio": "none", "visual": "none"}, field: float("inf")}
    with pytest.raises(UserError, match=f"train.{field}=inf: .*finite"):
        validate(TrainParams, params, PARAMS, "train")


def test_infinite_seconds_are_none_for_an_encoder():
    with pytest.raises(UserError, match=r"extract.s.max_seconds=inf: .*finite"):
        stream_params("s", {"encoder": "opensmile", "max_seconds": float("inf")}, PARAMS)


def test_a_label_has_a_name():
    with pytest.raises(UserError, match=r"corpus.labels.0=''"):
        validate(
            CorpusParams, {"name": "csv", "watch": "", "root": "", "labels": ["", "joy"]}, PARAMS, "corpus"
        )


@pytest.mark.parametrize("name", ["mps", "meta", "xpu:0", "gpu"])
def test_a_device_that_torch_knows_and_nobody_has(monkeypatch, name):
    monkeypatch.setenv("EMOFUSE_DEVICE", name)
    with pytest.raises(UserError, match=f"EMOFUSE_DEVICE='{name}': unknown device"):
        device()


@pytest.fixture
def project(tmp_path, monkeypatch) -> Project:
    made = Project(tmp_path, sentences(4))
    monkeypatch.chdir(tmp_path)
    return made


def change(project: Project, section: str, **values) -> None:
    params = json.loads((project.root / "params.yaml").read_text())
    params[section] |= values
    (project.root / "params.yaml").write_text(json.dumps(params))


def check(monkeypatch) -> None:
    monkeypatch.setitem(
        sys.modules["extract.encoders"].REGISTRY, "fake", "tests.extract.fake_encoders:FakeEncoder"
    )
    check_main()


def test_a_misspelt_corpus_is_told_by_check_and_not_by_a_missing_file(project, monkeypatch):
    change(project, "corpus", name="MELD")
    with pytest.raises(UserError, match=r"corpus.name='MELD': unknown corpus"):
        check(monkeypatch)


def test_a_file_that_no_stage_makes_is_mentioned(project, monkeypatch, capsys):
    (project.root / "data/features").mkdir()
    (project.root / "data/features/old.h5").touch()
    change(project, "train", streams={"text": "old", "audio": "none", "visual": "none"})
    check(monkeypatch)
    assert "train.streams.text=old: no stage writes data/features/old.h5" in capsys.readouterr().out
    (project.root / "data/features/old.h5.dvc").touch()
    check(monkeypatch)
    assert "no stage" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stream", "more", "expected"),
    [
        ("none", [], "is a word of the command line"),
        ("../../evil", [], "only letters, digits"),
        ("fake", [], "params.yaml has a stream of that name"),
        ("pose", ["--frames", "f4", "--rate", "-5"], "--rate -5: must be"),
    ],
)
def test_an_import_overwrites_nothing_that_is_not_its_own(project, monkeypatch, stream, more, expected):
    np.savez("x.npz", pooled=np.ones((4, 3)), utterance=[f"u{i:05}" for i in range(4)])
    about = ["--modality", "audio", "--corpus", "c", "--licence", "l", "--encoder", "e"]
    monkeypatch.setattr(sys, "argv", ["features", "import", "x.npz", "--stream", stream, *about, *more])
    with pytest.raises(UserError, match=expected):
        features_main()
    assert not list(project.root.rglob("*.h5"))


def test_weights_that_transformers_loads_are_those_that_are_hashed(tmp_path):
    folder = tiny_models.bert(tmp_path / "bert")
    weights = {"embeddings.word_embeddings.weight": torch.zeros(2, 2)}
    (folder / "model.safetensors").rename(folder / "extra.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    first = content_hash(folder)
    torch.save({name: tensor + 1 for name, tensor in weights.items()}, folder / "pytorch_model.bin")
    assert content_hash(folder) != first


def test_a_config_with_a_value_of_another_kind_is_one_message(tmp_path):
    folder = tiny_models.bert(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    with pytest.raises(UserError, match=r"config.json is not usable"):
        load_config(resolve(str(folder), "", "weights"))
