"""`model:` and `loss:`: each model has knobs of its own, and the way from one model to another is open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluate import check
from evaluate.run.load import load_run
from pipeline.errors import UserError
from pipeline.params import Params, load
from pipeline.settings import read_yaml
from pipeline.strict import validate
from tests.train import small
from train.fusion.params import fusion, unread
from train.models import MODELS
from train.stage import run as train

ROOT = Path(__file__).parents[2]
PATH = Path("params.yaml")
# Sections that the stage `check` has nothing against.
CHECKED = {"corpus": {"name": "csv"}, "extract": {n: {"encoder": "opensmile"} for n in small.STREAM.values()}}
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def project(**sections: dict) -> Params:
    """params.yaml as the project comes, with single values changed."""
    raw = read_yaml(ROOT / "params.yaml")
    for section, values in sections.items():
        raw[section] |= values
    return validate(Params, raw, PATH)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_model_is_a_name_away_from_every_preset(preset, name):
    raw = read_yaml(preset)
    raw["model"]["name"] = name
    streams = raw["train"]["streams"]
    # An imported stream may have frames.
    if (
        name == "foalnet"
        and (raw["extract"] or raw["finetune"])
        and not preset.stem.startswith(("demo", "iemocap4"))
    ):
        with pytest.raises(
            UserError,
            match=r"foalnet reads (frames; set it to f2|audio and visual, and no such stream is in use)",
        ):
            fusion(validate(Params, raw, preset))
        return
    if name == "foalnet" and raw["corpus"]["target"] in ("multi", "values"):
        with pytest.raises(UserError, match="needs one label per utterance"):
            fusion(validate(Params, raw, preset))
        raw["loss"] |= {"avel": 0, "mem": 0}
    if name == "foalnet":
        assert {"audio", "visual"} <= {m for m, stream in streams.items() if stream != "none"}
    chosen = fusion(validate(Params, raw, preset))
    assert chosen.model.name == name
    assert set(chosen.record()["model"]) == set(chosen.declared.params.model_fields)


def test_what_only_another_model_reads_is_named_in_one_line():
    assert unread(project()) == ""
    line = unread(project(model={"name": "bclstm"}))
    assert line.startswith("model.name=bclstm does not read model.compat, model.heads, ")
    assert "loss.mu1" in line
    assert "model.dim" not in line
    assert "\n" not in line
    assert unread(project(loss={"avel": 1.0})) == "model.name=multiemo does not read loss.avel"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": {"mu_1": 0.3}}, r"params\.yaml: loss\.mu_1: unknown key; did you mean `mu1`\?; multiemo reads mu1, "),
        ({"loss": {"mem_": 0.3}}, r"loss\.mem_: unknown key; did you mean `mem`\?"),
        ({"model": {"mu1": 0.3}}, r"model\.mu1: unknown key"),
        ({"model": {"name": "majority"}, "loss": {"x": 1}}, r"loss\.x: unknown key; majority reads no key of this"),
        ({"model": {"name": "multemo"}}, r"model\.name='multemo': no such model; did you mean `multiemo`\?; use "),
    ],
)  # fmt: skip
def test_a_key_that_no_model_has_is_an_error(changes, said):
    with pytest.raises(UserError, match=said):
        unread(project(**changes))


def test_all_unknown_keys_come_in_one_message():
    with pytest.raises(UserError) as caught:
        unread(project(model={"dims": 3}, loss={"mu3": 0.1}))
    assert "model.dims" in str(caught.value)
    assert "loss.mu3" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": {"mu1": 0.99}}, r"loss\.mu1=0\.99 \+ loss\.mu2=0\.02 = 1\.01 > 1"),
        ({"loss": {"mu1": -0.1}}, r"params\.yaml: loss\.mu1=-0\.1"),
        ({"model": {"heads": 3}}, r"model\.dim=64 is not divisible by model\.heads=3"),
        ({"model": {"multiattn": "True"}}, r"model\.multiattn='True'"),
    ],
)
def test_values_are_checked_by_the_chosen_model_alone(changes, said):
    with pytest.raises(UserError, match=said):
        fusion(project(**changes))
    fusion(project(**{**changes, "model": {**changes.get("model", {}), "name": "logreg"}}))


def test_a_record_holds_the_models_own_params():
    record = fusion(project(model={"name": "foalnet"}, loss={"avel": 0.5})).record()
    assert record == {
        "model": {
            "name": "foalnet", "compat": "default", "dim": 64, "heads": 4, "layers": 1, "head": 64, "dropout": 0.5
        },
        "loss": {"avel": 0.5, "mem": 0.1},
    }  # fmt: skip
    assert fusion(project(model={"name": "logreg"})).record() == {"model": {"name": "logreg"}, "loss": {}}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    small.make(tmp_path)
    return tmp_path


def write(**sections: dict) -> None:
    params = small.params(train={"epochs": 1}, **sections)
    PATH.write_text(params.model_dump_json(), encoding="utf-8")


def test_a_knob_that_the_model_does_not_read_changes_nothing(here, capsys):
    """It is named by `train` and by the check, and neither the bytes nor evaluation know of it."""
    write(model={"name": "bclstm", "layers": 2})
    train()
    weights, record = (Path("models/seed0", n) for n in ("model.safetensors", "model.json"))
    before = weights.read_bytes(), json.loads(record.read_text())
    write(model={"name": "bclstm", "layers": 5}, loss={"mu1": 0.4})
    load_run(load())
    train()
    assert (weights.read_bytes(), json.loads(record.read_text())) == before
    assert before[1]["params"]["model"] == {"name": "bclstm", "dim": 16, "dropout": 0.0, "causal": False}
    said = [line for line in capsys.readouterr().out.splitlines() if "does not read" in line]
    idle = "model.name=bclstm does not read model.heads, model.ffn, model.layers, model.head, loss.mu1"
    assert said[-1] == f"train: {idle}"
    write(model={"name": "bclstm", "layers": 5}, loss={"mu1": 0.4}, **CHECKED)
    check.main()
    assert idle in capsys.readouterr().out.splitlines()


def test_the_check_finds_what_is_wrong_in_the_models_sections(here):
    write(loss={"mu1": 0.9, "mu2": 0.9}, **CHECKED)
    with pytest.raises(UserError, match="> 1 gives cross-entropy a negative weight"):
        check.main()
    write(loss={"mu_1": 0.9}, **CHECKED)
    with pytest.raises(UserError, match=r"loss\.mu_1: unknown key"):
        check.main()


def test_learning_rate_falls_as_the_plateau_says(here):
    write(model={"name": "bclstm"})
    raw = json.loads(PATH.read_text())
    raw["train"] |= {"epochs": 4, "plateau": {"factor": 0.5, "patience": 0, "threshold": 0.9}}
    PATH.write_text(json.dumps(raw), encoding="utf-8")
    train()
    rates = [
        float(line.split(",")[1]) for line in Path("models/seed0/history.csv").read_text().splitlines()[1:]
    ]
    assert rates == [1e-3, 5e-4, 2.5e-4, 1.25e-4]


def test_adamw_decays_weights_apart_from_the_gradient(here):
    weights = []
    for name in ("adam", "adamw"):
        params = small.params(
            model={"name": "bclstm"}, train={"epochs": 1, "optimiser": name, "weight_decay": 0.5}
        )
        PATH.write_text(params.model_dump_json(), encoding="utf-8")
        train()
        weights.append(Path("models/seed0/model.safetensors").read_bytes())
    assert weights[0] != weights[1]
