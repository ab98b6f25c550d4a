"""Logistic regression on the same features as the fusion models."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Solver
from torch import Tensor, nn

from pipeline.errors import UserError
from train.models.contract import MODALITIES, Batch, Output

STRENGTHS = (0.001, 0.01, 0.1, 1.0)


class LogisticRegression(nn.Module):
    """Multinomial logistic regression on the concatenated pooled features of an utterance, without context.

    A missing feature is 0, the train split's mean after normalisation.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`, which has no params here.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: object) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        self.linear = nn.Linear(sum(dims[m] for m in self.modalities), classes)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        real = batch.real()
        x = self._concat({m: batch.features[m][real] for m in self.modalities})
        return Output(logits=self.linear(x))

    def solutions(self, features: Mapping[str, Tensor], labels: Tensor) -> Iterator[float]:
        """Fit the model once for each inverse regularisation strength, and yield the strength.

        Args:
            features: modality in use → [N, D].
            labels: [N] long.

        Raises:
            UserError: all labels are equal.
        """
        if len(torch.unique(labels)) < 2:
            raise UserError(
                "model.name=logreg: the train split has a single label; check data/labels.csv and train.fold"
            )
        x = self._concat(features).double().numpy()
        for strength in STRENGTHS:
            with warnings.catch_warnings():
                # After 2,000 steps a solution is useful even if it has not converged; val selects the best strength.
                warnings.simplefilter("ignore", ConvergenceWarning)
                solver = Solver(C=strength, max_iter=2000).fit(x, labels.numpy())
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

    def _concat(self, features: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([features[m] for m in self.modalities], -1)
