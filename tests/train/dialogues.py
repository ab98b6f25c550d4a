"""Random batches and small models in float64 for the tests of this folder."""

from __future__ import annotations

import torch

from train.models.contract import Batch
from train.models.multiemo import LossParams, Params
from train.models.multiemo.network import MultiEMO

DIMS = {"text": 5, "audio": 4, "visual": 6}
CLASSES = 4


def params(**changes) -> Params:
    """Model params of a small MultiEMO."""
    sizes = {"dim": 8, "heads": 2, "ffn": 12, "layers": 2, "head": 7, "dropout": 0.0}
    return Params(name="multiemo", **{**sizes, **changes})


def loss_params(**changes) -> LossParams:
    """Loss params of MultiEMOLoss."""
    return LossParams(**{"temperature": 0.9, "focus": 2.2, "alpha": 1.1, **changes})


def model(p: Params, modalities: tuple[str, ...] = tuple(DIMS), seed: int = 0) -> MultiEMO:
    """A float64 model with weights large enough for every path to show."""
    torch.manual_seed(seed)
    net = MultiEMO({m: DIMS[m] for m in modalities}, CLASSES, p).double()
    for name, weight in net.named_parameters():
        if name.startswith(("missing", "rnn")):
            torch.nn.init.normal_(weight, std=0.5)
    return net


def batch(
    lengths: list[int],
    modalities: tuple[str, ...] = tuple(DIMS),
    missing: float = 0.0,
    seed: int = 0,
    parties: int = 3,
) -> Batch:
    """Random dialogues of these lengths; every dialogue is the same whatever stands beside it."""
    turns = max(lengths)
    features = {m: torch.zeros(len(lengths), turns, DIMS[m], dtype=torch.float64) for m in modalities}
    present = {m: torch.zeros(len(lengths), turns, dtype=torch.bool) for m in modalities}
    speakers = torch.zeros(len(lengths), turns, dtype=torch.long)
    labels = []
    for b, length in enumerate(lengths):
        draw = torch.Generator().manual_seed(seed * 10_007 + b)
        names = torch.randint(parties, (length,), generator=draw).tolist()
        order = {name: i for i, name in enumerate(dict.fromkeys(names))}
        speakers[b, :length] = torch.tensor([order[name] for name in names])
        labels += torch.randint(CLASSES, (length,), generator=draw).tolist()
        for m in modalities:
            here = torch.rand(length, generator=draw) >= missing
            x = torch.randn(length, DIMS[m], generator=draw, dtype=torch.float64)
            features[m][b, :length] = x * here[:, None]
            present[m][b, :length] = here
    total = sum(lengths)
    return Batch(
        features,
        present,
        speakers,
        torch.tensor(lengths),
        torch.tensor(labels, dtype=torch.long),
        torch.arange(total),
    )


def alone(whole: Batch, b: int) -> Batch:
    """One dialogue of a batch, by itself."""
    lengths = whole.lengths.tolist()
    turns, first = lengths[b], sum(lengths[:b])
    rows = slice(first, first + turns)
    return Batch(
        {m: x[b : b + 1, :turns] for m, x in whole.features.items()},
        {m: x[b : b + 1, :turns] for m, x in whole.present.items()},
        whole.speakers[b : b + 1, :turns],
        whole.lengths[b : b + 1],
        whole.labels[rows],
        whole.indices[rows],
    )
