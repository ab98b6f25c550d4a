"""Import recordings with subtitles (`.srt`, `.vtt`): one dialogue per file, one utterance per turn, no labels.

    corpus.root/train/kitchen.mp4, kitchen.srt      a folder train, val (dev) or test sets the split; default: test
    corpus.root/call.mkv, call.en.sdh.srt

If several people speak in one cue, each turn gets the whole span, because the file does not give their own times.
pipeline/corpora/turns.py defines speakers' names. Cues that contain only sounds (`[laughs]`, `♪ …`) are skipped
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
    """Read one utterance from each turn of every subtitle file under `root`, without emotions.

    Raises:
        UserError: if there are no subtitles or they contain invalid lines; one message lists all lines.
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
        dialogue = "_".join(below.with_suffix("").parts)
        if (other := dialogues.setdefault(dialogue, path)) != path:
            problems.add(
                str(path),
                "dialogue",
                dialogue,
                f"duplicate of the dialogue in {other}; keep one of the two files",
            )
        recording = below.parent / _recording(below.name, beside[below.parent])
        rows += utterances(path, dialogue, recording.as_posix(), split_of(below), corpus.keep_tags, problems)
    return raw.tables(rows, corpus, problems)


def utterances(
    path: Path, dialogue: str, media: str, split: str, keep_tags: bool, problems: Problems
) -> list[raw.Row]:
    """Return one utterance for each turn of a subtitle file, all in one dialogue.

    Args:
        path: the subtitle file.
        dialogue: the dialogue's name.
        media: the recording, relative to the media root.
        split: the dialogue's split.
        keep_tags: whether sounds such as `[laughs]` stay in the text.
        problems: receives the invalid lines.

    Raises:
        UserError: if the file is not a text file.
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


def split_of(below: Path) -> str:
    """Return the split that a folder of a file's path names, such as `train/` or `dev/`; `test` if none does."""
    words = [part.lower() for part in below.parts[:-1]]
    return next((raw.SPLIT_WORDS[word] for word in words if word in raw.SPLIT_WORDS), "test")


def notes(corpus: CorpusParams) -> list[str]:
    """Return a note with the number of skipped cues; empty if there are none."""
    roots = (Path(corpus.root), media_root(corpus.root))
    files = next(filter(None, map(_files, roots)), [])
    left = 0
    for path in files:
        cues = read_cues(path, Problems())
        left += len(cues) - len({turn.place for turn in turns(cues, corpus.keep_tags)})
    return [f"{left:,} cues contain only sounds and were skipped; corpus.keep_tags=true keeps them"] * (
        left > 0
    )


def _files(root: Path) -> list[Path]:
    return folders.files(root, ".srt", ".vtt")


def _recordings(folder: Path) -> dict[tuple[str, str], str]:
    """Map (name without suffix, suffix) of each recording in a folder to its name on disk.

    Keys use one Unicode form (NFC) and lower-case suffixes.
    """
    found = folders.files(folder, *SUFFIXES, below=False)
    return {(normalize("NFC", path.stem), path.suffix.lower()): path.name for path in found}


def _recording(subtitles: str, beside: dict[tuple[str, str], str]) -> str:
    """Return the recording of a subtitle file.

    `talk.en.sdh.srt` belongs to `talk.en.sdh.mp4`, else `talk.en.mp4`, else `talk.mp4`.
    """
    stem = subtitles
    while "." in stem:
        stem = stem.rpartition(".")[0]
        for suffix in SUFFIXES:
            if name := beside.get((normalize("NFC", stem), suffix)):
                return name
    return Path(subtitles).with_suffix(".mp4").name
