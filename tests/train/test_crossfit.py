"""Cross-fitting: the features of a train utterance come from an encoder that did not see its dialogue."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from evaluate.package.__main__ import package
from evaluate.predict.trained import open_model
from extract.contract import Features, Item
from extract.crossfit import without
from extract.encoders.text import TextEncoder
from extract.engine import run
from extract.networks.weights import content_hash, resolve
from extract.streams import WEIGHTS, encoder_of, load_checked
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.tables.schema import Utterance, dialogues, read_utterances
from pipeline.tables.splits import ids_hash, parts
from tests.extract.project import inline
from tests.train import tuned
from train import stage
from train.checkpoint import write_state
from train.finetune import loop as encoder_loop
from train.fusion.build import read as load_dataset

K = 3
FOLDER = WEIGHTS / "tuned"


@pytest.fixture(autouse=True)
def project(tuned_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("extract.engine.local.extract", inline)
    tuned.change(tuned_project, "finetune", epochs=1, crossfit=K)
    return tuned_project


def contents() -> dict[str, bytes]:
    return {
        str(path.relative_to(FOLDER)): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file()
    }


def plain(folder: Path) -> TextEncoder:
    """Return the encoder of one folder of weights, without cross-fitting."""
    params = encoder_of("tuned", load_checked()).params
    return TextEncoder(params.model_copy(update={"weights": str(folder)}), Path())


def vectors(encoder: TextEncoder, talk: list[Utterance]) -> np.ndarray:
    items = [encoder.item(talk, i) for i in range(len(talk))]
    found = encoder.extract([item for item in items if isinstance(item, Item)])
    return np.stack([one.pooled for one in found if isinstance(one, Features)])


def test_each_train_dialogue_is_encoded_by_weights_that_did_not_see_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tuned.finetune(monkeypatch)
    run.run("tuned")
    record = tuned.record()
    dealt = [part["dialogues"] for part in record["crossfit"]]
    utterances = read_utterances()
    train = {u.dialogue for d, u in enumerate(utterances) if d // 4 % 4 < 2}
    assert sorted(d for part in dealt for d in part) == sorted(train)
    assert [len(part) for part in dealt] == [4, 4, 4]
    with FeatureCache(Path("data/features/tuned.h5")) as cache:
        pooled, meta = cache.pooled(), cache.meta
    rows = {u.utterance: row for u, row in zip(utterances, pooled, strict=True)}
    places = [FOLDER, *(FOLDER / without(k + 1) for k in range(K))]
    for talk in dialogues(utterances):
        k = next((k for k, part in enumerate(dealt, 1) if talk[0].dialogue in part), 0)
        here = np.stack([rows[u.utterance] for u in talk])
        np.testing.assert_array_equal(here, vectors(plain(places[k]), talk))
        assert not np.allclose(here, vectors(plain(places[(k + 1) % (K + 1)]), talk), atol=1e-3)
    assert meta.weights_saw == {"fold": "none", "ids": record["ids"], "crossfit": K}
    assert load_dataset(load_checked()).dims == {"text": 32}


def test_every_encoder_records_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned.finetune(monkeypatch)
    record = tuned.record()
    train = [u for d, u in enumerate(read_utterances()) if d // 4 % 4 < 2]
    for k, part in enumerate(record["crossfit"], 1):
        place = FOLDER / without(k)
        saw = resolve(str(place), "", "weights").saw
        assert saw is not None
        rest = [u.utterance for u in train if u.dialogue not in part["dialogues"]]
        assert saw["ids"] == {**record["ids"], "train": ids_hash(rest)}
        assert part["sha256"] == content_hash(place)


def test_features_of_a_part_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned.finetune(monkeypatch)
    params = json.loads(Path("params.yaml").read_text())
    weights = str(FOLDER / without(1))
    params["extract"]["part"] = {"encoder": "text", "weights": weights, "context": {"tokens": 32}}
    params["train"]["streams"]["text"] = "part"
    Path("params.yaml").write_text(json.dumps(params))
    run.run("part")
    with pytest.raises(UserError, match=r"part\.h5: .*whose train utterances differ"):
        load_dataset(load_checked())


def test_the_encoder_of_all_dialogues_is_the_same_with_and_without(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    tuned.finetune(monkeypatch)
    crossfitted = contents()
    tuned.change(project, "finetune", crossfit=1)
    tuned.finetune(monkeypatch)
    assert contents()["model.safetensors"] == crossfitted["model.safetensors"]
    assert not [name for name in contents() if name.startswith("without")]
    assert tuned.record()["crossfit"] == []


@pytest.mark.slow
@pytest.mark.parametrize("stop", [5, 14])
def test_stopped_and_resumed_equals_uninterrupted(monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    """Stop in the second of three parts, which take four steps each, and in the six steps after them."""
    monkeypatch.setattr(encoder_loop, "SAVE_RATIO", 0.0)
    tuned.finetune(monkeypatch)
    whole = contents()
    shutil.rmtree(FOLDER)
    steps: list[str] = []

    def write_and_stop(path: Path, state: dict[str, object]) -> None:
        write_state(path, state)
        steps.append(path.name)
        if len(steps) == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(encoder_loop, "write_state", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        tuned.finetune(monkeypatch)
    tuned.finetune(monkeypatch)
    assert contents() == whole
    assert steps == [f"{without(k)}.pt" for k in (1, 2, 3) for _ in range(4)] + ["tuned.pt"] * 6
    assert not list(Path(".cache/train").iterdir())


def test_new_recordings_are_encoded_by_the_encoder_of_all_dialogues(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    tuned.finetune(monkeypatch)
    run.run("tuned")
    stage.run()
    model = open_model(Path("models/seed0"), {}, project)
    assert model.warnings == []
    assert model.encoders["text"].fingerprint() == encoder_of("tuned", load_checked()).fingerprint()
    assert model.encoders["text"].weights()["sha256"] == content_hash(FOLDER)


def test_a_packaged_model_has_only_the_encoder_of_all_dialogues(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    tuned.finetune(monkeypatch)
    run.run("tuned")
    stage.run()
    files = package(Path("models/seed0"), Path("share"), "research only", Path("results/metrics.json"), False)
    assert "weights/tuned/model.safetensors" in files
    assert not [name for name in files if "without" in name]
    shutil.rmtree("weights")
    assert open_model(Path("share"), {}, project).encoders["text"].weights()["name"] == "tuned"


def test_a_part_that_is_missing_or_changed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned.finetune(monkeypatch)
    shutil.copytree(FOLDER / without(2), FOLDER / without(1), dirs_exist_ok=True)
    with pytest.raises(UserError, match=r"without1: missing, or not the weights that .*finetune\.json names"):
        run.run("tuned")
    shutil.rmtree(FOLDER / without(1))
    with pytest.raises(UserError, match=r"without1: missing"):
        run.run("tuned")


def test_more_parts_than_dialogues_is_an_error(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    tuned.change(project, "finetune", crossfit=13)
    with pytest.raises(UserError, match=r"training\.crossfit=13: the train split has only 12 dialogues"):
        tuned.finetune(monkeypatch)
    tuned.change(project, "finetune", crossfit=-1)
    with pytest.raises(UserError, match=r"training\.crossfit=-1"):
        load_checked()


def test_parts_are_balanced_and_drawn_by_seed() -> None:
    names = [f"d{i}" for i in range(11)]
    dealt = parts(names, 3, 0)
    assert sorted(map(len, dealt)) == [3, 4, 4]
    assert sorted(d for part in dealt for d in part) == sorted(names)
    assert dealt == parts(reversed(names), 3, 0) != parts(names, 3, 1)
