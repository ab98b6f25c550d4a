"""Feature caches beside what people use instead: seconds to write, and to read into training tensors.

    python -m benchmarks.cache                      # MELD's size: some minutes, 4 GB of disk
    python -m benchmarks.cache --utterances 1000 --json rows.json

Three streams of 13,708 utterances with 768, 6373 and 1000 floats, read whole, as training does; and one of
50 frames a second × 1024 half floats for 500 utterances, read one at a time. All formats take turns in one
process with the files in the page cache, so the disk is not what is measured; times are medians, and the
processor's time stands beside them for machines that do other things too. The cache compares the sum of every chunk
and looks at every value; the others check nothing (npz: a CRC; h5py: fletcher32).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.formats import FORMATS, RATE, Arrays, Format
from pipeline.command import parser

DIMS = {"text": 768, "opensmile": 6373, "face": 1000}
FRAMES_DIM, MEAN_SECONDS = 1024, 3.1
SEED = 0


def main() -> None:
    """Run the comparison and print its table."""
    options = parser("benchmarks.cache", __doc__)
    options.add_argument("--utterances", type=int, default=13_708)
    options.add_argument("--framed", type=int, default=500, help="utterances with frames")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--folder", type=Path, help="where the files go for the time being")
    options.add_argument("--json", type=Path)
    args = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        formats = [kind(Path(folder)) for kind in FORMATS]
        rows = _measure(formats, "pooled", _pooled(args.utterances), args.runs)
        rows += _measure(formats, "frames", _frames(args.framed), args.runs)
    _print(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def _measure(formats: list[Format], what: str, streams: dict[str, Arrays], runs: int) -> list[dict]:
    size = sum(a.nbytes for arrays in streams.values() for a in arrays.values())
    paths, wrote = {}, {}
    read: dict[str, list[tuple[float, float]]] = {form.name: [] for form in formats}
    for form in formats:
        start = time.perf_counter()
        paths[form.name] = [form.write(stream, arrays) for stream, arrays in streams.items()]
        wrote[form.name] = time.perf_counter() - start
    expected = sum(float(a.sum(dtype=np.float64)) for arrays in streams.values() for a in arrays.values())
    for turn in range(runs + 1):
        for form in formats:
            start, cpu = time.perf_counter(), time.process_time()
            tensors = [getattr(form, what)(path) for path in paths[form.name]]
            took = time.perf_counter() - start, time.process_time() - cpu
            if turn:
                read[form.name].append(took)
                continue
            # The first turn fills the page cache and shows that all read the same values.
            flat = [t for part in tensors for t in (part if isinstance(part, list) else [part])]
            total = sum(float(t.numpy().sum(dtype=np.float64)) for t in flat)
            if not np.isclose(total, expected):
                raise SystemExit(f"{form.name} read other values than were written")
    return [
        {
            "what": what,
            "format": form.name,
            "megabytes": size / 1e6,
            "write_s": wrote[form.name],
            "read_s": statistics.median(wall for wall, _ in read[form.name]),
            "read_s_best": min(read[form.name])[0],
            "read_cpu_s_best": min(cpu for _, cpu in read[form.name]),
            "read_cpu_s": statistics.median(cpu for _, cpu in read[form.name]),
        }
        for form in formats
    ]


def _pooled(count: int) -> dict[str, Arrays]:
    rng = np.random.default_rng(SEED)
    names = [f"dia{i // 10}_utt{i % 10}" for i in range(count)]
    return {
        s: dict(zip(names, rng.standard_normal((count, d), dtype="f4"), strict=True)) for s, d in DIMS.items()
    }


def _frames(count: int) -> dict[str, Arrays]:
    rng = np.random.default_rng(SEED)
    lengths = np.maximum(1, (rng.exponential(MEAN_SECONDS, count) * RATE).astype(int))
    return {
        "speech": {
            f"utt{i}": rng.standard_normal((t, FRAMES_DIM), dtype="f4").astype("f2")
            for i, t in enumerate(lengths)
        }
    }


def _print(rows: list[dict]) -> None:
    for what in ("pooled", "frames"):
        part = {row["format"]: row for row in rows if row["what"] == what}
        cache = part["feature cache"]
        print(
            f"\n{what}, {cache['megabytes']:.0f} MB        write s   MB/s    read s   MB/s   read, cache = 1   cpu s"
        )
        for name, row in part.items():
            rates = [f"{row[k]:8.2f} {row['megabytes'] / row[k]:7.0f}" for k in ("write_s", "read_s")]
            print(
                f"  {name:<22} {rates[0]}  {rates[1]}  {row['read_s'] / cache['read_s']:8.2f} {row['read_cpu_s']:14.2f}"
            )
    for what in ("pooled", "frames"):
        part = {row["format"]: row["read_cpu_s_best"] for row in rows if row["what"] == what}
        ratio = part["feature cache"] / part["feature cache, no sums"]
        print(f"reading {what}: {ratio:.2f} × the processor's time without comparing sums (aim: below 1.1)")
    part = {row["format"]: row["read_s"] for row in rows if row["what"] == "pooled"}
    cache = part["feature cache"]
    for other, aim in (("pickle of a matrix", 1), ("pickle of a dict", 1), ("raw bytes", 5)):
        print(f"reading pooled: {cache / part[other]:.2f} × {other} (aim: below {aim})")


if __name__ == "__main__":
    main()
