"""Models that answered with empty probabilities, or ended in a traceback, for what their files hold."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluate.run.load import load_run
from evaluate.stage import show
from pipeline.errors import UserError
from pipeline.params import load
from tests.train import small
from tests.train.goals import single
from tests.train.models_on_disk import seal
from train import distance
from train.checkpoint import read_model, read_weights, sha256
from train.fusion.params import recorded
from train.stage import run as train

FOLDER = Path("models/seed0")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        small.make(root)
        knobs = {"epochs": 1, "lr": 1e-2}
        (root / "params.yaml").write_text(
            json.dumps(small.params(train=knobs, evaluate={"bootstrap": 10}).model_dump(mode="json"))
        )
        train()
    return root


@pytest.fixture
def here(made, monkeypatch):
    """The project's folder; what a test changes of the model is put back."""
    monkeypatch.chdir(made)
    kept = {path: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}
    yield made
    for path, data in kept.items():
        path.write_bytes(data)


def said() -> dict:
    return json.loads((FOLDER / "model.json").read_text())


def poison(value: float) -> None:
    weights = load_file(FOLDER / "model.safetensors")
    name = next(name for name, tensor in weights.items() if tensor.ndim == 2)
    weights[name][0, 0] = value
    save_file(weights, FOLDER / "model.safetensors")
    seal(FOLDER, said())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(here, value):
    poison(value)
    with pytest.raises(
        UserError, match=r"model.safetensors: damaged \(\S+ holds values that are not finite\)"
    ):
        load_run(load())


def test_answers_that_are_not_finite_are_no_answers(here):
    """Finite weights overflow: an error names it, and nothing is written."""
    weights = {
        n: t.fill_(3e38) if t.ndim == 2 else t for n, t in load_file(FOLDER / "model.safetensors").items()
    }
    save_file(weights, FOLDER / "model.safetensors")
    seal(FOLDER, said())
    with pytest.raises(
        UserError, match=r"utterance d000_u0: the model's output is not finite \(\d+ of \d+ are not\)"
    ):
        load_run(load())


def test_weights_of_another_run_are_refused(here):
    weights = load_file(FOLDER / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, FOLDER / "model.safetensors")
    with pytest.raises(
        UserError, match=r"model.safetensors: damaged \(its sha256 differs from the one in model.json\)"
    ):
        load_run(load())


def test_a_changed_record_is_refused_whatever_was_changed(here):
    changed = said()
    changed["labels"] = ["anger", "joy", "neutral"]
    (FOLDER / "model.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"model.json: damaged \(its digest does not fit its content; .*\)"):
        load_run(load())


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("statistics.audio.mean.0", float("nan"), "damaged"),
        ("statistics.audio.mean.0", 1e308, r"statistics.audio.mean.0=1e\+308"),
        ("statistics.audio.sd.0", -1.0, r"statistics.audio.sd.0=-1.0"),
        ("statistics.audio.sd", [0.0] * 7, "statistics.audio.sd: every value is 0"),
        ("statistics.audio.mean", 0.5, "statistics.audio.mean=0.5"),
        ("statistics.audio", {"mean": [0.0], "sd": [1.0]}, "1 means and 1 sd for 7 features"),
        ("statistics.text", None, "statistics.text"),
        ("dims.audio", 10**9, "means and 7 sd for 1000000000 features"),
        ("dims", {}, "dims"),
        ("labels", ["joy", "anger"], "labels: 2 labels for 3 counts"),
        ("labels.0", "anger", "duplicate label"),
        ("labels.0", "a\nb", "labels.0="),
        ("class_counts.0", "many", "class_counts.0='many'"),
        ("params.model.dim", 1 << 40, "model.dim=1099511627776"),
        ("params.train.streams.text", "../up", "params.train.streams.text"),
        (
            "streams.audio.stream",
            "/abs/face",
            r"streams.audio.stream='/abs/face': a stream's name may contain only",
        ),
        ("streams.audio.stream", "x" * 101, "must be at most 100 bytes"),
        ("streams.audio.weights.name", "../../etc", "weights.name='../../etc': must be a plain file name"),
        ("streams.audio.weights.sha256", "x", "not a sha256"),
        ("streams.audio.weights", "x", "streams.audio.weights='x'"),
        ("packages", {}, "packages.torch: missing"),
        ("best_epoch", True, "best_epoch=True"),
        ("temperature", 0.0, "temperature=0.0"),
        ("temperature", "hot", "temperature=.hot."),
        ("distance", "x", "distance=.x."),
        ("far.more", 1.0, "far"),
        ("seed", 10**400, "seed"),
        ("more", 1, "more: unknown key"),
    ],
)
def test_every_field_is_checked_before_it_is_used(here, place, value, expected):
    changed = copy.deepcopy(said())
    *path, last = place.split(".")
    inner = changed
    for part in path:
        inner = inner[int(part)] if isinstance(inner, list) else inner[part]
    inner[int(last) if isinstance(inner, list) else last] = value
    try:
        seal(FOLDER, changed)
    except ValueError:  # NaN has no digest
        (FOLDER / "model.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=rf"seed0/model.json: (.|\n)*{expected}"):
        recorded(read_model(FOLDER)[1].params, FOLDER / "model.json")


def regions() -> dict:
    return distance.read(FOLDER, read_model(FOLDER)[1])


def test_a_region_of_another_run_is_refused(here):
    assert set(regions()) == {"text", "audio", "visual"}
    parts = load_file(FOLDER / distance.FILE)
    save_file({name: tensor + 1 for name, tensor in parts.items()}, FOLDER / distance.FILE)
    with pytest.raises(
        UserError, match=r"distance.safetensors: damaged \(its sha256 differs from the one in model.json\)"
    ):
        regions()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("audio.mean", None, r"does not fit model.json: audio.mean: missing"),
        ("audio.more", torch.zeros(7), r"does not fit model.json: audio.more: unknown"),
        ("audio.mean", torch.zeros(8), r"audio.mean: torch.float32 of shape \(8,\), but the stream has 7"),
        ("audio.mean", torch.zeros(7).double(), r"audio.mean: torch.float64 of shape \(7,\)"),
        ("audio.components", torch.zeros(7), r"audio.components: torch.float32 of shape \(7,\)"),
        ("audio.components", torch.zeros(()), r"audio.components: torch.float32 of shape \(\)"),
        ("audio.components", torch.zeros(2, 8), r"audio.components: torch.float32 of shape \(2, 8\)"),
        ("audio.components", torch.zeros(7, 7), r"audio.components: torch.float32 of shape \(7, 7\)"),
        ("audio.mean", torch.full((7,), torch.nan), r"damaged \(audio.mean holds values that are not finite"),
    ],
)
def test_every_part_of_a_region_is_checked(here, name, value, expected):
    parts = load_file(FOLDER / distance.FILE) | {name: value}
    save_file({name: part for name, part in parts.items() if part is not None}, FOLDER / distance.FILE)
    seal(FOLDER, {**said(), "distance": sha256(FOLDER / distance.FILE)})
    with pytest.raises(UserError, match=rf"seed0/distance.safetensors: .*{expected}"):
        regions()


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"schema": ' + "[" * 100_000, "\xff", '{"schema": 2}', "1" * 5000]
)
def test_what_is_no_record_is_one_message(here, text):
    (FOLDER / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"seed0/model.json: "):
        read_model(FOLDER)


def test_a_network_larger_than_its_weights_is_never_built(here, monkeypatch):
    changed = said()
    changed["params"]["model"] |= {"dim": 1 << 16, "ffn": 1 << 16, "head": 1 << 16}
    seal(FOLDER, changed)
    from train.fusion.build import restored

    weights, record = read_model(FOLDER)
    with pytest.raises(UserError, match=r"not the weights of the network that model.json describes"):
        restored(
            FOLDER, weights, recorded(record.params, FOLDER / "model.json"), record.dims, single([1, 1, 1])
        )


@pytest.mark.parametrize(
    "text", ["", "epoch\n1\n", "epoch,val_weighted_f1\n", "epoch,val_weighted_f1\n1,x\n", "\0\xff"]
)
def test_a_history_that_is_none_is_one_message(here, text):
    (FOLDER / "history.csv").write_text(text)
    with pytest.raises(UserError, match=r"seed0/history.csv: missing or damaged"):
        load_run(load())


def test_kept_epochs_are_read_as_strictly(here):
    path = here / "1.safetensors"
    save_file({"a": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(UserError, match=r"1.safetensors: damaged \(a holds values that are not finite\)"):
        read_weights(path)
    path.write_bytes(np.uint64(1 << 60).tobytes() + b"{}")
    with pytest.raises(UserError, match=r"1.safetensors: damaged"):
        read_weights(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"test": {}}', '{"test": {"weighted_f1": "x"}}', "[" * 100_000]
)
def test_metrics_that_are_none_are_one_message(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/metrics.json").write_text(text)
    with pytest.raises(UserError, match=r"results/metrics.json: damaged"):
        show()
