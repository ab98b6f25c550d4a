"""Annotate the demo corpus with votes, with several labels, and with valence and arousal, for the other targets.

All are drawn from the emotion that a clip plays, so the media are the same for every target.
"""

from __future__ import annotations

from collections import Counter

from pipeline.demo.plan import EMOTIONS, generator
from pipeline.params import TargetKind
from pipeline.tables.target import BETWEEN, COUNT

ANNOTATORS = 5
RIGHT, NEAR = (
    0.7,
    0.2,
)  # the shares of votes for the emotion and for the nearest one; the others are for neutral
NEAREST = {
    "neutral": "sadness",
    "happiness": "excitement",
    "excitement": "happiness",
    "anger": "frustration",
    "frustration": "anger",
    "sadness": "neutral",
}
MIXED = ("excitement", "frustration")  # also annotated with the nearest emotion
# Valence and arousal from -1 to 1, after the circumplex (Russell 1980, doi 10.1037/h0077714).
PLACES = {
    "neutral": (0.0, 0.0),
    "happiness": (0.8, 0.3),
    "excitement": (0.7, 0.8),
    "anger": (-0.7, 0.7),
    "frustration": (-0.6, 0.4),
    "sadness": (-0.7, -0.4),
}
SPREAD = 0.15


def annotation(kind: TargetKind, utterance: str, emotion: str) -> str:
    """Return the cell of the column `emotion`; an unknown emotion is returned unchanged.

    Args:
        kind: `corpus.target`.
        utterance: the id, from which chance is drawn.
        emotion: the emotion that the clip plays.
    """
    if emotion not in NEAREST:
        return emotion
    if kind == "soft":
        given = generator(utterance, "votes").choice(
            [emotion, NEAREST[emotion], "neutral"], ANNOTATORS, p=[RIGHT, NEAR, 1 - RIGHT - NEAR]
        )
        votes = Counter(given.tolist())
        return BETWEEN.join(f"{name}{COUNT}{votes[name]}" for name in EMOTIONS.values() if votes[name])
    if kind == "multi" and emotion in MIXED:
        return BETWEEN.join((emotion, NEAREST[emotion]))
    return emotion


def ratings(utterance: str, emotion: str) -> dict[str, float | None]:
    """Return valence and arousal of an utterance, None for an unknown emotion. Arguments as in `annotation`."""
    noise = generator(utterance, "ratings").normal(scale=SPREAD, size=2)
    places: tuple[float | None, ...] = (None, None)
    if emotion in PLACES:
        places = tuple(round(place + float(x), 2) for place, x in zip(PLACES[emotion], noise, strict=True))
    return dict(zip(("valence", "arousal"), places, strict=True))
