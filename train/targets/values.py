"""Numbers, such as valence or sentiment: 1 - CCC, or the mean squared error.

A network's outputs are in units of the train split's standard deviations from its mean, so that all values have the
same scale in the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor
from typing_extensions import override

from pipeline.tables.target import Target
from train.calibration import Calibration
from train.targets.goal import Goal

if TYPE_CHECKING:
    from pipeline.params import TrainParams
    from train.record import Record

SMALLEST = 1e-8  # of the divisor of CCC, for one utterance or a constant answer


@dataclass(frozen=True, eq=False)
class Values(Goal):
    """K numbers.

    Attributes:
        mean, sd: [K] of the rated train utterances.
        measure: `train.regression`.
    """

    mean: Tensor
    sd: Tensor
    measure: Literal["ccc", "mse"]

    kind = "values"
    term = "error"
    main = "ccc"
    title = "CCC"
    constant_name = "a constant answer"

    @override
    @classmethod
    def of(cls, names: list[str], truth: Tensor, train: TrainParams) -> Self:
        rated = ~truth.isnan()
        columns = [truth[here, k].double() for k, here in enumerate(rated.T)]
        mean = torch.stack([x.mean() if len(x) else x.new_zeros(()) for x in columns])
        sd = torch.stack([x.std(correction=0) if len(x) else x.new_zeros(()) for x in columns])
        # A value that never varies, or is never rated, keeps its own unit.
        return cls(names, rated.sum(0), mean, torch.where(sd > 0, sd, 1.0), train.regression)

    @override
    @classmethod
    def recorded(cls, record: Record) -> Self:
        mean, sd = torch.tensor([[s.mean, s.sd] for s in record.scale], dtype=torch.double).T
        return cls(record.labels, torch.tensor(record.class_counts), mean, sd, record.params.train.regression)

    @override
    def target(self) -> Target:
        return Target((), self.kind, self.names)

    @override
    def record(self) -> dict[str, Any]:
        pairs = zip(self.mean.tolist(), self.sd.tolist(), strict=True)
        return {**super().record(), "scale": [{"mean": mean, "sd": sd} for mean, sd in pairs]}

    @override
    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the mean over the values of 1 - CCC or of the mean squared error, over the rated utterances."""
        wanted = self.scaled(truth).to(logits)
        errors = [
            1 - concordance(logits[here, k], wanted[here, k])
            if self.measure == "ccc"
            else (logits[here, k] - wanted[here, k]).square().mean()
            for k, here in enumerate((~wanted.isnan()).T)
            if here.any()
        ]
        return torch.stack(errors).mean() if errors else 0 * logits.sum()

    @override
    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the mean squared difference over the values."""
        return (teacher - student).square().mean(-1)

    @override
    def answers(self, logits: Tensor) -> Tensor:
        return (logits * self.sd.to(logits.device) + self.mean.to(logits.device)).to(logits.dtype)

    @override
    def constant(self, truth: Tensor) -> Tensor:
        return self.scaled(truth).nanmean(0).nan_to_num(0.0)

    @override
    def scores(self, logits: Tensor, truth: Tensor) -> dict[str, float]:
        found, rated = self.answers(logits).double(), ~truth.isnan()
        columns = [(found[here, k], truth[here, k].double()) for k, here in enumerate(rated.T) if here.any()]
        return {
            "val_error": self.loss(logits, truth).item(),
            "val_ccc": torch.stack([concordance(x, y) for x, y in columns]).mean().item(),
            "val_mae": torch.stack([(x - y).abs().mean() for x, y in columns]).mean().item(),
        }

    @override
    def baseline(self, truth: Tensor) -> float:
        return 0.0

    @override
    def calibrated(self, logits: Tensor, truth: Tensor) -> Calibration:
        return Calibration()

    @override
    def scaled(self, truth: Tensor) -> Tensor:
        return (truth - self.mean.to(truth.device)) / self.sd.to(truth.device)


def concordance(x: Tensor, y: Tensor) -> Tensor:
    """Return the concordance correlation coefficient of x [n] and y [n], a scalar; 0 if one of them is constant.

    2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))²) with divisor n (Lin 1989, doi 10.2307/2532051, equation 2.4).
    """
    dx, dy = x - x.mean(), y - y.mean()
    bottom = dx.square().mean() + dy.square().mean() + (x.mean() - y.mean()).square()
    return 2 * (dx * dy).mean() / bottom.clamp(min=SMALLEST)
