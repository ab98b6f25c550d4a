"""Write an .mp4 of the demo corpus with PyAV: H.264 and AAC, with reproducible bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.demo.portrait import SIZE
from pipeline.demo.voice import FPS, RATE
from pipeline.disk import replacing

# By default x264 selects its routines by CPU and run, even on one thread.
_X264 = {"crf": "23", "preset": "veryfast", "threads": "1", "x264-params": "cpu-independent=1:threads=1"}


def write_mp4(path: Path, frames: Iterable[np.ndarray], sound: np.ndarray | None) -> None:
    """Write a clip atomically.

    Args:
        path: the file to write.
        frames: [320, 320, 3] u1 RGB each, at 25 per second.
        sound: [n] float32 at RATE, or None for a file without an audio track.
    """
    with (
        replacing(path) as part,
        av.open(str(part), "w", format="mp4", options={"fflags": "+bitexact"}) as container,
    ):
        video = container.add_stream("libx264", rate=FPS, options=_X264)
        video.width, video.height, video.pix_fmt = SIZE, SIZE, "yuv420p"
        if sound is not None:
            audio = container.add_stream(
                "aac", rate=RATE, layout="mono", options={"flags": "+bitexact", "aac_coder": "fast"}
            )
            audio.bit_rate = 64_000
        for frame in frames:
            planes = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(video.encode(None))
        if sound is not None:
            samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            samples.sample_rate = RATE
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
