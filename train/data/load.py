"""Read the streams of a corpus, for models of dialogues and models of utterances alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pipeline.features import FeatureCache
from pipeline.params import TrainParams
from train.data.admit import admitted
from train.data.corpus import Corpus, Statistics, Stream
from train.data.labelled import Labelled

C = TypeVar("C", bound=Corpus)


def load(
    batcher: type[C],
    data: Labelled,
    caches: Mapping[str, Path],
    train: TrainParams,
    left_out: Mapping[str, str],
    known: Mapping[str, Statistics] | None = None,
) -> C:
    """Read the features of `caches`.

    Args:
        batcher: `Dialogues` for pooled features, `Utterances` for frames.
        data: the utterances with their labels and splits.
        caches: modality → the stream's file.
        train: the section `train` of params.yaml.
        left_out: modality → why the model does not read it.
        known: modality → the statistics of a trained model. With None they are computed on the train split.

    Raises:
        UserError: a cache is damaged or does not fit the corpus, or no modality is left.
    """

    def stream(modality: str, cache: FeatureCache) -> Stream:
        return batcher.stream(modality, cache, data, train, known[modality] if known is not None else None)

    return batcher(data, *admitted(data, caches, left_out, known is None, stream))
