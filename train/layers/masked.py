"""Attention weights over the keys that a mask allows."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the last axis, restricted to where `mask` is True.

    A row of `mask` without any True gives zeros: there is nothing to attend to.
    """
    lowest = torch.finfo(scores.dtype).min  # -inf would make the gradients of such a row NaN
    return scores.masked_fill(~mask, lowest).softmax(-1).masked_fill(~mask, 0)
