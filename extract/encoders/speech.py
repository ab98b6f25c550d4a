"""Speech: the hidden states of a pretrained speech encoder.

    speech:
      encoder: speech
      weights: microsoft/wavlm-large
      revision: c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c
      layer: last                  # or a number (0: what enters the first layer), or {mean_of: [21, 22, 23]}

wav2vec 2.0, HuBERT, WavLM, data2vec-audio and the encoder of Whisper, through transformers. Frames are at the
model's own rate (50 Hz), each with the time its hop begins; pooled is their mean. Loudness is normalised over the
whole utterance, where the model's preprocessor says so.

An utterance longer than `window` seconds is encoded in windows that overlap by `overlap` seconds, so memory
is bounded; of an overlap the earlier window gives the first half of the frames and the later one the second.
Whisper always sees 30 s, padded as its preprocessor does; frames behind the utterance's end are dropped.

Each utterance has a forward pass of its own on the CPU, where batches save nothing and can change a last bit.
On a GPU near-equal lengths share a padded, masked batch, but only in models that a mask shields: group norm
(wav2vec2-base, HuBERT-base) takes its statistics over the padding too, and so do data2vec's position layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from extract.contract import Failure, Features, Item, Trainable
from extract.networks.encoder import PretrainedEncoder
from extract.networks.pretrained import (
    LOCAL,
    Precision,
    inference,
    load_config,
    load_model,
    load_trainable,
    save_model,
)
from extract.reading.encoder import MediaEncoder
from extract.reading.media import MediaParams, media_item
from extract.reading.sound import read_audio
from pipeline.env import device
from pipeline.errors import UserError
from pipeline.params import Positive, StreamParams
from pipeline.strict import Strict
from pipeline.tables.schema import Utterance

if TYPE_CHECKING:
    from torch import Tensor

Layer = Annotated[int, Field(ge=0)]
# Utterances whose lengths differ by less may share a batch on a GPU; no value depends on it.
BUCKET_SECONDS = 0.1
WHISPER_SECONDS = 30.0


class MeanOf(Strict):
    mean_of: Annotated[list[Layer], Field(min_length=1)]


class SpeechParams(MediaParams):
    weights: str
    revision: str = ""
    layer: Literal["last"] | Layer | MeanOf = "last"
    window: Positive = 30.0
    overlap: Positive = 2.0
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _windows_move_on(self) -> SpeechParams:
        if not 0.5 <= self.overlap <= self.window / 2:
            raise ValueError(
                f"overlap={self.overlap:g}: must be at least 0.5 s and at most half of window={self.window:g}"
            )
        return self


class SpeechEncoder(MediaEncoder[SpeechParams], PretrainedEncoder[SpeechParams], Trainable):
    """Pooled [P]: the mean of frames [T, P], one every `stride` samples (20 ms)."""

    modality: ClassVar[str] = "audio"
    params_model: ClassVar[type[StreamParams]] = SpeechParams
    batch_size = 8

    def packages(self) -> tuple[str, ...]:
        return ("av", "numpy", "torch", "transformers")

    @property
    def pooled_dim(self) -> int:
        return int(self._config.hidden_size)

    @property
    def frames_dim(self) -> int:
        return self.pooled_dim

    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        item = media_item(dialogue[i])
        begin, end = dialogue[i].start, dialogue[i].end
        if isinstance(item, Failure) or end is None:
            return item
        return Item(item.content, item.source, length=math.ceil((end - (begin or 0.0)) / BUCKET_SECONDS))

    def decode(self, path: Path, start: float | None, end: float | None) -> Any | Failure:
        samples = read_audio(path, start, end, self._rate, self.params.max_seconds)
        if self._frames_of(len(samples)) < 1:
            return Failure(
                "too_short", f"{len(samples) / self._rate * 1000:.0f} ms of sound; no frame fits in"
            )
        return samples

    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        """Features of sounds [S] f4 at the model's rate, as `read` gives them."""
        where = device()
        short = [len(samples) <= self._window for samples in inputs]
        if where.type == "cuda" and self._masks and len(inputs) > 1 and all(short):
            return [self._features(hidden) for hidden in self._batch([self._prepare(x) for x in inputs])]
        return [self._features(self._windows(samples)) for samples in inputs]

    def _windows(self, samples: np.ndarray) -> np.ndarray:
        """Hidden states [T, P] of one sound of any length, from overlapping windows."""
        values = samples if self._is_whisper else self._prepare(samples)
        hop = self._window - self._overlap
        starts = range(0, max(1, len(values) - self._overlap), hop)
        pieces = []
        for begin in starts:
            part = values[begin : begin + self._window]
            hidden = self._batch([self._prepare(part) if self._is_whisper else part])[0]
            count = min(len(hidden), self._frames_of(len(part)))
            first = self._overlap // self._stride // 2 if begin else 0
            last = count if begin == starts[-1] else (hop + self._overlap // 2) // self._stride
            pieces.append(hidden[first:last])
        return np.concatenate(pieces)

    def _batch(self, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Hidden states [T, P] f4 of prepared inputs, padded and masked where their lengths differ."""
        with inference(device(), self.params.precision):
            return [hidden.cpu().numpy() for hidden in self._hidden(self._model, batch)]

    def _hidden(self, network: Any, batch: Sequence[np.ndarray]) -> list[Tensor]:
        import torch

        where = next(network.parameters()).device
        longest = max(len(values) for values in batch)
        padded = np.stack([np.pad(v, [(0, longest - len(v))] + [(0, 0)] * (v.ndim - 1)) for v in batch])
        extra = {}
        if any(len(values) < longest for values in batch):
            mask = np.stack([np.arange(longest) < len(values) for values in batch])
            extra["attention_mask"] = torch.from_numpy(mask).long().to(where)
        wanted = self._layers
        out = network(torch.from_numpy(padded).to(where), output_hidden_states=bool(wanted), **extra)
        chosen = [out.hidden_states[k] for k in wanted] if wanted else [out.last_hidden_state]
        hidden = torch.stack([layer.float() for layer in chosen]).mean(0)
        if self._is_whisper:
            return list(hidden)
        return [row[: self._frames_of(len(values))] for row, values in zip(hidden, batch, strict=True)]

    def network(self) -> Any:
        """The model with its convolutions frozen, as Foal-Net trains WavLM."""
        if self._is_whisper:
            raise UserError(
                f"weights={self.params.weights!r}: Whisper is not fine-tuned here, since it computes 30 s for every "
                "utterance; wav2vec2, hubert, wavlm and data2vec-audio are"
            )
        network: Any = load_trainable(self.found_weights)
        network.feature_extractor._freeze_parameters()
        return network

    def vectors(self, network: Any, inputs: Sequence[Any]) -> Tensor:
        """[B, P] f4: the mean over frames; of a sound longer than `window` its first one counts."""
        import torch

        prepared = [self._prepare(samples[: self._window]) for samples in inputs]
        groups = [prepared] if self._masks else [[one] for one in prepared]
        return torch.stack([hidden.mean(0) for group in groups for hidden in self._hidden(network, group)])

    def size(self, one: Any) -> int:
        return min(len(one), self._window)

    def save(self, network: Any, folder: Path) -> None:
        save_model(network, self.found_weights, folder)
        self._preprocessor.save_pretrained(folder)

    def _features(self, hidden: np.ndarray) -> Features:
        times = np.arange(len(hidden)) * (self._stride / self._rate)
        return Features(hidden.mean(0), hidden, times.astype(np.float32))

    def _prepare(self, samples: np.ndarray) -> np.ndarray:
        """What the model takes of a sound, by its own preprocessor: samples [S], or Whisper's spectrum."""
        out = self._preprocessor(samples, sampling_rate=self._rate, return_tensors="np")
        return np.asarray(out["input_features" if self._is_whisper else "input_values"][0], np.float32)

    def _frames_of(self, samples: int) -> int:
        """How many frames the model gives for so many samples."""
        if self._is_whisper:
            return math.ceil(samples / self._stride)
        for kernel, stride in zip(self._config.conv_kernel, self._config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    @cached_property
    def _is_whisper(self) -> bool:
        return self._config.model_type == "whisper"

    @property
    def _masks(self) -> bool:
        shielded = self._config.model_type in ("wav2vec2", "hubert", "wavlm")
        return shielded and self._config.feat_extract_norm == "layer"

    @cached_property
    def _stride(self) -> int:
        if self._is_whisper:
            # A second convolution of stride 2 follows the spectrum.
            return 2 * self._preprocessor.hop_length
        return math.prod(self._config.conv_stride)

    @property
    def _rate(self) -> int:
        return int(self._preprocessor.sampling_rate)

    @cached_property
    def _window(self) -> int:
        """Samples of a window, a whole number of strides."""
        seconds = min(self.params.window, WHISPER_SECONDS) if self._is_whisper else self.params.window
        return int(seconds * self._rate) // self._stride * self._stride

    @cached_property
    def _overlap(self) -> int:
        """Samples two windows share, an even number of strides."""
        return int(self.params.overlap * self._rate) // (2 * self._stride) * 2 * self._stride

    @cached_property
    def _layers(self) -> list[int]:
        """Indices into transformers' hidden states; empty for the last one."""
        layer = self.params.layer
        if layer == "last":
            return []
        wanted = layer.mean_of if isinstance(layer, MeanOf) else [int(layer)]
        if max(wanted) > self._config.num_hidden_layers:
            raise UserError(
                f"layer={max(wanted)}: {self.found_weights.name} has {self._config.num_hidden_layers} layers"
            )
        return wanted

    @cached_property
    def _config(self) -> Any:
        config = load_config(self.found_weights)
        if config.model_type != "whisper" and not hasattr(config, "conv_stride"):
            raise UserError(
                f"weights={self.params.weights!r}: its config.json says {config.model_type}, which is no speech "
                "encoder known here (wav2vec2, hubert, wavlm, data2vec-audio, whisper)"
            )
        return config

    @cached_property
    def _preprocessor(self) -> Any:
        from transformers import AutoFeatureExtractor

        try:
            return AutoFeatureExtractor.from_pretrained(self.found_weights.path, **LOCAL)
        except (OSError, ValueError) as error:
            raise UserError(
                f"weights={self.params.weights!r}: no usable preprocessor_config.json beside the model: {error}"
            ) from None

    @cached_property
    def _model(self) -> Any:
        assert self._layers is not None  # a layer that is not there is told before gigabytes are read
        model = load_model(self.found_weights, device(), self.params.precision)
        return model.get_encoder() if self._is_whisper else model
