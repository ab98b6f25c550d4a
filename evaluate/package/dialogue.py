"""A trained network on one whole dialogue, as a function of plain tensors, for ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from train.models.contract import Batch

# The models whose operations ONNX has for any number of turns. tests/evaluate/test_package.py compares the logits.
MODELS = ("attention", "lmf", "logreg", "logreg_context", "sdt")


class Dialogue(nn.Module):
    """A trained network of one of MODELS, in evaluation mode.

    Args:
        network: the network.
        modalities: the modalities in use, in the order of the inputs.
    """

    def __init__(self, network: nn.Module, modalities: Sequence[str]) -> None:
        super().__init__()
        self.network, self.modalities = network, modalities

    def forward(self, features: Sequence[Tensor], present: Sequence[Tensor], speakers: Tensor) -> Tensor:
        """Return the logits [T, C] of the T turns of a dialogue.

        Args:
            features: [T, D] of each modality in use, normalised, 0 where missing.
            present: [T] bool of each modality in use.
            speakers: [T] long, the number of each turn's party, by first appearance.
        """
        batch = _Whole(
            features={m: x[None] for m, x in zip(self.modalities, features, strict=True)},
            present={m: here[None] for m, here in zip(self.modalities, present, strict=True)},
            speakers=speakers[None],
            lengths=torch.full((1,), speakers.shape[0]),
            labels=torch.zeros_like(speakers),
            indices=torch.zeros_like(speakers),
        )
        logits: Tensor = self.network(batch).logits
        return logits


class _Whole(Batch):
    """One dialogue, so nothing is padded."""

    @override
    def real(self) -> Tensor:
        return torch.ones_like(self.speakers, dtype=torch.bool)
