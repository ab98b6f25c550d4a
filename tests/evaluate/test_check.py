"""The check stage: every mistake of params.yaml in one message, before anything runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evaluate.check import main
from extract.encoders import REGISTRY
from pipeline.errors import UserError
from tests.extract.project import ENCODER, Project, sentences

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project of one fake stream, and stand in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(REGISTRY, "fake", ENCODER)
    return Project(tmp_path, sentences(2))


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        (
            {"x": {"encoder": "fakke"}},
            r"extract\.x\.encoder: unknown encoder 'fakke'; did you mean `fake`\?",
        ),
        ({"x": {}}, r"extract\.x\.encoder: must name an encoder"),
        ({"x": {"encoder": "fake", "bach": 3}}, r"extract\.x\.bach: unknown key; did you mean `batch`\?"),
        ({"x": {"encoder": "fake", "batch": 0}}, r"extract\.x\.batch=0: input should be greater"),
    ],
)
def test_check_names_every_mistake(
    made: Project, tmp_path: Path, streams: dict, says: str, capsys: pytest.CaptureFixture
) -> None:
    made.params()
    path = tmp_path / "params.yaml"
    main()
    assert capsys.readouterr().out == "params.yaml: ok\n"
    sections = json.loads(path.read_text())
    sections["extract"] |= {**streams, "other": {"encoder": "fake", "dim": "wide"}}
    path.write_text(json.dumps(sections))
    with pytest.raises(UserError, match=says) as error:
        main()
    assert "extract.other.dim='wide'" in str(error.value)


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        ({"status": {"encoder": "fake"}}, r"extract\.status: is a word of the command line"),
        ({"none": {"encoder": "fake"}}, r"extract\.none: is a word of the command line"),
        ({"a/b": {"encoder": "fake"}}, r"extract\.a/b: a stream's name may contain only"),
        ({"../x": {"encoder": "fake"}}, r"extract\.\.\./x: a stream's name may contain only"),
    ],
)
def test_a_name_that_no_stream_may_have(made: Project, tmp_path: Path, streams: dict, says: str) -> None:
    made.params()
    path = tmp_path / "params.yaml"
    sections = json.loads(path.read_text())
    sections["extract"] |= streams
    path.write_text(json.dumps(sections))
    with pytest.raises(UserError, match=says):
        main()


def test_check_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from evaluate.check import main; main()\n"
        "print(sorted({'torch', 'transformers', 'h5py', 'opensmile'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=600
    )
    assert result.stdout.splitlines() == ["params.yaml: ok", "[]"], result.stderr
