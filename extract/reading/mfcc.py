"""Mel-frequency cepstral coefficients with the defaults of `python_speech_features`, on which LR-ASD was trained."""

from __future__ import annotations

from functools import cache

import numpy as np

RATE = 16_000
WINDOW, STEP, FFT = 400, 160, 512
FILTERS, COEFFICIENTS, LIFTER = 26, 13, 22
EMPHASIS = 0.97


def mfcc(sound: np.ndarray, rows: int) -> np.ndarray:
    """Return [rows, 13] f4 coefficients, one row each 10 ms from the first sample on; the first column is log energy.

    Args:
        sound: [N] samples at 16 kHz in the range of 16-bit integers; silence is added at the end where rows want it.
        rows: how many are wanted.
    """
    wanted = (rows - 1) * STEP + WINDOW
    x = sound.astype(np.float64)
    x = np.append(x[:1], x[1:] - EMPHASIS * x[:-1])
    x = np.pad(x[:wanted], (0, max(0, wanted - len(x))))
    framed = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::STEP]
    power = np.abs(np.fft.rfft(framed, FFT)) ** 2 / FFT
    tiny = np.finfo(float).eps  # for a band without any energy
    energy = power.sum(1)
    bands = power @ _filters().T
    out = np.log(np.where(bands == 0, tiny, bands)) @ _cosines().T
    out[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return np.asarray(out, np.float32)


@cache
def _filters() -> np.ndarray:
    """[26, 257] triangles, evenly spaced in mel from 0 to half the rate."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1)
    edges = np.floor((FFT + 1) * hertz / RATE)
    bins = np.arange(FFT // 2 + 1)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    falls: np.ndarray = np.where((bins >= middle) & (bins < right), falling, 0)
    return np.where((bins >= left) & (bins < middle), rising, falls)


@cache
def _cosines() -> np.ndarray:
    """[13, 26]: the orthonormal cosine transform of the second kind, and the lifter."""
    k, n = np.arange(COEFFICIENTS)[:, None], np.arange(FILTERS)
    table = np.sqrt(2 / FILTERS) * np.cos(np.pi * k * (2 * n + 1) / (2 * FILTERS))
    table[0] /= np.sqrt(2)
    lifted: np.ndarray = table * (1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER))[:, None]
    return lifted
