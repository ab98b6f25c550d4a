"""A model of one corpus on the test split of another."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluate.cross import cross, differences, main, pairs
from evaluate.run.details import details
from evaluate.run.load import load_run
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.params import load
from tests.docs.pages import blocks
from tests.train import small
from train.checkpoint import read_model
from train.stage import run as train

MAP = {"happiness": "joy", "rage": "anger"}
THEIRS = {"joy": "happiness", "anger": "rage", "neutral": "neutral"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained `demo`, and `other`: the same utterances as a `csv` corpus with other names of the labels."""
    root = tmp_path_factory.mktemp("both")
    (root / "demo").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root / "demo")
        small.make(Path())
        raw = small.params(train={"epochs": 3, "lr": 1e-2, "seeds": 2}).model_dump(mode="json")
        raw["corpus"]["name"] = "demo"
        Path("params.yaml").write_text(json.dumps(raw))
        train()
    shutil.copytree(root / "demo/data", root / "other/data")
    raw["corpus"] |= {"name": "csv", "labels": ["neutral", "happiness", "rage", "boredom"]}
    (root / "other/params.yaml").write_text(json.dumps(raw))
    relabel(root / "other", THEIRS)
    return root


def relabel(project: Path, names: dict[str, str]) -> None:
    path = project / "data/labels.csv"
    labels = pd.read_csv(path)
    labels["emotion"] = labels["emotion"].map(names)
    labels.to_csv(path, index=False, lineterminator="\n")


@pytest.fixture
def here(both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(both, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "demo")
    return tmp_path


def test_the_same_utterances_under_other_names_have_the_scores_of_the_run(here: Path) -> None:
    own = details(load_run(load()))["splits"]["test"]
    found = cross(Path("models"), here / "other", MAP)
    table = found.table().set_index("score")
    for name, metric in (
        ("weighted F1", "weighted_f1"), ("accuracy", "accuracy"), ("unweighted acc.", "unweighted_accuracy")
    ):  # fmt: skip
        assert table.loc[name, "mean"] == pytest.approx(100 * own[metric]["mean"], abs=0.005)
        assert table.loc[name, "sd"] == pytest.approx(100 * own[metric]["sd"], abs=0.005)
        assert table.loc[name, "low"] <= table.loc[name, "mean"] <= table.loc[name, "high"]
    assert found.left_out == {}
    assert found.impossible == {}


def test_labels_that_are_not_mapped_are_counted(here: Path) -> None:
    labels = pd.read_csv(here / "other/data/labels.csv")
    test = labels["split"] == "test"
    count = int((test & (labels["emotion"] == "rage")).sum())
    found = cross(Path("models/seed0"), here / "other", {"happiness": "joy"})
    assert found.left_out == {"rage": count}
    assert len(found.truth) == test.sum() - count
    assert set(found.truth) <= {0, 2}
    assert found.impossible == {"anger": int((found.predicted == 1).sum())}
    assert np.isnan(found.table()["sd"]).all()


def test_two_labels_of_the_corpus_can_be_one_of_the_model(here: Path) -> None:
    relabel(here / "other", {"happiness": "happiness", "rage": "rage", "neutral": "boredom"})
    found = cross(Path("models/seed0"), here / "other", {**MAP, "boredom": "anger"})
    assert set(found.truth) == {0, 1}


def test_the_command_prints_counts_and_writes_the_scores(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = [b for b in blocks("bash") if b.page.name == "cross-corpus.md"]
    words = block.text.split()[2:]
    assert words[0] == "evaluate.cross"
    monkeypatch.setattr(sys, "argv", [*words, "--csv", "cross.csv"])
    main()
    said = capsys.readouterr().out
    assert "2 seeds" in said
    assert "left out, because the model does not have their label: none" in said
    table = pd.read_csv("cross.csv")
    assert list(table) == ["score", "mean", "sd", "low", "high"]
    assert list(table["score"]) == ["weighted F1", "macro F1", "accuracy", "unweighted acc."]


@pytest.mark.parametrize(
    ("renamed", "said"),
    [
        ({"hapiness": "joy"}, r"'hapiness' is no label of the corpus; did you mean `happiness`\?"),
        ({"happiness": "joi"}, r"'joi' is no label of the model; did you mean `joy`\?"),
    ],
)
def test_an_unknown_label_is_an_error(here: Path, renamed: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        cross(Path("models"), here / "other", renamed)


@pytest.mark.parametrize("text", ["joy", "joy=", "=joy", "a=b,a=c"])
def test_a_map_must_have_pairs(text: str) -> None:
    with pytest.raises(UserError, match="must be THEIRS=OURS"):
        pairs(text)
    assert pairs("a=b, c = d") == {"a": "b", "c": "d"}
    assert pairs("") == {}


def test_features_of_another_encoder_are_an_error_and_of_another_version_a_note(here: Path) -> None:
    path = here / "other/data/features/words.h5"
    stream = read_model(Path("models/seed0"))[1].streams["text"]
    with FeatureCache(path) as cache:
        meta = cache.meta
    assert differences(stream, meta, path) == []
    assert len(differences(stream, replace(meta, packages={"torch": "1"}), path)) == 1
    with pytest.raises(UserError, match=r"words\.h5: made with encoder .*extract words"):
        differences(stream, replace(meta, encoder={"encoder": "other"}), path)
    with pytest.raises(UserError, match=r"words\.h5: made with weights .*extract words"):
        differences(stream, replace(meta, weights={"sha256": "f" * 64}), path)


def test_features_of_another_size_are_an_error(here: Path) -> None:
    """Imported features have no weights, and any description."""
    names = pd.read_csv(here / "other/data/utterances.csv")["utterance"].tolist()
    wide = np.ones((len(names), small.DIMS["text"] + 1), np.float32)
    small.cache(here / "other", "text", names, wide, np.full(len(names), True))
    with pytest.raises(UserError, match=r"words\.h5: 13 features, but the model was trained on 12"):
        cross(Path("models"), here / "other", MAP)


@pytest.mark.parametrize("kind", ["soft", "multi"])
def test_a_corpus_of_several_labels_is_an_error(here: Path, kind: str) -> None:
    path = here / "other/params.yaml"
    raw = json.loads(path.read_text())
    raw["corpus"]["target"] = kind
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=rf"corpus\.target={kind}: only answers with one label"):
        cross(Path("models"), here / "other", MAP)


def test_a_corpus_without_a_common_label_is_an_error(here: Path) -> None:
    relabel(here / "other", {"happiness": "boredom", "rage": "boredom", "neutral": "boredom"})
    with pytest.raises(UserError, match=r"no test utterance has a label of the model .*--map"):
        cross(Path("models"), here / "other", MAP)
