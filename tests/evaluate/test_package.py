"""A model as a folder for other people: its card, its files, and the same answers from it in another place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnxruntime
import pytest
import torch
from ruamel.yaml import YAML

from evaluate.package import to_onnx
from evaluate.package.__main__ import _local_weights, package
from evaluate.package.dialogue import MODELS, Dialogue
from evaluate.package.padded import Padded
from evaluate.predict.trained import _weights
from pipeline.errors import UserError
from tests.evaluate.recording import LABELS, make_model, video
from train.checkpoint import read_model
from train.fusion.params import Fusion, declared
from train.models.contract import Batch
from train.models.multiemo import LossParams, Params
from train.models.multiemo.network import MultiEMO

DIMS = {"text": 5, "audio": 4, "visual": 3}
SCORES = {"val": {"weighted_f1": 0.5}, "test": {"weighted_f1": 0.25, "weighted_f1_low": 0.1}}


def test_the_folder_predicts_what_the_model_predicts_in_another_clone(talk, monkeypatch, capsys):
    video(monkeypatch)
    (talk / "results").mkdir()
    (talk / "results/metrics.json").write_text(json.dumps(SCORES))
    files = package(Path("models/seed0"), Path("share"), "research only", Path("results/metrics.json"), False)
    assert files == ["README.md", "config.json", "distance.safetensors", "model.json", "model.safetensors"]
    before = (talk / "out/predictions.csv").read_bytes()
    elsewhere = talk / "clone"
    elsewhere.mkdir()
    for name in ("share", "talk.mp4", "talk.srt"):
        shutil.move(talk / name, elsewhere / name)
    monkeypatch.chdir(elsewhere)
    video(monkeypatch, "--model", "share")
    assert (elsewhere / "out/predictions.csv").read_bytes() == before


def test_the_card_and_the_config(here):
    make_model(here / "models/seed0")
    (here / "metrics.json").write_text(json.dumps(SCORES))
    package(Path("models/seed0"), Path("share"), 'mine: "yes" # all', Path("metrics.json"), False)
    _, front, text = (here / "share/README.md").read_text(encoding="utf-8").split("---\n", 2)
    about = YAML(typ="safe").load(front)
    assert about["license_name"] == 'mine: "yes" # all'
    assert about["tags"] == ["emotion-recognition", "conversation", "audio"]
    for line in (
        "# multiemo for emotions in conversations, trained on made",
        "## Intended use",
        "## Limits",
        "| weighted f1 | 0.5000 | 0.2500 |",
        "| weighted f1 low |  | 0.1000 |",
        "| joy | 3 |",
        "| audio | voice | opensmile | none | 88 |",
    ):
        assert line in text.split("\n"), line
    config = json.loads((here / "share/config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {str(i): label for i, label in enumerate(LABELS)}
    assert config["label2id"] == {label: i for i, label in enumerate(LABELS)}


def test_without_scores_the_card_says_so(here):
    make_model(here / "models/seed0")
    package(Path("models/seed0"), Path("share"), "x", Path("none.json"), False)
    assert "Not measured." in (here / "share/README.md").read_text(encoding="utf-8")


def test_mistakes(here):
    make_model(here / "models/seed0")
    (here / "bad.json").write_text("[")
    with pytest.raises(UserError, match=r"bad.json: not readable"):
        package(Path("models/seed0"), Path("share"), "x", Path("bad.json"), False)
    assert not (here / "share").exists()
    with pytest.raises(UserError, match=r"models/none/model.json: no such file"):
        package(Path("models/none"), Path("share"), "x", Path("none.json"), False)
    (here / "share").mkdir()
    with pytest.raises(UserError, match=r"--to share: exists; name a new folder"):
        package(Path("models/seed0"), Path("share"), "x", Path("none.json"), False)


def batch(lengths: list[int], seed: int = 0) -> Batch:
    """Dialogues with missing features and up to three parties."""
    draw = torch.Generator().manual_seed(seed)
    count, turns = len(lengths), max(lengths)
    real = torch.arange(turns) < torch.tensor(lengths)[:, None]
    features, present = {}, {}
    for modality, size in DIMS.items():
        present[modality] = (torch.rand(count, turns, generator=draw) > 0.3) & real
        x = torch.randn(count, turns, size, generator=draw)
        features[modality] = x * present[modality][..., None]
    speakers = torch.zeros(count, turns, dtype=torch.long)
    for b, length in enumerate(lengths):
        seen: dict[int, int] = {}
        for t in range(length):
            speakers[b, t] = seen.setdefault(int(torch.randint(0, 3, (1,), generator=draw)), len(seen))
    total = sum(lengths)
    return Batch(features, present, speakers, torch.tensor(lengths), torch.zeros(total), torch.arange(total))


def network(**params) -> tuple[MultiEMO, Params]:
    torch.manual_seed(0)
    chosen = Params(name="multiemo", dim=8, heads=2, ffn=16, layers=2, head=8, **params)
    found = MultiEMO(DIMS, 6, chosen).eval()
    for weights in found.parameters():
        torch.nn.init.normal_(weights, 0, 0.5)
    return found, chosen


@pytest.mark.parametrize(
    "params",
    [{}, {"bidirectional": False}, {"causal": True}, {"text_rnn": False}, {"multiattn": False}],
    ids=str,
)
def test_the_padded_network_is_the_network(params):
    model, chosen = network(**params)
    given = batch([3, 7, 1, 5])
    with torch.no_grad():
        expected = model(given).logits
        found = Padded(model, chosen)(
            list(given.features.values()), list(given.present.values()), given.speakers, given.lengths
        )
    torch.testing.assert_close(found[given.real()], expected, atol=1e-5, rtol=1e-5)


def fusion(params: Params) -> Fusion:
    return Fusion(declared("multiemo"), params, LossParams())


@pytest.mark.slow
def test_onnxruntime_gives_the_same_logits_for_any_number_of_dialogues_and_turns(tmp_path):
    model, chosen = network()
    path = tmp_path / "model.onnx"
    to_onnx.write(model, fusion(chosen), DIMS, path)
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    sizes = {value.name: value.shape for value in session.get_inputs()}
    assert sizes["text"] == ["batch", "turns", 5]
    for lengths in ([3, 2], [1], [9, 2, 5], [20, 20]):
        given = batch(lengths, seed=len(lengths))
        values = given.features | {f"{m}_present": here for m, here in given.present.items()}
        values |= {"speakers": given.speakers, "lengths": given.lengths}
        (found,) = session.run(["logits"], {name: value.numpy() for name, value in values.items()})
        with torch.no_grad():
            expected = model(given).logits
        torch.testing.assert_close(torch.from_numpy(found)[given.real()], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_folder_with_onnx(here):
    make_model(here / "models/seed0")
    files = package(Path("models/seed0"), Path("share"), "x", Path("none.json"), True)
    assert "model.onnx" in files
    session = onnxruntime.InferenceSession(here / "share/model.onnx", providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["audio", "audio_present", "speakers", "lengths"]
    assert "`model.onnx` is the fusion network" in (here / "share/README.md").read_text(encoding="utf-8")


def test_the_weights_of_a_fine_tuned_encoder_go_along(here):
    _, record = read_model(make_model(here / "models/seed0"))
    stream = record.streams["audio"]
    mine = stream.model_copy(update={"weights": stream.weights.model_copy(update={"name": "mine"})})
    changed = record.model_copy(update={"streams": {"audio": mine}})
    assert list(_local_weights(changed)) == []
    (here / "weights/mine").mkdir(parents=True)
    assert list(_local_weights(changed)) == [("mine", Path("weights/mine"))]
    (here / "share/weights/mine").mkdir(parents=True)
    assert _weights(mine, here / "share/model.json", {}) == str(here / "share/weights/mine")
    packed = mine.model_copy(update={"weights": mine.weights.model_copy(update={"name": "package:mine"})})
    assert list(_local_weights(record.model_copy(update={"streams": {"audio": packed}}))) == []


def test_what_cannot_be_exported_is_refused(tmp_path):
    model, chosen = network()
    published = chosen.model_copy(update={"compat": "published"})
    with pytest.raises(UserError, match="compat=published attends to padded turns"):
        to_onnx.write(model, fusion(published), DIMS, tmp_path / "x.onnx")
    other = Fusion(declared("bclstm"), declared("bclstm").params(name="bclstm"), LossParams())
    with pytest.raises(
        UserError, match=r"model bclstm: cannot be exported to ONNX; these can: multiemo, attention"
    ):
        to_onnx.write(torch.nn.Linear(1, 1), other, DIMS, tmp_path / "x.onnx")


def of_registry(name: str) -> tuple[torch.nn.Module, Fusion]:
    model = declared(name)
    params = model.params(name=name, **({"dim": 8} if "dim" in model.params.model_fields else {}))
    torch.manual_seed(0)
    found = model.network(DIMS, 6, params).eval()
    for weights in found.parameters():
        torch.nn.init.normal_(weights, 0, 0.5)
    return found, Fusion(model, params, model.loss_params())


@pytest.mark.parametrize("name", MODELS)
def test_a_dialogue_alone_has_the_answers_that_it_has_in_a_batch(name):
    network, _ = of_registry(name)
    given = batch([3, 7, 1])
    with torch.no_grad():
        expected = network(given).logits
        found = torch.cat([Dialogue(network, list(DIMS))(*dialogue(given, b)) for b in range(3)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_gives_the_same_logits_for_any_number_of_turns(tmp_path, name):
    network, chosen = of_registry(name)
    path = tmp_path / "model.onnx"
    to_onnx.write(network, chosen, DIMS, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    used = {value.name for value in session.get_inputs()}
    for turns in (3, 1, 9):
        given = batch([turns], seed=turns)
        features, present, speakers = dialogue(given, 0)
        values = dict(zip(DIMS, features, strict=True)) | {"speakers": speakers}
        values |= {f"{m}_present": here for m, here in zip(DIMS, present, strict=True)}
        (found,) = session.run(["logits"], {key: x.numpy() for key, x in values.items() if key in used})
        with torch.no_grad():
            expected = network(given).logits
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-4)


def dialogue(given: Batch, b: int) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Return dialogue `b` of a batch without padding, as `Dialogue` takes it."""
    turns = int(given.lengths[b])
    features = [x[b, :turns] for x in given.features.values()]
    return features, [here[b, :turns] for here in given.present.values()], given.speakers[b, :turns]
