"""Logistic or ridge regression on the features of a turn and of the turns around it, fitted by a solver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.solvers import SOLVERS
from train.models.contract import MODALITIES, Batch, Output
from train.targets.goal import Goal
from train.truth import known

STRENGTHS = (0.001, 0.01, 0.1, 1.0)


class LogisticRegression(nn.Module):
    """A linear model of the concatenated pooled features of a window of turns.

    It is multinomial logistic regression for one label or votes, one-vs-rest logistic regression for several labels,
    and ridge regression for values.

    A missing feature, or a turn outside the dialogue, is 0, the train split's mean after normalisation.

    Args:
        dims: modality in use → feature size.
        classes: the number of outputs, C.
        before: the number of turns in the window before the own turn.
        after: the number of turns in the window after it.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, before: int, after: int) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        self.before, self.after = before, after
        self.linear = nn.Linear((before + 1 + after) * sum(dims[m] for m in self.modalities), classes)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        return Output(logits=self.linear(self._inputs(batch)))

    def solutions(self, batches: Iterable[Batch], goal: Goal) -> Iterator[float]:
        """Fit the model once for each inverse regularisation strength, and yield the strength.

        Args:
            batches: the train dialogues. Unlabelled utterances are context only.
            goal: what the model learns.

        Raises:
            UserError: all labels are equal.
        """
        pairs = [(self._inputs(batch), batch.labels) for batch in batches]
        inputs, truth = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        here = known(truth)
        x, wanted = inputs[here].double().numpy(), goal.scaled(truth[here]).numpy()
        for strength in STRENGTHS:
            weights, bias = SOLVERS[goal.kind](x, wanted, len(goal.names), strength)
            with torch.no_grad():
                self.linear.weight.copy_(torch.from_numpy(weights))
                self.linear.bias.copy_(torch.from_numpy(bias))
            yield strength

    def _inputs(self, batch: Batch) -> Tensor:
        """Return the windows [U, sum of D · (before + 1 + after)] of the U utterances."""
        real = batch.real()
        x = torch.cat([batch.features[m] for m in self.modalities], -1)
        # A window at the end of a dialogue includes padding.
        x = F.pad(x.masked_fill(~real[..., None], 0), (0, 0, self.before, self.after))
        return x.unfold(1, self.before + 1 + self.after, 1)[real].flatten(1)
