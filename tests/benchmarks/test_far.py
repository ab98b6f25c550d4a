from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import far
from evaluate.predict.trained import open_model
from pipeline.errors import UserError
from pipeline.params import load
from tests.evaluate.recording import FARTHEST, around_zero, make_model, region
from tests.extract.make_clips import clip
from tests.extract.project import inline
from tests.train import small
from train.fusion.build import read

SPANS = "utterance,dialogue,turn,text,media\na,x,0,Hm?,talk.wav\nb,x,1,,gone.wav\n"


def test_the_share_is_of_those_with_the_feature_and_any_of_all() -> None:
    there = {"audio": np.array([True, True, False, False]), "visual": np.zeros(4, bool)}
    flags = {"audio": np.array([True, False, False, False]), "visual": np.zeros(4, bool)}
    assert far.row("clips", flags, there) == {
        "utterances of": "clips", "count": "4", "audio": "50.0", "visual": "none", "any": "25.0",
    }  # fmt: skip


@pytest.mark.parametrize(("limit", "share"), [(0.0, "100.0"), (FARTHEST, "0.0")])
def test_other_clips_are_compared_with_the_models_limit(tmp_path, monkeypatch, limit, share):
    monkeypatch.setattr("extract.engine.local.extract", inline)
    make_model(tmp_path / "models/seed0")
    region(tmp_path / "models/seed0", limit)
    clip(tmp_path / "talk.wav", 1.0, video=False, codec="pcm_s16le")
    (tmp_path / "spans.csv").write_text(SPANS)
    model = open_model(tmp_path / "models/seed0", {}, tmp_path)
    found = far.foreign("clips", model, tmp_path / "spans.csv")
    assert (found["utterances of"], found["count"], found["audio"]) == ("clips", "2", share)
    assert found["any"] == ("50.0" if limit == 0 else "0.0")


def test_the_projects_splits_are_the_first_rows(tmp_path: Path, monkeypatch, capsys) -> None:
    small.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(small.params().model_dump_json())
    sizes = {m: stream.dim for m, stream in read(load()).streams.items()}
    model = SimpleNamespace(regions={m: around_zero(size, 0.0) for m, size in sizes.items()})
    monkeypatch.setattr(far, "open_model", lambda *_: model)
    monkeypatch.setattr(sys, "argv", ["far", "--csv", "far.csv"])
    far.main()
    table = pd.read_csv("far.csv", dtype=str, keep_default_na=False)
    assert table["utterances of"].tolist() == [f"{split} of the corpus" for split in ("train", "val", "test")]
    assert set(table[list(sizes)].to_numpy().ravel()) == {"100.0"}
    assert "test of the corpus" in capsys.readouterr().out


def test_a_set_without_a_name_is_one_message(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["far", "clips/spans.csv"])
    with pytest.raises(UserError, match=r"clips/spans.csv: give NAME=CSV"):
        far.main()
