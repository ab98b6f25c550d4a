"""A worker took too much memory.

`image` kept 180 pictures of a 4K clip and `face` 60, each of 25 MB. Every encoder imported pandas, 80 MB, for a type.
`image` held the inputs of up to three clips as floats. torchvision's imports loaded Triton, 70 MB. glibc kept the
memory of freed pictures, 110 MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import transformers

from extract.engine.worker import ENVIRONMENT
from tests.clone import ROOT
from tests.extract.portraits import astronaut, hopper, scene
from tests.extract.test_speaker import PUBLISHED, WEIGHTS

SPEAKER = {"encoder": "face", "faces": "speaker", "count": 20}
# A worker reads and encodes a clip several times; the main thread is the worker's, as in a process of the engine.
WORK = """
import json, os, sys, threading
from multiprocessing import Pipe
from pathlib import Path
import safetensors.numpy
from extract.encoders import build
from extract.engine.worker import serve
from tests.extract.make_clips import item
clip, params, clips = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
encoder = build("s", params, Path("params.yaml"), clip.parent)
ours, theirs = Pipe()

def drive():
    for number in range(clips):
        ours.send((number, [item(clip)]))
    for _ in range(clips):
        while (message := ours.recv())[0] != "done":
            assert message[0] in ("started", "reading", "read", "encoding"), message
        (entry,) = message[2]
        assert entry.status == "ok", entry.error
    # Of this program alone; ru_maxrss also has what was there before it was started.
    status = Path("/proc/self/status").read_text()
    frames = len(safetensors.numpy.load(entry.payload)["frames"])
    print(frames, int(status.split("VmHWM:")[1].split()[0]) * 1024 // 10**6, flush=True)
    os._exit(0)

threading.excepthook = lambda failure: (sys.excepthook(*failure[:3]), os._exit(1))
threading.Thread(target=drive).start()
serve(theirs, encoder)
"""


def test_encoders_do_without_pandas():
    program = (
        "import sys, extract.engine.worker\n"
        "from extract.encoders import REGISTRY, encoder_class\n"
        "print(*[name for name in REGISTRY if encoder_class(name) and 'pandas' in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []


def film(path: Path, width: int, height: int) -> Path:
    """Write a clip of two portraits and noise for 190 pictures, no two of them equal."""
    side = height // 2
    picture = scene(
        (astronaut(side), width // 16, height // 4),
        (hopper(side), width // 2, height // 4),
        width=width,
        height=height,
    )
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "30"})
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for k in range(190):
            picture[:16, :16] = k
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode(None))
        noise = np.random.default_rng(0).normal(0, 0.1, (1, 190 * 640)).astype(np.float32)
        samples = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        samples.sample_rate = 16000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


def peak(clip: Path, params: dict, clips: int) -> tuple[int, int]:
    """Return (frames, MB) of a worker of its own that reads and encodes the clip several times."""
    run = subprocess.run(
        [sys.executable, "-c", WORK, str(clip), json.dumps({**params, "frames": "f4"}), str(clips)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **ENVIRONMENT},
    )
    frames, megabytes = run.stdout.split()
    return int(frames), int(megabytes)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("film") / "4k.mp4", 3840, 2160)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=224,
        patch_size=32,
    )
    transformers.ViTModel(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 224, "width": 224}).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "most"),
    [
        ({"encoder": "image", "count": 180}, 1000),
        ({"encoder": "face", "count": 20}, 1000),
        ({**SPEAKER, "speaker_weights": "mouths"}, 1000),
        # Both faces are in view all the time, so the network scores both.
        pytest.param({**SPEAKER, "speaker_weights": str(WEIGHTS)}, 1000, marks=PUBLISHED),
    ],
    ids=["image", "face", "mouths", "LR-ASD"],
)
def test_a_worker_takes_less_than_a_gigabyte_at_4k(
    clip: Path, vit: Path, params: dict[str, str | int], most: int
) -> None:
    weights = {"weights": str(vit)} if params["encoder"] == "image" else {}
    frames, megabytes = peak(clip, {**params, **weights}, 2)
    print(f"{megabytes} MB")
    assert frames == params["count"]
    assert megabytes < most
