"""Synthetic clips of moving faces for `benchmarks.extract`."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import matplotlib.cbook
import matplotlib.image
import numpy as np
import skimage.data

WIDTH, HEIGHT, RATE, FRAMES = 1280, 720, 24, 80
HERTZ = 16_000


def write_clip(path: Path, faces: int, seed: int) -> None:
    """Write a clip of portraits that move over a blurred, noisy background, with noise as sound.

    Args:
        path: the mp4 file to write.
        faces: the number of portraits.
        seed: determines the background and the portraits' sizes and order.
    """
    rng = np.random.default_rng(seed)
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    astronaut = skimage.data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image has no annotations
    pictures = [astronaut[:300, 80:380], matplotlib.image.imread(hopper)[:512]]
    noise = rng.integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3)).astype(np.uint8)
    ground = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    sides = rng.integers(300, 500, faces)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        track = container.add_stream("aac", rate=HERTZ, layout="mono")
        for t in range(FRAMES):
            frame = ground.copy()
            for k, side in enumerate(sides):
                x, y = 60 + 600 * k + 2 * t % 100, 80 + round(40 * np.sin(t / 9 + k))
                portrait = pictures[(seed + k) % 2]
                frame[y : y + side, x : x + side] = cv2.resize(
                    portrait, (side, side), interpolation=cv2.INTER_AREA
                )
            noisy = np.clip(frame + rng.normal(0, 4, frame.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode())
        hiss = np.random.default_rng(seed).normal(0, 0.1, (1, HERTZ * FRAMES // RATE)).astype(np.float32)
        samples = av.AudioFrame.from_ndarray(hiss, format="fltp", layout="mono")
        samples.sample_rate = HERTZ
        container.mux(track.encode(samples))
        container.mux(track.encode(None))
