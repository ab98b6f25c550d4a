"""Which caches a corpus may train on: those of its rows, of their modality, of weights that saw what it trains on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import UserError
from pipeline.features import FeatureCache, Meta
from pipeline.params import INERT, PARAMS, Params
from pipeline.tables.schema import UTTERANCES, Utterance
from train.data.corpus import Statistics, Stream
from train.data.labelled import Labelled

S = TypeVar("S", bound=Stream)
Known = Mapping[str, Statistics] | None  # modality → what a trained model normalises by; None in training


def admitted(
    data: Labelled,
    caches: Mapping[str, Path],
    left_out: Mapping[str, str],
    known: Known,
    stream: Callable[[str, FeatureCache], S],
) -> tuple[dict[str, S], dict[str, str]]:
    """Return the streams that can be used, and why the others are dropped, by modality.

    Args:
        caches: modality → the stream's file.
        left_out: modality → why the model does not read it.
        stream: makes a stream of a modality and its cache, which it closes when it needs it no more.

    Raises:
        UserError: a cache is damaged, of another modality or of other rows, its weights may have seen what this run
            holds out, or no modality is left.
    """
    streams: dict[str, S] = {}
    dropped = dict(left_out)
    for modality, path in caches.items():
        cache = FeatureCache(path)
        _same(modality, cache, data.utterances)
        if known is None:
            _unseen(cache.meta, data, path)
            if not ((cache.status == 0) & (data.split == "train")).any():
                shown = ", ".join(f"{n} {status}" for status, n in cache.counts().items())
                dropped[modality] = f"no utterance of the train split has a feature in {path} ({shown})"
                cache.close()
                continue
        streams[modality] = stream(modality, cache)
    if not streams:
        why = "; ".join(f"{modality}: {reason}" for modality, reason in dropped.items())
        raise UserError(f"no modality has features to train on ({why})")
    return streams, dropped


def asked_for(stream: str, meta: Meta, params: Params) -> None:
    """Compare the params a cache was made with with those that its stream has in params.yaml.

    Only what both of them name is compared: a cache may come from another version of an encoder, which had fewer
    params, from another machine or from other versions of packages. An imported stream has no params.

    Raises:
        UserError: they differ.
    """
    section = "finetune" if stream in params.finetune else "extract"
    asked = getattr(params, section).get(stream, {})
    made = {**meta.encoder, "weights": _package(meta.weights.get("name", ""))}
    wanted = {key: value for key, value in asked.items() if key not in {*INERT, "weights"}}
    # A local folder and a fine-tuned one are recorded by their last part alone, so only packages are compared.
    if section == "extract" and "package:" in f"{made['weights']} {asked.get('weights', '')}":
        wanted["weights"] = _package(asked.get("weights", ""))
    different = _differences(made, wanted)
    if different:
        shown = "; ".join(
            f"{section}.{stream}.{key}={there!r}, the cache was made with {here!r}"
            for key, (here, there) in different.items()
        )
        raise UserError(f"{PARAMS}: {shown}; run `dvc repro` so that the features are those asked for")


def _package(weights: str) -> str:
    """Return `package:NAME` without the file in it, which an encoder may find by itself; other names as they are."""
    return weights.partition("/")[0] if weights.startswith("package:") else weights


def _differences(made: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {dotted key: (made, asked)} of the values that both have and that differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in asked.keys() & made.keys():
        here, there = made[key], asked[key]
        if isinstance(here, dict) and isinstance(there, dict):
            found |= {f"{key}.{inner}": pair for inner, pair in _differences(here, there).items()}
        elif here != there:
            found[key] = (here, there)
    return dict(sorted(found.items()))


def _same(modality: str, cache: FeatureCache, utterances: Sequence[Utterance]) -> None:
    meta, path = cache.meta, cache.path
    if meta.modality != modality:
        raise UserError(
            f"train.streams.{modality}={meta.stream!r}: {path} holds a stream of modality {meta.modality}"
        )
    cached, names = list(cache.utterances), [u.utterance for u in utterances]
    if cached == names:
        return
    at = next(
        (i for i, (a, b) in enumerate(zip(cached, names, strict=False)) if a != b),
        min(len(cached), len(names)),
    )
    raise UserError(
        f"{path}: its rows are not those of {UTTERANCES} ({len(cached)} and {len(names)} rows; they differ first "
        f"at row {at + 1}); run `dvc repro` so that both come from the same corpus"
    )


def _unseen(meta: Meta, data: Labelled, path: Path) -> None:
    if not meta.weights_saw:
        return
    fold, saw, here = meta.weights_saw.get("fold"), meta.weights_saw.get("ids"), data.ids()
    if saw == here:
        return
    fitted = f"{path}: the weights behind it were fitted with fold {fold}"
    if not isinstance(saw, dict):
        raise UserError(
            f"{fitted} by a version that did not record train and val apart, so that they may have seen this run's "
            "val or test utterances; fine-tune them anew and extract again"
        )
    parts = " and ".join(part for part in here if saw.get(part) != here[part])
    raise UserError(
        f"{fitted}, whose {parts} utterances are not this run's, so that they may have seen its val or test "
        "utterances; set train.fold and train.seed to those of the fine-tuning, or fine-tune an encoder for this run"
    )
