"""The fusion models: batches of whole dialogues in, answers for their utterances out."""

from __future__ import annotations

from train.models.contract import MODALITIES, Batch, Output
from train.models.multiemo import MultiEMO

__all__ = ["MODALITIES", "Batch", "MultiEMO", "Output"]
