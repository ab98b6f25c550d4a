"""Check that a feature cache fits the corpus: its rows, its modality, and the utterances its encoder was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.features import FeatureCache, Meta
from pipeline.params import FEATURES, INERT, PARAMS, Params
from pipeline.tables.schema import UTTERANCES, Utterance
from train.data.corpus import Stream
from train.data.labelled import Labelled


def admitted(
    data: Labelled,
    caches: Mapping[str, Path],
    left_out: Mapping[str, str],
    training: bool,
    stream: Callable[[str, FeatureCache], Stream],
) -> tuple[dict[str, Stream], dict[str, str]]:
    """Return the usable streams, and the reason for each dropped one, both by modality.

    Args:
        data: the utterances with their labels and splits.
        caches: modality → the stream's file.
        left_out: modality → why the model does not read it.
        training: whether to check what the encoder was trained on, and drop streams without a train feature.
        stream: builds a stream from a modality and its open cache, and closes the cache after its last read.

    Raises:
        UserError: a cache is damaged, has another modality or other rows, its encoder may have been trained on
            utterances that this run holds out, or no modality is left.
    """
    streams: dict[str, Stream] = {}
    dropped = dict(left_out)
    for modality, path in caches.items():
        cache = FeatureCache(path)
        _check_rows(modality, cache, data.utterances)
        if training:
            _check_weights(cache.meta, data, path)
            if not ((cache.status == 0) & (data.split == "train")).any():
                shown = ", ".join(f"{n} {status}" for status, n in cache.counts().items())
                dropped[modality] = f"no utterance of the train split has a feature in {path} ({shown})"
                cache.close()
                continue
        streams[modality] = stream(modality, cache)
    if not streams:
        why = "; ".join(f"{modality}: {reason}" for modality, reason in dropped.items())
        raise UserError(
            f"no modality has features to train on ({why}); set another stream in train.streams of {PARAMS}"
        )
    return streams, dropped


def check_params(stream: str, meta: Meta, params: Params) -> None:
    """Compare the params in a cache with the stream's params in params.yaml.

    Only keys that both have are compared, because another version of the encoder may have fewer params. An imported
    stream has none.

    Raises:
        UserError: a value differs.
    """
    section = "finetune" if stream in params.finetune else "extract"
    asked = getattr(params, section).get(stream, {})
    made = {**meta.encoder, "weights": _package(meta.weights.get("name", ""))}
    wanted = {key: value for key, value in asked.items() if key not in {*INERT, "weights"}}
    # For local and fine-tuned weights a cache records only the last part of the path, so only packages compare.
    if section == "extract" and "package:" in f"{made['weights']} {asked.get('weights', '')}":
        wanted["weights"] = _package(asked.get("weights", ""))
    different = _differences(made, wanted)
    if different:
        shown = "; ".join(
            f"{section}.{stream}.{key}={there!r}, but {FEATURES / f'{stream}.h5'} was made with {here!r}"
            for key, (here, there) in different.items()
        )
        raise UserError(f"{PARAMS}: {shown}; run `dvc repro` to extract the features again")


def _package(weights: str) -> str:
    """Return `package:NAME/FILE` as `package:NAME`, since an encoder may choose the file; return others unchanged."""
    return weights.partition("/")[0] if weights.startswith("package:") else weights


def _differences(made: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {dotted key: (made, asked)} for each key that both have with different values."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in asked.keys() & made.keys():
        here, there = made[key], asked[key]
        if isinstance(here, dict) and isinstance(there, dict):
            found |= {f"{key}.{inner}": pair for inner, pair in _differences(here, there).items()}
        elif here != there:
            found[key] = (here, there)
    return dict(sorted(found.items()))


def _check_rows(modality: str, cache: FeatureCache, utterances: Sequence[Utterance]) -> None:
    meta, path = cache.meta, cache.path
    if meta.modality != modality:
        raise UserError(
            f"{PARAMS}: train.streams.{modality}={meta.stream!r}: {path} holds features of modality {meta.modality}; "
            f"set train.streams.{meta.modality} instead"
        )
    cached, names = list(cache.utterances), [u.utterance for u in utterances]
    if cached == names:
        return
    at = next(
        (i for i, (a, b) in enumerate(zip(cached, names, strict=False)) if a != b),
        min(len(cached), len(names)),
    )
    raise UserError(
        f"{path}: its utterances differ from {UTTERANCES} ({len(cached)} and {len(names)} rows; the first difference "
        f"is in row {at + 1}); run `dvc repro` to make both from the same corpus"
    )


def _check_weights(meta: Meta, data: Labelled, path: Path) -> None:
    if not meta.weights_saw:
        return
    fold, saw, here = meta.weights_saw.get("fold"), meta.weights_saw.get("ids"), data.ids()
    tuned = f"{path}: the encoder was fine-tuned with fold {fold}"
    if not isinstance(saw, dict) or "train" not in saw:
        raise UserError(
            f"{tuned} by a version that did not record train and val separately, and may have been trained on this "
            "run's val or test utterances; fine-tune it again and extract again"
        )
    parts = " and ".join(part for part in here if part in saw and saw[part] != here[part])
    if not parts:
        return
    raise UserError(
        f"{tuned}, whose {parts} utterances differ from this run's, and may have been trained on this run's val or "
        "test utterances; set train.fold, train.val and train.seed to the values of the fine-tuning, or fine-tune an "
        "encoder for this run"
    )
