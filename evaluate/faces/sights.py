"""What a face stream sees of each utterance: small pictures with all boxes, the selected ones marked, and why."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from evaluate.page import page
from extract.contract import Failure, Item
from extract.encoders.face import FaceEncoder
from extract.reading.media import MediaError
from extract.reading.pictures import iter_frames
from extract.reading.speaker import FELL_BACK
from extract.streams import encoder_of, load_checked
from pipeline.disk import write_text
from pipeline.errors import UserError
from pipeline.params import PARAMS
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import Utterance, dialogues, read_utterances
from pipeline.tables.target import target_of

PICTURES = 4  # of an utterance
WIDTH = 240  # pixels
QUALITY = 60  # of JPEG
UNSURE = 0.9  # probability of a face below which a picture is worth a look
T = TypeVar("T")
TAKEN, LEFT = (80, 220, 90), (230, 120, 60)


@dataclass(frozen=True, slots=True)
class Sight:
    """One utterance on the page.

    Attributes:
        pictures: JPEG data addresses, with their captions.
        several: examined frames with more than one face.
        frames: examined frames.
        fell_back: nobody in view speaks.
        unsure: the lowest probability of a selected face is below `UNSURE`.
        reason: status and reason if there are no features; empty otherwise.
    """

    utterance: Utterance
    pictures: list[tuple[str, str]]
    several: int
    frames: int
    fell_back: bool
    unsure: bool
    reason: str


def write(stream: str, split: str | None, most: int, to: Path) -> list[str]:
    """Write the page and return lines for the terminal.

    Args:
        stream: its name in params.yaml.
        split: only utterances of this split; None for all.
        most: utterances shown at most.
        to: where to write the page.

    Raises:
        UserError: the stream is not one of faces, the tables are missing or invalid, or the page cannot be written.
    """
    params = load_checked()
    encoder = encoder_of(stream, params)
    if not isinstance(encoder, FaceEncoder):
        raise UserError(
            f"{PARAMS}: extract.{stream}.encoder={encoder.params.encoder!r}: detects no faces; name a stream whose "
            "encoder is face"
        )
    utterances = read_utterances()
    if split:
        labels = read_labels(utterances, target_of(params.corpus))
        of_split = set(labels["utterance"][labels["split"] == split])
        wanted = [u.utterance in of_split for u in utterances]
    else:
        wanted = [True] * len(utterances)
    items = [(u, item) for (u, item), there in zip(_items(encoder, utterances), wanted, strict=True) if there]
    chosen = _spread(items, most)
    sights = [_sight(encoder, utterance, item) for utterance, item in chosen]
    summary = _summary(sights, len(items))
    page_text = page(
        Path(__file__).parent / "faces", stream=stream, sights=sights, summary=summary, params=encoder.params
    )
    write_text(to, page_text)
    return [*summary, f"{to}: {len(sights):,} utterances"]


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
    fell_back = any(one.why.startswith(FELL_BACK) for one in seen)
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
) -> list[tuple[str, str]]:
    """Return the pictures on screen at the times of `marked`: (JPEG data address, caption)."""
    found: list[tuple[str, str]] = []
    waiting = sorted(marked)
    shown: np.ndarray | None = None
    for at, frame in frames:
        while shown is not None and waiting and at > waiting[0] + 0.0005:
            found.append(_drawn(shown, waiting[0], *marked[waiting.pop(0)]))
        shown = frame
    if shown is not None:
        found += [_drawn(shown, at, *marked[at]) for at in waiting]
    return found


def _drawn(
    frame: np.ndarray, seconds: float, all_boxes: np.ndarray, taken: np.ndarray, why: str
) -> tuple[str, str]:
    height, width = frame.shape[:2]
    scale = min(1.0, WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    for boxes, colour, thick in ((all_boxes, LEFT, 1), (taken, TAKEN, 2)):
        for box in boxes:
            x0, y0, x1, y1 = (round(float(edge) * scale) for edge in box[:4])
            cv2.rectangle(small, (x0, y0), (x1, y1), colour, thick)
    done, data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise UserError(
            "OpenCV cannot write JPEG; install opencv-python-headless as pinned in requirements.txt"
        )
    sure = f", p {float(taken[:, 4].min()):.2f}" if len(taken) else ""
    caption = f"{seconds:.2f} s{sure}{', ' + why if why else ''}"
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}", caption


def _summary(sights: Sequence[Sight], count: int) -> list[str]:
    frames, several = sum(s.frames for s in sights), sum(s.several for s in sights)
    return [
        f"{len(sights):,} of {count:,} utterances, {frames:,} examined frames, {several:,} of them with several faces",
        f"utterances in which nobody in view speaks: {sum(s.fell_back for s in sights):,}; with a face of probability "
        f"below {UNSURE}: {sum(s.unsure for s in sights):,}; without features: {sum(bool(s.reason) for s in sights):,}",
    ]
