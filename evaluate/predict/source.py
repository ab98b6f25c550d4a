"""Read new recordings as utterances of a corpus: a recording with or without subtitles, or a csv of spans.

A recording is one dialogue. Its utterances are the turns in its cues (pipeline/corpora/turns.py), or are recognised in
its sound (pipeline/transcribe). A csv has the columns of corpus `csv` (pipeline/corpora/csv.py); `split` and `emotion`
are ignored. Its media paths are relative to the csv's folder, or to EMOFUSE_MEDIA.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline import fragments
from pipeline.corpora import csv, raw, subtitles
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.prepare import add_hashes
from pipeline.probe import STEP, Probe, probe
from pipeline.tables import schema as tables
from pipeline.tables.schema import Source, Utterance
from pipeline.tables.target import Target
from pipeline.transcribe.params import TranscribeParams

NEEDED = ("utterance", "dialogue", "turn")


@dataclass(frozen=True)
class Recordings:
    """Utterances, the folder that their `media` is relative to, and the properties of each file that exists."""

    utterances: list[Utterance]
    media: Path
    files: dict[str, Probe]

    def span(self, utterance: Utterance) -> tuple[float, float]:
        """Return start and end in seconds; a missing time becomes the file's start or end, and the end is cut there."""
        source = utterance.played
        length = self.length(source)
        start = source.start or 0.0
        end = length if source.end is None else source.end
        return start, max(start, min(end, length) if start < length else end)

    def length(self, source: Source) -> float:
        """Return the length of its file in seconds, infinity if unknown."""
        known = self.files.get(fragments.split(source.cell).file)
        return known.seconds if known and known.seconds else math.inf

    @property
    def seconds(self) -> float:
        """The total length of the files that are played, in seconds."""
        return sum(self.files[name].seconds for name in played(self.utterances) if name in self.files)

    def notes(self) -> list[str]:
        """Return warnings about the files: missing, damaged, silent, or shorter than the utterances say."""
        uses = [(u.utterance, source) for u in self.utterances for source in dict.fromkeys((u.seen, u.heard))]
        uses = [(name, source) for name, source in uses if source.cell]
        named = dict.fromkeys(fragments.split(source.cell).file for _, source in uses)
        found = [f"{name}: not found under {self.media}" for name in named if name not in self.files]
        found += [f"{name}: {file.error}" for name, file in self.files.items() if file.error]
        cells = [fragments.split(u.heard.cell) for u in self.utterances]
        for name, channel in dict.fromkeys((cell.file, cell.channel) for cell in cells):
            file = self.files.get(name)
            if file is None or file.error:
                continue
            if file.loudness is None:
                found.append(f"{name}: no sound track")
            elif not file.has(channel):
                found.append(f"{name}: no such channel as #channel={channel}")
            elif file.silent(None, None, channel):
                found.append(f"{name}: the sound track is silent")
        late = [use for use in uses if (use[1].start or 0.0) >= self.length(use[1])]
        if late:
            found.append(f"{late[0][0]}: starts after the end of {late[0][1].cell}")
            found += [f"and {len(late) - 1} more start after the end"] * (len(late) > 1)
        cut = [
            (name, source)
            for name, source in uses
            if (source.start or 0.0) < self.length(source) < (source.end or 0.0) - STEP
        ]
        if cut:
            name, source = cut[0]
            found.append(
                f"{name}: ends at {source.end:g} s and is cut, because {source.cell} ends at "
                f"{self.length(source):g} s"
            )
            found += [f"and {len(cut) - 1} more are cut at the end"] * (len(cut) > 1)
        return found


def from_video(video: Path, srt: Path, target: Target, scratch: Path) -> Recordings:
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
    return _recordings(rows, srt, video.parent, target, scratch)


def from_recording(
    recording: Path, speakers: int, target: Target, scratch: Path, journals: Path
) -> Recordings:
    """Transcribe a recording with `speakers` speakers (0: estimate the number); `journals` keeps the transcript.

    Raises:
        UserError: the recording, the engines or their weights are missing, or no word was recognised.
    """
    from pipeline.transcribe.recordings import transcribe

    (found,) = transcribe(recording.parent, [recording.name], TranscribeParams(speakers=speakers), journals)
    if not found.turns:
        raise UserError(
            f"{recording}: {found.error or 'no word was recognised'}, so there is nothing to predict; give its "
            "utterances in --subtitles or a --csv"
        )
    return _recordings(found.rows("test"), recording, recording.parent, target, scratch)


def from_csv(path: Path, target: Target, scratch: Path) -> Recordings:
    """Read a csv of spans.

    Raises:
        UserError: columns or values are invalid; one message lists them all.
    """
    problems = Problems()
    rows = csv.rows(path, NEEDED, target.values, problems)
    problems.stop()
    if not rows:
        raise UserError(f"{path}: no rows, so there is nothing to predict; add one row per utterance")
    return _recordings(rows, path, media_root(path.parent), target, scratch)


def _recordings(rows: list[raw.Row], source: Path, media: Path, target: Target, scratch: Path) -> Recordings:
    unknown = dict.fromkeys(target.values)
    rows = [dataclasses.replace(row, split="test", emotion="", values=unknown) for row in rows]
    frame, _ = raw.tables(rows, corpus_of(target, source, media), Problems())
    add_hashes(frame, media)
    # Written and read back as in the pipeline, because the reader validates the table.
    tables.write_utterances(frame, scratch / "utterances.csv")
    utterances = tables.read_utterances(scratch / "utterances.csv")
    found = {fragments.split(s.cell).file for u in utterances for s in (u.seen, u.heard) if s.sha256}
    return Recordings(utterances, media, {name: probe(media / name) for name in sorted(found)})


def corpus_of(target: Target, watch: Path, media: Path) -> CorpusParams:
    """Return the section `corpus` of new recordings.

    Args:
        target: what the model learned.
        watch: the file that names the recordings.
        media: their folder.
    """
    return CorpusParams(
        name="csv", watch=str(watch), root=str(media),
        labels=list(target.labels), target=target.kind, values=list(target.values),
    )  # fmt: skip


def played(utterances: Iterable[Utterance]) -> list[str]:
    """Return the files that show or play the utterances, each once, in order."""
    return list(dict.fromkeys(fragments.split(u.played.cell).file for u in utterances if u.played.cell))
