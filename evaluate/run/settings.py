"""The params behind a run, for its report: those of the streams in use, of the model, of training and of evaluation."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from pipeline.params import INERT, Params
from train.fusion.params import fusion


def settings(params: Params) -> dict[str, Any]:
    """Return {dotted field: value} of all that can change the run's numbers; a folder of weights by its last part.

    What differs between two runs is for `dvc exp diff` to say.
    """
    used = params.train.streams.in_use().values()
    nested: dict[str, Any] = {
        "corpus": {"labels": params.corpus.labels, "keep_tags": params.corpus.keep_tags},
        "extract": {name: raw for name, raw in params.extract.items() if name in used},
        "finetune": {name: raw for name, raw in params.finetune.items() if name in used},
        **params.model_dump(mode="json", include={"train", "evaluate"}),
        **fusion(params).record(),
    }
    # A report is passed on, and where somebody keeps weights is nobody's business.
    return {k: PurePath(v).name if _is_path(k, v) else v for k, v in _leaves(nested, "")}


def _leaves(value: Any, prefix: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    kept = {key: inner for key, inner in value.items() if key not in INERT}
    return [leaf for key, inner in kept.items() for leaf in _leaves(inner, f"{prefix}.{key}".lstrip("."))]


def _is_path(field: str, value: Any) -> bool:
    return field.endswith(".weights") and PurePath(value).is_absolute()
