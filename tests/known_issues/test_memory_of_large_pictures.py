"""A worker took too much memory.

`image` kept 180 pictures of a 4K clip and `face` 60, each of 25 MB. Every encoder imported pandas, 80 MB, for a type.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest
import transformers

from tests.clone import ROOT
from tests.extract.portraits import astronaut, scene

READ = """
import json, sys
from pathlib import Path
from extract.encoders import build
from tests.extract.make_clips import item
clip, params = Path(sys.argv[1]), json.loads(sys.argv[2])
encoder = build("s", params, Path("params.yaml"), clip.parent)
features = encoder.encode([encoder.read(item(clip))])[0]
# Of this program alone; ru_maxrss also has what was there before it was started.
status = Path("/proc/self/status").read_text()
print(len(features.frames), int(status.split("VmHWM:")[1].split()[0]) // 1024)
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
    """A portrait for 190 pictures, no two of them equal."""
    picture = scene((astronaut(height // 2), width // 4, height // 4), width=width, height=height)
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "30"})
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        for k in range(190):
            picture[:16, :16] = k
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode(None))
    return path


def peak(clip: Path, params: dict) -> tuple[int, int]:
    """(frames, MiB) of a process of its own that reads and encodes the clip."""
    run = subprocess.run(
        [sys.executable, "-c", READ, str(clip), json.dumps(params)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    frames, megabytes = run.stdout.split()
    return int(frames), int(megabytes)


@pytest.mark.slow
def test_a_4k_clip_takes_little_more_than_a_small_one(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=224,
        patch_size=32,
    )
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessor(size={"height": 224, "width": 224}).save_pretrained(tmp_path / "vit")
    large, small = film(tmp_path / "4k.mp4", 3840, 2160), film(tmp_path / "small.mp4", 480, 270)
    image = {"encoder": "image", "weights": str(tmp_path / "vit"), "count": 180}
    face = {"encoder": "face", "count": 20}
    for params, count in ((image, 180), (face, 20)):
        (frames, most), (_, least) = peak(large, params), peak(small, params)
        print(f"{params['encoder']}: {least} MiB small, {most} MiB 4K")
        assert frames == count
        assert most - least < 150
        assert most < 1024  # with a small network; `image` also holds 180 inputs of 0.6 MB
