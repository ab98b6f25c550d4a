"""Change a model's record on the disk as somebody would who knows how it is sealed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pipeline.features.schema import canonical_json


def seal(folder: Path, said: dict[str, Any]) -> None:
    """Write `said` as the folder's model.json, with the digest that fits it and the weights' own sha256."""
    weights = (folder / "model.safetensors").read_bytes()
    said = {**said, "sha256": hashlib.sha256(weights).hexdigest()}
    said.pop("digest", None)
    said["digest"] = hashlib.sha256(canonical_json(said).encode()).hexdigest()
    (folder / "model.json").write_text(json.dumps(said))
