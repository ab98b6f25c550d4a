"""What training leaves on disk: resume state in .cache, and the model as safetensors + JSON.

    models/seedN/model.safetensors   the chosen epoch's weights
    models/seedN/model.json          architecture, params, label names in order, statistics, each stream's provenance;
                                     the weights' sha256 and a digest of all that it says (train/record.py)
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
from pipeline.strict import validate
from train.record import Record

SCHEMA = 2


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
    # Neither the list of the models nor the stages' params are the model's.
    return source_hash(closure(f"train.models.{name}", without=(*NEUTRAL, "pipeline.params", "train.models")))


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


def write_model(folder: Path, weights: dict[str, torch.Tensor], record: Record) -> None:
    """Write model.safetensors, and model.json with its own digest and that of the weights."""
    path = folder / "model.safetensors"
    write_weights(path, weights)
    said = {"schema": SCHEMA, "sha256": _sha256(path), **record.model_dump(mode="json")}
    text = json.dumps(
        {**said, "digest": _digest(said)}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    write_text(folder / "model.json", text + "\n")


def write_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Put tensors at `path` as safetensors, in the order of their names."""
    data = save({name: value.contiguous() for name, value in sorted(weights.items())})
    with replacing(path) as part:
        part.write_bytes(data)


def read_model(folder: Path) -> tuple[dict[str, torch.Tensor], Record]:
    """Weights and record of `models/seedN`.

    Raises:
        UserError: a file is missing or damaged, another model's, or holds values that are not finite.
    """
    path = folder / "model.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, dict):
            raise ValueError("no JSON object")
        if said.get("schema") != SCHEMA:
            raise UserError(
                f"{path}: schema={str(said.get('schema'))[:80]}, this version reads {SCHEMA}; run `dvc repro train`"
            )
        if said.pop("digest", None) != _digest(said):
            raise ValueError("it was changed after training wrote it")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro train` makes it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    expected = said.pop("sha256", None)
    del said["schema"]
    record = validate(Record, said, path)
    path = folder / "model.safetensors"
    weights = read_weights(path)
    if _sha256(path) != expected:
        raise _damaged(path, "its sha256 is not the one in model.json")
    return weights, record


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file.

    Raises:
        UserError: it is missing or damaged, or holds values that are not finite.
    """
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro train` makes it") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, error) from None
    for name, value in weights.items():
        if not value.float().isfinite().all():
            raise _damaged(path, f"{name} holds values that are not finite")
    return weights


def _damaged(path: Path, why: object) -> UserError:
    return UserError(f"{path}: damaged ({str(why)[:300]}); run `dvc repro --force train`, or pull it again")


def _digest(said: dict[str, Any]) -> str:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
