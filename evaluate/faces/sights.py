"""What a face stream sees of each utterance: small pictures with all boxes, and the selected faces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from evaluate.faces.drawings import Picture, drawn, strip
from evaluate.run.shown import faces_file
from extract.contract import Failure, Item
from extract.encoders.face import FaceEncoder
from extract.reading.media import MediaError
from extract.reading.pictures import iter_frames
from extract.reading.speaker import SILENT
from extract.streams import encoder_of, load_checked
from pipeline.disk import replacing, write_text
from pipeline.errors import UserError
from pipeline.pages.page import page
from pipeline.params import PARAMS
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import Utterance, dialogues, read_utterances
from pipeline.tables.target import target_of

PICTURES = 4  # of an utterance
UNSURE = 0.9  # probability of a face below which a picture is worth a look
DETAILS = Path("results/details.json")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sight:
    """One utterance on the page.

    Attributes:
        pictures: examined frames and the selected faces.
        several: examined frames with more than one face.
        frames: examined frames.
        fell_back: no face in view speaks, so the likeliest was taken.
        unsure: the lowest probability of a selected face is below `UNSURE`.
        reason: status and reason if there are no features; empty otherwise.
    """

    utterance: Utterance
    pictures: list[Picture]
    several: int
    frames: int
    fell_back: bool
    unsure: bool
    reason: str


def write(stream: str, split: str | None, most: int, to: Path, wrong: bool = False) -> list[str]:
    """Write the page, and beside it a picture of each utterance's selected faces; return lines for the terminal.

    Args:
        stream: its name in params.yaml.
        split: only utterances of this split; None for all.
        most: utterances shown at most.
        to: where to write the page.
        wrong: only the utterances that results/details.json lists as most confidently wrong.

    Raises:
        UserError: the stream is not one of faces, the tables are missing or invalid, there are no results, or the page
            cannot be written.
    """
    params = load_checked()
    encoder = encoder_of(stream, params)
    if not isinstance(encoder, FaceEncoder):
        raise UserError(
            f"{PARAMS}: extract.{stream}.encoder={encoder.params.encoder!r}: detects no faces; name a stream whose "
            "encoder is face"
        )
    utterances = read_utterances()
    wanted = {u.utterance for u in utterances}
    if split:
        labels = read_labels(utterances, target_of(params.corpus))
        wanted &= set(labels["utterance"][labels["split"] == split])
    verdicts = _verdicts() if wrong else {}
    if wrong:
        wanted &= set(verdicts)
    items = [(u, item) for u, item in _items(encoder, utterances) if u.utterance in wanted]
    chosen = _spread(items, most)
    sights = [_sight(encoder, utterance, item) for utterance, item in chosen]
    summary = _summary(sights, len(items))
    page_text = page(
        Path(__file__).parent / "faces",
        stream=stream,
        sights=sights,
        summary=summary,
        params=encoder.params,
        verdicts=verdicts,
    )
    write_text(to, page_text)
    for sight in sights:
        if faces := strip(sight.pictures):
            with replacing(to.with_suffix("") / faces_file(sight.utterance.utterance)) as part:
                part.write_bytes(faces)
    return [*summary, f"{to}: {len(sights):,} utterances"]


def _verdicts() -> dict[str, str]:
    """Return the emotion and the model's answer for the utterances that are most confidently wrong, by id."""
    try:
        found = json.loads(DETAILS.read_text(encoding="utf-8"))["wrong"]
    except FileNotFoundError:
        raise UserError(f"{DETAILS}: no such file; run `dvc repro evaluate`") from None
    return {
        row["utterance"]: f"true {row['emotion']}, predicted {row['predicted']} ({row['probability']:.1%})"
        for row in found
    }


def _items(
    encoder: FaceEncoder, utterances: Sequence[Utterance]
) -> Iterator[tuple[Utterance, Item | Failure]]:
    for dialogue in dialogues(utterances):
        for i, utterance in enumerate(dialogue):
            yield utterance, encoder.item(dialogue, i)


def _sight(encoder: FaceEncoder, utterance: Utterance, item: Item | Failure) -> Sight:
    if isinstance(item, Failure):
        return _without(utterance, item)
    try:
        span = encoder.span(item)
        seen, boxes = encoder.look(span)
        if isinstance(seen, Failure):
            marked = {at: (boxes[at], boxes[at][:0], "") for at in _spread(sorted(boxes), PICTURES)}
        else:
            marked = {
                one.seconds: (_near(boxes, one.seconds), one.boxes, one.why)
                for one in _spread(seen, PICTURES)
            }
        pictures = _pictures(marked, iter_frames(*span[:3], encoder.params.max_seconds))
    except MediaError as error:
        return _without(utterance, error.failure)
    several = sum(len(found) > 1 for found in boxes.values())
    if isinstance(seen, Failure):
        return Sight(utterance, pictures, several, len(boxes), False, False, f"{seen.status}: {seen.reason}")
    least = min(float(one.boxes[:, 4].min()) for one in seen)
    fell_back = any(one.why.startswith(SILENT) for one in seen)
    return Sight(utterance, pictures, several, len(boxes), fell_back, least < UNSURE, "")


def _without(utterance: Utterance, failure: Failure) -> Sight:
    return Sight(utterance, [], 0, 0, False, False, f"{failure.status}: {failure.reason}")


def _spread(found: Sequence[T], most: int) -> list[T]:
    """Return up to `most` of what was found, evenly spread, the first and the last included."""
    places = np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)
    return [found[i] for i in np.unique(places)]


def _near(boxes: dict[float, np.ndarray], seconds: float) -> np.ndarray:
    """Return the boxes of the examined frame that is nearest."""
    return boxes[min(boxes, key=lambda at: abs(at - seconds))]


def _pictures(
    marked: dict[float, tuple[np.ndarray, np.ndarray, str]], frames: Iterable[tuple[float, np.ndarray]]
) -> list[Picture]:
    """Return the pictures on screen at the times of `marked`."""
    found: list[Picture] = []
    waiting = sorted(marked)
    shown: np.ndarray | None = None
    for at, frame in frames:
        while shown is not None and waiting and at > waiting[0] + 0.0005:
            found.append(drawn(shown, waiting[0], *marked[waiting.pop(0)]))
        shown = frame
    if shown is not None:
        found += [drawn(shown, at, *marked[at]) for at in waiting]
    return found


def _summary(sights: Sequence[Sight], count: int) -> list[str]:
    frames, several = sum(s.frames for s in sights), sum(s.several for s in sights)
    return [
        f"{len(sights):,} of {count:,} utterances, {frames:,} examined frames, {several:,} of them with several faces",
        f"utterances in which no face in view speaks: {sum(s.fell_back for s in sights):,}; with a face of probability "
        f"below {UNSURE}: {sum(s.unsure for s in sights):,}; without features: {sum(bool(s.reason) for s in sights):,}",
    ]
