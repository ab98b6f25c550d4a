"""Measure the memory that Foal-Net needs on a corpus of IEMOCAP's size, and the CPU time of a training step.

    python -m benchmarks.foalnet_memory                          # 5 GB in a temporary folder, some minutes
    python -m benchmarks.foalnet_memory --utterances 300         # a smaller corpus
    EMOFUSE_FRAMES_SHARE=0 python -m benchmarks.foalnet_memory   # frames stay on disk

The corpus has 5,531 utterances of random half-precision frames: 300 × 1024 audio frames (the size of WavLM-large) and
180 × 768 video frames (the size of CLIP-large). One process writes the caches. A second process reads them and trains;
the printed peak memory is that of the second process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.rows import write as write_rows
from pipeline.command import parser
from pipeline.features import Meta, Row, write
from pipeline.params import Params
from pipeline.strict import validate
from pipeline.tables.schema import LABEL_COLUMNS, UTTERANCE_COLUMNS, write_table
from train.fusion.build import build, read
from train.fusion.params import fusion

FRAMES = {"audio": (300, 1024), "visual": (180, 768)}
LABELS = ["happiness", "neutral", "sadness", "anger"]
SESSIONS = 5


def main() -> None:
    """Write the corpus, train on it in a second process, and print its figures."""
    options = parser("benchmarks.foalnet_memory", __doc__)
    options.add_argument(
        "--utterances", type=int, default=5531, help="the number of utterances; default: 5531"
    )
    options.add_argument(
        "--steps", type=int, default=3, help="timed training steps after a warm-up; default: 3"
    )
    options.add_argument("--json", type=Path, help="a file for the figures")
    options.add_argument("--train", type=Path, help=argparse.SUPPRESS)  # for the second process
    words = options.parse_args()
    if words.train:
        os.chdir(words.train)
        print(json.dumps(train(words.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), words.utterances)
        size = sum(p.stat().st_size for p in Path(folder).rglob("*.h5")) / 1e9
        command = [
            sys.executable,
            "-m",
            "benchmarks.foalnet_memory",
            "--train",
            folder,
            "--steps",
            str(words.steps),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = {"utterances": words.utterances, "caches_gb": size, **json.loads(done.stdout.splitlines()[-1])}
    print("\n".join(f"{name:14} {value:8.2f}" for name, value in found.items()))
    if words.json:
        write_rows(words.json, "foalnet_memory", [found], ("utterances",))


def make(root: Path, count: int) -> None:
    """Write the tables and two caches. All utterances are windows of one block of noise, so writing is fast."""
    names = [f"u{i:05}" for i in range(count)]
    table = pd.DataFrame(
        {"utterance": names, "dialogue": names, "turn": 0, "speaker": "a", "text": "", "media": ""}
    )
    table = table.assign(
        session=[str(1 + i % SESSIONS) for i in range(count)], start=None, end=None, media_hash=""
    )
    write_table(table, UTTERANCE_COLUMNS, root / "data/utterances.csv")
    labels = pd.DataFrame({"utterance": names, "emotion": [LABELS[i % 4] for i in range(count)]})
    labels["split"] = [
        "test" if i % SESSIONS == 4 else "val" if i % 20 == 0 else "train" for i in range(count)
    ]
    write_table(labels, LABEL_COLUMNS, root / "data/labels.csv")
    (root / "data/features").mkdir()
    rng = np.random.default_rng(0)
    for modality, (length, dim) in FRAMES.items():
        noise = rng.normal(size=(length + 50, dim)).astype(np.float16)
        times = (np.arange(length) * 6 / length).astype(np.float32)
        meta = Meta(
            stream=modality, modality=modality, corpus="noise", licence="none", encoder={"encoder": "noise"},
            weights={"name": "", "revision": "", "sha256": ""}, weights_saw=None, packages={}, code="",
            fingerprint="0" * 64, pooled_dim=1, frames_dim=dim, frames="f2",
        )  # fmt: skip
        rows = (
            Row(f"{i:064x}", "ok", "", np.zeros(1, np.float32), noise[i % 50 : i % 50 + length], times)
            for i in range(count)
        )
        write(root / f"data/features/{modality}.h5", meta, names, rows)


def train(steps: int) -> dict[str, float]:
    """Load the corpus and train for some steps.

    Returns:
        The CPU seconds of loading, the peak memory in GB after loading and at the end, and the median CPU seconds of
        a step. The first step is excluded.
    """
    sections = {
        "corpus": {"name": "iemocap", "watch": ".", "root": ".", "labels": LABELS},
        "extract": {m: {"encoder": "noise", "frames": "f2"} for m in FRAMES},
        "train": {"streams": {"text": "none", **{m: m for m in FRAMES}}, "batch_size": 16},
        "model": {"name": "foalnet", "dim": 512, "heads": 4, "layers": 2, "head": 512},
        "loss": {},
        "evaluate": {},
    }
    params = validate(Params, sections, Path("benchmark"))
    begin = time.process_time()
    data = read(params)
    loaded = time.process_time() - begin
    after_loading = peak()
    torch.manual_seed(0)
    model, criterion = build(fusion(params), data.dims, data.goal)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    times: list[float] = []
    for step, group in enumerate(data.groups(data.units("train"), 16, torch.Generator().manual_seed(0))):
        if step > steps:
            break
        begin = time.process_time()
        batch = data.batch(group)
        optimiser.zero_grad()
        criterion(model(batch), batch.labels)["total"].backward()
        optimiser.step()
        times.append(time.process_time() - begin)
    return {
        "load_cpu_s": loaded,
        "peak_gb_load": after_loading,
        "peak_gb": peak(),
        "step_cpu_s": float(np.median(times[1:])),
    }


def peak() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
