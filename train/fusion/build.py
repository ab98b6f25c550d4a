"""A chosen model → its corpus, its network and its criterion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.params import FEATURES, Params, TrainParams
from pipeline.tables.schema import Utterance
from train.data import dialogues, utterances
from train.data.corpus import Corpus, Statistics
from train.data.labelled import labelled, unlabelled
from train.fusion.params import Fusion, fusion
from train.models.declaration import FusionModel


def read(params: Params) -> Corpus:
    """Read the corpus as the model does: dialogues of pooled features, or utterances with their frames.

    Raises:
        UserError: params are wrong, a table or cache is damaged, or they do not belong together.
    """
    chosen, train = fusion(params), params.train
    model = chosen.declared
    caches, left_out = {}, {}
    for modality, stream in train.streams.in_use().items():
        if modality in model.modalities:
            caches[modality] = FEATURES / f"{stream}.h5"
        else:
            left_out[modality] = (
                f"{params.model.name} reads the frames of {' and '.join(model.modalities)} alone"
            )
    data = labelled(params.corpus.labels, train.fold, train.seed)
    return _loader(model)(data, caches, train, left_out)


def read_unlabelled(
    model: FusionModel,
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


def _loader(model: FusionModel) -> Callable[..., Corpus]:
    return utterances.load if model.reads == "frames" else dialogues.load


def build(chosen: Fusion, dims: Mapping[str, int], counts: Tensor) -> tuple[nn.Module, nn.Module]:
    """The network for features of `dims` (modality → size) and its criterion.

    Args:
        counts: [C] labelled utterances of the train split per emotion.
    """
    network = chosen.declared.network(dims, len(counts), chosen.model)
    return network, chosen.declared.loss(chosen.loss, counts)


def restored(
    folder: Path, state: Mapping[str, Tensor], chosen: Fusion, dims: Mapping[str, int], counts: Tensor
) -> nn.Module:
    """The network of `folder` with its weights in it, for features of `dims`.

    Raises:
        UserError: the weights are another network's.
    """
    path = folder / "model.safetensors"
    with torch.device("meta"):  # shapes alone: a record may claim a network of any size
        sketch, _ = build(chosen, dims, counts)
    _same_shapes(sketch, state, path)
    network, _ = build(chosen, dims, counts)
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
