"""MultiEMO's settings in its paper and code (Shi and Huang 2023, section 4.2), as changes of params.yaml."""

from __future__ import annotations

from typing import Any

Changes = dict[str, dict[str, Any]]
MELD: Changes = {
    "train": {"lr": 1e-4, "batch_size": 100, "epochs": 15, "patience": 15},
    "model": {"dim": 256, "ffn": 1024, "layers": 2, "head": 512, "dropout": 0.0, "bidirectional": False},
    "loss": {"mu1": 0.3, "mu2": 0.3, "temperature": 1.4, "focus": 2.0, "alpha": 1.2},
}
IEMOCAP: Changes = {
    "train": {"lr": 1e-4, "batch_size": 64, "epochs": 100, "patience": 100},
    "model": {"dim": 256, "ffn": 1024, "layers": 6, "head": 256, "dropout": 0.0, "bidirectional": True},
    "loss": {"mu1": 0.4, "mu2": 0.4, "temperature": 0.8, "focus": 2.4, "alpha": 1.1},
}


def overrides(changes: Changes) -> tuple[str, ...]:
    """Return the changes as Hydra overrides, `++section.key=value`, which also set params that a file leaves out."""
    return tuple(
        f"++{section}.{key}={str(value).lower()}"
        for section, own in changes.items()
        for key, value in own.items()
    )
