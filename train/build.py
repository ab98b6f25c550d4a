"""params → dataset, model and criterion; the one place that knows what a model reads and which loss it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.params import FRAME_MODELS, LossParams, ModelParams, Params, TrainParams
from pipeline.tables import Utterance
from train import batches, frames
from train.corpus import Corpus, Statistics
from train.losses import FoalNetLoss, MultiEMOLoss
from train.models import FoalNet, MultiEMO, Output
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
    "foalnet": (FoalNet, FoalNetLoss),
    "majority": (Majority, CrossEntropy),
    "logreg": (LogisticRegression, CrossEntropy),
    "bclstm": (BCLSTM, CrossEntropy),
    "dialoguernn": (DialogueRNNConcat, CrossEntropy),
}


def read(params: Params) -> Corpus:
    """The corpus as the model reads it: dialogues of pooled features, or utterances with their frames.

    Raises:
        UserError: a table or cache is damaged, or they do not belong together.
    """
    return (frames if params.model.name in FRAME_MODELS else batches).load(params)


def read_unlabelled(
    model: ModelParams,
    train: TrainParams,
    utterances: list[Utterance],
    label_names: list[str],
    caches: Mapping[str, Path],
    statistics: Mapping[str, Statistics],
) -> Corpus:
    """New recordings as a trained model reads them; caches and statistics: modality → the stream's.

    Raises:
        UserError: a cache is damaged, or not of these utterances.
    """
    reader = frames if model.name in FRAME_MODELS else batches
    return reader.load_unlabelled(utterances, label_names, caches, statistics, train)


def build(
    model: ModelParams, loss: LossParams, dims: Mapping[str, int], counts: Tensor
) -> tuple[nn.Module, nn.Module]:
    """The network for features of `dims` (modality → size) and its criterion.

    Args:
        counts: [C] labelled utterances of the train split per emotion.
    """
    network, criterion = MODELS[model.name]
    return network(dims, len(counts), model), criterion(loss, counts)
