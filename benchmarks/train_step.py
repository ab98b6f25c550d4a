"""Compare the time of a MultiEMO training step in this project and in the published code.

    python -m benchmarks.train_step                                      # ours and the loop-written references
    python -m benchmarks.train_step --published ../MultiEMO-ACL2023      # with the published code
    python -m benchmarks.train_step --published … --settings meld --batches 3 --json out.json

The published code is not part of this project and has no licence, so you check it out yourself. It runs on a current
PyTorch without changes. The benchmark does not use its training script, which passes ReduceLROnPlateau an argument
that PyTorch has removed.

The inputs are synthetic dialogues with the shapes of MELD and IEMOCAP. After a warm-up, all sides take the same step in
turn in one process, so other programs slow down all sides alike. The first losses of `published` and `same numbers`
must agree. Peak memory is measured in a separate process that takes two steps of the largest batch.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from benchmarks.published_multiemo import Published
from benchmarks.rows import write as write_rows
from benchmarks.shapes import DIMS, Setting, settings
from benchmarks.sides import SAME_LAYERS, make_side
from pipeline.command import parser
from pipeline.errors import entry
from train.models.contract import MODALITIES
from train.models.multiemo import reference
from train.models.multiemo.losses import class_weights, soft_hgr, swfc
from train.models.multiemo.network import MultiEMO
from train.models.multiemo.published import from_published

LARGE = 3000  # utterances in the comparison of the losses
PUBLISHED_SWFC = (
    1000  # the published SWFC gets fewer utterances, because its time and memory grow quadratically
)
LOOPS_SWFC = 60  # the loop-written SWFC, too
K = TypeVar("K", bound=Hashable)


def run_alternately(runs: Mapping[K, Callable[[], object]], rounds: int) -> dict[K, list[float]]:
    """Call the functions in turn; return the seconds of each call after the first."""
    times: dict[K, list[float]] = {name: [] for name in runs}
    for timed in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if timed:
                times[name].append(time.perf_counter() - start)
    return times


def there_and_back(run: Callable[[], list[Tensor]]) -> Callable[[], None]:
    """Return a function that runs forward and backward from all outputs."""

    def both() -> None:
        outputs = run()
        torch.autograd.backward(outputs, [torch.ones_like(x) for x in outputs])

    return both


def bench_steps(key: str, setting: Setting, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row per side and measured part of a setting."""
    batches = setting.batches()[: args.batches]
    names = ["same numbers", "default"]
    largest = max(len(batch.labels) for batch in batches)
    needed = 2 * 4 * largest**2 * setting.model.dim  # the published SWFC keeps two [N, N, d] tensors
    if args.published and needed > 0.6 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        note = f"{key}: without published, whose SWFC needs {needed / 2**30:.0f} GiB for {largest} utterances"
        print(note, file=sys.stderr)
    elif args.published:
        names.insert(0, "published")
    if args.device != "cpu" or torch.cpu._is_avx512_bf16_supported():
        names.append("default bf16")
    if setting.dataset == "MELD":
        names += [name + SAME_LAYERS for name in names if name.startswith("default")]
    # Measured first, while this process uses little memory.
    peaks = {name: peak_memory(name, key, args) for name in names}
    sides = {name: make_side(name, setting, args.published, args.device) for name in names}
    if "published" in sides:
        same, theirs = sides["same numbers"].net, sides["published"].net
        same.load_state_dict(from_published(theirs.state_dict(), same.state_dict(), setting.model.heads))

    seconds: dict[tuple[str, str], float] = dict.fromkeys(((name, "epoch") for name in names), 0.0)
    for number, batch in enumerate(batches):
        inputs = {name: side.prepare(batch) for name, side in sides.items()}
        if number == 0:  # the first step warms up and checks that both sides start from the same loss
            first = {name: side.step(inputs[name]) for name, side in sides.items()}
            if "published" in first and abs(first["published"] - first["same numbers"]) > 1e-4:
                sys.exit(f"{key}: the losses differ: {first}")
            for part in "context", "multiattn":
                runs = {name: there_and_back(side.parts(inputs[name])[part]) for name, side in sides.items()}
                for name, times in run_alternately(runs, args.rounds).items():
                    seconds[name, part] = statistics.median(times)
        steps = {name: lambda name=name: sides[name].step(inputs[name]) for name in sides}  # noqa: B023
        for name, times in run_alternately(steps, args.rounds).items():
            seconds[name, "epoch"] += statistics.median(times)
        print(f"{key}: batch {number + 1} of {len(batches)}", end="\r", file=sys.stderr)
    rows = []
    for (name, part), value in seconds.items():
        what = f"{part} of {len(batches)} steps" if part == "epoch" else f"{part}, one step"
        ratio = seconds["published", part] / value if "published" in sides else None
        memory = peaks[name] if part == "epoch" else None
        rows.append(
            {"setting": key, "what": what, "side": name, "seconds": value, "ratio": ratio, "peak_gib": memory}
        )
    return sorted(rows, key=lambda row: row["what"])


def peak_memory(side: str, key: str, args: argparse.Namespace) -> float:
    """Return the peak memory in GiB of a new process that takes two steps of the largest batch."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.train_step",
        "--peak",
        side,
        "--settings",
        key,
        "--threads",
        str(args.threads),
    ]
    command += ["--published", str(args.published)] if args.published else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def take_two_steps(args: argparse.Namespace) -> None:
    """Take two steps of the largest batch and print the peak memory of this process in GiB."""
    setting = settings()[args.settings[0]]
    side = make_side(args.peak, setting, args.published, args.device)
    inputs = side.prepare(max(setting.batches(), key=lambda batch: len(batch.labels)))
    side.step(inputs), side.step(inputs)
    # getrusage would include the peak of the parent process.
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak) / 2**20)


def bench_losses(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time SWFC and Soft-HGR, forward and backward; return one row per loss and side."""
    setting = settings()["meld"]
    loss, knobs = setting.loss, (setting.loss.temperature, setting.loss.focus)
    weights = class_weights(torch.tensor(setting.counts), loss.alpha, "normalised")
    features = [torch.randn(LARGE, setting.model.dim, requires_grad=True) for _ in MODALITIES]
    labels = torch.multinomial(torch.tensor(setting.counts).float(), LARGE, replacement=True)
    fused, present = dict(zip(MODALITIES, features, strict=True)), dict.fromkeys(MODALITIES, labels >= 0)
    runs: dict[tuple[str, str], Callable[[], None]] = {
        ("SWFC", "default"): lambda: swfc(features[0], labels, weights, *knobs).backward(),
        ("Soft-HGR", "default"): lambda: soft_hgr(fused, present, "scaled").backward(),
    }
    scale: dict[tuple[str, str], float] = {}
    if args.published:
        theirs, few = Published(args.published, setting), slice(PUBLISHED_SWFC)
        runs["SWFC", "published"] = lambda: theirs.swfc(features[0][few], labels[few]).backward()
        scale["SWFC", "published"] = (LARGE / PUBLISHED_SWFC) ** 2
        runs["Soft-HGR", "published"] = lambda: theirs.hgr(*features).backward()
    else:
        few = slice(LOOPS_SWFC)
        runs["SWFC", "loops"] = lambda: reference.swfc(
            features[0][few], labels[few].tolist(), weights.tolist(), *knobs
        ).backward()
        scale["SWFC", "loops"] = (LARGE / LOOPS_SWFC) ** 2
    times = run_alternately(runs, args.rounds)
    seconds = {which: statistics.median(x) * scale.get(which, 1) for which, x in times.items()}
    other = "published" if args.published else "loops"
    return [
        {
            "setting": f"{LARGE} utterances", "what": name + (" (extrapolated)" if (name, side) in scale else ""),
            "side": side, "seconds": value, "ratio": seconds.get((name, other), value) / value, "peak_gib": None,
        }
        for (name, side), value in sorted(seconds.items())
    ]  # fmt: skip


def bench_loops(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time the model and its loop-written reference on one dialogue; return one row per side."""
    setting = settings()["meld"]
    net, batch = MultiEMO(DIMS, len(setting.counts), setting.model), setting.batch_of([8])
    weights: dict[str, Tensor] = dict(net.named_parameters())
    runs = {
        "loops": there_and_back(lambda: [reference.multiemo(weights, batch, setting.model)[0]]),
        "default": there_and_back(lambda: [net(batch).logits]),
    }
    seconds = {name: statistics.median(x) for name, x in run_alternately(runs, args.rounds).items()}
    rows = {"setting": "meld", "what": "one dialogue of 8 turns", "peak_gib": None}
    return [{**rows, "side": n, "seconds": x, "ratio": seconds["loops"] / x} for n, x in seconds.items()]


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a Markdown table."""
    for row in rows:
        ratio = f"{row['ratio']:.1f}x" if row["ratio"] else ""
        memory = f"{row['peak_gib']:.1f} GiB" if row["peak_gib"] else ""
        print(
            f"| {row['setting']} | {row['what']} | {row['side']} | {row['seconds']:.3f} s | {ratio} | {memory} |"
        )


def main() -> None:
    """Run the comparisons and print their table."""
    known = settings()
    options = parser("benchmarks.train_step", __doc__)
    options.add_argument("--published", type=Path, help="a checkout of the published code")
    options.add_argument("--json", type=Path, help="a file for the rows of the table")
    options.add_argument(
        "--settings", nargs="*", choices=known, default=list(known), help="the settings to run; default: all"
    )
    options.add_argument("--batches", type=int, help="the number of batches; default: a whole epoch")
    options.add_argument(
        "--rounds", type=int, default=3, help="timed rounds; the table gives the median; default: 3"
    )
    options.add_argument("--threads", type=int, default=2, help="PyTorch threads; default: 2")
    options.add_argument(
        "--device", default="cpu", help="device of the default sides; the published code runs on the CPU"
    )
    options.add_argument("--peak", help=argparse.SUPPRESS)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        take_two_steps(args)
        return
    print("| setting | what | side | time | ratio | peak memory |\n| --- | --- | --- | --- | --- | --- |")
    rows = []
    for bench in bench_losses, bench_loops:
        show(found := bench(args))
        rows += found
    for key in args.settings:
        show(found := bench_steps(key, known[key], args))
        rows += found
    if args.json:
        write_rows(args.json, "train_step", rows, ("setting", "what", "side"))


if __name__ == "__main__":
    entry(main)
