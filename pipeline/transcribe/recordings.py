"""Transcribe recordings: store the words of each in its journal, and cut the journal's words into utterances."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import folders
from pipeline.corpora.raw import Row
from pipeline.errors import UserError
from pipeline.locks import say
from pipeline.progress import Progress
from pipeline.transcribe.ears import Ears
from pipeline.transcribe.hear import hear
from pipeline.transcribe.journal import Block, Journal
from pipeline.transcribe.params import TranscribeParams
from pipeline.transcribe.sound import Unreadable, length
from pipeline.transcribe.speakers import speakers
from pipeline.transcribe.turns import Turn, turns

COLUMNS = ("utterance", "dialogue", "turn", "speaker", "text", "media", "start", "end", "emotion")


@dataclass(frozen=True, slots=True)
class Transcript:
    """The utterances of one recording.

    Attributes:
        file: the recording, relative to the media's folder.
        dialogue: its name.
        turns: its utterances; none if no word was recognised, or if the recording cannot be read.
        error: why it cannot be read; empty if it can.
    """

    file: str
    dialogue: str
    turns: list[Turn]
    error: str = ""

    def rows(self, split: str) -> list[Row]:
        """Return its rows; one without times and text if there is no utterance, so that no recording is lost."""
        told = [(turn.start, turn.end, turn.speaker, turn.text) for turn in self.turns]
        return [
            Row(
                place=self.file,
                utterance=f"{self.dialogue}_{number:04}",
                dialogue=self.dialogue,
                order=(number,),
                speaker=speaker,
                text=text,
                split=split,
                emotion="",
                media=self.file,
                start=start,
                end=end,
            )
            for number, (start, end, speaker, text) in enumerate(told or [(None, None, "", "")])
        ]


def transcribe(
    media: Path, files: Sequence[str], params: TranscribeParams, journals: Path
) -> Iterator[Transcript]:
    """Yield the transcript of each recording. Blocks that a journal holds are not transcribed again.

    Args:
        media: the folder of the recordings.
        files: the recordings, relative to it.
        params: how to transcribe.
        journals: the folder of the journals.

    Raises:
        UserError: a recording, an engine or weights are missing, or a journal cannot be written.
    """
    if missing := [file for file in files if not (media / file).is_file()]:
        raise UserError(f"{media / missing[0]}: no such file; check the path")
    ears = Ears(params)
    seconds = sum(length(media / file) for file in files)
    with Progress("transcribe", round(seconds), "s") as progress:
        for file, dialogue in folders.stems(files).items():
            try:
                blocks = _blocks(media / file, ears, journals, progress)
            except Unreadable as error:
                say(f"warning: {file}: {error}")
                yield Transcript(file, dialogue, [], str(error))
            else:
                yield Transcript(file, dialogue, _turns(blocks, params))


def _blocks(path: Path, ears: Ears, journals: Path, progress: Progress) -> list[Block]:
    digest = hashlib.sha256(ears.fingerprint.encode())
    with path.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    with Journal(journals / f"{digest.hexdigest()[:32]}.jsonl") as journal:
        hear(path, journal, ears, progress.add)
        return journal.blocks


def _turns(blocks: Sequence[Block], params: TranscribeParams) -> list[Turn]:
    speech = [span for block in blocks for span in block.speech]
    words = [word for block in blocks for word in block.words]
    windows = np.array([span for block in blocks for span in block.windows]).reshape(-1, 2)
    names = [""] * len(words)
    if len(windows):
        found = speakers(
            np.concatenate([block.voices for block in blocks if len(block.windows)]), params.speakers
        )
        at = np.array([(word.start + word.end) / 2 for word in words])
        names = [f"Speaker {1 + found[i]}" for i in _nearest(windows.mean(1), at)]
    return turns(speech, words, names, params.pause, params.longest)


def _nearest(centres: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the index of the nearest centre for each second; both in ascending order."""
    after = (
        np.searchsorted(centres, at).clip(1, len(centres) - 1) if len(centres) > 1 else np.zeros(len(at), int)
    )
    before = (after - 1).clip(0)
    return np.where(np.abs(centres[before] - at) <= np.abs(centres[after] - at), before, after)


def table(rows: Sequence[Row]) -> str:
    """Return the text of a csv file that corpus `csv` and `python -m evaluate.predict --csv` read."""
    frame = pd.DataFrame(
        [
            {"turn": row.order[0], **{name: getattr(row, name) for name in COLUMNS if name != "turn"}}
            for row in rows
        ],
        columns=list(COLUMNS),
    )
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text
