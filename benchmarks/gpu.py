"""Rates of every encoder and seconds of a training step on the device that EMOFUSE_DEVICE names.

    python -m benchmarks.gpu --json gpu.json                     # some minutes on a GPU
    EMOFUSE_DEVICE=cpu python -m benchmarks.gpu --seconds 0.1    # a dry run

Weights are random, of the published sizes (BERT-base, wav2vec2-base, CLIP's ViT-base, ResNet-101). Inputs are random,
of mixed lengths, and in memory; only the row `face, whole stream` decodes clips (1280 x 720, 3.3 s) and runs through
the engine, with decoders ahead. Each row repeats its call for `--seconds` after two calls that are not counted;
`--seconds 0` makes one call. For a training step, compare `benchmarks.train_step`, which runs it beside the published
code.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.clips import write_clip
from benchmarks.extract import clip_item
from benchmarks.rows import write as write_rows
from benchmarks.shapes import settings
from benchmarks.sides import Ours
from extract.contract import Encoder
from extract.encoders import build
from extract.engine.local import extract
from extract.reading.faces import Seen
from extract.reading.mtcnn import Detector
from pipeline.command import parser
from pipeline.env import device
from pipeline.errors import entry

PRECISIONS = ("fp32", "bf16")
TOKENS, SOUND_SECONDS, PICTURES, FACES = (8, 64), (1.0, 6.0), 16, 16
CLIPS = 24
Row = dict[str, Any]


def typical(run: Callable[[], object], seconds: float) -> float:
    """Return the median seconds of a call, the device's work included, over `seconds` of calls; 0: of one call."""
    times: list[float] = []
    for counted in range(-2 if seconds else 0, 10_000):
        begin = time.perf_counter()
        run()
        if device().type == "cuda":
            torch.cuda.synchronize(device())
        if counted >= 0:
            times.append(time.perf_counter() - begin)
        if times and sum(times) >= seconds:
            break
    return statistics.median(times)


def text(folder: Path) -> tuple[dict[str, Any], list[Any], float, str]:
    """Return BERT-base's params, 32 sequences, their number, and its unit."""
    from transformers import BertConfig

    from tests.extract import tiny_models

    sizes = BertConfig()
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
    tiny_models.bert(
        folder, initializer_range=0.02, max_position_embeddings=512, **{k: getattr(sizes, k) for k in names}
    )
    rng = np.random.default_rng(0)
    lengths = rng.integers(*TOKENS, 32)
    inputs = [{"ids": rng.integers(6, 20, n).tolist(), "own": [1, int(n) - 1]} for n in lengths]
    return {"encoder": "text", "weights": str(folder)}, inputs, len(inputs), "utterances"


def speech(folder: Path) -> tuple[dict[str, Any], list[Any], float, str]:
    """Return the params of a wav2vec2-base with layer norm, 8 sounds, and their seconds."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    # With layer norm, unlike the original's group norm, sounds of mixed lengths share a masked batch.
    Wav2Vec2Model(Wav2Vec2Config(feat_extract_norm="layer", do_stable_layer_norm=True)).save_pretrained(
        folder
    )
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    rng = np.random.default_rng(0)
    lengths = rng.uniform(*SOUND_SECONDS, 8)
    inputs = [(0.1 * rng.standard_normal(round(16000 * s))).astype(np.float32) for s in lengths]
    return {"encoder": "speech", "weights": str(folder)}, inputs, float(lengths.sum()), "seconds of sound"


def image(folder: Path) -> tuple[dict[str, Any], list[Any], float, str]:
    """Return the params of CLIP's ViT-base, one clip, and its pictures."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    pixels = np.random.default_rng(0).standard_normal((PICTURES, 3, 224, 224)).astype(np.float32)
    return {"encoder": "image", "weights": str(folder)}, [(np.arange(PICTURES), pixels)], PICTURES, "pictures"


def face(folder: Path) -> tuple[dict[str, Any], list[Any], float, str]:
    """Return the params of ResNet-101, one clip's crops, and their number."""
    from torchvision.models import resnet101

    torch.manual_seed(0)
    torch.save(resnet101(num_classes=1000).state_dict(), folder / "resnet101.pt")
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(FACES)]
    params = {"encoder": "face", "network": "resnet101", "weights": str(folder / "resnet101.pt")}
    return params, [[Seen(0.0, np.zeros((FACES, 5)), crops)]], FACES, "faces"


def encoders(seconds: float) -> Iterator[Row]:
    """Yield the rates of the encoders' networks."""
    for make in (text, speech, image, face):
        with tempfile.TemporaryDirectory() as folder:
            params, inputs, count, unit = make(Path(folder))
            for precision in PRECISIONS:
                encoder = _build({**params, "precision": precision}, Path(folder))
                took = typical(lambda: encoder.encode(inputs), seconds)  # noqa: B023
                yield {"what": f"{make.__name__}, {precision}", "per_second": count / took, "unit": unit}


def faces(seconds: float) -> Iterator[Row]:
    """Yield the rate of detection, and of the whole face stream through the engine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{k}.mp4" for k in range(CLIPS)]
        for k, path in enumerate(paths[:3]):
            write_clip(path, faces=1 + k // 2, seed=k)
        for k, path in enumerate(paths[3:]):
            path.write_bytes(paths[k % 3].read_bytes())
        picture = np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8)
        detector = Detector(40, 0.7, device())
        took = typical(lambda: detector([picture] * 8), seconds)
        yield {"what": "face, detection", "per_second": 8 / took, "unit": "pictures of 640 x 360"}
        encoder = _build({"encoder": "face"}, folder)
        batches = [[clip_item(encoder, path)] for path in paths]
        begin, done = None, -1
        for entries in extract(encoder, iter(batches), None, 600):
            if entries and begin is None:  # loading the weights is not counted
                begin = time.perf_counter()
            done += len(entries)
        assert begin is not None
        yield {
            "what": "face, whole stream", "per_second": done / (time.perf_counter() - begin),
            "unit": "clips of 80 pictures",
        }  # fmt: skip


def training(seconds: float) -> Iterator[Row]:
    """Yield the seconds of a MultiEMO step on one batch of each data set's shape."""
    where = device()
    if where.type == "cuda":
        torch.cuda.set_device(where.index or 0)
    for name in ("meld", "iemocap-32"):
        setting = settings()[name]
        batch = setting.batches()[0]
        for precision in PRECISIONS:
            side = Ours(setting, "default", where.type, precision == "bf16", same_layers=False)
            inputs = side.prepare(batch)
            took = typical(lambda: side.step(inputs), seconds)  # noqa: B023
            yield {"what": f"MultiEMO step, {name}, {precision}", "step_s": took, "unit": "seconds"}


def _build(params: dict[str, Any], media: Path) -> Encoder[Any]:
    return build(params["encoder"], params, Path("params.yaml"), media)


def main() -> None:
    """Measure, print a Markdown table, and write the rows."""
    options = parser("benchmarks.gpu", __doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="measured time of each row")
    options.add_argument("--json", type=Path)
    args = options.parse_args()
    where = device()
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "the CPU, one thread"
    print(f"{name}, torch {torch.__version__}, {os.cpu_count()} cores\n")
    print("| what | rate or time | of |\n| --- | --- | --- |")
    rows = []
    for part in (encoders, faces, training):
        for row in part(args.seconds):
            rows.append(row)
            shown = f"{row['per_second']:.1f}/s" if "per_second" in row else f"{1000 * row['step_s']:.1f} ms"
            print(f"| {row['what']} | {shown} | {row['unit']} |", flush=True)
    if args.json:
        write_rows(args.json, "gpu", rows, ("what",))


if __name__ == "__main__":
    entry(main)
