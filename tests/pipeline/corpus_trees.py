"""Small corpora of labelled text, acted clips and lists, in the layouts in which they are distributed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.corpora import cremad as cremad_
from pipeline.corpora import dailydialog as dailydialog_
from pipeline.corpora import emodb as emodb_
from pipeline.corpora import emorynlp as emorynlp_
from pipeline.corpora import m3ed as m3ed_
from pipeline.corpora import mer as mer_
from pipeline.corpora import mosei as mosei_
from pipeline.corpora import ravdess as ravdess_
from pipeline.errors import UserError
from pipeline.params import CorpusParams
from tests.pipeline.raw_folders import corpus, wav

SCENES = {
    "trn": [["Monica Geller", "There's nothing to tell!", "Mad"], ["Joey Tribbiani", "C'mon, you're out.", "Neutral"]],
    "dev": [["Rachel Green", "Coffee.", "Neutral"]],
    "tst": [["Ross Geller", "Hi.", "Sad"], ["Phoebe Buffay", "’Til next time", "Peaceful"]],
}  # fmt: skip
DAILY = {
    "train": [
        (["The kitchen stinks .", "I'll throw out the garbage ."], [2, 0]),
        (["So Dick ?", "Fine ."], [0, 4]),
    ],
    "validation": [(["Good morning , sir .", "There is one .", "Well , that’s too far ."], [0, 0, 6])],
    "test": [(["Hey man , you wanna buy some weed ?"], [1])],
}
MER_ROWS = {
    "train-label.csv": [(f"sample_{i:08}", mer_.EMOTIONS[i % 6], i / 10) for i in range(20)],
    "test1-label.csv": [("sample_00000020", "worried", -1.5), ("sample_00000021", "happy", 3.0)],
}


def emorynlp(root: Path) -> CorpusParams:
    (root / "json").mkdir(parents=True)
    for split, turns in SCENES.items():
        scene = f"s01_e{list(SCENES).index(split) + 1:02}_c01"
        utterances = [
            {
                "utterance_id": f"{scene}_u{i:03}",
                "speakers": [speaker],
                "transcript": text,
                "tokens": [text.split()],
                "emotion": emotion,
            }
            for i, (speaker, text, emotion) in enumerate(turns, 1)
        ]
        scenes = [{"scene_id": scene, "utterances": utterances}]
        part = {"season_id": split, "episodes": [{"episode_id": scene[:7], "scenes": scenes}]}
        _write_json(root / f"json/emotion-detection-{split}.json", part)
    return corpus("emorynlp", root, list(emorynlp_.EMOTIONS))


def dailydialog(root: Path) -> CorpusParams:
    for split, dialogues in DAILY.items():
        texts = ["".join(f"{turn} __eou__ " for turn in turns).rstrip() for turns, _ in dialogues]
        _write_lines(root / split / f"dialogues_{split}.txt", texts)
        emotions = [" ".join(map(str, found)) + " " for _, found in dialogues]
        _write_lines(root / split / f"dialogues_emotion_{split}.txt", emotions)
    return corpus("dailydialog", root, list(dailydialog_.EMOTIONS))


def dailydialog_json(root: Path) -> CorpusParams:
    names = ["no_emotion", *dailydialog_.EMOTIONS[1:]]
    for split, dialogues in DAILY.items():
        objects = [
            {
                "fold": split,
                "topic": "work",
                "dialogue": [
                    {"emotion": names[emotion], "act": "inform", "text": text}
                    for text, emotion in zip(*dialogue, strict=True)
                ],
            }
            for dialogue in dialogues
        ]
        name = "valid" if split == "validation" else split
        _write_lines(root / f"{name}.json", [json.dumps(found, ensure_ascii=False) for found in objects])
    return corpus("dailydialog", root, list(dailydialog_.EMOTIONS))


def ravdess(root: Path, actors: Iterable[int] = (1, 17, 24)) -> CorpusParams:
    for actor in actors:
        for emotion in ("01", "05"):
            wav(root / f"Actor_{actor:02}/03-01-{emotion}-01-02-01-{actor:02}.wav", np.zeros(1600))
    return corpus("ravdess", root, list(ravdess_.EMOTIONS.values()))


def emodb(root: Path) -> CorpusParams:
    for name in ("03a01Wa", "03b10Nc", "12a02Fb", "15a04Ac", "16b09La"):
        wav(root / f"wav/{name}.wav", np.zeros(1600))
    return corpus("emodb", root, list(emodb_.EMOTIONS.values()))


def mer(root: Path) -> CorpusParams:
    for file, rows in MER_ROWS.items():
        lines = ["name,discrete,valence", *(f"{name},{emotion},{valence}" for name, emotion, valence in rows)]
        _write_lines(root / file, lines)
    _write_lines(root / "subtitle_chieng.csv", ["name,chinese,english", "sample_00000001,你好。,Hello."])
    (root / "train").mkdir()
    (root / "train/sample_00000001.mp4").write_bytes(b"clip")
    return corpus("mer", root, list(mer_.EMOTIONS))


def emobox(root: Path, folds: int = 2) -> CorpusParams:
    clips = [("03a02Wb", "anger"), ("08a04Nc", "neutral"), ("10a01Fa", "happy"), ("16b09La", "boredem")]
    for fold in range(1, folds + 1):
        for part in ("train", "test"):
            chosen = [clip for i, clip in enumerate(clips) if (i % folds == fold - 1) == (part == "test")]
            lines = [json.dumps(_clip(name, emotion)) for name, emotion in chosen]
            _write_lines(root / f"fold_{fold}/emodb_{part}_fold_{fold}.jsonl", lines)
    _write_json(
        root / "label_map.json",
        {"anger": "Angry", "boredem": "Boredom", "happy": "Happy", "Neutral": "Neutral"},
    )
    return corpus("emobox", root, ["angry", "boredom", "happy", "neutral"])


VOTES = """"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"
"100001",0,0,0,1,10,0,"1001_IEO_NEU_XX",11,0.909090909090909,"N"
"100010",2,6,0,0,1,0,"1003_IEO_ANG_HI",9,0.666666666666667,"D"
"100011",4,0,0,0,4,0,"1004_WSI_ANG_XX",8,0.5,"A:N"
"300001",0,0,0,0,9,0,"1001_IEO_NEU_XX",9,1,"N"
"""
SIMS = """video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode
video_0001,0001,我不想嫁给李茶,-0.6,0.0,-1.0,-0.8,Negative,train
video_0001,0010,,0.4,0.2,0.0,0.6,Positive,train
video_0001,0002,"好, 走吧",0.0,0.0,0.0,0.0,Neutral,valid
aqgy3_0001,1,What?,1,,,,Positive,test
"""
MOSTLY = ("Anger", "Anger,Disgust", "Neutral", "Anger,Disgust", "Anger")


def cremad(root: Path, target: str = "soft") -> CorpusParams:
    (root / "AudioWAV").mkdir(parents=True)
    for name in ("1001_IEO_NEU_XX", "1003_IEO_ANG_HI", "1004_WSI_ANG_XX", "1005_ITS_SAD_XX"):
        (root / f"AudioWAV/{name}.wav").write_bytes(b"")
    (root / "processedResults").mkdir()
    (root / "processedResults/tabulatedVotes.csv").write_text(VOTES)
    labels = [name for name, _ in cremad_.EMOTIONS.values()]
    return corpus("cremad", root, labels, target=target)


def m3ed(root: Path, target: str = "soft") -> CorpusParams:
    shows = {"anjia": "train", "huanlesong": "test", "yijiaren": "val"}
    found: dict[str, Any] = {}
    for show in shows:
        turns = {
            f"{show}_1_{number}": {
                "StartTime": "00:00:00:01",
                "EndTime": "00:00:01:04",
                "Text": f"你先把衣服换了{number}",
                "Speaker": "AB"[number % 2],
                "EmoAnnotation": dict(zip(m3ed_.Annotation.model_fields, MOSTLY, strict=True)),
            }
            for number in (10, 2, 1)
        }
        people = {letter: {"Name": f"朱{letter}", "Age": "young"} for letter in "AB"}
        found[show] = {f"{show}_1": {"SpeakerInfo": people, "Dialog": turns}}
    root.mkdir(parents=True)
    _write_json(root / "annotation.json", found)
    for split in m3ed_.SPLITS:
        _write_lines(
            root / f"splitInfo/movie_list_{split}.txt", [s for s, part in shows.items() if part == split]
        )
    return corpus("m3ed", root, list(m3ed_.EMOTIONS), target=target)


def mmsa(root: Path) -> CorpusParams:
    root.mkdir(parents=True, exist_ok=True)
    (root / "label.csv").write_text(SIMS, encoding="utf-8")
    return corpus("mmsa", root, [], target="values", values=["sentiment"])


SAID = {
    "hh04W3xXa5s": [
        ("0", 0.0, 2.5, "I like it."),
        ("10", 4.0, 6.0, "So_do___I."),
        ("2", 2.5, 4.0, "Really."),
    ],
    "188343": [("1", 1.234567, 3.0, "No.")],
    "7l3BNtSE0xc": [("0", 0.5, 1.5, "Fine, thanks.")],
    "unlisted": [("0", 0.0, 1.0, "Nobody's.")],
}
FOLDS = {"train": ["hh04W3xXa5s", "-lost"], "test": ["7l3BNtSE0xc"], "valid": ["188343"]}
# The spans and labels [sentiment, happy, sad, anger, surprise, disgust, fear] of each video.
RATED: dict[str, list[tuple[tuple[float, float], list[float]]]] = {
    "hh04W3xXa5s": [((0.0, 2.5), [1, 2, 0, 0, 1 / 3, 0, 0]), ((2.5, 4.0), [0] * 7), ((8.0, 9.0), [3] * 7)],
    "188343": [((1.235, 3.0), [-3, 0, 1, 0, 0, 0, 0])],
}


def mosei(root: Path) -> CorpusParams:
    for video, said in SAID.items():
        lines = [f"{video}___{clip}___{start}___{end}___{text}" for clip, start, end, text in said]
        _write_lines(root / f"{mosei_.TRANSCRIPTS}/{video}.txt", lines)
    folds = [f"standard_{name}_fold={videos!r}\n" for name, videos in FOLDS.items()]
    _write_lines(root / mosei_.FOLDS, folds)
    with h5py.File(root / mosei_.LABELS[0], "w") as file:
        for video, rated in RATED.items():
            spans, labels = zip(*rated, strict=True)
            file[f"All Labels/data/{video}/features"] = np.array(labels, "f4")
            file[f"All Labels/data/{video}/intervals"] = np.array(spans, "f4")
    return corpus("mosei", root, [], target="values", values=["sentiment", "happiness"])


MMSA_CLIPS = {
    "train": [("aqgy3_0001$_$00000", "Positive", 0.8), ("aqgy3_0001$_$00010", "Negative", -0.6)],
    "valid": [("aqgy3_0001$_$00002", "Neutral", 0.0)],
    "test": [("video_0002$_$0001", "Negative", -1.0)],
}


def mmsa_pickle(root: Path, aligned: bool = False) -> CorpusParams:
    """Write a pickle as MMSA distributes it: 4 frames at most, and 3, 2 and 5 numbers per frame."""
    draw = np.random.default_rng(0)
    found: dict[str, dict[str, Any]] = {}
    for part, clips in MMSA_CLIPS.items():
        ids, annotations, labels = zip(*clips, strict=True)
        count = len(ids)
        lengths = np.array([2 + i % 3 for i in range(count)])
        inside = np.arange(4) < lengths[:, None]
        bert = np.stack([np.full((count, 4), 101), inside, np.zeros((count, 4))], axis=1)
        features = {
            name: (draw.normal(size=(count, 4, dim)) * inside[:, :, None]).astype("f4")
            for name, dim in (("text", 3), ("audio", 2), ("vision", 5))
        }
        features["audio"][0, 0, 0] = -np.inf
        found[part] = {
            "raw_text": np.array(["WE'RE HERE", "好, 走吧"][:count], dtype=object),
            "id": list(ids),
            "annotations": list(annotations),
            "classification_labels": np.array([1.0] * count),
            "regression_labels": np.array(labels, "f4"),
            "text_bert": bert.astype("f4"),
            **features,
        }
        if not aligned:
            found[part] |= {"audio_lengths": lengths.tolist(), "vision_lengths": (lengths - 1).tolist()}
    root.mkdir(parents=True, exist_ok=True)
    (root / "unaligned_50.pkl").write_bytes(pickle.dumps(found, 4))
    return corpus("mmsa_pickle", root, [], target="values", values=["sentiment"])


def _clip(name: str, emotion: str) -> dict[str, Any]:
    return {
        "key": f"emodb-{name}",
        "dataset": "emodb",
        "wav": f"downloads/emodb/wav/{name}.wav",
        "type": "raw",
        "sample_rate": 16000,
        "num_frame": 33978.0,
        "task": "category",
        "length": 2.123625,
        "emo": emotion,
        "channel": 1,
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def fault(read: Callable[[Path, CorpusParams], object], root: Path, corpus: CorpusParams) -> str:
    """Return the message with which an importer refuses a tree."""
    with pytest.raises(UserError) as caught:
        read(root, corpus)
    return str(caught.value)


def edited(path: Path, old: str, new: str) -> None:
    """Replace a text in a file of a tree."""
    path.write_text(path.read_text().replace(old, new))
