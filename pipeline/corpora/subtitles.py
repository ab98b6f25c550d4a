"""A folder of recordings with subtitles (`.srt`, `.vtt`): one dialogue a file, one utterance a turn, nothing labelled.

    corpus.root/train/kitchen.mp4, kitchen.srt      a folder train, val (dev) or test says the split; otherwise test
    corpus.root/call.mkv, call.en.sdh.srt

A cue that several people speak in gives each of them its whole span, since the file does not say who begins when.
pipeline/corpora/turns.py says what a speaker's name is. Cues of sounds alone (`[laughs]`, `♪ …`) are no utterances
unless `corpus.keep_tags` is true.
"""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

from pipeline import folders
from pipeline.corpora import raw
from pipeline.corpora.cues import read_cues
from pipeline.corpora.turns import turns
from pipeline.env import media_root
from pipeline.messages import Problems
from pipeline.params import CorpusParams

SUFFIXES = (
    ".mp4", ".m4v", ".mkv", ".avi", ".mov", ".webm", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp",
    ".m4a", ".mp3", ".wav", ".flac", ".ogg", ".opus", ".aac", ".aiff", ".aif", ".wma", ".amr",
)  # fmt: skip


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """One utterance a turn of every subtitle file under `root`, without emotions.

    Raises:
        UserError: no subtitles, or bad lines in them (all in one message).
    """
    files = {path.relative_to(root): path for path in _files(root)}
    if not files:
        raise raw.NoAnnotation(f"{root}: no .srt or .vtt files here")
    media = media_root(corpus.root)
    beside = {folder: _recordings(media / folder) for folder in {below.parent for below in files}}
    problems = Problems()
    rows = []
    dialogues: dict[str, Path] = {}
    for below, path in files.items():
        words = [part.lower() for part in below.parts[:-1]]
        split = next((raw.SPLIT_WORDS[word] for word in words if word in raw.SPLIT_WORDS), "test")
        dialogue = "_".join(below.with_suffix("").parts)
        if (other := dialogues.setdefault(dialogue, path)) != path:
            problems.add(
                str(path), "dialogue", dialogue, f"is that of {other} already; keep one of the two files"
            )
        recording = below.parent / _recording(below.name, beside[below.parent])
        rows += utterances(path, dialogue, recording.as_posix(), split, corpus.keep_tags, problems)
    return raw.tables(rows, corpus, problems)


def utterances(
    path: Path, dialogue: str, media: str, split: str, keep_tags: bool, problems: Problems
) -> list[raw.Row]:
    """One utterance a turn of a subtitle file, all of one dialogue.

    Raises:
        UserError: no text file (bad lines are added to `problems` instead).
    """
    return [
        raw.Row(
            place=turn.place,
            utterance=f"{dialogue}_{number:04}",
            dialogue=dialogue,
            order=(number,),
            speaker=turn.speaker,
            text=turn.text,
            split=split,
            emotion="",
            media=media,
            start=turn.start,
            end=turn.end,
        )
        for number, turn in enumerate(turns(read_cues(path, problems), keep_tags))
    ]


def notes(corpus: CorpusParams) -> list[str]:
    """How many cues are no utterances."""
    roots = (Path(corpus.root), media_root(corpus.root))
    files = next(filter(None, map(_files, roots)), [])
    left = 0
    for path in files:
        cues = read_cues(path, Problems())
        left += len(cues) - len({turn.place for turn in turns(cues, corpus.keep_tags)})
    return [f"{left:,} cues hold sounds alone and are no utterances; corpus.keep_tags=true keeps them"] * (
        left > 0
    )


def _files(root: Path) -> list[Path]:
    return folders.files(root, ".srt", ".vtt")


def _recordings(folder: Path) -> dict[tuple[str, str], str]:
    """{(name without suffix, suffix): name on disk} of the recordings in a folder, in one spelling."""
    found = folders.files(folder, *SUFFIXES, below=False)
    return {(normalize("NFC", path.stem), path.suffix.lower()): path.name for path in found}


def _recording(subtitles: str, beside: dict[tuple[str, str], str]) -> str:
    """The recording of a subtitle file; `talk.en.sdh.srt` belongs to `talk.mp4` where there is no nearer name."""
    stem = subtitles
    while "." in stem:
        stem = stem.rpartition(".")[0]
        for suffix in SUFFIXES:
            if name := beside.get((normalize("NFC", stem), suffix)):
                return name
    return Path(subtitles).with_suffix(".mp4").name
