"""Compare feature caches with common file formats: seconds to write them and to read them into tensors.

    python -m benchmarks.cache                      # MELD's size: some minutes, 4 GB of disk
    python -m benchmarks.cache --utterances 1000 --json rows.json

The benchmark reads two kinds of streams:

- Pooled: three streams of 13,708 utterances with 768, 6373 and 1000 floats, each read whole, as in training.
- Frames: one stream of 500 utterances with 50 frames of 1024 half-precision floats per second, read one utterance at
  a time.

One process reads all formats in turn. The files are in the page cache, so the times exclude the disk. The table gives
medians of the wall-clock times, and CPU times, which depend less on other programs. The feature cache compares the
checksum of every chunk and checks that every value is finite. The other formats check nothing, except npz (a CRC) and
the cache read by h5py (Fletcher-32).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.formats import FORMATS, RATE, Arrays, Format
from benchmarks.rows import write as write_rows
from pipeline.command import parser

DIMS = {"text": 768, "opensmile": 6373, "face": 1000}
FRAMES_DIM, MEAN_SECONDS = 1024, 3.1
SEED = 0


@dataclass
class Row:
    """A line of the table: the times of one format. Times are in seconds.

    Attributes:
        what: `pooled` or `frames`.
        format: the name of the format.
        megabytes: the size of the arrays.
        write_s: wall-clock time of writing.
        read_s: median wall-clock time of reading.
        read_s_best: shortest wall-clock time of reading.
        read_cpu_s_best: shortest CPU time of reading.
        read_cpu_s: median CPU time of reading.
    """

    what: str
    format: str
    megabytes: float
    write_s: float
    read_s: float
    read_s_best: float
    read_cpu_s_best: float
    read_cpu_s: float


def main() -> None:
    """Run the comparison and print its table."""
    options = parser("benchmarks.cache", __doc__)
    options.add_argument("--utterances", type=int, default=13_708, help="utterances of the pooled streams")
    options.add_argument("--framed", type=int, default=500, help="utterances of the stream of frames")
    options.add_argument(
        "--runs", type=int, default=5, help="timed runs; one more fills the page cache first"
    )
    options.add_argument("--folder", type=Path, help="a folder for temporary files")
    options.add_argument("--json", type=Path, help="a file for the rows of the table")
    args = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        formats = [kind(Path(folder)) for kind in FORMATS]
        rows = _measure(formats, "pooled", _pooled(args.utterances), args.runs)
        rows += _measure(formats, "frames", _frames(args.framed), args.runs)
    _print(rows)
    if args.json:
        write_rows(args.json, "cache", map(asdict, rows), ("what", "format"))


def _measure(formats: Sequence[Format], what: str, streams: dict[str, Arrays], runs: int) -> list[Row]:
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
            # The first turn fills the page cache. It also checks that every format returns the written values.
            flat = [t for part in tensors for t in (part if isinstance(part, list) else [part])]
            total = sum(float(t.numpy().sum(dtype=np.float64)) for t in flat)
            if not np.isclose(total, expected):
                raise SystemExit(f"{form.name}: the values read differ from the values written")
    return [
        Row(
            what,
            form.name,
            size / 1e6,
            wrote[form.name],
            read_s=statistics.median(wall for wall, _ in read[form.name]),
            read_s_best=min(wall for wall, _ in read[form.name]),
            read_cpu_s_best=min(cpu for _, cpu in read[form.name]),
            read_cpu_s=statistics.median(cpu for _, cpu in read[form.name]),
        )
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


def _print(rows: list[Row]) -> None:
    parts = {what: {row.format: row for row in rows if row.what == what} for what in ("pooled", "frames")}
    for what, part in parts.items():
        cache = part["feature cache"]
        print(
            f"\n{what}, {cache.megabytes:.0f} MB        write s   MB/s    read s   MB/s   read, cache = 1   cpu s"
        )
        for name, row in part.items():
            rates = [f"{s:8.2f} {row.megabytes / s:7.0f}" for s in (row.write_s, row.read_s)]
            print(
                f"  {name:<22} {rates[0]}  {rates[1]}  {row.read_s / cache.read_s:8.2f} {row.read_cpu_s:14.2f}"
            )
    for what, part in parts.items():
        ratio = part["feature cache"].read_cpu_s_best / part["feature cache, no sums"].read_cpu_s_best
        print(f"reading {what}: {ratio:.2f} × the CPU time without checksums (aim: below 1.1)")
    pooled = parts["pooled"]
    for other, aim in (("pickle of a matrix", 1), ("pickle of a dict", 1), ("raw bytes", 5)):
        ratio = pooled["feature cache"].read_s / pooled[other].read_s
        print(f"reading pooled: {ratio:.2f} × {other} (aim: below {aim})")


if __name__ == "__main__":
    main()
