"""Which params a run changed: against the preset of its corpus, so that a reader sees what is not the usual thing.

A corpus with several presets is compared with the nearest of those that are valid. One without (recordings of one's
own) has nothing to differ from: all its params are listed.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from pipeline.errors import UserError
from pipeline.params import INERT, Params, read_yaml, validate

PRESETS = Path("presets")
SECTIONS = ("train", "model", "loss", "evaluate")


def changed(params: Params, folder: Path = PRESETS) -> dict[str, Any]:
    """`preset`: the file compared with, or None; `params`: {dotted field: {value, preset}} of those that differ.

    Only the streams in use count, and of them what their files say.
    """
    here = _flat(params)
    best: tuple[str | None, dict[str, Any]] = None, {k: {"value": v, "preset": None} for k, v in here.items()}
    for path in sorted(folder.glob("*.yaml")):
        try:
            preset = validate(Params, read_yaml(path), path)
        except UserError:
            continue  # one of the user's own that names a stream not made yet, say: no matter of this run
        if preset.corpus.name != params.corpus.name:
            continue
        there = _flat(preset)
        differing = {
            k: {"value": v, "preset": there.get(k)}
            for k, v in here.items()
            if k not in there or there[k] != v
        }
        if best[0] is None or len(differing) < len(best[1]):
            best = path.as_posix(), differing
    return {"preset": best[0], "params": best[1]}


def _flat(params: Params) -> dict[str, Any]:
    used = params.train.streams.in_use().values()
    nested: dict[str, Any] = {
        "corpus": {"labels": params.corpus.labels, "keep_tags": params.corpus.keep_tags},
        "extract": {name: raw for name, raw in params.extract.items() if name in used},
        "finetune": {name: raw for name, raw in params.finetune.items() if name in used},
        **params.model_dump(mode="json", include=set(SECTIONS)),
    }
    found = dict(_leaves(nested, ""))
    # A report is passed on, and where somebody keeps weights is nobody's business.
    return {k: PurePath(v).name if _is_path(k, v) else v for k, v in found.items()}


def _leaves(value: Any, prefix: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    kept = {key: inner for key, inner in value.items() if key not in INERT}
    return [leaf for key, inner in kept.items() for leaf in _leaves(inner, f"{prefix}.{key}".lstrip("."))]


def _is_path(field: str, value: Any) -> bool:
    return field.endswith(".weights") and PurePath(value).is_absolute()
