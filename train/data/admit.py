"""Which caches a corpus may train on: those of its rows, of their modality, of weights that have not seen its test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import UserError
from pipeline.features import FeatureCache, Meta
from pipeline.tables.schema import UTTERANCES, Utterance
from train.data.corpus import Corpus, ids_hash


def admit(data: Corpus, modality: str, cache: FeatureCache, known: bool = False) -> bool:
    """Note a stream in `data`; False where the train split has nothing of it, so that it is dropped.

    known: whether a trained model brings its own statistics, and the split means nothing.

    Raises:
        UserError: another modality, other rows, or weights that may have seen the test split.
    """
    meta, path = cache.meta, cache.path
    if meta.modality != modality:
        raise UserError(
            f"train.streams.{modality}={meta.stream!r}: {path} holds a stream of modality {meta.modality}"
        )
    _same_rows(cache.utterances, data.utterances, path)
    if not known:
        _unseen(meta, data, path)
    if not known and not ((cache.status == 0) & (data.split == "train")).any():
        shown = ", ".join(f"{n} {status}" for status, n in cache.counts().items())
        data.dropped[modality] = f"no utterance of the train split has a feature in {path} ({shown})"
        return False
    data.streams[modality] = meta
    return True


def _same_rows(cached: Sequence[str], utterances: Sequence[Utterance], path: Path) -> None:
    names = [u.utterance for u in utterances]
    if list(cached) == names:
        return
    at = next(
        (i for i, (a, b) in enumerate(zip(cached, names, strict=False)) if a != b),
        min(len(cached), len(names)),
    )
    raise UserError(
        f"{path}: its rows are not those of {UTTERANCES} ({len(cached)} and {len(names)} rows; they differ first "
        f"at row {at + 1}); run `dvc repro` so that both come from the same corpus"
    )


def _unseen(meta: Meta, data: Corpus, path: Path) -> None:
    saw = meta.weights_saw
    if saw and saw.get("ids") != ids_hash(data.utterances, data.split):
        raise UserError(
            f"{path}: the weights behind it were fitted with fold {saw.get('fold')}, whose training part is "
            "not this run's, so that they may have seen its test utterances; set train.fold to that fold, or "
            "fine-tune an encoder for this one"
        )
