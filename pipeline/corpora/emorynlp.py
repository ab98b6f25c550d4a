"""Import EmoryNLP as distributed: three JSON files of the repository emorynlp/emotion-detection. It has no media.

    json/emotion-detection-{trn,dev,tst}.json      also found in corpus.root itself

Zahiri and Choi, "Emotion Detection on TV Show Transcripts with Sequence-based Convolutional Neural Networks", AAAI
workshops 2018. A scene is a dialogue. If several people speak at once, the speaker is all their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora import raw
from pipeline.corpora.records import Record, read_json
from pipeline.messages import Problems
from pipeline.params import CorpusParams

LANGUAGES = ("English",)
FAULTS = (
    "MELD has clips of the same television series, so the two corpora are not independent.",
    "Some utterances have several speakers; their names are joined by `&`.",
)
SPLITS = {"trn": "train", "dev": "val", "tst": "test"}
EMOTIONS = ("neutral", "joyful", "peaceful", "powerful", "scared", "mad", "sad")
PUBLISHED = {
    "val": (393, 289, 132, 134, 178, 143, 75),
    "test": (349, 282, 159, 145, 182, 113, 98),
}


class Spoken(Record):
    """One utterance."""

    utterance_id: str
    speakers: list[str]
    transcript: str
    emotion: str


class Scene(Record):
    """One dialogue."""

    scene_id: str
    utterances: list[Spoken]


class Episode(Record):
    """The scenes of an episode."""

    scenes: list[Scene]


class Part(Record):
    """One file: the episodes of a split."""

    episodes: list[Episode]


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read EmoryNLP's 12,606 utterances in 897 scenes.

    Raises:
        UserError: if a file is missing, is not JSON, or has invalid values.
    """
    rows = [row for split in SPLITS for row in _split(root, split)]
    return raw.tables(rows, corpus, Problems())


def published(corpus: CorpusParams) -> dict[str, dict[str, int]]:
    """Return the counts of the distributed files, {split: {emotion: utterances}}."""
    return {split: dict(zip(EMOTIONS, counts, strict=True)) for split, counts in PUBLISHED.items()}


def _split(root: Path, split: str) -> Iterator[raw.Row]:
    name = f"emotion-detection-{split}.json"
    path = raw.find(root, [f"json/{name}", name], name)
    for e, episode in enumerate(read_json(path, Part).episodes):
        for s, scene in enumerate(episode.scenes):
            for u, spoken in enumerate(scene.utterances):
                yield raw.Row(
                    place=f"{path}: episodes.{e}.scenes.{s}.utterances.{u}",
                    utterance=spoken.utterance_id,
                    dialogue=scene.scene_id,
                    order=(e, s, u),
                    speaker=" & ".join(spoken.speakers),
                    text=spoken.transcript,
                    split=SPLITS[split],
                    emotion=spoken.emotion.lower(),
                )
