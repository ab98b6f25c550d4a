"""Measure the cost per utterance for 10,000 to 1,000,000 utterances, and the speed of more workers or nodes.

    python -m benchmarks.scale sizes                        # 10k, 100k and 1M utterances: half an hour, 3 GB of disk
    python -m benchmarks.scale sizes --utterances 10000 100000 --json rows.json
    python -m benchmarks.scale engines                      # local 1 and 2, Ray with 1 and 2 nodes: some minutes

`sizes` uses synthetic tables, an encoder that returns 64 floats without a model, and two local workers. Each stage runs
in its own process, so its peak memory is measured separately. The times of `extract` and `merge` exclude planning.

`engines` uses an encoder that occupies a core for a fixed time per utterance. Start-up is measured separately. The
nodes are two `ray start` processes on this machine with one core each.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import write as write_rows
from extract import encoders
from extract.contract import Item
from pipeline.command import parser
from pipeline.tables.schema import LABEL_COLUMNS, UTTERANCE_COLUMNS

ENCODER = "benchmarks.synthetic:SyntheticEncoder"
STAGES = ("plan", "extract", "merge", "verify", "load")
EMOTIONS = ("anger", "joy", "neutral", "sadness")
TURNS = 10
WORDS = [f"word{k}" for k in range(50)]
ROOT = Path(__file__).resolve().parent.parent


def write_project(folder: Path, count: int) -> None:
    """Write params.yaml and the two tables: dialogues of ten turns, with sentences of 1 to 20 words."""
    rng = random.Random(0)
    sections = {
        "corpus": {"name": "demo", "watch": "data/demo", "root": "data/demo", "labels": list(EMOTIONS)},
        "extract": {"synthetic": {"encoder": "synthetic"}},
        "train": {"streams": {"text": "synthetic", "audio": "none", "visual": "none"}},
        "model": {"name": "multiemo"},
        "loss": {},
        "evaluate": {},
    }
    (folder / "data").mkdir(parents=True)
    (folder / "params.yaml").write_text(json.dumps(sections))
    with (
        (folder / "data/utterances.csv").open("w", newline="") as a,
        (folder / "data/labels.csv").open("w", newline="") as b,
    ):
        utterances, labels = csv.writer(a, lineterminator="\n"), csv.writer(b, lineterminator="\n")
        utterances.writerow(UTTERANCE_COLUMNS)
        labels.writerow(LABEL_COLUMNS)
        for i in range(count):
            dialogue, turn = divmod(i, TURNS)
            name, text = f"d{dialogue:07}_{turn}", " ".join(rng.choices(WORDS, k=rng.randint(1, 20)))
            media, begin = f"clips/d{dialogue:07}.mp4", 4.0 * turn
            speaker = f"speaker {rng.randrange(3)} of {dialogue}"
            media_hash = f"{dialogue:064x}"
            utterances.writerow(
                (name, f"d{dialogue:07}", turn, speaker, "", text, media, begin, begin + 3.5, media_hash)
            )
            split = "train" if dialogue % 10 < 8 else "val" if dialogue % 10 == 8 else "test"
            labels.writerow((name, split, rng.choice(EMOTIONS)))


def stage(name: str) -> dict[str, float]:
    """Run one stage in the current folder; return its wall-clock and CPU seconds and the peak memory in MB."""
    from extract.engine import run
    from extract.engine.journal import Journal, journal_path
    from extract.engine.plan import Plan
    from extract.streams import encoder_of, load_checked
    from pipeline.env import workers
    from pipeline.features import FeatureCache
    from pipeline.params import FEATURES
    from pipeline.tables.schema import read_utterances

    if name == "load":
        from train.fusion.build import read  # only this stage needs PyTorch

    params, out = load_checked(), FEATURES / "synthetic.h5"
    begin = _clock()
    if name == "verify":
        with FeatureCache(out) as cache:
            cache.verify()
    elif name == "load":
        read(params)
    else:
        encoder = encoder_of("synthetic", params)
        about = run.meta("synthetic", params.corpus, encoder)
        with Journal(journal_path(about.fingerprint)) as journal:
            plan = Plan(encoder, read_utterances())
            plan.missing(journal)
            begin = begin if name == "plan" else _clock()
            if name == "extract":
                for _ in run._work("synthetic", plan, journal, workers()):
                    pass
            elif name == "merge":
                counts: Counter[str] | None = run._merge(plan, journal, out, about)
                assert counts == {"ok": len(plan)}
    seconds, cpu = (now - then for now, then in zip(_clock(), begin, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak}


def _clock() -> tuple[float, float]:
    """Return wall-clock seconds, and CPU seconds of this process and of its children that have ended."""
    return time.perf_counter(), sum(os.times()[:4])


def sizes(counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Measure every stage and its files for each number of utterances."""
    print(f"{'utterances':>10} {'stage':8}{'seconds':>9}{'µs each':>9}{'CPU µs':>8}{'peak MB':>9}")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_project(folder / "project", count)
            for one in STAGES:
                found = measured(folder / "project", one)
                print(
                    f"{count:10,} {one:8}{found['seconds']:9.1f}{found['seconds'] / count * 1e6:9.1f}"
                    f"{found['cpu_seconds'] / count * 1e6:8.1f}{found['peak_mb']:9.0f}",
                    flush=True,
                )
                yield {"utterances": count, "stage": one, **found}
            for what, pattern in (
                ("tables", "data/*.csv"),
                ("journal", ".cache/journal/*.sqlite"),
                ("features", "data/features/*.h5"),
            ):
                size = sum(path.stat().st_size for path in (folder / "project").glob(pattern))
                print(f"{count:10,} {what:8}{size / 1e6:9.1f} MB {size / count:8.0f} bytes each", flush=True)
                yield {"utterances": count, "disk": what, "bytes": size}


def measured(folder: Path, name: str) -> dict[str, float]:
    """Run a stage in a new process; return the result of `stage`. CPU seconds include the workers."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EMOFUSE_WORKERS": "2", "OMP_NUM_THREADS": "1"}
    environment.pop("DVC_ROOT", None)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "stage", name],
        cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def engines(count: int, work: float) -> Iterator[dict[str, Any]]:
    """Measure each engine with one and two workers."""
    from tests.extract.cluster import Cluster

    print(f"{'':22}{'begins after s':>15}{'utterances/s':>14}")
    for workers in (1, 2):
        yield _rate(f"local, {workers} workers", count, work, {"EMOFUSE_WORKERS": str(workers)})
    for nodes in (1, 2):
        with Cluster(nodes) as cluster:
            environment = {**cluster.environment, "EMOFUSE_ENGINE": "ray", "EMOFUSE_WORKERS": str(nodes)}
            yield _rate(f"Ray, {nodes} nodes", count, work, environment)


def _rate(name: str, count: int, work: float, environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "rate", str(count), str(work)],
        cwd=ROOT, env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    row = {"engine": name, "work_ms": work, **json.loads(done.stdout.splitlines()[-1])}
    print(f"{name:22}{row['begin_seconds']:15.1f}{row['per_second']:14.1f}", flush=True)
    return row


def rate(count: int, work: float) -> dict[str, float]:
    """Return the seconds until the first result, and the utterances per second after it.

    Args:
        count: the number of utterances.
        work: CPU time per utterance in milliseconds.
    """
    from benchmarks.synthetic import SyntheticEncoder, SyntheticParams
    from extract.engine import run
    from pipeline.env import workers

    encoder = SyntheticEncoder(SyntheticParams(encoder="synthetic", work=work), Path())
    items = [Item({"text": str(i)}, length=1) for i in range(count)]
    size = encoder.batch_size
    batches = iter([items[i : i + size] for i in range(0, count, size)])
    begin, first, done = time.perf_counter(), 0.0, 0
    for entries in run._engine()(encoder, batches, workers(), 600):
        if entries and not first:
            first, done = time.perf_counter(), -len(entries)
        done += len(entries)
    return {"begin_seconds": first - begin, "per_second": done / (time.perf_counter() - first)}


def main() -> None:
    """Run the chosen measurement."""
    options = parser("benchmarks.scale", __doc__)
    options.add_argument(
        "what",
        choices=("sizes", "engines", "stage", "rate"),
        metavar="{sizes,engines}",
        help="the measurement",
    )
    options.add_argument("values", nargs="*", help=argparse.SUPPRESS)  # for the processes that measure
    options.add_argument(
        "--utterances", type=int, nargs="+", help="default: 10000 100000 1000000 for sizes, 2000 for engines"
    )
    options.add_argument("--work", type=float, default=5.0, help="CPU time per utterance in ms, for engines")
    options.add_argument("--json", type=Path, help="a file for the rows of the table")
    args = options.parse_args()
    encoders.REGISTRY["synthetic"] = ENCODER
    if args.what == "stage":
        print(json.dumps(stage(args.values[0])))
    elif args.what == "rate":
        print(json.dumps(rate(int(args.values[0]), float(args.values[1]))))
    else:
        rows = (
            sizes(args.utterances or (10_000, 100_000, 1_000_000))
            if args.what == "sizes"
            else engines((args.utterances or (2_000,))[0], args.work)
        )
        found = list(rows)
        if args.json:
            write_rows(args.json, "scale", found, ("utterances", "stage", "disk", "engine"))


if __name__ == "__main__":
    main()
