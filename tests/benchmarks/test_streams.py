from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import streams
from pipeline.errors import UserError
from tests.train import small


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    small.make(tmp_path, missing=0.4)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(small.params().model_dump_json())
    return tmp_path


def test_a_row_per_choice_and_normalisation(project, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["streams", "voice", "look", "--csv", str(project / "table.csv")])
    streams.main()
    table = pd.read_csv(project / "table.csv", dtype=str, keep_default_na=False)
    choices = ["voice", "look", "voice + look"]
    assert table["streams"].tolist() == choices * 2
    assert table["normalise"].tolist() == ["global"] * 3 + ["speaker"] * 3
    assert [p == "" for p in table["p"]] == [True, False, False] * 2
    assert "voice + look" in capsys.readouterr().out


def test_streams_are_concatenated_as_one(project):
    params, both = streams.corpus(["voice", "look"], "2", "global")
    assert (params.model.name, params.train.fold) == ("logreg", "2")
    assert {u.session for u, s in zip(both.utterances, both.split, strict=True) if s == "test"} == {"2"}
    parts = [streams.corpus([name], "2", "global")[1] for name in ("voice", "look")]
    (joined,), each = both.streams.values(), [next(iter(part.streams.values())) for part in parts]
    assert joined.dim == sum(part.dim for part in each) == 12
    assert (joined.features[:, :7] == each[0].features).all()
    assert (joined.features[:, 7:] == each[1].features).all()
    assert (joined.present == (each[0].present | each[1].present)).all()
    assert not joined.present.all()


def test_another_target_is_refused(project):
    values = small.params(corpus=small.annotate(project, "multi")).model_dump_json()
    (project / "params.yaml").write_text(values)
    with pytest.raises(UserError, match=r"corpus\.target=multi: use a corpus"):
        streams.table(["voice"])


def test_without_named_speakers_one_normalisation(project):
    table = pd.read_csv(project / "data/utterances.csv", dtype=str, keep_default_na=False)
    table.assign(speaker="").to_csv(project / "data/utterances.csv", index=False, lineterminator="\n")
    assert [row["normalise"] for _, row in streams.table(["voice"]).iterrows()] == ["global"]
