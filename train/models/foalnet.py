"""Foal-Net (Li et al., Interspeech 2024, doi 10.21437/Interspeech.2024-1462): align, match, fuse frames of two streams.

Each modality's frames ask the other's through a stack of cross-attention blocks; the masked means of both stacks,
side by side, are classified. Two further outputs exist for the losses: the streams' means in one common space
(AVEL compares them), and a judge that tells a pair that belongs together from one that does not (MEM).

An utterance is all the model sees: what stands beside it in a batch, and how far it is padded, changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.models.contract import FrameBatch

PAIR = ("audio", "visual")
BLOCK_DROPOUT, PROJECTION_DROPOUT = 0.1, 0.5  # published
TEMPERATURE = 0.07
LARGEST_SCALE = 100.0  # as in CLIP: beyond it a batch's nearest wrong pair is all that is learned from


class ModelParams(Protocol):
    """The part of params.yaml's `model` section that Foal-Net reads."""

    dim: int  # width of a stack whose stream's size the heads do not divide
    heads: int
    layers: int  # published: two blocks each way
    head: int  # size of the space that AVEL compares in
    dropout: float  # on the frames and before the classifier
    compat: str  # default | published


@dataclass
class Pairs:
    """Foal-Net's answer for the U utterances of a batch; with one modality in use only the logits say anything."""

    logits: Tensor  # [U, C]
    both: Tensor  # [U] bool, which utterances have frames of both modalities
    aligned: dict[str, Tensor]  # modality -> [U, d], unit length
    scale: Tensor  # what AVEL multiplies similarities by, scalar
    matched: dict[
        str, Tensor
    ]  # asking modality -> [U, 2], (mismatched, matched) logits of an utterance's own pair
    judge: Callable[
        [str, Tensor, Tensor], Tensor
    ]  # (asking modality, its rows [n], the other's [n]) -> [n, 2]


class Projection(nn.Module):
    """LN(W1 x + dropout(W2 gelu(W1 x))), bias-free: [..., D] -> [..., d]."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.enter, self.change = nn.Linear(size, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(PROJECTION_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.norm(x + self.dropout(self.change(F.gelu(x))))


class Block(nn.Module):
    """One cross-attention: LN(x + dropout(W_o attention))."""

    def __init__(self, asking: int, dim: int) -> None:
        super().__init__()
        self.query, self.project = nn.Linear(asking, dim), nn.Linear(dim, dim)
        # Published blocks drop the residual where the sizes differ, and with it all that the asking stream knew.
        self.carry = nn.Linear(asking, dim, bias=False) if asking != dim else nn.Identity()
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(BLOCK_DROPOUT)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, Tq, D]; key, value [B, heads, Tk, d/heads]; mask [B, Tk] bool, None for all -> [B, Tq, d]."""
        q = self.query(x).unflatten(-1, (key.shape[1], -1)).transpose(1, 2)
        some = None
        if mask is not None:
            some = mask.any(1)[:, None, None]
            mask = (mask[:, None] | ~some)[:, None]  # a softmax over nothing has no value
        change = self.project(F.scaled_dot_product_attention(q, key, value, mask).transpose(1, 2).flatten(2))
        # Where all keys are masked attention adds 0.
        change = change if some is None else change * some
        return self.norm(self.carry(x) + self.dropout(change))


class Stack(nn.Module):
    """One modality asks the other: `layers` blocks, every one over the other's frames as they came.

    They are projected once for all blocks, and once for matched and mismatched pairs alike.
    """

    def __init__(self, asking: int, asked: int, dim: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads, self.layers = heads, layers
        self.blocks = nn.ModuleList(Block(dim if i else asking, dim) for i in range(layers))
        self.memory = nn.Linear(asked, layers * 2 * dim)  # rows: layer, (key, value), heads

    def keys(self, x: Tensor) -> Tensor:
        """[B, Tk, D'] -> [B, 2·layers, heads, Tk, d/heads]."""
        return self.memory(x).unflatten(-1, (2 * self.layers, self.heads, -1)).permute(0, 2, 3, 1, 4)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, Tq, D], keys of the same B, mask [B, Tk] bool or None -> [B, Tq, d]."""
        for i, block in enumerate(self.blocks):
            x = block(x, keys[:, 2 * i], keys[:, 2 * i + 1], mask)
        return x


class FoalNet(nn.Module):
    """dims: modality -> size of a frame; with one modality its masked mean is classified, and nothing else exists."""

    def __init__(self, dims: Mapping[str, int], classes: int, params: ModelParams) -> None:
        super().__init__()
        self.published = params.compat == "published"
        self.modalities = [m for m in PAIR if m in dims]
        self.other = {m: o for m in self.modalities for o in self.modalities if o != m}
        # Asks in place of a missing stream's frames: zeros would be a frame like any other.
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(dims[m])) for m in self.modalities})
        self.dropout = nn.Dropout(params.dropout)
        width = {m: dims[m] for m in self.modalities}
        if self.other:
            width = {m: d if d % params.heads == 0 else params.dim for m, d in width.items()}
            self.align = nn.ModuleDict({m: Projection(dims[m], params.head) for m in self.modalities})
            # The published code stores the logarithm CLIP starts from and divides by it: its temperature is 2.66.
            self.temperature = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
            self.match = nn.ModuleDict({m: nn.Linear(width[m], 2) for m in self.modalities})
        self.stacks = nn.ModuleDict(
            {m: Stack(dims[m], dims[o], width[m], params.heads, params.layers) for m, o in self.other.items()}
        )
        self.classify = nn.Linear(sum(width.values()), classes)

    def forward(self, batch: FrameBatch) -> Pairs:
        """The U utterances of the batch, in its order."""
        frames = {m: self.dropout(batch.features[m]) for m in self.modalities}
        present = {m: batch.present[m] for m in self.modalities}
        here = {m: x.any(1) for m, x in present.items()}
        masks = {m: None if bool(x.all()) else x for m, x in present.items()}
        asking = {m: self._asking(m, frames[m], present[m], here[m]) for m in self.modalities}
        keys = {m: self._stack(m).keys(frames[o]) for m, o in self.other.items()}

        def ask(m: str, rows: Tensor | slice, others: Tensor | slice) -> Tensor:
            x, mask = asking[m]
            if m in self.other:
                asked = masks[self.other[m]]
                x = self._stack(m)(x[rows], keys[m][others], asked if asked is None else asked[others])
            return _mean(x, mask[rows])

        def judge(m: str, rows: Tensor, others: Tensor) -> Tensor:
            return self.match[m](ask(m, rows, others))

        every = slice(None)
        fused = {m: ask(m, every, every) for m in self.modalities}
        logits = self.classify(self.dropout(torch.cat(list(fused.values()), -1)))
        if not self.other:
            return Pairs(
                logits, torch.zeros_like(here[self.modalities[0]]), {}, logits.new_ones(()), {}, judge
            )
        means = {m: self.align[m](_mean(x, present[m])) for m, x in frames.items()}
        return Pairs(
            logits,
            here["audio"] & here["visual"],
            {m: F.normalize(x, dim=-1) for m, x in means.items()},
            1 / self.temperature if self.published else self.temperature.exp().clamp(max=LARGEST_SCALE),
            {m: self.match[m](x) for m, x in fused.items()},
            judge,
        )

    def _stack(self, m: str) -> Stack:
        return cast(Stack, self.stacks[m])

    def _asking(self, m: str, x: Tensor, present: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [U, T, D] that ask, and which of them do [U, T]: of a missing stream one learned vector."""
        if bool(here.all()):
            return x, present
        first = torch.zeros_like(present)
        first[:, 0] = ~here
        return torch.where(first[:, :, None], self.missing[m].to(x.dtype), x), present | first


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of the frames that `mask` keeps: [U, T, d], [U, T] -> [U, d]; 0 where it keeps none."""
    return (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
