"""The fusion models, by the name they have in params.yaml."""

from __future__ import annotations

from train.models.contract import MODALITIES, Batch, Output
from train.models.multiemo import MultiEMO

REGISTRY = {"multiemo": MultiEMO}

__all__ = ["MODALITIES", "REGISTRY", "Batch", "MultiEMO", "Output"]
