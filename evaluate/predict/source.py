"""Read new recordings as utterances of a corpus: a video with its subtitles, or a csv of spans.

A video is one dialogue, and each turn in its cues is one utterance (pipeline/corpora/turns.py). A csv has the columns
of corpus `csv` (pipeline/corpora/csv.py); `split` and `emotion` are ignored. Its media paths are relative to the csv's
folder, or to EMOFUSE_MEDIA.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from pipeline import fragments
from pipeline.corpora import csv, raw, subtitles
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.prepare import hash_media
from pipeline.probe import STEP, Probe, probe
from pipeline.tables import schema as tables
from pipeline.tables.schema import Utterance

NEEDED = ("utterance", "dialogue", "turn")


@dataclass(frozen=True)
class Recordings:
    """Utterances, the folder that their `media` is relative to, and the properties of each file that exists."""

    utterances: list[Utterance]
    media: Path
    files: dict[str, Probe]

    def span(self, utterance: Utterance) -> tuple[float, float]:
        """Return start and end in seconds; a missing time becomes the file's start or end, and the end is cut there."""
        length = self.length(utterance)
        start = utterance.start or 0.0
        end = length if utterance.end is None else utterance.end
        return start, max(start, min(end, length) if start < length else end)

    def length(self, utterance: Utterance) -> float:
        """Return the length of its file in seconds, infinity if unknown."""
        known = self.files.get(fragments.split(utterance.media)[0])
        return known.seconds if known and known.seconds else math.inf

    @property
    def seconds(self) -> float:
        """The total length of all files in seconds."""
        return sum(file.seconds for file in self.files.values())

    def notes(self) -> list[str]:
        """Return warnings about the files: missing, damaged, silent, or shorter than the utterances say."""
        named = dict.fromkeys(fragments.split(u.media)[0] for u in self.utterances if u.media)
        found = [f"{name}: not found under {self.media}" for name in named if name not in self.files]
        for name, file in self.files.items():
            if file.error:
                found.append(f"{name}: {file.error}")
            elif file.loudness is None:
                found.append(f"{name}: no sound track")
            elif file.silent(None, None):
                found.append(f"{name}: the sound track is silent")
        late = [u for u in self.utterances if (u.start or 0.0) >= self.length(u)]
        if late:
            found.append(f"{late[0].utterance}: starts after the end of {late[0].media}")
            found += [f"and {len(late) - 1} more start after the end"] * (len(late) > 1)
        cut = [u for u in self.utterances if (u.start or 0.0) < self.length(u) < (u.end or 0.0) - STEP]
        if cut:
            found.append(
                f"{cut[0].utterance}: ends at {cut[0].end:g} s and is cut, because {cut[0].media} ends at "
                f"{self.length(cut[0]):g} s"
            )
            found += [f"and {len(cut) - 1} more are cut at the end"] * (len(cut) > 1)
        return found


def from_video(video: Path, srt: Path, labels: list[str], scratch: Path) -> Recordings:
    """Read a video and its subtitles.

    Raises:
        UserError: a file is missing, no cue has words, or a time line is invalid.
    """
    if not video.is_file():
        raise UserError(f"{video}: no such file; check the path")
    problems = Problems()
    name = video.stem.strip() or "video"
    rows = subtitles.utterances(srt, name, video.name, "test", keep_tags=False, problems=problems)
    problems.stop()
    if not rows:
        raise UserError(
            f"{srt}: no cue has any words, so there is nothing to predict; give subtitles with text"
        )
    return _recordings(rows, srt, video.parent, labels, scratch)


def from_csv(path: Path, labels: list[str], scratch: Path) -> Recordings:
    """Read a csv of spans.

    Raises:
        UserError: columns or values are invalid; one message lists them all.
    """
    problems = Problems()
    rows = csv.rows(path, NEEDED, problems)
    problems.stop()
    if not rows:
        raise UserError(f"{path}: no rows, so there is nothing to predict; add one row per utterance")
    return _recordings(rows, path, media_root(path.parent), labels, scratch)


def _recordings(
    rows: list[raw.Row], source: Path, media: Path, labels: list[str], scratch: Path
) -> Recordings:
    corpus = CorpusParams(name="csv", watch=str(source), root=str(media), labels=labels)
    rows = [dataclasses.replace(row, split="test", emotion="") for row in rows]
    frame, _ = raw.tables(rows, corpus, Problems())
    hashes = hash_media(frame["media"], media)
    frame["media_hash"] = frame["media"].map(hashes)
    # Written and read back as in the pipeline, because the reader validates the table.
    tables.write_table(frame, tables.UTTERANCE_COLUMNS, scratch / "utterances.csv")
    found = {fragments.split(cell)[0] for cell, digest in hashes.items() if cell and digest}
    files = {name: probe(media / name) for name in sorted(found)}
    return Recordings(tables.read_utterances(scratch / "utterances.csv"), media, files)
