"""List the params of a run for its report: streams in use, model, training and evaluation."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from pipeline.params import INERT, Params
from train.fusion.params import fusion


def settings(params: Params) -> dict[str, Any]:
    """Return {dotted field: value} of all params that can change the run's numbers.

    A path of weights is reduced to its last part. `dvc exp diff` shows the differences between two runs.
    """
    used = params.train.streams.in_use().values()
    nested: dict[str, Any] = {
        "corpus": params.corpus.model_dump(include={"labels", "target", "values", "keep_tags"}),
        "extract": {name: raw for name, raw in params.extract.items() if name in used},
        "finetune": {name: raw for name, raw in params.finetune.items() if name in used},
        **params.model_dump(mode="json", include={"train", "evaluate"}),
        **fusion(params).record(),
    }
    # Reports are shared, so they must not reveal private paths.
    return {k: PurePath(v).name if _is_path(k, v) else v for k, v in _leaves(nested, "")}


def _leaves(value: Any, prefix: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    kept = {key: inner for key, inner in value.items() if key not in INERT}
    return [leaf for key, inner in kept.items() for leaf in _leaves(inner, f"{prefix}.{key}".lstrip("."))]


def _is_path(field: str, value: Any) -> bool:
    return field.endswith(".weights") and PurePath(value).is_absolute()
