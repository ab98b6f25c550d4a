"""The fusion models: batches of whole dialogues, or of utterances with their frames, in; answers for them out."""

from __future__ import annotations

from train.models.contract import MODALITIES, Batch, FrameBatch, Output
from train.models.foalnet import FoalNet
from train.models.multiemo import MultiEMO

__all__ = ["MODALITIES", "Batch", "FoalNet", "FrameBatch", "MultiEMO", "Output"]
