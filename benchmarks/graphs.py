"""Compare the time of training steps of DialogueGCN and MMGCN in this project and in the published code.

    python -m benchmarks.graphs --dialoguegcn ../conv-emotion --mmgcn ../MMGCN --csv results/published/graphs.csv

Check out github.com/declare-lab/conv-emotion and github.com/hujingwen6666/MMGCN, and install PyTorch Geometric, which
only the published code needs. The inputs are synthetic dialogues with the shapes of MELD, 16 a batch; DialogueGCN reads
the text alone. Layers and dimensions are the published ones. `depth 64` is the depth that MMGCN's code has, and
`depth 4` that of its paper. After a warm-up, all sides take the same step in turn in one process, so other programs
slow down all sides alike. The time is the sum over the batches of the median of the rounds.
"""

from __future__ import annotations

import csv
import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import published_graphs as published
from benchmarks.shapes import DIMS, settings
from benchmarks.train_step import run_alternately
from pipeline.command import parser
from train.fusion.params import declared
from train.models.contract import Batch
from train.targets.single import Single

HEAD = ["model", "steps", "side", "seconds", "published / this"]


class Ours:
    """One training step of a model of this project.

    Args:
        name: the model's name.
        modalities: the modalities that it reads.
        params: values of its section `model`.
    """

    def __init__(self, name: str, modalities: tuple[str, ...], **params: Any) -> None:
        model = declared(name)
        counts = torch.tensor(settings()["meld"].counts)
        goal = Single([f"label {i}" for i in range(len(counts))], counts)
        self.dims = {m: DIMS[m] for m in modalities}
        self.net = model.network(
            self.dims, len(counts), model.params.model_validate({"name": name, **params})
        )
        self.criterion = model.loss(model.loss_params(), goal)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=True)

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch with the modalities that the model reads."""
        return dataclasses.replace(
            batch,
            features={m: batch.features[m] for m in self.dims},
            present={m: batch.present[m] for m in self.dims},
        )

    def step(self, batch: Batch) -> float:
        """Run forward, backward and update, and return the loss."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.criterion(self.net(batch), batch.labels)["total"]
        loss.backward()
        self.optimiser.step()
        return float(loss.item())


def main() -> None:
    """Run the comparisons, print their table, and write it."""
    options = parser("benchmarks.graphs", __doc__)
    options.add_argument("--dialoguegcn", type=Path, help="a checkout of declare-lab/conv-emotion")
    options.add_argument("--mmgcn", type=Path, help="a checkout of hujingwen6666/MMGCN")
    options.add_argument("--batches", type=int, help="the number of batches; default: a whole epoch")
    options.add_argument("--rounds", type=int, default=3, help="timed rounds; default: 3")
    options.add_argument("--threads", type=int, default=2, help="PyTorch threads; default: 2")
    options.add_argument("--csv", type=Path, help="also write the table to this file")
    words = options.parse_args()
    torch.set_num_threads(words.threads)
    batches = dataclasses.replace(settings()["meld"], batch=16).batches()[: words.batches]
    rows = []
    if words.dialoguegcn:
        sides = {
            "published": published.dialoguegcn(words.dialoguegcn),
            "this project, compat: published": Ours(
                "dialoguegcn", ("text",), compat="published", relations="pairs"
            ),
            "this project": Ours("dialoguegcn", ("text",)),
        }
        rows += compare("DialogueGCN", sides, batches, words.rounds)
    if words.mmgcn:
        every = tuple(DIMS)
        sides = {
            "published, depth 64": published.mmgcn(words.mmgcn),
            "this project, depth 64": Ours("mmgcn", every, depth=64),
            "this project, depth 4": Ours("mmgcn", every, depth=4),
        }
        rows += compare("MMGCN", sides, batches, words.rounds)
    table = [HEAD, *rows]
    for row in table:
        print(f"| {' | '.join(row)} |")
    if words.csv:
        with words.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(table)


def compare(model: str, sides: dict[str, Any], batches: list[Batch], rounds: int) -> list[list[str]]:
    """Return a row for each side; the first is the published code."""
    seconds = dict.fromkeys(sides, 0.0)
    for number, batch in enumerate(batches, 1):
        inputs = {name: side.prepare(batch) for name, side in sides.items()}
        steps = {name: lambda name=name: sides[name].step(inputs[name]) for name in sides}  # noqa: B023
        for name, times in run_alternately(steps, rounds).items():
            seconds[name] += statistics.median(times)
        print(f"{model}: batch {number} of {len(batches)}", end="\r", file=sys.stderr)
    first = next(iter(seconds.values()))
    count = str(len(batches))
    return [[model, count, name, f"{value:.2f}", f"{first / value:.1f}x"] for name, value in seconds.items()]


if __name__ == "__main__":
    main()
