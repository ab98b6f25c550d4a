"""Find the face that speaks: the track of each shot whose pictures fit the sound.

If a shot has one face, that face is taken. If it has several, each is scored: by LR-ASD (extract/networks/lr_asd.py),
or by how far the mouth follows the sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from extract.reading.media import MediaError, Span
from extract.reading.mfcc import mfcc
from extract.reading.sound import read_audio
from extract.reading.tracks import RATE, Track, on_grid

Picture = tuple[float, np.ndarray]

SIDE = 112
PADDING = 110  # grey, where a crop reaches beyond the frame
SMOOTHED = 13  # pictures whose median box is taken
SAMPLES = 16_000 // RATE
LONGEST = 20 * RATE  # pictures scored at once
WINDOWS = (2 * RATE, 4 * RATE)  # pictures; the network's logits are averaged over these cuts
MOUTH, EYES = np.s_[:, 44:92, 28:84], np.s_[:, 0:28, 16:96]
DARK = 8  # percent of the mouth's pixels that are darker than its darkness
SILENT = "no face in view speaks"  # begins the remark on an utterance whose speaker is not in view
LEFT_OUT = f"{SILENT}, and fallback is none"
MOUTHS = "mouths"  # in place of a file of weights
NO_WEIGHTS = (
    "faces='speaker' needs `speaker_weights`: the file of LR-ASD's weights, or `mouths`, which is right less often "
    "than `faces: track` (docs/how-to/faces.md)"
)
LAGS = range(-2, 3)  # pictures between mouth and sound


@dataclass(frozen=True, slots=True)
class Scorer:
    """A way to score faces.

    Attributes:
        score: pictures [T, 112, 112] u1 grey at 25 a second and their sound [640 T] f4 at 16 kHz -> [T] f4.
        least: the mean above which a face speaks.
    """

    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    least: float


@dataclass(frozen=True, slots=True)
class Cast:
    """One shot's faces: its tracks, longest first, their scores (None: not needed), and the number of the speaker's."""

    tracks: Sequence[Track]
    scores: Sequence[float | None]
    speaker: int | None


def cast(
    shots: Sequence[Sequence[Track]],
    pictures: Callable[[], Iterable[Picture]],
    sound: Callable[[], np.ndarray | None],
    scorer: Callable[[], Scorer],
) -> list[Cast]:
    """Return each shot's faces and who of them speaks.

    Args:
        shots: the tracks of each shot.
        pictures: decode the clip; called only if a shot has more than one face, as are `sound` and `scorer`.
        sound: return the clip's sound [S] f4 at 16 kHz; None if it has none, then nobody speaks in such a shot.
        scorer: load what scores.
    """
    contested = [track for tracks in shots if len(tracks) > 1 for track in tracks]
    heard = sound() if contested else None
    if heard is None:
        return [Cast(tracks, [None] * len(tracks), 0 if len(tracks) == 1 else None) for tracks in shots]
    judge = scorer()
    means = iter(_mean_scores(contested, pictures(), heard, judge))
    found = []
    for tracks in shots:
        if len(tracks) < 2:
            found.append(Cast(tracks, [None] * len(tracks), 0 if tracks else None))
            continue
        scores = [next(means) for _ in tracks]
        best = int(np.argmax(scores))
        found.append(Cast(tracks, scores, best if scores[best] > judge.least else None))
    return found


def read_sound(span: Span, max_seconds: float) -> np.ndarray | None:
    """Return the sound of a clip, [S] f4 at 16 kHz; None if the clip has none.

    Raises:
        MediaError: the sound cannot be read, or it is absent although the table names a file or a channel for it.
    """
    if span.sound:
        return read_audio(*span.sound[:3], max_seconds=max_seconds)
    try:
        return read_audio(*span[:3], max_seconds=max_seconds)
    except MediaError as error:
        if error.failure.status in ("no_audio", "too_short"):
            return None
        raise


def speaking(casts: Sequence[Cast]) -> list[tuple[Track, str]]:
    """Return the track that speaks, of each shot in which somebody in view does, and why it was selected."""
    found = []
    for one in casts:
        if one.speaker is not None:
            score = one.scores[one.speaker]
            found.append(
                (one.tracks[one.speaker], "only face" if score is None else f"speaks, score {score:.2f}")
            )
    return found


def likeliest(casts: Sequence[Cast]) -> list[tuple[Track, str]]:
    """Return the track with the highest score, or the longest if there are no scores; empty if there is no face."""
    tracks = [(score, track) for one in casts for score, track in zip(one.scores, one.tracks, strict=True)]
    if not tracks:
        return []
    score, track = max(tracks, key=lambda pair: (-np.inf if pair[0] is None else pair[0], len(pair[1].at)))
    return [(track, f"{SILENT}, likeliest face, " + ("no score" if score is None else f"score {score:.2f}"))]


def silent(remarks: Sequence[str]) -> str:
    """Return how many of a stream's rows have a remark that no face in view speaks, in words."""
    found = [remark for remark in remarks if remark.startswith(SILENT)]
    without = found.count(LEFT_OUT)
    return (
        f"{SILENT}: {len(found):,} of {len(remarks):,} utterances; {len(found) - without:,} have the likeliest face, "
        f"{without:,} have no features"
    )


def by_network(logits: Callable[[np.ndarray, np.ndarray, Sequence[int]], np.ndarray]) -> Scorer:
    """Return the scorer of an active-speaker network (`speaking_network`); above 0 a face speaks."""

    def score(pictures: np.ndarray, sound: np.ndarray) -> np.ndarray:
        # The network was trained on the range of 16-bit integers.
        return logits(pictures, mfcc(sound * 32768, 4 * len(pictures)), WINDOWS)

    return Scorer(score, 0.0)


def by_motion() -> Scorer:
    """Return the scorer without weights: how far the mouth follows the loudness of the sound, -1 to 1.

    It is the mean of two correlations: that of the mouth's motion, less the motion about the eyes (a nod, a moving
    camera), and that of the darkness of the mouth, which is darker when open.
    """

    def score(pictures: np.ndarray, sound: np.ndarray) -> np.ndarray:
        loud = _smooth(_loudness(sound, len(pictures)))
        mouth, eyes = pictures[MOUTH], pictures[EYES]
        moved = _smooth(np.maximum(_motion(mouth) - _motion(eyes), 0))
        dark = -np.percentile(mouth.reshape(len(mouth), -1), DARK, axis=1)
        both = (max(_correlation(follows, loud, lag) for lag in LAGS) for follows in (moved, dark))
        return np.full(len(pictures), sum(both) / 2, np.float32)

    return Scorer(score, 0.2)


class _Crops:
    """One track's mouth regions as they come, scored in parts of `LONGEST` pictures."""

    def __init__(self, track: Track, sound: np.ndarray, scorer: Scorer) -> None:
        self.track, self._sound, self._scorer = track, sound, scorer
        self._crops: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._begin = self._next = int(track.at[0])

    @cached_property
    def _regions(self) -> np.ndarray:
        """[T, 3]: smoothed centre x, y and half the longer side of each picture's box."""
        boxes = np.stack([self.track.box(at) for at in range(self.track.at[0], self.track.at[-1] + 1)])
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        side = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2
        padded = np.pad(np.stack([x, y, side], 1), ((SMOOTHED // 2,) * 2, (0, 0)), mode="edge")
        smooth: np.ndarray = np.median(
            np.lib.stride_tricks.sliding_window_view(padded, SMOOTHED, axis=0), axis=-1
        )
        return smooth

    def add(self, number: int, grey: np.ndarray) -> None:
        self._crops.append(_region(grey, *self._regions[number - int(self.track.at[0])]))
        self._next = number + 1
        if len(self._crops) == LONGEST or number == self.track.at[-1]:
            heard = self._sound[self._begin * SAMPLES : self._next * SAMPLES]
            heard = np.pad(heard, (0, (self._next - self._begin) * SAMPLES - len(heard)))
            self._scores.append(self._scorer.score(np.stack(self._crops), heard))
            self._crops, self._begin = [], self._next

    def mean(self) -> float:
        return float(np.concatenate(self._scores).mean())


def _mean_scores(
    tracks: Sequence[Track], pictures: Iterable[Picture], sound: np.ndarray, scorer: Scorer
) -> list[float]:
    waiting = [_Crops(track, sound, scorer) for track in tracks]
    for number, picture in on_grid(pictures):
        there = [crops for crops in waiting if crops.track.covers(number)]
        if there:
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            for crops in there:
                crops.add(number, grey)
    return [crops.mean() for crops in waiting]


def _region(grey: np.ndarray, x: float, y: float, half: float) -> np.ndarray:
    """[112, 112] u1: the lower face as LR-ASD was trained on it, of a frame padded with grey."""
    left, top = round(x - 0.7 * half), round(y - 0.3 * half)
    size = max(2, round(1.4 * half))
    out = np.full((size, size), PADDING, np.uint8)
    height, width = grey.shape
    rows, columns = slice(max(0, top), min(height, top + size)), slice(max(0, left), min(width, left + size))
    part = grey[rows, columns]
    out[rows.start - top :, columns.start - left :][: part.shape[0], : part.shape[1]] = part
    return cv2.resize(out, (SIDE, SIDE), interpolation=cv2.INTER_AREA if size > SIDE else cv2.INTER_LINEAR)


def _motion(region: np.ndarray) -> np.ndarray:
    """[T, H, W] u1 -> [T] f8: mean difference of each picture from the one before it."""
    if len(region) < 2:
        return np.zeros(len(region))
    moved = np.abs(np.diff(region.astype(np.int16), axis=0)).mean((1, 2))
    return np.concatenate([moved[:1], moved])


def _loudness(sound: np.ndarray, count: int) -> np.ndarray:
    """[count] f8: the root of the mean square of each picture's sound."""
    squares = sound[: count * SAMPLES].reshape(count, SAMPLES).astype(np.float64) ** 2
    root: np.ndarray = np.sqrt(squares.mean(1))
    return root


def _smooth(values: np.ndarray) -> np.ndarray:
    return np.convolve(np.pad(values, 2, mode="edge"), np.full(5, 0.2), "valid")


def _correlation(a: np.ndarray, b: np.ndarray, lag: int) -> float:
    a, b = (a[lag:], b[: len(b) - lag]) if lag >= 0 else (a[:lag], b[-lag:])
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0
