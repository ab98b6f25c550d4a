"""Import IEMOCAP as distributed: `corpus.root` is IEMOCAP_full_release or its parent folder.

    SessionN/dialog/EmoEvaluation/Ses01F_impro01.txt      spans and majority labels
    SessionN/dialog/transcriptions/Ses01F_impro01.txt     texts
    SessionN/dialog/avi/DivX/Ses01F_impro01.avi           both actors side by side, with audio
    SessionN/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav

Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", LREC 2008. `corpus.labels`
selects the utterances: with `excitement` it is the 6-way set; without it, excitement counts as happiness (the
4-way set). Pictures are the speaker's half of the .avi, during the utterance. Sound is the utterance's file in
`sentences/wav`. If the release has videos but no `sentences/wav`, sound is the speaker's own microphone: the left
channel of the .avi for the actor in the left half, the right channel for the other. The mix of both channels contains
the partner's voice.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline import fragments
from pipeline.corpora import raw
from pipeline.env import media_root
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.tables.schema import decimal

LANGUAGES = ("English",)
FAULTS = (
    "Utterances without a majority label, and labels outside corpus.labels, are left out of the dialogues.",
    "Each session has two actors, so a speaker occurs in one session only.",
)
CODES = {
    "hap": "happiness",
    "sad": "sadness",
    "neu": "neutral",
    "ang": "anger",
    "exc": "excitement",
    "fru": "frustration",
    "fea": "fear",
    "sur": "surprise",
    "dis": "disgust",
}
UNLABELLED = {"xxx", "oth"}
# Counts of the majority labels in the five sessions' evaluation files.
MAJORITY = {
    "happiness": 595,
    "sadness": 1084,
    "neutral": 1708,
    "anger": 1103,
    "excitement": 1041,
    "frustration": 1849,
}
TEST_SESSION = "5"
VAL_EVERY = 10
# Possessive quantifiers, so that a line of spaces does not take quadratic time.
_EVALUATION = re.compile(r"\[([^\] ]*+) - ([^\] ]*+)\]\t([^\t]*+)\t([^\t]*+)\t\[.*\]\s*")
_TRANSCRIPT = re.compile(r"(Ses\w++)\s*+(?:\[[^\]]*+\])?\s*+:(.*)")
_TAG = re.compile(r"\[[A-Z_ ]+\]|\+\+[A-Z_ ]+\+\+")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the utterances whose majority label is in `corpus.labels`: 7,380 with 6 emotions, 5,531 with 4.

    Session 5 is `test`; every tenth dialogue of the other sessions is `val`. `session` is set for `train.fold`.

    Raises:
        UserError: if there are no evaluation files or their lines do not have the documented form.
    """
    problems = Problems()
    files = _evaluations(root)
    rest = [path.stem for path in files if session(path.stem) != TEST_SESSION]
    val = set(rest[VAL_EVERY // 2 :: VAL_EVERY])
    media = media_root(corpus.root)
    release = _release(media)
    videos = any(release.glob("Session[0-9]/dialog/avi/DivX/[!.]*.avi"))
    sentences = any(release.glob("Session[0-9]/sentences/wav/*/[!.]*.wav"))
    rows = []
    for path in files:
        recorded = session(path.stem)
        folder = (release / f"Session{recorded}").relative_to(media).as_posix()
        split = "test" if recorded == TEST_SESSION else "val" if path.stem in val else "train"
        texts = _texts(path.parent.parent / "transcriptions" / path.name, corpus.keep_tags)
        for place, name, begins, ends, code in _lines(path, problems):
            emotion = label(code, corpus.labels)
            if emotion is None:
                if code not in CODES and code not in UNLABELLED:
                    problems.add(place, "emotion", code, f"must be one of {', '.join([*CODES, *UNLABELLED])}")
                continue
            speaker = name.removeprefix(f"{path.stem}_")[:1]
            if not re.fullmatch(rf"{re.escape(path.stem)}_[FM]\w{{1,9}}", name, re.ASCII):
                problems.add(place, "turn name", name, f"must be an utterance of {path.stem}")
                continue
            start, end = (begins, ends) if videos else (None, None)
            cell, audio = _cells(folder, path.stem, name, videos, sentences)
            rows.append(
                raw.Row(
                    place=place,
                    utterance=name,
                    dialogue=path.stem,
                    order=(begins, ends),
                    speaker=path.stem[:5] + speaker,
                    text=texts.get(name, ""),
                    split=split,
                    emotion=emotion,
                    session=recorded,
                    media=cell,
                    audio=audio,
                    start=start,
                    end=end,
                )
            )
    return raw.tables(rows, corpus, problems)


def label(code: str, labels: list[str]) -> str | None:
    """Return the name in `labels` of a majority label's code; None if `labels` excludes it."""
    name = CODES.get(code)
    if name == "excitement" and name not in labels:
        name = "happiness"
    return name if name in labels else None


def is_dialogue(name: str) -> bool:
    """Return whether `name` has the form of an IEMOCAP dialogue, such as Ses01F_impro01."""
    return re.fullmatch(r"Ses\d\d[FM]_\w+", name, re.ASCII) is not None


def session(dialogue: str) -> str:
    """Return the session of a dialogue, "1" to "5"."""
    return str(int(dialogue[3:5]))


def published(corpus: CorpusParams) -> dict[str, dict[str, int]]:
    """Return {"all": {emotion: utterances}}, the majority labels of the five sessions."""
    counts: Counter[str] = Counter()
    for code, name in CODES.items():
        if (found := label(code, corpus.labels)) is not None and name in MAJORITY:
            counts[found] += MAJORITY[name]
    return {"all": dict(counts)}


def notes(corpus: CorpusParams) -> list[str]:
    """Return a note on the difference from the circulating feature files (6 emotions only)."""
    if "excitement" not in corpus.labels:
        return []
    return [
        "counts follow the majority labels of the evaluation files: 7,380 utterances, 595 of them happiness; the "
        "circulating feature files have 7,433, 648 of them happiness"
    ]


def _release(root: Path) -> Path:
    inside = root / "IEMOCAP_full_release"
    return inside if inside.is_dir() else root


def _evaluations(root: Path) -> list[Path]:
    found = sorted(_release(root).glob("Session[0-9]/dialog/EmoEvaluation/Ses[0-9][0-9][FM]_*.txt"))
    if not found:
        raise raw.NoAnnotation(f"{root}: no Session*/dialog/EmoEvaluation/Ses*.txt here")
    return found


def _lines(path: Path, problems: Problems) -> Iterator[tuple[str, str, float, float, str]]:
    """Yield (place, name, start, end, code) of every summary line; skip the individual annotators' lines."""
    for place, line in raw.text_lines(path):
        if not line.startswith("["):
            continue
        match = _EVALUATION.fullmatch(line)
        if match is None:
            problems.add(
                place, "line", line, "must be [start - end], name, emotion, [v, a, d], tab-separated"
            )
            continue
        try:
            start, end = decimal(match[1]), decimal(match[2])
        except ValueError:
            start = end = math.nan
        # Checked here because rows of `sentences/wav` carry no span that `raw.tables` could check.
        if not 0 <= start < end < math.inf:
            problems.add(place, "span", f"{match[1]} - {match[2]}", "must be seconds, 0 ≤ start < end")
            continue
        yield place, match[3], start, end, match[4].strip()


def _texts(path: Path, keep_tags: bool) -> dict[str, str]:
    if not path.is_file():
        return {}
    texts = {}
    for _, line in raw.text_lines(path):
        if match := _TRANSCRIPT.fullmatch(line):
            text = match[2] if keep_tags else _TAG.sub(" ", match[2])
            texts[match[1]] = " ".join(text.split())
    return texts


def _cells(folder: str, dialogue: str, name: str, videos: bool, sentences: bool) -> tuple[str, str]:
    """Return the cells `media` and `audio` of an utterance."""
    sentence = f"{folder}/sentences/wav/{dialogue}/{name}.wav"
    if not videos:
        return sentence, ""
    file = f"{folder}/dialog/avi/DivX/{dialogue}.avi"
    # The dialogue's letter (F or M) names the actor with the markers, who is in the left half of the picture.
    left = name[len(dialogue) + 1] == dialogue[5]
    half = fragments.LEFT if left else fragments.RIGHT
    if sentences:
        return fragments.join(file, half), f"{sentence}#t=0"
    return fragments.join(file, half, "left" if left else "right"), ""
