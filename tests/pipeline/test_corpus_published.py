"""Published feature pickles: converted into tables and caches; hostile ones are refused before anything runs."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from pipeline.corpora.pickles import __main__ as published
from pipeline.corpora.pickles import layouts
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import Target
from tests.pipeline.published import ROOT, TURNS, as_python_2, dialogue_rnn, save


def test_dialogue_rnn_becomes_tables_and_caches(tmp_path):
    entries = dialogue_rnn()
    entries["visual"]["Ses01M_impro01"][1][:] = 0
    entries["audio"]["Ses05F_impro02"][0][:] = np.nan
    source = save(tmp_path / "IEMOCAP_features.pkl", tuple(entries.values()))
    summary = published.convert([source], tmp_path / "data")
    utterances = read_utterances(tmp_path / "data/utterances.csv")
    labels = read_labels(utterances, Target(published.EMOTIONS["iemocap"]), tmp_path / "data/labels.csv")
    assert [u.dialogue for u in utterances] == [d for d in sorted(TURNS) for _ in range(TURNS[d])]
    assert utterances[0].utterance == "Ses01M_impro01_M000"
    assert utterances[0].text == "It’s me."
    assert (utterances[1].speaker, utterances[1].session) == ("Ses01F", "1")
    assert labels["emotion"][0] == published.EMOTIONS["iemocap"][entries["labels"]["Ses01M_impro01"][0]]
    assert labels["split"].tolist() == ["train"] * 6 + ["test"] * 2
    for name, modality in (("text", "text"), ("audio", "audio"), ("visual", "visual")):
        with FeatureCache(tmp_path / f"data/features/{name}.h5") as cache:
            cache.verify()
            assert cache.meta.modality == modality
            assert cache.utterances == [u.utterance for u in utterances]
            expected = np.array([v for d in sorted(TURNS) for v in entries[name][d]], dtype=np.float32)
            kept = np.array(cache.status) == 0
            np.testing.assert_array_equal(cache.pooled()[kept], expected[kept])
            lost = {"text": {}, "audio": {"corrupt": 1}, "visual": {"no_face": 1}}[name]
            assert {k: v for k, v in cache.counts().items() if k != "ok"} == lost
    assert "visual, 5 numbers each; 1 without" in summary


def test_multiemo_as_python_2_wrote_it(tmp_path):
    entries = dialogue_rnn()
    streams = {name: entries[name] for name in ("text", "audio", "visual")}
    entries |= dict.fromkeys(["ids", *streams, "sentences"])
    (tmp_path / "Speakers.pkl").write_bytes(pickle.dumps(tuple(entries.values()), 0))
    for name, value in streams.items():
        (tmp_path / f"{name.title()}Features.pkl").write_bytes(as_python_2(pickle.dumps(value, 0)))
    files = sorted(tmp_path.glob("*.pkl"))
    published.convert(files, tmp_path / "data")
    assert len(read_utterances(tmp_path / "data/utterances.csv")) == 8
    with FeatureCache(tmp_path / "data/features/audio.h5") as cache:
        assert cache.pooled().shape == (8, 3)
        assert cache.meta.encoder["file"] == "AudioFeatures.pkl"


def test_mmgcn_meld(tmp_path):
    turns, train = {0: 2, 1: 1, 2: 3}, [0, 1]
    entries = dialogue_rnn({str(d): n for d, n in turns.items()}, [], classes=7)
    entries = {k: {int(d): v for d, v in x.items()} if isinstance(x, dict) else x for k, x in entries.items()}
    entries["speakers"] = {d: [np.eye(9)[i].tolist() for i in range(n)] for d, n in turns.items()}
    ids, speakers, labels, text, audio, visual, sentences, _, _ = entries.values()
    value = (ids, speakers, labels, text, text, text, text, audio, visual, sentences, train, [2], None)
    published.convert([save(tmp_path / "MELD_features_raw1.pkl", value)], tmp_path / "data")
    utterances = read_utterances(tmp_path / "data/utterances.csv")
    assert [(u.dialogue, u.speaker) for u in utterances][:2] == [
        ("dia0000", "dia0000P0"),
        ("dia0000", "dia0000P1"),
    ]
    assert sorted(p.stem for p in (tmp_path / "data/features").iterdir()) == [
        "audio", "text", "text2", "text3", "text4", "visual",
    ]  # fmt: skip


def test_meld_of_dialogue_rnn_has_no_pictures(tmp_path):
    e = dialogue_rnn()
    value = tuple(
        e[k] for k in ("ids", "speakers", "labels", "text", "audio", "sentences", "train", "test", "labels")
    )
    found = layouts.read([save(tmp_path / "x.pkl", value)])
    assert [stream.name for stream in found.streams] == ["text", "audio"]


def test_the_published_split():
    golden = np.load(ROOT / "tests/golden/split_seed2023.npz")
    for name, ids in (("iemocap", [f"Ses{i:03}" for i in range(120)]), ("meld", list(range(1152)))):
        split = layouts._split(
            {"train": ids[::-1] if name == "iemocap" else ids, "test": []}, {i: i for i in ids}
        )
        val = [i for i, key in enumerate(ids) if split[key] == "val"]
        assert val == sorted(golden[f"{name}_valid"].tolist())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"labels": {**dialogue_rnn()["labels"], "Ses01M_impro01": [0, 9, 0]}},
            "has label 9; name all labels with",
        ),
        (
            {"labels": {**dialogue_rnn()["labels"], "Ses01M_impro01": [0, "x", 0]}},
            "a label is not a whole number",
        ),
        ({"text": {**dialogue_rnn()["text"], "Ses01M_impro01": [np.zeros(4)]}}, "1 vectors for 3 labels"),
        (
            {"text": {**dialogue_rnn()["text"], "Ses01M_impro01": [np.zeros(9)] * 3}},
            "others (9,)",
        ),
        (
            {"text": {k: v for k, v in dialogue_rnn()["text"].items() if "Ses01" not in k}},
            "Ses01M_impro01: missing",
        ),
        (
            {"speakers": {**dialogue_rnn()["speakers"], "Ses01M_impro01": "M"}},
            "labels and speakers must be lists",
        ),
        ({"train": {"nobody"}}, "unknown layout (a tuple of 9 entries)"),
        ({"test": ["Ses01M_impro01"]}, "dialogue Ses01M_impro01 occurs twice in the splits"),
        ({"labels": 5}, "unknown layout"),
    ],
)
def test_entries_that_do_not_fit(tmp_path, change, expected):
    source = save(tmp_path / "x.pkl", tuple({**dialogue_rnn(), **change}.values()))
    with pytest.raises(UserError) as caught:
        published.convert([source], tmp_path / "data")
    assert expected in str(caught.value)
    assert str(source) in str(caught.value)


def test_the_command(tmp_path):
    source = save(tmp_path / "x.pkl", tuple(dialogue_rnn().values()))
    command = [sys.executable, "-m", "pipeline.corpora.pickles", source, "--to", tmp_path / "data"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:12]) == (0, "8 utterances"), done.stderr
    source.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {source}: refused: it imports os.system")
