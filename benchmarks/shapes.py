"""The data sets' shapes, as synthetic batches, and the published hyperparameters for them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from train.models.contract import MODALITIES, Batch

DIMS = {"text": 768, "audio": 512, "visual": 1000}


@dataclass
class Setting:
    """One data set at one batch size."""

    dataset: str
    dialogues: int
    utterances: int
    turns: tuple[int, int]
    batch: int
    parties: int
    counts: list[int]  # utterances of each label
    model: SimpleNamespace
    loss: SimpleNamespace

    def batches(self) -> list[Batch]:
        """One epoch."""
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
        """Dialogues of these lengths."""
        total, turns = sum(lengths), max(lengths)
        real = torch.arange(turns) < torch.tensor(lengths)[:, None]
        features = {m: torch.randn(*real.shape, d) * real[..., None] for m, d in DIMS.items()}
        speakers = torch.randint(min(3, self.parties), real.shape) * real
        labels = torch.multinomial(torch.tensor(self.counts).float(), total, replacement=True)
        present = dict.fromkeys(MODALITIES, real)
        return Batch(features, present, speakers, torch.tensor(lengths), labels, torch.arange(total))


def settings() -> dict[str, Setting]:
    """Return the data sets and the published hyperparameters by name."""

    def model(layers: int, head: int, **form: bool) -> SimpleNamespace:
        sizes = {"dim": 256, "heads": 4, "ffn": 1024, "layers": layers, "head": head, "dropout": 0.0}
        return SimpleNamespace(**sizes, multiattn=True, **form)

    def loss(mu: float, temperature: float, focus: float, alpha: float) -> SimpleNamespace:
        numbers = {"mu1": mu, "mu2": mu, "temperature": temperature, "focus": focus, "alpha": alpha}
        return SimpleNamespace(**numbers, soft_hgr="scaled", swfc_weights="normalised")

    meld = Setting(
        "MELD", 1038, 9989, (1, 24), 100, 9, [4710, 1205, 268, 683, 1743, 271, 1109],
        model(2, 512, bidirectional=False, text_rnn=True), loss(0.3, 1.4, 2.0, 1.2),
    )  # fmt: skip
    iemocap = {
        size: Setting(
            "IEMOCAP", 120, 5810, (8, 110), size, 2, [504, 839, 1324, 933, 742, 1468],
            model(6, 256, bidirectional=True, text_rnn=True), loss(0.4, 0.8, 2.4, 1.1),
        )
        for size in (32, 64)
    }  # fmt: skip
    return {"meld": meld, "iemocap-32": iemocap[32], "iemocap-64": iemocap[64]}
