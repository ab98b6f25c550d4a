"""What training leaves on disk: resume state in .cache, and the model as safetensors + JSON.

    models/seedN/model.safetensors   the chosen epoch's weights
    models/seedN/model.json          architecture, params, label names in order, statistics, each stream's provenance
    models/seedN/history.csv         losses and val scores of every epoch
    models/seedN/epochs/             every epoch's weights, with train.keep_epochs

The state lives outside DVC's outs, which are deleted before a stage runs, and until the run is over so do the epochs'
weights. Nothing is pickled but torch's own tensors, and those are only ever read with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from pipeline.closure import NEUTRAL, ROOT, closure, path_of, source_hash
from pipeline.disk import NotingFile, replacing, write_text
from pipeline.errors import UserError

SCHEMA = 1


def state_folder(stage: str, settings: Sequence[str], inputs: Sequence[Path], device: torch.device) -> Path:
    """Return `.cache/train/KEY`, KEY being a hash of all that decides the stage's bytes.

    Args:
        stage: the module that runs it; its closure's source counts.
        settings: what params say, in any form that does not vary.
        inputs: files whose content counts.
        device: where it runs.
    """
    key = hashlib.sha256(json.dumps([*settings, torch.__version__, device.type]).encode())
    for path in [*inputs, *(ROOT / path_of(module) for module in sorted(closure(stage, without=NEUTRAL)))]:
        with path.open("rb") as file:
            key.update(hashlib.file_digest(file, "sha256").digest())
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / "train" / key.hexdigest()[:32]


def model_code(name: str) -> str:
    """Return the sha256, hex, over a model's source: what else than its weights decides its answers."""
    modules = closure(f"train.models.{name}.network", without=(*NEUTRAL, "pipeline.params"))
    return source_hash(modules)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Replace the state atomically: a kill leaves either the old epoch or the new one.

    Raises:
        UserError: the disk is full; the old state is untouched.
    """
    with replacing(path) as part, NotingFile(part, "w") as file:
        torch.save(state, file)
        file.check()


def read_state(path: Path) -> dict[str, Any] | None:
    """The state to resume from; None where there is none. One that cannot be read is set aside, and said so."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged zip raises half a dozen kinds
        aside = path.with_name(path.name + ".damaged")
        os.replace(path, aside)
        print(f"{path}: not readable ({error}); set aside as {aside.name}, training starts again")
        return None


def write_model(folder: Path, weights: dict[str, torch.Tensor], record: dict[str, Any]) -> None:
    """Write model.safetensors and model.json."""
    write_weights(folder / "model.safetensors", weights)
    text = json.dumps(
        {"schema": SCHEMA, **record}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    write_text(folder / "model.json", text + "\n")


def write_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Put tensors at `path` as safetensors, in the order of their names."""
    data = save({name: value.contiguous() for name, value in sorted(weights.items())})
    with replacing(path) as part:
        part.write_bytes(data)


def read_model(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights and record of `models/seedN`.

    Raises:
        UserError: a file is missing or damaged.
    """
    path = folder / "model.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("schema") != SCHEMA:
            raise UserError(
                f"{path}: schema={record.get('schema')!r}, this version reads {SCHEMA}; run `dvc repro train`"
            )
        path = folder / "model.safetensors"
        return load_file(path), record
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro train` makes it") from None
    except (ValueError, SafetensorError) as error:
        raise UserError(
            f"{path}: damaged ({error}); run `dvc repro --force train`, or pull it again"
        ) from None
