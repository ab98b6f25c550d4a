"""Build timeline.html: the predicted emotion of each turn; a click on a turn plays it.

The page is one offline file. Its content security policy allows only the recording, which is named by a path relative
to the page, so folder and recording can be moved together.
"""

from __future__ import annotations

import math
import os
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evaluate.page import bar, page, top
from evaluate.palette import colours
from evaluate.predict.answers import Answers
from evaluate.predict.trained import Trained
from pipeline import fragments

HERE = Path(__file__).parent
UNKNOWN = 1.0  # seconds of the strip for a turn of unknown length


def render(answers: Answers, model: Trained, folder: Path) -> str:
    """Return the page's HTML, to be saved in `folder`; equal answers give equal text."""
    return page(
        HERE / "timeline",
        HERE / "timeline.css",
        names=answers.labels,
        colours=colours(answers.labels),
        model=model,
        dialogues=_dialogues(answers, folder),
        notes=answers.recordings.notes(),
    )


def _dialogues(answers: Answers, folder: Path) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for i, utterance in enumerate(answers.recordings.utterances):
        start, end = answers.recordings.span(utterance)
        turn = {
            "utterance": utterance,
            "start": start,
            "end": end if math.isfinite(end) else None,
            "at": f"{int(start // 60)}:{int(start % 60):02}",
            "source": _link(answers, utterance.played.cell, folder),
            "predicted": int(answers.probabilities[i].argmax()),
            "open": answers.is_open(i),
            "probabilities": [float(p) for p in answers.probabilities[i]],
            "kept": top(answers.probabilities[i]),
            "bar": bar(answers.probabilities[i]),
            "gaps": answers.gaps(i),
        }
        found.setdefault(utterance.dialogue, []).append(turn)
    return [{"name": name, "turns": _placed(turns, answers)} for name, turns in found.items()]


def _placed(turns: list[dict[str, Any]], answers: Answers) -> list[dict[str, Any]]:
    """Return the turns with `left` and `width` in percent of the strip.

    If one file holds the dialogue and has times, they are positions in time; otherwise turns follow one another.
    """
    lengths = [turn["end"] - turn["start"] if turn["end"] is not None else UNKNOWN for turn in turns]
    starts = [turn["start"] for turn in turns]
    timed = any(turn["utterance"].played[1:3] != (None, None) for turn in turns)
    if not timed or len({turn["source"] for turn in turns}) > 1:
        starts = list(accumulate(lengths[:-1], initial=0.0))
    whole = max(start + length for start, length in zip(starts, lengths, strict=True)) or 1.0
    for turn, start, length in zip(turns, starts, lengths, strict=True):
        turn["left"], turn["width"] = round(100 * start / whole, 3), round(100 * length / whole, 3)
    return turns


def _link(answers: Answers, cell: str, folder: Path) -> str:
    """Return the recording's URL relative to the page, or an empty string if the file is missing."""
    file = fragments.split(cell).file
    if file not in answers.recordings.files:
        return ""
    path = os.path.relpath((answers.recordings.media / file).resolve(), folder.resolve())
    return quote(Path(path).as_posix())
