"""Read the streams of a corpus, for models of dialogues and models of utterances alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch

from pipeline.features import FeatureCache
from pipeline.params import TrainParams
from train.data.admit import admitted
from train.data.corpus import Corpus, Statistics, Stream
from train.data.labelled import Labelled
from train.targets import goal_of
from train.targets.goal import Goal

C = TypeVar("C", bound=Corpus)


def load(
    batcher: type[C],
    data: Labelled,
    caches: Mapping[str, Path],
    train: TrainParams,
    left_out: Mapping[str, str],
    known: Mapping[str, Statistics] | None = None,
    goal: Goal | None = None,
) -> C:
    """Read the features of `caches`.

    Args:
        batcher: `Dialogues` for pooled features, `Utterances` for frames.
        data: the utterances with their labels and splits.
        caches: modality → the stream's file.
        train: the section `train` of params.yaml.
        left_out: modality → why the model does not read it.
        known: modality → the statistics of a trained model. With None they are computed on the train split.
        goal: what a trained model learned. With None it is derived from the train split.

    Raises:
        UserError: a cache is damaged or does not fit the corpus, or no modality is left.
    """

    def stream(modality: str, cache: FeatureCache) -> Stream:
        return batcher.stream(modality, cache, data, train, known[modality] if known is not None else None)

    streams, dropped = admitted(data, caches, left_out, known is None, stream)
    if goal is None:
        rows = torch.from_numpy(data.split == "train")
        goal = goal_of(data.target.kind, data.target.names, data.labels[rows], train)
    return batcher(data, streams, dropped, goal)
