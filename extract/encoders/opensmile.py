"""openSMILE: acoustic descriptors with names, straight from the sound track.

    opensmile:
      encoder: opensmile
      feature_set: eGeMAPSv02      # or ComParE_2016, emobase, …

Functionals over the utterance are pooled; its low-level descriptors are the frames, one every 10 ms. Both
come from the openSMILE toolkit (Eyben et al., 2010, https://doi.org/10.1145/1873951.1874246), which is free
for research only: see NOTICE.

openSMILE has no memory between calls (each makes a new instance of its components), so a feature cannot
depend on what came before; digital silence is sound to it, and gives finite values.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from extract.contract import Failure, Features, Item
from extract.reading.encoder import MediaEncoder
from extract.reading.media import MediaParams, media_item
from extract.reading.sound import read_audio
from pipeline.params import StreamParams
from pipeline.tables.schema import Utterance

RATE = 16000
HOP = 0.01
# The largest analysis window is 60 ms; at or below it openSMILE gives NaN and a warning.
SHORTEST = 0.06


class OpensmileParams(MediaParams):
    feature_set: Literal[
        "eGeMAPSv02", "GeMAPSv01b", "ComParE_2016", "emobase", "IS09", "IS10", "IS11", "IS12", "IS13"
    ] = "eGeMAPSv02"


class OpensmileEncoder(MediaEncoder[OpensmileParams]):
    """Pooled [P]: the set's functionals (eGeMAPSv02 88, ComParE_2016 6,373); frames [T, D]: its descriptors.

    A frame's time is where its window begins. Without `frames:` the descriptors are not computed.
    """

    modality: ClassVar[str] = "audio"
    params_model: ClassVar[type[StreamParams]] = OpensmileParams

    def weights(self) -> dict[str, str]:
        return {"name": "", "revision": "", "sha256": ""}

    def packages(self) -> tuple[str, ...]:
        return ("av", "opensmile")

    @cached_property
    def pooled_names(self) -> tuple[str, ...]:
        return tuple(self._functionals.feature_names)

    @cached_property
    def frames_names(self) -> tuple[str, ...]:
        return tuple(self._descriptors.feature_names)

    @property
    def pooled_dim(self) -> int:
        return len(self.pooled_names)

    @property
    def frames_dim(self) -> int:
        return len(self.frames_names)

    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        return media_item(dialogue[i])

    def decode(self, path: Path, start: float | None, end: float | None) -> Any | Failure:
        samples = read_audio(path, start, end, RATE, self.params.max_seconds)
        if len(samples) <= SHORTEST * RATE:
            return Failure("too_short", f"{_ms(samples)} of sound; openSMILE needs more than 60 ms")
        # openSMILE takes 16-bit samples and lets louder ones wrap around into clicks; decoded AAC overshoots.
        return np.clip(samples, -1.0, 32767 / 32768)

    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        return [self._one(samples) for samples in inputs]

    def _one(self, samples: np.ndarray) -> Features | Failure:
        frames = times = None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Segment too short")
            _, _, pooled = self._functionals.process(samples, RATE)
            if self.params.frames != "none":
                starts, _, frames = self._descriptors.process(samples, RATE)
                frames = np.asarray(frames, np.float32)
                # Some sets give the last frames one start; all have the same hop.
                times = (starts[0].total_seconds() + HOP * np.arange(len(frames))).astype(np.float32)
        pooled = np.asarray(pooled, np.float32).reshape(-1)
        if np.isnan(pooled).all():
            return Failure(
                "too_short", f"{_ms(samples)} of sound are too short for {self.params.feature_set}"
            )
        if not np.isfinite(pooled).all() or (frames is not None and not np.isfinite(frames).all()):
            return Failure("failed", "openSMILE gives values that are no numbers for this sound")
        return Features(pooled, frames, times)

    @cached_property
    def _functionals(self) -> Any:
        return self._smile("Functionals")

    @cached_property
    def _descriptors(self) -> Any:
        return self._smile("LowLevelDescriptors")

    def _smile(self, level: str) -> Any:
        import opensmile

        return opensmile.Smile(opensmile.FeatureSet[self.params.feature_set], opensmile.FeatureLevel[level])


def _ms(samples: np.ndarray) -> str:
    return f"{len(samples) / RATE * 1000:.0f} ms"
