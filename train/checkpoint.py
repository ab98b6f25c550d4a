"""Write and read the files of training: the model as safetensors and JSON, and the state for resuming.

    models/seedN/model.safetensors       weights of the chosen epoch
    models/seedN/model.json              params, labels in order, statistics, origin of each stream (train/record.py),
                                         the sha256 of the weights, and a digest of the other fields
    models/seedN/distance.safetensors    the region of each stream's features in training (train/distance.py)
    models/seedN/history.csv             losses and val scores of every epoch
    models/seedN/epochs/                 weights of every epoch, with train.keep_epochs
    .cache/train/KEY/                    state of an unfinished run

DVC deletes a stage's outs before it runs, so an unfinished run keeps its state and its epochs' weights in .cache. The
state is a torch file, which is read with `weights_only=True`.
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
from pipeline.strict import validate
from train.record import Record

SCHEMA = 2


def state_folder(stage: str, settings: Sequence[str], inputs: Sequence[Path], device: torch.device) -> Path:
    """Return the folder `.cache/train/KEY`. KEY is a hash of everything that determines the stage's output.

    Args:
        stage: the module that runs it. The source of everything it imports is hashed.
        settings: the params, in a reproducible form.
        inputs: files whose content is hashed.
        device: the device that it runs on.
    """
    key = hashlib.sha256(json.dumps([*settings, torch.__version__, device.type]).encode())
    for path in [*inputs, *(ROOT / path_of(module) for module in sorted(closure(stage, without=NEUTRAL)))]:
        with path.open("rb") as file:
            key.update(hashlib.file_digest(file, "sha256").digest())
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / "train" / key.hexdigest()[:32]


def model_code(name: str) -> str:
    """Return the sha256 (hex) of a model's source, which determines its logits together with its weights."""
    # The list of models and the params of stages do not change a model.
    return source_hash(closure(f"train.models.{name}", without=(*NEUTRAL, "pipeline.params", "train.models")))


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Replace the state atomically: after a kill the file holds either the old state or the new one.

    Raises:
        UserError: the disk is full; the old state is unchanged.
    """
    with replacing(path) as part, NotingFile(part, "w") as file:
        torch.save(state, file)
        file.check()


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the saved state, or None if there is none.

    A damaged file is renamed with a message, and None is returned.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # torch.load raises many types for a damaged file
        aside = path.with_name(path.name + ".damaged")
        os.replace(path, aside)
        print(f"{path}: damaged ({error}); renamed to {aside.name}, training starts from the beginning")
        return None


def write_model(folder: Path, weights: dict[str, torch.Tensor], record: Record) -> None:
    """Write model.safetensors and model.json, which holds a digest of itself and the sha256 of the weights."""
    path = folder / "model.safetensors"
    write_weights(path, weights)
    fields = {"schema": SCHEMA, "sha256": sha256(path), **record.model_dump(mode="json")}
    text = json.dumps(
        {**fields, "digest": _digest(fields)}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    write_text(folder / "model.json", text + "\n")


def write_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write tensors to `path` as safetensors, sorted by name."""
    data = save({name: value.contiguous() for name, value in sorted(weights.items())})
    with replacing(path) as part:
        part.write_bytes(data)


def read_model(folder: Path) -> tuple[dict[str, torch.Tensor], Record]:
    """Return the weights and the record of `models/seedN`.

    Raises:
        UserError: a file is missing or damaged, belongs to another model, or holds values that are not finite.
    """
    path = folder / "model.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise ValueError("not a JSON object")
        if fields.get("schema") != SCHEMA:
            raise UserError(
                f"{path}: schema={str(fields.get('schema'))[:80]}, but this version reads {SCHEMA}; "
                "run `dvc repro train`"
            )
        if fields.pop("digest", None) != _digest(fields):
            raise ValueError("its digest does not fit its content; it was changed after training")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro train` to make it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    expected = fields.pop("sha256", None)
    del fields["schema"]
    record = validate(Record, fields, path)
    return read_sealed(folder / "model.safetensors", expected), record


def read_sealed(path: Path, expected: object) -> dict[str, torch.Tensor]:
    """Return the tensors of a .safetensors file whose sha256 is in model.json, `expected`.

    Raises:
        UserError: the file is missing, damaged or another one, or holds values that are not finite.
    """
    weights = read_weights(path)
    if sha256(path) != expected:
        raise _damaged(path, "its sha256 differs from the one in model.json")
    return weights


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a .safetensors file.

    Raises:
        UserError: the file is missing or damaged, or holds values that are not finite.
    """
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro train` to make it") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, error) from None
    for name, value in weights.items():
        if not value.float().isfinite().all():
            raise _damaged(path, f"{name} holds values that are not finite")
    return weights


def _damaged(path: Path, why: object) -> UserError:
    return UserError(f"{path}: damaged ({str(why)[:300]}); run `dvc repro --force train` or `dvc pull train`")


def _digest(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
