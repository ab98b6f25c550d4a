"""Which caches a corpus may train on: those of its rows, of their modality, of weights that have not seen its test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.features import FeatureCache, Meta
from pipeline.params import INERT, PARAMS, Params
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


def asked_for(stream: str, meta: Meta, params: Params) -> None:
    """Compare the params a cache was made with with those that its stream has in params.yaml.

    Only what both of them name is compared: a cache may come from another version of an encoder, which had fewer
    params, from another machine or from other versions of packages. An imported stream has no params.

    Raises:
        UserError: they differ.
    """
    section = "finetune" if stream in params.finetune else "extract"
    asked = getattr(params, section).get(stream, {})
    made = {**meta.encoder, "weights": meta.weights.get("name", "")}
    # A local folder and a fine-tuned one are recorded by their last part alone.
    packed = "package:" in f"{made['weights']} {asked.get('weights', '')}"
    left_out = INERT if packed and section == "extract" else {*INERT, "weights"}
    different = _differences(made, {key: value for key, value in asked.items() if key not in left_out})
    if different:
        shown = "; ".join(
            f"{section}.{stream}.{key}={there!r}, the cache was made with {here!r}"
            for key, (here, there) in different.items()
        )
        raise UserError(f"{PARAMS}: {shown}; run `dvc repro` so that the features are those asked for")


def _differences(made: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{dotted key: (made, asked)} of the values that both have and that differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in asked.keys() & made.keys():
        here, there = made[key], asked[key]
        if isinstance(here, dict) and isinstance(there, dict):
            found |= {f"{key}.{inner}": pair for inner, pair in _differences(here, there).items()}
        elif here != there:
            found[key] = (here, there)
    return dict(sorted(found.items()))


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
