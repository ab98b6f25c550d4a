"""openSMILE: named acoustic descriptors of the sound track.

    opensmile:
      encoder: opensmile
      feature_set: eGeMAPSv02      # or ComParE_2016, emobase, …

`pooled` holds the functionals over the utterance, `frames` the low-level descriptors, one row every 10 ms. Both come
from the openSMILE toolkit (Eyben et al., 2010, https://doi.org/10.1145/1873951.1874246), which is free for research
only; see NOTICE.

openSMILE keeps no state between calls, because each call creates its components anew. So a feature does not depend on
earlier utterances. Digital silence is valid input and gives finite values.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from extract.contract import Failure, Features, Item
from extract.reading.encoder import MediaEncoder
from extract.reading.media import MediaParams, Span, media_item
from extract.reading.sound import read_audio
from pipeline.params import StreamParams

if TYPE_CHECKING:
    from pipeline.tables.schema import Utterance

RATE = 16000
HOP = 0.01
# The largest analysis window is 60 ms. For shorter sound openSMILE returns NaN and warns.
SHORTEST = 0.06


class OpensmileParams(MediaParams):
    """Params of the openSMILE stream.

    Attributes:
        feature_set: one of openSMILE's own sets.
    """

    feature_set: Literal[
        "eGeMAPSv02", "GeMAPSv01b", "ComParE_2016", "emobase", "IS09", "IS10", "IS11", "IS12", "IS13"
    ] = "eGeMAPSv02"


class OpensmileEncoder(MediaEncoder[OpensmileParams]):
    """Encoder of sound by a feature set's functionals and low-level descriptors.

    `pooled` [P] holds the functionals (P is 88 for eGeMAPSv02, 6,373 for ComParE_2016) and `frames` [T, D] the
    descriptors. A frame's time is the start of its window in seconds. With `frames: none` the descriptors are not
    computed.
    """

    modality: ClassVar[str] = "audio"
    params_model: ClassVar[type[StreamParams]] = OpensmileParams

    @override
    def weights(self) -> dict[str, str]:
        return {"name": "", "revision": "", "sha256": ""}

    @override
    def packages(self) -> tuple[str, ...]:
        return ("av", "opensmile")

    @cached_property
    @override
    def pooled_names(self) -> tuple[str, ...]:
        return tuple(self._functionals.feature_names)

    @cached_property
    @override
    def frames_names(self) -> tuple[str, ...]:
        return tuple(self._descriptors.feature_names)

    @property
    @override
    def pooled_dim(self) -> int:
        return len(self.pooled_names)

    @property
    @override
    def frames_dim(self) -> int:
        return len(self.frames_names)

    @override
    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        return media_item(dialogue[i])

    @override
    def decode(self, span: Span) -> np.ndarray | Failure:
        samples = read_audio(*span[:3], RATE, self.params.max_seconds)
        if len(samples) <= SHORTEST * RATE:
            return Failure("too_short", f"{_ms(samples)} of sound; openSMILE needs more than 60 ms")
        # openSMILE converts to 16 bits without clipping, so samples beyond ±1 (decoded AAC has some) would wrap.
        return np.asarray(np.clip(samples, -1.0, 32767 / 32768))

    @override
    def encode(self, inputs: Sequence[np.ndarray]) -> list[Features | Failure]:
        return [self._one(samples) for samples in inputs]

    def _one(self, samples: np.ndarray) -> Features | Failure:
        frames = times = None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Segment too short")
            _, _, pooled = self._functionals.process(samples, RATE)
            if self.params.frames != "none":
                starts, _, frames = self._descriptors.process(samples, RATE)
                frames = np.asarray(frames, np.float32)
                # Some sets repeat the start of the last frames, so times are computed from the common hop.
                times = (starts[0].total_seconds() + HOP * np.arange(len(frames))).astype(np.float32)
        pooled = np.asarray(pooled, np.float32).reshape(-1)
        if np.isnan(pooled).all():
            return Failure("too_short", f"{_ms(samples)} of sound is too short for {self.params.feature_set}")
        if not np.isfinite(pooled).all() or (frames is not None and not np.isfinite(frames).all()):
            return Failure("failed", "openSMILE returned values that are not finite")
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
