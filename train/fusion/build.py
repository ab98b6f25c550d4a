"""Build a model's corpus, network and loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.params import FEATURES, Params, TrainParams
from pipeline.tables.schema import Utterance
from pipeline.tables.target import target_of
from train.data.corpus import Corpus, Statistics
from train.data.dialogues import Dialogues
from train.data.labelled import labelled, unlabelled
from train.data.load import load
from train.data.utterances import Utterances
from train.fusion.params import Fusion, fusion
from train.models.declaration import FusionModel
from train.targets.goal import Goal


def read(params: Params) -> Corpus:
    """Read the corpus that params choose: dialogues of pooled features, or utterances with their frames.

    Raises:
        UserError: params are wrong, a table or cache is damaged, or the two have different utterances.
    """
    chosen, train = fusion(params), params.train
    model = chosen.declared
    caches, left_out = {}, {}
    for modality, stream in train.streams.in_use().items():
        if modality in model.modalities:
            caches[modality] = FEATURES / f"{stream}.h5"
        else:
            left_out[modality] = f"{params.model.name} reads only {' and '.join(model.modalities)}"
    data = labelled(target_of(params.corpus), train.fold, train.seed, train.val)
    return load(_batcher(model), data, caches, train, left_out)


def read_unlabelled(
    model: FusionModel,
    train: TrainParams,
    rows: list[Utterance],
    goal: Goal,
    caches: Mapping[str, Path],
    statistics: Mapping[str, Statistics],
) -> Corpus:
    """Read new recordings for a trained model.

    Args:
        model: the declaration of the model.
        train: the section `train` that the model was trained with.
        rows: the utterances of the recordings.
        goal: what the model learned.
        caches: modality → the stream's file.
        statistics: modality → the statistics of the training features.

    Raises:
        UserError: a cache is damaged, or has other utterances.
    """
    return load(_batcher(model), unlabelled(rows, goal.target()), caches, train, {}, statistics, goal)


def _batcher(model: FusionModel) -> type[Corpus]:
    return Utterances if model.reads == "frames" else Dialogues


def build(chosen: Fusion, dims: Mapping[str, int], goal: Goal) -> tuple[nn.Module, nn.Module]:
    """Return a model's network and its loss.

    Args:
        chosen: the model with its params.
        dims: modality in use → feature size.
        goal: what the model learns.
    """
    network = chosen.declared.network(dims, len(goal.names), chosen.model)
    return network, chosen.declared.loss(chosen.loss, goal)


def restored(
    folder: Path, state: Mapping[str, Tensor], chosen: Fusion, dims: Mapping[str, int], goal: Goal
) -> nn.Module:
    """Return a trained network with its weights.

    Args:
        folder: the model's folder, for messages.
        state: the weights read from it.
        chosen: the model with its params.
        dims: modality in use → feature size.
        goal: what the model learned.

    Raises:
        UserError: the weights belong to another network.
    """
    path = folder / "model.safetensors"
    with torch.device("meta"):  # check the shapes before allocating: a record may claim a network of any size
        sketch = chosen.declared.network(dims, len(goal.names), chosen.model)
    _same_shapes(sketch, state, path)
    network = chosen.declared.network(dims, len(goal.names), chosen.model)
    take(network, state, path)
    return network


def take(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a network.

    Args:
        network: the network to change.
        state: the weights.
        path: the file they were read from, for messages.

    Raises:
        UserError: the weights belong to another network.
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
            f"{path}: not the weights of the network that model.json describes: {len(differ)} tensors differ, for "
            f"example {name[:80]}: shape {found.get(name, 'none')} instead of {wanted.get(name, 'none')}; "
            "run `dvc repro train`"
        )
