"""Reading sound as one channel at one rate, with each sample at the second at which a player plays it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame

from extract.reading.media import MediaError
from extract.reading.spans import GAP, open_track
from pipeline import fragments
from pipeline.packets import channels

# Seconds before a span that are resampled with it. A resampled sample depends on the 2 ms around it.
MARGIN = 0.05


def read_audio(
    path: Path, start: float | None, end: float | None, rate: int = 16000, max_seconds: float = math.inf
) -> np.ndarray:
    """Return the sound of a file, or of its span from `start` to `end` seconds: [S] f4 mono at `rate` Hz, -1…1.

    The sound is the channel that the path's fragment names, otherwise libswresample's mix of all channels.
    libswresample also converts the rate. The first sample is the track's first sample inside the span. A gap in the
    recording becomes silence.

    Raises:
        MediaError: `missing_file`, `corrupt`, `no_audio` (also if there is no such channel), `too_short` (no sound
            inside the span), or `too_long`.
    """
    runs: list[_Run] = []
    resumes = False
    cell = fragments.split(str(path))
    with open_track(Path(cell.file), "audio", start, end, max_seconds) as track:
        for seconds, frame in track.decode():
            if seconds >= track.end:
                resumes = bool(runs) and seconds - runs[-1].ends > GAP
                break
            if not runs or not runs[-1].goes_on(seconds, frame):
                runs.append(_Run(seconds, frame, track.start, rate, cell.channel))
            runs[-1].add(seconds, frame)
    if not runs and not start:
        raise MediaError("no_audio", "the audio track is empty")
    if not runs:
        raise track.nothing("sound")
    first = runs[0].first
    begin = max(0, round((track.start - first) * rate)) if start else 0
    stop = None if end is None else max(begin, round((end - first) * rate))
    if resumes:
        track.check_length(track.end - max(track.start, first))
    samples = _join([run.samples(first) for run in runs], begin, stop, resumes)
    if not len(samples):
        raise track.nothing("sound")
    return samples.astype(np.float32) / np.float32(2**31)


def _join(runs: list[tuple[int, np.ndarray]], begin: int, stop: int | None, resumes: bool) -> np.ndarray:
    """Return samples `begin` to `stop` [S] i4 of runs (index, samples [S] i4), with silence between runs.

    If sound resumes after the span (`resumes`), silence also follows the last run.
    """
    ends = max(at + len(samples) for at, samples in runs)
    last = ends if stop is None else stop if resumes else min(stop, ends)
    joined = np.zeros(max(0, last - begin), np.int32)
    free = 0  # where runs overlap, the earlier run is kept
    for at, samples in runs:
        skipped = max(0, free - (at - begin))
        part = samples[skipped:][: max(0, len(joined) - (at - begin) - skipped)]
        joined[at - begin + skipped :][: len(part)] = part
        free = max(free, at - begin + skipped + len(part))
    return joined


class _Run:
    """Resampled sound of one format without gaps; samples long before the span are dropped.

    Resampling starts a whole number of periods of the two rates after the first sample. So the values equal those of
    resampling from the first sample.
    """

    def __init__(self, first: float, frame: AudioFrame, start: float, rate: int, channel: str | None) -> None:
        self.first = first
        self._channel = channel
        self._format = _format(frame)
        self._rate = rate
        self._period = frame.sample_rate // math.gcd(frame.sample_rate, rate)
        wanted = int((start - first - MARGIN) * frame.sample_rate)
        self._from = max(0, wanted) // self._period * self._period
        self._count = 0
        self._source_rate = frame.sample_rate
        self._mixes = channel is not None or _mixes(frame)
        # Integers, because for floats libswresample sums channels instead of averaging them.
        self._resampler = av.AudioResampler("s32", "mono", rate)
        self._chunks: list[np.ndarray] = []

    @property
    def ends(self) -> float:
        return self.first + self._count / self._source_rate

    def goes_on(self, seconds: float, frame: AudioFrame) -> bool:
        """Return whether a frame continues this run; gaps before the span do not count."""
        at = self._index(seconds)
        return _format(frame) == self._format and (at == self._count or self._count <= at <= self._from)

    def add(self, seconds: float, frame: AudioFrame) -> None:
        at = self._index(seconds)
        self._count = at + frame.samples
        if self._count <= self._from:
            return
        if not np.isfinite(frame.to_ndarray()).all():
            raise MediaError("corrupt", "the sound has values that are not finite")
        if self._channel is not None:
            frame = _only(frame, self._channel)
        if at < self._from or not self._mixes:
            frame = _cut(frame, max(0, self._from - at), self._mixes)
        self._chunks += [out.to_ndarray()[0] for out in self._resampler.resample(frame)]

    def samples(self, origin: float) -> tuple[int, np.ndarray]:
        """Return the index of the run's first sample, counted from second `origin`, and the samples [S] i4."""
        at = round((self.first - origin) * self._rate) + self._from * self._rate // self._source_rate
        if not self._chunks:
            return at, np.zeros(0, np.int32)
        return at, np.concatenate(
            [*self._chunks, *(out.to_ndarray()[0] for out in self._resampler.resample(None))]
        )

    def _index(self, seconds: float) -> int:
        return round((seconds - self.first) * self._source_rate)


def _format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _mixes(frame: AudioFrame) -> bool:
    """Return whether libswresample can mix these channels into one; it cannot mix nine, for example."""
    try:
        av.AudioResampler("s32", "mono", frame.sample_rate).resample(frame)
    except av.error.ArgumentError:
        return False
    return True


def _only(frame: AudioFrame, channel: str) -> AudioFrame:
    """Return a frame with only one of its channels."""
    at = fragments.position(channel, frame.layout.nb_channels)
    if at is None:
        raise MediaError(
            "no_audio", f"#channel={channel}: no such channel; the sound has {frame.layout.nb_channels}"
        )
    samples: Any = np.ascontiguousarray(channels(frame)[at : at + 1])
    only = AudioFrame.from_ndarray(samples, "dbl", "mono")
    only.sample_rate = frame.sample_rate
    return only


def _cut(frame: AudioFrame, first: int, mixes: bool) -> AudioFrame:
    """Return a frame without its first `first` samples; channels that libswresample cannot mix are averaged."""
    if mixes:
        step = 1 if frame.format.is_planar else frame.layout.nb_channels
        left: Any = np.ascontiguousarray(frame.to_ndarray()[:, first * step :])
        cut = AudioFrame.from_ndarray(left, frame.format.name, frame.layout.name)
    else:
        mean = channels(frame)[:, first:].mean(0, keepdims=True)
        cut = AudioFrame.from_ndarray(mean, "dbl", "mono")
    cut.sample_rate = frame.sample_rate
    return cut
