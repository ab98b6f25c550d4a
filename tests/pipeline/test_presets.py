"""Every preset is a complete, valid params file that says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extract.encoders import finetune_params, stream_params
from extract.networks.weights import COMMIT
from pipeline.corpora import REGISTRY
from pipeline.params import FEATURES, Params, load
from pipeline.settings import read_yaml
from train.fusion.params import declared, fusion, unread

ROOT = Path(__file__).parents[2]
IMPORTED = re.compile(r"--stream (\w+) --modality (\w+) ")
COMPARED = re.compile(r"benchmarks\.streams ([\w ]+) --csv")
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def test_the_presets_are_there():
    names = {path.stem for path in PRESETS}
    assert names >= {
        "meld-text",
        "meld-text-base",
        "meld-text-finetuned",
        "meld",
        "iemocap",
        "iemocap4-foalnet",
    }


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_valid(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The streams that the preset's manual imports.
    imported = dict(IMPORTED.findall(path.read_text(encoding="utf-8")))
    for name in imported:
        (tmp_path / FEATURES).mkdir(parents=True, exist_ok=True)
        (tmp_path / FEATURES / f"{name}.h5.dvc").touch()
    params = load(path)
    assert unread(params) == ""
    fusion(params)
    used = {name: modality for modality, name in params.train.streams.in_use().items()}
    manual = path.read_text(encoding="utf-8")
    imported = {
        name for name, modality in used.items() if f"--stream {name} --modality {modality} " in manual
    }
    compared = {name for words in COMPARED.findall(manual) for name in words.split()}
    assert used.keys() | compared == {*params.extract, *params.finetune, *imported}
    for stream, raw in params.extract.items():
        kind, _ = stream_params(stream, raw, path)
        assert kind.modality in ({used[stream]} if stream in used else used.values())
    for stream, raw in params.finetune.items():
        kind, own, training = finetune_params(stream, raw, path)
        assert kind.modality == used[stream]
        assert str(training.fold) == str(params.train.fold)
        # The fusion model is selected on dialogues that its encoder was not fitted to.
        assert training.seed == params.train.seed
        assert "/" not in own.weights or COMMIT.fullmatch(own.revision)
    assert params.corpus.name in REGISTRY
    if not path.stem.startswith("demo"):
        assert not params.corpus.build
        assert (ROOT / params.corpus.watch).is_file()


def test_the_project_comes_with_the_preset_of_the_built_in_corpus():
    assert read_yaml(ROOT / "presets/demo.yaml") == read_yaml(ROOT / "params.yaml")


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_complete_and_opens_with_its_manual(path):
    raw = read_yaml(path)
    assert set(raw) == set(Params.model_fields)
    # Defaults may be left out; what its model does not read would look as if it did.
    model = declared(raw["model"]["name"])
    assert set(raw["model"]) <= set(model.params.model_fields)
    assert set(raw["loss"]) <= set(model.loss_params.model_fields)
    comment = path.read_text(encoding="utf-8").partition("corpus:")[0]
    assert f"cp presets/{path.name} params.yaml" in comment
    assert "dvc " in comment


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "meld",
            {"batch": 100, "layers": 2, "mu": (0.3, 0.3), "swfc": (1.4, 2.0, 1.2), "head": 512, "epochs": 15},
        ),
        (
            "iemocap",
            {"batch": 64, "layers": 6, "mu": (0.4, 0.4), "swfc": (0.8, 2.4, 1.1), "head": 256, "epochs": 100},
        ),
    ],
)
def test_multiemos_settings(name, expected):
    params = load(ROOT / f"presets/{name}.yaml")
    chosen = fusion(params)
    model, loss = chosen.model, chosen.loss
    assert expected == {
        "batch": params.train.batch_size,
        "layers": model.layers,
        "mu": (loss.mu1, loss.mu2),
        "swfc": (loss.temperature, loss.focus, loss.alpha),
        "head": model.head,
        "epochs": params.train.epochs,
    }
    assert (params.train.lr, params.train.weight_decay, model.dropout) == (1e-4, 1e-5, 0.0)
    assert model.bidirectional == (name == "iemocap")


@pytest.mark.parametrize("path", [ROOT / "params.yaml", *PRESETS], ids=lambda path: path.stem)
def test_a_preset_has_every_param_that_dvc_asks_for(path):
    """DVC refuses a stage whose param is absent, also where our own model has a default for it."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    params = read_yaml(path)
    for stage in stages.values():
        for name in stage.get("do", stage).get("params", []):
            if "${" not in name:
                value = params
                for part in name.split("."):
                    assert part in value, name
                    value = value[part]


def test_foalnets_settings():
    params = load(ROOT / "presets/iemocap4-foalnet.yaml")
    train, model, loss = params.train, fusion(params).model, fusion(params).loss
    assert (train.batch_size, train.epochs, train.lr) == (16, 40, 1e-4)
    assert (train.audio_seconds, train.visual_frames) == (6.0, 180)
    assert (model.heads, model.layers, model.head) == (4, 2, 512)
    assert (loss.avel, loss.mem) == (1.0, 0.1)
    assert params.corpus.labels == ["happiness", "neutral", "sadness", "anger"]
