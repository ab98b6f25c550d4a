"""Synthetic batches of the shapes of MELD and IEMOCAP, with the published hyperparameters of MultiEMO."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch

from evaluate.experiments import paper
from evaluate.experiments.paper import Changes
from train.models.contract import MODALITIES, Batch
from train.models.multiemo import LossParams, Params

DIMS = {"text": 768, "audio": 512, "visual": 1000}


@dataclass
class Setting:
    """One data set at one batch size.

    Attributes:
        dataset: `MELD` or `IEMOCAP`.
        dialogues: the number of dialogues.
        utterances: the number of utterances.
        turns: the utterances of the shortest and of the longest dialogue.
        batch: dialogues per batch.
        parties: the largest number of speakers in a dialogue.
        counts: utterances of each label.
        model: the hyperparameters of the model.
        loss: the hyperparameters of the loss.
    """

    dataset: str
    dialogues: int
    utterances: int
    turns: tuple[int, int]
    batch: int
    parties: int
    counts: list[int]
    model: Params
    loss: LossParams

    def batches(self) -> list[Batch]:
        """Return the batches of one epoch, the same in every call."""
        draw = random.Random(0)
        shortest, longest = self.turns
        mean, spread = self.utterances / self.dialogues, (longest - shortest) / 5
        lengths = [
            min(longest, max(shortest, round(draw.gauss(mean, spread)))) for _ in range(self.dialogues)
        ]
        lengths[:2] = self.turns
        while (excess := sum(lengths) - self.utterances) != 0:
            i = draw.randrange(2, self.dialogues)
            lengths[i] = min(longest, max(shortest, lengths[i] - (1 if excess > 0 else -1)))
        draw.shuffle(lengths)
        torch.manual_seed(0)
        return [self.batch_of(lengths[i : i + self.batch]) for i in range(0, self.dialogues, self.batch)]

    def batch_of(self, lengths: list[int]) -> Batch:
        """Return one batch of random dialogues with the given numbers of utterances."""
        total, turns = sum(lengths), max(lengths)
        real = torch.arange(turns) < torch.tensor(lengths)[:, None]
        features = {m: torch.randn(*real.shape, d) * real[..., None] for m, d in DIMS.items()}
        speakers = torch.randint(min(3, self.parties), real.shape) * real
        labels = torch.multinomial(torch.tensor(self.counts).float(), total, replacement=True)
        present = dict.fromkeys(MODALITIES, real)
        return Batch(features, present, speakers, torch.tensor(lengths), labels, torch.arange(total))


def settings() -> dict[str, Setting]:
    """Return the data sets and the published hyperparameters by name."""

    def knobs(changes: Changes) -> tuple[Params, LossParams]:
        return Params(name="multiemo", **changes["model"]), LossParams(**changes["loss"])

    meld = Setting(
        "MELD", 1038, 9989, (1, 24), 100, 9, [4710, 1205, 268, 683, 1743, 271, 1109],
        *knobs(paper.MELD),
    )  # fmt: skip
    iemocap = {
        size: Setting(
            "IEMOCAP", 120, 5810, (8, 110), size, 2, [504, 839, 1324, 933, 742, 1468],
            *knobs(paper.IEMOCAP),
        )
        for size in (32, 64)
    }  # fmt: skip
    return {"meld": meld, "iemocap-32": iemocap[32], "iemocap-64": iemocap[64]}
