"""A corpus whose features are all imported could not be prepared, and without `dvc add` its queue failed row by row."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from evaluate.check import strays
from evaluate.experiments import tables
from pipeline.errors import UserError
from pipeline.params import load, sections
from tests.clone import ROOT, clone, edit, git, ran, run, shell

PAGE = (ROOT / "docs/how-to/import-features.md").read_text(encoding="utf-8")
CORPUS = """corpus:
  name: csv
  build: []
  watch: corpora/own
  root: corpora/own
  labels: [joy, anger]
  target: single
  values: []
  title: Ours
  licence: ours
  keep_tags: false
  split_seed: 0
  transcribe: {}
extract: {}
finetune: {}
"""
STREAMS = "streams: {text: text, audio: opensmile, visual: face}"
TOGETHER = "streams: {text: bert, audio: none, visual: none}"
SPLITS = ("train", "train", "val", "test")


def only_imported(path: Path) -> None:
    """Make params.yaml that of the page: a csv file, and one stream that no stage makes."""
    text = CORPUS + path.read_text(encoding="utf-8").partition("finetune: {}\n")[2]
    path.write_text(text, encoding="utf-8")
    edit(path, STREAMS, TOGETHER)
    edit(path, "name: multiemo", "name: logreg")
    edit(path, "bootstrap: 1000", "bootstrap: 10")


def section() -> list[str]:
    """Return the page's lines, in their order."""
    block = re.search(r"```bash\n(dvc repro prepare .*?)```", PAGE, re.DOTALL)
    assert block
    return block[1].splitlines()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with such a params.yaml and no features."""
    path = tmp_path / "params.yaml"
    shutil.copy("params.yaml", path)
    only_imported(path)
    monkeypatch.chdir(tmp_path)
    return path


def test_tables_come_before_the_streams_that_are_imported_by_them(settings: Path) -> None:
    assert sections().train.streams.in_use() == {"text": "bert"}
    edit(settings, "text: bert", "text: none")
    assert sections().train.streams.in_use() == {}
    with pytest.raises(UserError, match="every modality"):
        load()


def test_a_stream_that_is_nowhere_is_named_with_the_way_to_import_it(settings: Path) -> None:
    with pytest.raises(
        UserError, match=r"train\.streams\.text='bert': unknown stream; known: no stream"
    ) as error:
        load()
    for step in ("dvc repro prepare", "import … --stream bert", "dvc add data/features/bert.h5 && git add "):
        assert step in str(error.value)


def test_a_stream_that_dvc_does_not_know_is_named_before_anything_is_queued(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran_dvc: list[tuple[str, ...]] = []

    def run_dvc(*words: str, capture: bool = False) -> str:
        ran_dvc.append(words)
        return ""

    monkeypatch.setattr(tables, "run_dvc", run_dvc)
    file = settings.parent / "data/features/bert.h5"
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(UserError, match=r"train\.streams\.text=bert: .*dvc add data/features/bert\.h5 "):
        tables.enqueue({"row": ("train.seeds=1",)})
    assert ran_dvc == []
    file.with_name("bert.h5.dvc").touch()
    assert strays(load()) == []
    tables.enqueue({"row": ("train.seeds=1",)})
    assert ("exp", "run", "--queue", "-n", "row", "-S", "train.seeds=1") in ran_dvc


def project_with_arrays(tmp_path: Path) -> Path:
    """Return a clone with a csv file of four dialogues; their arrays lie in tmp_path/bert."""
    project = clone(tmp_path / "project")
    only_imported(project / "params.yaml")
    rng, arrays = np.random.default_rng(0), tmp_path / "bert"
    arrays.mkdir()
    rows = ["utterance,dialogue,turn,text,split,emotion"]
    for dialogue, split in enumerate(SPLITS):
        for turn, emotion in enumerate(["joy", "anger"]):
            np.save(arrays / f"{dialogue}_{turn}.npy", rng.normal(size=4).astype(np.float32) + 5 * turn)
            rows.append(f"{dialogue}_{turn},d{dialogue},{turn},Hello.,{split},{emotion}")
    (project / "corpora/own").mkdir(parents=True)
    (project / "corpora/own/own.csv").write_text("\n".join(rows) + "\n")
    return project


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_pages_way_from_an_empty_clone(tmp_path: Path) -> None:
    project, arrays = project_with_arrays(tmp_path), tmp_path / "bert"
    stages = []
    for line in section():
        stages += ran(shell(project, line.replace("/path/to/bert", str(arrays))))
    assert stages == ["prepare", "check", "train", "evaluate", "check", "train", "evaluate"]
    assert len(run(project, "dvc", "exp", "list", "--name-only").split()) == 1

    shell(project, f"dvc remote add -d lab {tmp_path / 'lab'} && dvc push && git commit -qam Remote")
    git(tmp_path, "clone", "-q", str(project), "elsewhere")
    shell(tmp_path / "elsewhere", "dvc pull")
    for name in ("data/features/bert.h5", "data/utterances.csv", "models/seed0/model.json"):
        assert (tmp_path / "elsewhere" / name).read_bytes() == (project / name).read_bytes()
