"""params → dataset, model and criterion; the one place that knows what a model reads and which loss it has."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.params import FEATURES, FRAME_MODELS, MODALITIES, LossParams, ModelParams, Params, TrainParams
from pipeline.tables.schema import Utterance
from train.data import dialogues, utterances
from train.data.corpus import Corpus, Statistics
from train.data.labelled import labelled, unlabelled

# A model's network and its criterion, imported only where that model is asked for.
MODELS: dict[str, tuple[str, str]] = {
    "multiemo": ("multiemo.network:MultiEMO", "multiemo.losses:MultiEMOLoss"),
    "foalnet": ("foalnet.network:FoalNet", "foalnet.losses:FoalNetLoss"),
    "majority": ("majority.network:Majority", "cross_entropy:CrossEntropy"),
    "logreg": ("logreg.network:LogisticRegression", "cross_entropy:CrossEntropy"),
    "bclstm": ("bclstm.network:BCLSTM", "cross_entropy:CrossEntropy"),
    "dialoguernn": ("dialoguernn.network:DialogueRNNConcat", "cross_entropy:CrossEntropy"),
}


def read(params: Params) -> Corpus:
    """Read the corpus as the model does: dialogues of pooled features, or utterances with their frames.

    Raises:
        UserError: a table or cache is damaged, or they do not belong together.
    """
    name, train = params.model.name, params.train
    reads = FRAME_MODELS.get(name, MODALITIES)
    caches, left_out = {}, {}
    for modality, stream in train.streams.in_use().items():
        if modality in reads:
            caches[modality] = FEATURES / f"{stream}.h5"
        else:
            left_out[modality] = f"{name} reads the frames of {' and '.join(reads)} alone"
    data = labelled(params.corpus.labels, train.fold, train.seed)
    return _loader(params.model)(data, caches, train, left_out)


def read_unlabelled(
    model: ModelParams,
    train: TrainParams,
    rows: list[Utterance],
    label_names: list[str],
    caches: Mapping[str, Path],
    statistics: Mapping[str, Statistics],
) -> Corpus:
    """Read new recordings as a trained model does; caches and statistics: modality → the stream's.

    Raises:
        UserError: a cache is damaged, or not of these utterances.
    """
    return _loader(model)(unlabelled(rows, label_names), caches, train, {}, statistics)


def _loader(model: ModelParams) -> Callable[..., Corpus]:
    return utterances.load if model.name in FRAME_MODELS else dialogues.load


def build(
    model: ModelParams, loss: LossParams, dims: Mapping[str, int], counts: Tensor
) -> tuple[nn.Module, nn.Module]:
    """The network for features of `dims` (modality → size) and its criterion.

    Args:
        counts: [C] labelled utterances of the train split per emotion.
    """
    network, criterion = (imported(name) for name in MODELS[model.name])
    return network(dims, len(counts), model), criterion(loss, counts)


def imported(name: str) -> Any:
    """Return what `module:attribute` names in train.models."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(f"train.models.{module}"), attribute)


def restored(
    folder: Path,
    state: Mapping[str, torch.Tensor],
    model: ModelParams,
    loss: LossParams,
    dims: Mapping[str, int],
    counts: torch.Tensor,
) -> nn.Module:
    """The network of `folder` with its weights in it, for features of `dims`.

    Raises:
        UserError: the weights are another network's.
    """
    path = folder / "model.safetensors"
    with torch.device("meta"):  # shapes alone: a record may claim a network of any size
        sketch, _ = build(model, loss, dims, counts)
    _same_shapes(sketch, state, path)
    network, _ = build(model, loss, dims, counts)
    take(network, state, path)
    return network


def take(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put the weights that were read from `path` into a network.

    Raises:
        UserError: they are another network's.
    """
    _same_shapes(network, state, path)
    network.load_state_dict(state)


def _same_shapes(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    differ = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if differ:
        name = differ[0]
        raise UserError(
            f"{path}: not the weights of the network that model.json describes: {len(differ)} tensors differ, such as "
            f"{name[:80]}: {found.get(name, 'none')} instead of {wanted.get(name, 'none')}; run `dvc repro train`"
        )
