"""A corpus written for other tools, and read back equal."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from pipeline.corpora import mmsa_pickle
from pipeline.errors import UserError
from pipeline.exchange.__main__ import main as exchange
from pipeline.features import FeatureCache, Row, write
from pipeline.features.__main__ import main as features
from pipeline.tables import schema as tables
from tests.pipeline import feature_files as files
from tests.pipeline.raw_folders import corpus

ROOT = Path(__file__).parents[2]
IDS = [f"d{i // 3}_{i % 3}" for i in range(9)]
SPLITS = {"d0": "train", "d1": "val", "d2": "test"}
ABOUT = ("--modality", "visual", "--corpus", "c", "--licence", "l", "--encoder", "e")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Nine rated utterances, and the streams `face` with frames and `smile` without."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "presets/mmsa.yaml", "params.yaml")
    rows = [(u, u[:2], int(u[-1]), "A", "", f"Text of {u}", "", 0.5, "", "") for u in IDS]
    kept = pd.DataFrame(rows, columns=tables.UTTERANCE_COLUMNS)
    tables.write_table(kept, tables.UTTERANCE_COLUMNS, tables.UTTERANCES)
    labels = [(u, SPLITS[u[:2]], "", "" if u == "d0_1" else str(i / 2)) for i, u in enumerate(IDS)]
    columns = (*tables.LABEL_COLUMNS, "sentiment")
    tables.write_table(pd.DataFrame(labels, columns=columns), columns, tables.LABELS)
    names = {"pooled_names": (), "frames_names": ()}
    made = {"face": files.meta(**names), "smile": files.plain(stream="smile", modality="audio")}
    for name, meta in made.items():
        write(Path(f"data/features/{name}.h5"), meta, IDS, files.rows(meta, len(IDS)))
    return tmp_path


def run(monkeypatch, main, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
    main()


def cache(name: str) -> FeatureCache:
    return FeatureCache(Path(f"data/features/{name}.h5"))


def both(monkeypatch, layout: str, to: str) -> None:
    run(monkeypatch, exchange, layout, "data/features/face.h5", "data/features/smile.h5", "--to", to)


@pytest.mark.parametrize(("name", "frames"), [("face", "f2"), ("face", "none"), ("smile", "none")])
def test_parquet_comes_back_equal(project, monkeypatch, name, frames):
    run(monkeypatch, features, "export", f"data/features/{name}.h5", "--to", "parquet", "--out", "x.parquet")
    run(monkeypatch, features, "import", "x.parquet", "--stream", "back", *ABOUT, "--frames", frames)
    assert_equal(name, frames)


@pytest.mark.parametrize(("name", "frames"), [("face", "f2"), ("smile", "none")])
def test_a_folder_of_datasets_comes_back_equal(project, monkeypatch, name, frames):
    both(monkeypatch, "datasets", "hub")
    more = ("--array", name, "--frames", frames)
    run(monkeypatch, features, "import", "hub", "--stream", "back", *ABOUT, *more)
    assert_equal(name, frames)


def assert_equal(name: str, frames: str) -> None:
    with cache(name) as first, cache("back") as back:
        back.verify()
        assert first.counts()["no_face"] > 0
        assert list(back.status) == list(first.status)
        assert back.errors == first.errors
        assert back.pooled().tobytes() == first.pooled().tobytes()
        assert back.has_frames == (frames != "none")
        if back.has_frames:
            # The digest covers all datasets.
            assert back.digest == first.digest


def test_a_folder_has_the_form_that_datasets_reads(project, monkeypatch):
    both(monkeypatch, "datasets", "hub")
    text = (project / "hub/README.md").read_text()
    head = YAML(typ="safe").load(text.split("---\n")[1])
    assert head["license"] == "other"
    (config,) = head["configs"]
    named = {found["split"]: list((project / "hub").glob(found["path"])) for found in config["data_files"]}
    assert {split: len(found) for split, found in named.items()} == {"train": 1, "validation": 1, "test": 1}
    assert "# Datasheet: mmsa" in text
    tables_ = {split: pd.read_parquet(found[0]) for split, found in named.items()}
    assert [list(table["utterance"]) for table in tables_.values()] == [IDS[:3], IDS[3:6], IDS[6:]]
    np.testing.assert_array_equal(tables_["train"]["sentiment"], [0, np.nan, 1])
    assert tables_["test"]["text"][0] == "Text of d2_0"
    assert {"face_frames", "face_times", "face_pooled", "smile_pooled"} < set(tables_["train"].columns)
    metadata = pq.read_schema(named["train"][0]).metadata
    assert json.loads(metadata[b"face_about"])["licence"] == "CC BY 4.0, own recordings"


def test_datasets_loads_the_folder(project, monkeypatch):
    datasets = pytest.importorskip("datasets")
    both(monkeypatch, "datasets", "hub")
    found = datasets.load_dataset(str(project / "hub"), cache_dir=str(project / "cache"))
    assert {split: table["utterance"] for split, table in found.items()} == {
        "train": IDS[:3], "validation": IDS[3:6], "test": IDS[6:],
    }  # fmt: skip
    with cache("smile") as first:
        assert found["train"][0]["smile_pooled"] == first.pooled()[0].tolist()


def test_an_mmsa_pickle_comes_back_equal(project, monkeypatch):
    both(monkeypatch, "mmsa", "raw/x.pkl")
    found = pickle.loads((project / "raw/x.pkl").read_bytes())
    assert found["train"]["id"] == ["d0$_$0", "d0$_$2"]  # d0_1 has no number
    assert found["valid"]["vision"].shape == (3, 4, 3)
    assert found["valid"]["audio"].shape == (3, 1, 5)
    asked = corpus("mmsa_pickle", project / "raw", [], target="values", values=["sentiment"])
    utterances, labels = mmsa_pickle.read(project / "raw", asked)
    rated = [u for u in IDS if u != "d0_1"]
    assert list(utterances["utterance"]) == rated
    assert list(utterances["text"]) == [f"Text of {u}" for u in rated]
    assert list(labels["sentiment"]) == [i / 2 for i, u in enumerate(IDS) if u in rated]
    assert list(labels["split"]) == [SPLITS[u[:2]] for u in rated]
    more = ("--stream", "back", *ABOUT, "--frames", "f4", "--rate", "25", "--partial")
    run(monkeypatch, features, "import", "raw/x.pkl", *more)
    with cache("face") as first, cache("back") as back:
        for row, utterance in enumerate(IDS):
            if utterance in rated:
                np.testing.assert_array_equal(back.frames(row), first.frames(row).astype("f4"))


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ("target: values", ("mmsa", "face"), "MMSA's pickles hold a number per utterance"),
        ("", ("mmsa", "face", "again"), "second stream of visual; name one file per modality"),
        ("", ("datasets", "face", "face"), "second file of stream face"),
        ("", ("datasets", "other"), "its utterances are not those of"),
    ],
)
def test_what_cannot_be_written(project, monkeypatch, change, arguments, message):
    if change:
        text = Path("params.yaml").read_text()
        text = text.replace("labels: []", "labels: [a, b]").replace("values: [sentiment]", "values: []")
        Path("params.yaml").write_text(text.replace(change, "target: soft"))
        kept = pd.DataFrame([(u, SPLITS[u[:2]], "") for u in IDS], columns=tables.LABEL_COLUMNS)
        tables.write_table(kept, tables.LABEL_COLUMNS, tables.LABELS)
    for name, ids in (("again", IDS), ("other", IDS[1:])):
        meta = files.plain(stream=name)
        write(Path(f"data/features/{name}.h5"), meta, ids, [Row("k", "no_face", "x") for _ in ids])
    layout, *names = arguments
    with pytest.raises(UserError, match=message):
        run(monkeypatch, exchange, layout, *(f"data/features/{name}.h5" for name in names), "--to", "out")


def test_a_parquet_file_of_another_tool(project, monkeypatch):
    pd.DataFrame({"utterance": IDS, "bert": [[1.0, i] for i in range(9)]}).to_parquet("x.parquet")
    run(monkeypatch, features, "import", "x.parquet", "--array", "bert", "--stream", "back", *ABOUT)
    with cache("back") as back:
        np.testing.assert_array_equal(back.pooled(), [[1, i] for i in range(9)])
    with pytest.raises(UserError, match="no column pooled; there are bert, utterance; choose a stream"):
        run(monkeypatch, features, "import", "x.parquet", "--stream", "back", *ABOUT)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"utterance": IDS, "pooled": ["a"] * 9}, "d0_0: no list of numbers"),
        ({"utterance": IDS, "pooled": [["a"]] * 9}, "d0_0: not a list of numbers"),
        ({"utterance": ["d0_0"] * 9, "pooled": [[1.0]] * 9}, "utterance='d0_0': not a text, or the id of two rows"),
        ({"utterance": list(range(9)), "pooled": [[1.0]] * 9}, "utterance=0: not a text"),
    ],
)  # fmt: skip
def test_a_parquet_file_with_a_fault(project, monkeypatch, frame, message):
    pd.DataFrame(frame).to_parquet("x.parquet")
    with pytest.raises(UserError) as caught:
        run(monkeypatch, features, "import", "x.parquet", "--stream", "back", *ABOUT)
    assert message in str(caught.value)


def test_a_damaged_parquet_file(project, monkeypatch):
    Path("x.parquet").write_bytes(b"PAR1 no parquet PAR1")
    with pytest.raises(UserError, match=r"x\.parquet: no readable parquet file"):
        run(monkeypatch, features, "import", "x.parquet", "--stream", "back", *ABOUT)
