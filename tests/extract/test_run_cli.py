"""The commands of `python -m extract`, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from extract import __main__ as command
from extract import encoders
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from tests.extract.project import ENCODER, Project, inline, sentences

Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Said:
    """What a command prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setitem(encoders.REGISTRY, "fake", ENCODER)
    monkeypatch.setattr("extract.engine.local.extract", inline)

    def call(*args: str) -> str:
        monkeypatch.setattr(sys, "argv", ["extract", *args])
        command.main()
        return capsys.readouterr().out

    return call


@pytest.fixture
def made(tmp_path: Path, said: Said) -> Project:
    made = Project(tmp_path, [*sentences(8), "flaky", "corrupt", ""])
    assert "8 ok, 1 failed, 1 corrupt, 1 no_text; extracted 10 in" in said("fake")
    return made


@pytest.mark.parametrize("args", [["status"], ["status", "fake"]])
def test_status_says_what_failed_and_why(made: Project, said: Said, args: list[str]) -> None:
    assert said(*args).splitlines() == [
        "fake: 11 utterances: 8 ok, 1 corrupt, 1 no_text, 1 failed",
        "  u00008  failed  RuntimeError: no such luck",
        "  u00009  corrupt  the file ends early",
        "  u00010  no_text  the utterance has no text",
    ]


def test_status_lists_twenty_of_each_stream_and_all_of_one(tmp_path: Path, said: Said) -> None:
    Project(tmp_path, ["x", *["corrupt"] * 30], max_failed=1.0)
    assert said("status") == "fake: not extracted yet; run `dvc repro extract@fake`\n"
    said("fake")
    assert said("status").splitlines()[-1] == "  and 10 more; run `python -m extract status fake` for all"
    assert len(said("status", "fake").splitlines()) == 31


def test_retry_tries_what_failed_again(made: Project, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    before = made.sha256
    monkeypatch.setenv("FAKE_MENDED", "1")
    assert "extracted 0 in" in said("fake")
    assert made.sha256 == before
    again = said("retry", "fake")
    assert "fake: 2 failed items deleted from the journal" in again
    assert "extracted 2 in" in again
    assert "dvc commit --force extract@fake && dvc repro" in again
    with FeatureCache(made.file) as cache:
        assert cache.counts() == {"ok": 9, "corrupt": 1, "no_text": 1}


def test_retry_mends_a_damaged_journal(made: Project, said: Said) -> None:
    before, data = made.sha256, made.database.read_bytes()
    made.database.write_bytes(data[: len(data) // 2])
    assert "dvc commit" in said("retry", "fake")
    assert made.sha256 == before


def test_clean_deletes_what_no_stream_needs(made: Project, said: Said, tmp_path: Path) -> None:
    old = made.database
    size = old.stat().st_size
    made.params(salt="new")
    said("fake")
    assert f"deleted 1 journals, freed {size / 1e6:.1f} MB; 1 remain" in said("clean")
    assert not old.exists()
    assert made.database.exists()
    assert "deleted 0 journals" in said("clean")
    assert "deleted 1 journals" in said("clean", "--all")
    assert not list((tmp_path / ".cache/journal").iterdir())


def test_clean_goes_on_where_a_model_is_not_on_this_machine(
    made: Project, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal behind the stream's own file is kept; the old one goes."""
    old = made.database
    made.params(salt="new")
    said("fake")

    def gone(self: object) -> str:
        raise UserError("weights='x': not on this machine")

    monkeypatch.setattr("tests.extract.fake_encoders.FakeEncoder.fingerprint", gone)
    assert "fake: weights='x': not on this machine" in (text := said("clean"))
    assert "deleted 1 journals" in text
    assert not old.exists()
    assert len(list(old.parent.glob("*.sqlite"))) == 1
    assert "deleted 1 journals" in said("clean", "--all")


def test_every_command_has_help(made: Project, said: Said, capsys: pytest.CaptureFixture) -> None:
    overview = said("--help")
    for name in command.COMMANDS:
        assert f"python -m extract {name}" in overview
        with pytest.raises(SystemExit) as end:
            said(name, "--help")
        assert end.value.code == 0
        text = capsys.readouterr().out
        assert (command.COMMANDS[name].__doc__ or "no docstring").splitlines()[0] in text
        assert f"\n    python -m extract {name}" in text, "an example"
    with pytest.raises(SystemExit):
        said("face", "--help")
    assert "\n    python -m extract face\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["fak"], "no stream `fak` under extract or finetune; did you mean `fake`\\?; use one of: fake"),
        (["retry", "fak"], "no stream `fak` under extract or finetune; did you mean `fake`\\?"),
        (["status", "fak"], "no stream `fak` under extract or finetune; did you mean `fake`\\?"),
        (["--al"], "--al: no such option"),
    ],
)
def test_mistakes_are_named(made: Project, said: Said, args: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        said(*args)


def test_a_stream_without_frames_cannot_store_them(
    made: Project, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders.encoder_class("fake"), "frames_dim", 0)
    made.params(frames="f4")
    with pytest.raises(UserError, match=r"extract\.fake\.frames=f4: the encoder fake has no frames"):
        said("fake")
