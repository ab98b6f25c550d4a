"""An input that is edited while a stage runs: one error, and nothing is left that passes for the stage's output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evaluate.stage as evaluation
import pipeline.demo.__main__ as demo
import train.stage as training
from extract import __main__ as extraction
from extract import encoders
from extract.engine import run
from pipeline import prepare
from pipeline.errors import UserError
from pipeline.inputs import Inputs
from pipeline.params import INERT, sections
from tests.extract.project import ENCODER, REPOSITORY, Project, inline, sentences
from tests.pipeline import feature_files as files
from tests.train import small
from train.data.admit import check_params

PARAMS = Path("params.yaml")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    PARAMS.write_text(json.dumps({"loss": {"mu1": 0.3}, "train": {"seed": 0}}))


def edit(section: str, **values: Any) -> None:
    whole = json.loads(PARAMS.read_text())
    whole[section] |= values
    PARAMS.write_text(json.dumps(whole))


def after(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, then: Callable[[], Any]) -> None:
    """Let `then` happen once when `where.name` is called for the first time."""
    real, todo = getattr(where, name), [then]

    def called(*args: Any, **keywords: Any) -> Any:
        if todo:
            todo.pop()()
        return real(*args, **keywords)

    monkeypatch.setattr(where, name, called)


def test_nothing_changed_nothing_said() -> None:
    Path("table.csv").write_text("a")
    inputs = Inputs(["loss", "train.seed", "model"], [Path("table.csv"), Path("none.csv")])
    edit("train", epochs=3)
    Path("table.csv").write_text("a")
    os.utime("table.csv", (1, 1))
    inputs.check([Path("table.csv")])
    assert Path("table.csv").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: edit("loss", mu1=0.4), "params.yaml: loss"),
        (lambda: edit("train", seed=1), "params.yaml: train.seed"),
        (lambda: PARAMS.write_text("loss: {"), "params.yaml: not readable as YAML"),
        (lambda: Path("table.csv").write_text("b"), "table.csv"),
        (lambda: Path("table.csv").unlink(), "table.csv"),
        (lambda: Path("none.csv").write_text("a"), "none.csv"),
        (lambda: Path("folder/b/c").write_text("longer"), "folder"),
    ],
)
def test_what_changed_is_told_and_the_outs_are_removed(change: Callable[[], Any], told: str) -> None:
    for folder in ("folder/b", "out/deep"):
        Path(folder).mkdir(parents=True)
    for file in ("table.csv", "folder/b/c", "out/deep/file", "out.csv"):
        Path(file).write_text("a")
    inputs = Inputs(["loss", "train.seed"], [Path("table.csv"), Path("none.csv"), Path("folder")])
    change()
    with pytest.raises(UserError, match=f"changed while the stage ran: {told}"):
        inputs.check([Path("out"), Path("out.csv"), Path("not made")])
    assert not Path("out").exists()
    assert not Path("out.csv").exists()


@pytest.mark.parametrize("what", ["params", "table"])
def test_extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setitem(encoders.REGISTRY, "fake", ENCODER)
    monkeypatch.setattr("extract.engine.local.extract", inline)
    monkeypatch.setattr(sys, "argv", ["extract", "fake"])
    made = Project(tmp_path, sentences(4))
    changes = {"params": lambda: made.params(timeout=7.0), "table": lambda: made.table(sentences(5))}
    after(monkeypatch, run, "fill", changes[what])
    with pytest.raises(UserError, match=r"stage ran: (params\.yaml: extract\.fake|data/utterances\.csv)\."):
        extraction.main()
    assert not made.file.exists()
    extraction.main()
    assert made.file.exists()


def test_an_edit_of_another_section_is_no_concern_of_extract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(encoders.REGISTRY, "fake", ENCODER)
    monkeypatch.setattr("extract.engine.local.extract", inline)
    monkeypatch.setattr(sys, "argv", ["extract", "fake"])
    made = Project(tmp_path, sentences(4))
    after(monkeypatch, run, "fill", lambda: edit("loss", mu1=0.1))
    extraction.main()
    assert made.file.exists()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project to train and evaluate in."""
    small.make(tmp_path)
    PARAMS.write_text(small.params(train={"epochs": 2}).model_dump_json())
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda: edit("loss", mu1=0.1),
        lambda: Path("data/labels.csv").write_text(
            Path("data/labels.csv").read_text().replace("joy", "anger", 1)
        ),
        lambda: small.make(Path(), seed=5),
    ],
    ids=["params", "labels", "caches"],
)
def test_train(project: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[], Any]) -> None:
    after(monkeypatch, training, "fit", change)
    with pytest.raises(UserError, match="changed while the stage ran"):
        training.run()
    assert not Path("models").exists()
    training.run()
    assert Path("models/seed0/model.json").exists()


def test_evaluate(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training.run()
    after(monkeypatch, evaluation, "load_run", lambda: edit("evaluate", bootstrap=50))
    with pytest.raises(UserError, match=r"changed while the stage ran: params.yaml: evaluate\."):
        evaluation.run()
    assert [path.name for path in Path("results").iterdir()] == ["live"]


def test_prepare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small.make(tmp_path)
    PARAMS.write_text(small.params(corpus={"watch": "annotations.csv"}).model_dump_json())
    Path("annotations.csv").write_text("old")
    monkeypatch.setattr(sys, "argv", ["prepare"])
    monkeypatch.setattr(prepare, "prepare", lambda corpus: Path("annotations.csv").write_text("new"))
    with pytest.raises(UserError, match=r"changed while the stage ran: annotations.csv"):
        prepare.main()
    assert not Path("data/utterances.csv").exists()
    assert not Path("data/labels.csv").exists()


def test_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Path("lines.txt")
    lines.write_text("old")
    monkeypatch.setattr("pipeline.demo.plan.LINES", lines)
    monkeypatch.setattr(sys, "argv", ["demo"])

    def build(root: Path, dialogues: int | None) -> None:
        root.mkdir(parents=True)
        lines.write_text("new")

    monkeypatch.setattr("pipeline.demo.build.build", build)
    with pytest.raises(UserError, match=r"changed while the stage ran: lines.txt"):
        demo.main()
    assert not demo.ROOT.exists()


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (
            {"encoder": "face"},
            "extract.words.encoder='face', but data/features/words.h5 was made with 'text'",
        ),
        ({"encoder": "text", "weights": "package:other"}, "extract.words.weights='package:other'"),
        ({"encoder": "text", "context": {"past": 3}, "timeout": 5.0}, ""),
    ],
)
def test_a_cache_made_with_other_params_is_not_trained_on(project: Path, section: dict, told: str) -> None:
    edit("extract", words=section)
    if not told:
        training.run()
        return
    with pytest.raises(UserError, match=told):
        training.run()


@pytest.mark.parametrize(
    "preset", sorted((REPOSITORY / "presets").glob("*.yaml")), ids=lambda path: path.stem
)
def test_a_cache_of_a_presets_own_params_is_what_the_preset_asks_for(preset: Path) -> None:
    params = sections(preset)
    for name, raw in params.extract.items():
        kind, own = encoders.stream_params(name, raw, preset)
        recorded = own.model_dump(mode="json", exclude={*INERT, "weights"})
        there = {"name": raw.get("weights", ""), "revision": "", "sha256": ""}
        if there["name"].startswith("package:"):  # an encoder may find the file in it by itself
            there = kind(own, Path()).weights()
        made = files.meta(stream=name, encoder=json.loads(json.dumps(recorded)), weights=there)
        check_params(name, made, params)
