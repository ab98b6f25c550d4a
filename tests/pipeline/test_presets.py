"""Every preset is a complete, valid params file that says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evaluate.experiments import paper
from extract.encoders import finetune_params, stream_params
from extract.networks.weights import COMMIT
from pipeline.corpora import REGISTRY
from pipeline.params import FEATURES, Params, TrainParams, load
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


@pytest.mark.parametrize(("corpus", "column"), [("MELD", 1), ("IEMOCAP", 2)])
def test_the_docs_state_the_papers_settings(corpus, column):
    page = (ROOT / "docs/multiemo.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    said = {cells[0].strip(" `"): cells[column].strip() for cells in rows if len(cells) == 3}
    for section, values in getattr(paper, corpus).items():
        stated = dict(item.split() for item in said[section].split(", "))
        assert stated == {name: format_value(value) for name, value in values.items()}


def format_value(value):
    return f"{value:.4f}" if value == 1e-4 else str(value).lower()


@pytest.mark.parametrize("name", ["meld", "iemocap"])
def test_presets_of_corpora_have_the_default_settings_of_multiemo(name):
    raw = read_yaml(ROOT / f"presets/{name}.yaml")
    kind = declared("multiemo")
    defaults = kind.params(name="multiemo").model_dump()
    assert {key: defaults[key] for key in raw["model"]} == raw["model"]
    for section, model in (("train", TrainParams), ("loss", kind.loss_params)):
        fields = model.model_fields
        same = {"lr", "batch_size", "ema_epochs", "optimiser", "weight_decay", "mu1", "mu2", "soft_hgr"}
        for key in same & set(raw[section]):
            assert raw[section][key] == fields[key].default, key


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
