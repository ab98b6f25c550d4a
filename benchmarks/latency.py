"""Measure the time from a new turn to its answer while a dialogue goes on, for every causal model.

    python -m benchmarks.latency --json latency.json     # about a minute
    python -m benchmarks.latency --turns 10 --models bclstm sdt

The features of a turn are there: the time is that of the network alone, in one process with one thread. It is CPU time,
which other programs hardly change. A network keeps no state between turns, so it reads the dialogue so far again for
each answer. Features are random, of the sizes that MultiEMO has on MELD (768, 512, 1,000); models have their default
sizes. A number is the median over the calls of `--seconds`.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pandas as pd
import torch

from benchmarks.rows import write as write_rows
from benchmarks.shapes import DIMS, settings
from pipeline.command import parser
from pipeline.errors import entry
from train.fusion.params import declared
from train.models import MODELS

TURNS = (1, 10, 50, 200)


def main() -> None:
    """Measure the models and print a table in milliseconds."""
    words = parser("benchmarks.latency", __doc__)
    words.add_argument(
        "--models", nargs="+", choices=causal(), default=causal(), help="the models; default: all"
    )
    words.add_argument(
        "--turns",
        nargs="+",
        type=int,
        default=TURNS,
        help="lengths of the dialogue so far; default: 1 10 50 200",
    )
    words.add_argument("--seconds", type=float, default=0.5, help="time for each number; default: 0.5")
    words.add_argument("--csv", type=Path, help="also write the table to this file")
    words.add_argument("--json", type=Path, help="write the numbers to this file")
    given = words.parse_args()
    torch.set_num_threads(1)
    found = [
        {"model": name, "turns": turns, "ms": milliseconds(name, turns, given.seconds)}
        for name in given.models
        for turns in given.turns
    ]
    table = pd.DataFrame(found).pivot_table("ms", "model", "turns", sort=False).round(2)
    table.columns = [f"ms at turn {turns}" for turns in table]
    print(table.to_string())
    if given.csv:
        table.to_csv(given.csv, lineterminator="\n")
    if given.json:
        write_rows(given.json, "latency", found, ("model", "turns"))


def causal() -> list[str]:
    """Return the models of dialogues whose answers can do without later turns."""
    models = {name: declared(name) for name in MODELS}
    return [
        name
        for name, model in models.items()
        if model.reads == "pooled" and (model.past_only or "causal" in model.params.model_fields)
    ]


def milliseconds(name: str, turns: int, seconds: float) -> float:
    """Return the median time in which a causal model of random weights answers a dialogue of this many turns."""
    model, setting = declared(name), settings()["meld"]
    knob = {} if model.past_only else {"causal": True}
    torch.manual_seed(0)
    network = model.network(DIMS, len(setting.counts), model.params(name=name, **knob)).eval()
    batch = setting.batch_of([turns])
    times: list[float] = []
    with torch.inference_mode():
        network(batch)
        while not times or sum(times) < seconds:
            begin = time.process_time()
            network(batch)
            times.append(time.process_time() - begin)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    entry(main)
