"""Small corpora in the exact layouts that people have on disk."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.params import CorpusParams

MELD = ["neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"]
IEMOCAP = ["happiness", "sadness", "neutral", "anger", "excitement", "frustration"]
FOUR = ["happiness", "neutral", "sadness", "anger"]

MELD_HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
)
MELD_ROWS = {
    "train": (
        '1,"Oh, hi!",Ross,joy,positive,0,0,1,1,"00:00:01,000","00:00:02,000"',
        '2,What?,Rachel,surprise,negative,0,3,1,1,"00:00:02,000","00:00:03,000"',
        '3,"He said ""no"".",Ross,anger,negative,10,0,1,1,"00:00:02,000","00:00:03,000"',
        '4,Fine.,Joey,neutral,neutral,2,1,1,1,"00:00:02,000","00:00:03,000"',
    ),
    "dev": ('1,It’s me.,Monica,neutral,neutral,0,0,1,1,"00:00:01,000","00:00:02,000"',),
    "test": ('1,Café?,Chandler,disgust,negative,0,0,1,1,"00:00:01,000","00:00:02,000"',),
}

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes0{s}F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes0{s}F_impro01_M000\texc\t[3.5000, 2.5000, 2.5000]
C-E2:\tExcited;\t()

[12.0000 - 13.5000]\tSes0{s}F_impro01_F001\txxx\t[2.5000, 3.0000, 2.5000]
C-F1:\tOther;\t(sarcastic)

[14.0000 - 15.5000]\tSes0{s}F_impro01_M001\tfru\t[2.0000, 3.5000, 3.0000]
C-E2:\tFrustration;\tAnger;\t()

[16.0000 - 17.5000]\tSes0{s}F_impro01_F002\toth\t[2.0000, 3.5000, 3.0000]

[18.0000 - 19.5000]\tSes0{s}F_impro01_F003\thap\t[4.0000, 3.5000, 3.0000]
"""
TRANSCRIPT = """Ses0{s}F_impro01_F000 [006.2901-008.2357]: Excuse me.
Ses0{s}F_impro01_M000: [LAUGHTER] Do you have your forms?
Ses0{s}F_impro01_F001 [012.0000-013.5000]: Yeah.
M: Right.
Ses0{s}F_impro01_M001 [014.0000-015.5000]: Let me see them.
Ses0{s}F_impro01_F003 [018.0000-019.5000]: [LAUGHTER]
"""

OWN = """utterance,dialogue,turn,speaker,text,media,start,end,split,emotion
a1,anna,0,Anna,Good morning!,anna.mp4,0.4,1.9,train,joy
a2,anna,1,Ben,"Morning, Anna.",anna.mp4,2.1,3.0,train,neutral
b1,bus,0,Cem,The bus has left.,bus/1.mp4,,,val,anger
c1,call,0,Anna,Who is there?,call.wav,0,1.5,test,fear
c2,call,1,,,call.wav,1.5,4,test,
"""

SRT = """1
00:00:01,000 --> 00:00:02,500
ANNA: Where have you
<i>been</i>?

2
00:00:03,000 --> 00:00:04,000
Out.

3
00:01:00,000 --> 00:01:02,000
{\\an8}Look at this: it works.
"""


def corpus(name: str, root: Path, labels: list[str] = MELD, **more: Any) -> CorpusParams:
    return CorpusParams(name=name, watch="", root=str(root), labels=labels, **more)


def meld(root: Path) -> CorpusParams:
    root.mkdir(parents=True, exist_ok=True)
    for split, rows in MELD_ROWS.items():
        text = "\r\n".join([MELD_HEADER, *rows, ""])
        (root / f"{split}_sent_emo.csv").write_bytes(text.encode())
    return corpus("meld", root)


def iemocap(root: Path, labels: list[str] = IEMOCAP, **more: bool) -> CorpusParams:
    for session in "15":
        dialog = root / f"Session{session}" / "dialog"
        for folder, text in (("EmoEvaluation", EVALUATION), ("transcriptions", TRANSCRIPT)):
            (dialog / folder).mkdir(parents=True)
            (dialog / folder / f"Ses0{session}F_impro01.txt").write_text(text.format(s=session))
        # As in the releases that passed through a Mac.
        (dialog / "EmoEvaluation" / f"._Ses0{session}F_impro01.txt").write_bytes(b"\0\5\x16\7\xff")
        (dialog / "EmoEvaluation" / "Categorical").mkdir()
    return corpus("iemocap", root, labels, **more)


def scp(root: Path) -> CorpusParams:
    root.mkdir(parents=True, exist_ok=True)
    (root / "session5_train.scp").write_text(
        "Ses01F_impro01_F000 Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav neu\n"
        f"Ses01F_impro01_M000 {root.absolute()}/Session 1/a file.wav exc\n"
    )
    (root / "session5_valid.scp").write_text("Ses05M_script01_1_M003\tb.wav\tsadness\n")
    return corpus("scp", root, FOUR)


def csv(root: Path) -> CorpusParams:
    root.mkdir(parents=True, exist_ok=True)
    (root / "own.csv").write_text(OWN)
    return corpus("csv", root)


def subtitles(root: Path) -> CorpusParams:
    (root / "train").mkdir(parents=True)
    (root / "train" / "kitchen.en.srt").write_text(SRT)
    (root / "train" / "kitchen.mkv").write_bytes(b"")
    (root / "call.srt").write_text(SRT)
    return corpus("subtitles", root)


def wav(path: Path, samples: np.ndarray, rate: int = 16000) -> None:
    """16-bit sound; `samples` [S] or, for several channels, [S, C], in -1…1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
