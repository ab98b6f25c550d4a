"""Logistic regression on the features of a turn and of the turns around it, fitted by a solver."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Solver
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from train.models.contract import MODALITIES, Batch, Output

STRENGTHS = (0.001, 0.01, 0.1, 1.0)


class LogisticRegression(nn.Module):
    """Multinomial logistic regression on the concatenated pooled features of a window of turns.

    A missing feature, or a turn outside the dialogue, is 0, the train split's mean after normalisation.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
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

    def solutions(self, batches: Iterable[Batch]) -> Iterator[float]:
        """Fit the model once for each inverse regularisation strength, and yield the strength.

        Args:
            batches: the train dialogues. Utterances labelled -1 are context only.

        Raises:
            UserError: all labels are equal.
        """
        pairs = [(self._inputs(batch), batch.labels) for batch in batches]
        inputs, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        known = labels >= 0
        x, y = inputs[known].double().numpy(), labels[known]
        if len(torch.unique(y)) < 2:
            raise UserError("the train split has a single label; check data/labels.csv and train.fold")
        for strength in STRENGTHS:
            with warnings.catch_warnings():
                # After 2,000 steps a solution is useful even if it has not converged; val selects the best strength.
                warnings.simplefilter("ignore", ConvergenceWarning)
                solver = Solver(C=strength, max_iter=2000).fit(x, y.numpy())
            with torch.no_grad():
                # A label that is absent from training is never predicted.
                self.linear.weight.zero_()
                self.linear.bias.fill_(-1e9)
                coef, bias = torch.from_numpy(solver.coef_), torch.from_numpy(solver.intercept_)
                if len(solver.classes_) == 2:
                    coef, bias = torch.cat([-coef / 2, coef / 2]), torch.cat([-bias / 2, bias / 2])
                self.linear.weight[solver.classes_] = coef.float()
                self.linear.bias[solver.classes_] = bias.float()
            yield strength

    def _inputs(self, batch: Batch) -> Tensor:
        """Return the windows [U, sum of D · (before + 1 + after)] of the U utterances."""
        real = batch.real()
        x = torch.cat([batch.features[m] for m in self.modalities], -1)
        # A window at the end of a dialogue includes padding.
        x = F.pad(x.masked_fill(~real[..., None], 0), (0, 0, self.before, self.after))
        return x.unfold(1, self.before + 1 + self.after, 1)[real].flatten(1)
