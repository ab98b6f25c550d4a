"""Imported features could not record what their weights were fitted to, and `info` said that nothing was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.features.__main__ import main
from pipeline.tables.target import Target
from tests.train import small
from train.data.labelled import labelled
from train.fusion.build import read

ABOUT = [
    "--stream",
    "given",
    "--modality",
    "text",
    "--corpus",
    "small",
    "--licence",
    "none",
    "--encoder",
    "BERT",
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)
    Path("params.yaml").write_text(json.dumps(small.params().model_dump(mode="json")))
    ids = [u.utterance for u in labelled(Target(small.LABELS), "none", 0).utterances]
    np.savez("given.npz", utterance=np.array(ids), pooled=np.ones((len(ids), 4), np.float32))


def imported(monkeypatch: pytest.MonkeyPatch, *saw: str) -> None:
    monkeypatch.setattr("sys.argv", ["features", "import", "given.npz", *ABOUT, *saw])
    main()


def admits(**train: object) -> bool:
    streams = {"text": "given", "audio": "none", "visual": "none"}
    return read(small.params(train={"streams": streams, **train})).dims == {"text": 4}


def test_without_saw_it_is_not_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(monkeypatch)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("weights saw")]
    assert line.split(maxsplit=2)[2] == "not known"
    assert admits()


@pytest.mark.parametrize(("part", "fold"), [("train", "none"), ("2", "2")])
def test_a_split_or_fold_is_admitted_and_others_are_refused(
    monkeypatch: pytest.MonkeyPatch, part: str, fold: str
) -> None:
    imported(monkeypatch, "--saw", part)
    with FeatureCache(Path("data/features/given.h5")) as cache:
        saw = cache.meta.weights_saw
    assert saw == {"fold": fold, "ids": {"train": labelled(Target(small.LABELS), fold, 0).ids()["train"]}}
    assert admits(fold=fold)
    with pytest.raises(UserError, match=r"given\.h5: .*whose train utterances differ from this run's"):
        admits(fold="3")


def test_a_list_of_ids_is_admitted_where_it_is_the_train_split(monkeypatch: pytest.MonkeyPatch) -> None:
    data = labelled(Target(small.LABELS), "none", 0)
    ids = [u.utterance for u, split in zip(data.utterances, data.split, strict=True) if split == "train"]
    Path("seen.txt").write_text("\n".join(reversed(ids)))
    imported(monkeypatch, "--saw", "seen.txt")
    assert admits()
    test = next(u.utterance for u, split in zip(data.utterances, data.split, strict=True) if split == "test")
    Path("seen.txt").write_text("\n".join([*ids, test]))
    imported(monkeypatch, "--saw", "seen.txt")
    with pytest.raises(UserError, match=r"with fold listed in seen\.txt, whose train utterances differ"):
        admits()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"d000_u0\nnobody\n", r"1 of 2 ids are not in .*utterances\.csv: nobody"),
        (b"", "no id in the file"),
        (b"\xff\xfe\n", "cannot be read as UTF-8"),
    ],
)
def test_a_wrong_list_is_refused(monkeypatch: pytest.MonkeyPatch, content: bytes, said: str) -> None:
    Path("seen.txt").write_bytes(content)
    with pytest.raises(UserError, match=said):
        imported(monkeypatch, "--saw", "seen.txt")


def test_an_unknown_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--saw=nine: no such session"):
        imported(monkeypatch, "--saw", "nine")
