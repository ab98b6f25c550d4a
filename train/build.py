"""params → model and criterion; the one place that knows which loss belongs to which model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.params import LossParams, ModelParams
from train.losses import MultiEMOLoss
from train.models import MultiEMO, Output
from train.models.bclstm import BCLSTM
from train.models.dialogue_rnn_concat import DialogueRNNConcat
from train.models.logreg import LogisticRegression
from train.models.majority import Majority


class CrossEntropy(nn.Module):
    """Mean cross-entropy over the labelled utterances, for the baselines."""

    def __init__(self, params: LossParams, counts: Tensor) -> None:
        super().__init__()

    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        known = labels >= 0
        ce = F.cross_entropy(output.logits[known], labels[known])
        return {"total": ce, "ce": ce}


MODELS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "multiemo": (MultiEMO, MultiEMOLoss),
    "majority": (Majority, CrossEntropy),
    "logreg": (LogisticRegression, CrossEntropy),
    "bclstm": (BCLSTM, CrossEntropy),
    "dialoguernn": (DialogueRNNConcat, CrossEntropy),
}


def build(
    model: ModelParams, loss: LossParams, dims: Mapping[str, int], counts: Tensor
) -> tuple[nn.Module, nn.Module]:
    """The network for features of `dims` (modality → size) and its criterion.

    Args:
        counts: [C] labelled utterances of the train split per emotion.
    """
    network, criterion = MODELS[model.name]
    return network(dims, len(counts), model), criterion(loss, counts)
