"""Names that files give: what would leave its folder, reach a shell or break a table is refused in one place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import names
from pipeline.errors import UserError
from pipeline.params import load
from pipeline.settings import read_yaml
from tests.clone import clone, edit
from tests.train import small

ROOT = Path(__file__).parents[2]
BAD = ["", ".", "..", "../up", "/abs/face", "a/b", "a\\b", "a\nb", "a\0b", "\udcff", "x" * 101]


@pytest.mark.parametrize("name", [*BAD, "x;touch y", "-rf", "a b", "$(id)", "'", "none", "status", "x.h5"])
def test_no_stream(name):
    with pytest.raises(ValueError, match=r"a stream's name|word of the command line|at most"):
        names.stream(name)


@pytest.mark.parametrize("name", ["text", "wav2vec2-base_layer9", "Gesicht", "顔", "x" * 100])
def test_streams(name):
    assert names.stream(name) == name


@pytest.mark.parametrize("name", BAD)
def test_no_file(name):
    with pytest.raises(ValueError, match=r"plain file name|at most 100 bytes"):
        names.file(name)


@pytest.mark.parametrize("name", ["", "a\nb", "\udcff", "x" * 101])
def test_no_label(name):
    with pytest.raises(ValueError, match=r"must be a word|at most"):
        names.label(name)


def test_labels_may_be_any_words():
    assert names.label("très heureux; = 'joy'/50%") == "très heureux; = 'joy'/50%"


@pytest.mark.parametrize("section", ["extract", "finetune"])
@pytest.mark.parametrize("name", ["x;touch y", "../up", "none"])
def test_params_are_refused_before_any_stage_reads_them(tmp_path, section, name):
    path = tmp_path / "params.yaml"
    raw = small.params().model_dump(mode="json")
    raw[section] = {**raw[section], name: {"encoder": "text"}}
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=rf"params.yaml: {section}\.{name}: "):
        load(path)


def test_what_params_name_is_quoted_for_the_shell_and_checked_before():
    """DVC puts a key into a command as it stands; the first command ends the stage where the key is no name."""
    for stage in read_yaml(ROOT / "dvc.yaml")["stages"].values():
        commands = stage.get("do", stage)["cmd"]
        if "${" in str(commands):
            first, second = commands
            assert first == "python -m evaluate.check"
            assert re.fullmatch(r"python -m [\w. ]*'[^'\s]*\$\{\w+\}'", second)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("key", ["x;touch canary", "x';touch canary;'"])
def test_a_key_never_reaches_the_shell(tmp_path, key):
    clone(tmp_path)
    edit(tmp_path / "params.yaml", "\n  text:\n    encoder", f'\n  "{key}":\n    encoder')
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data/utterances.csv").touch()
    places = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def dvc(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": places}, capture_output=True, text=True
        )

    dvc("init", "-q")
    done = dvc("repro", "-s", f"extract@{key}")
    assert done.returncode != 0
    assert "a stream's name may contain only letters" in done.stderr
    assert not (tmp_path / "canary").exists()
