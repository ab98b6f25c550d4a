"""Foal-Net (Li et al., Interspeech 2024, doi 10.21437/Interspeech.2024-1462): align, match, fuse frames of two streams.

Each modality's frames ask the other's through a stack of cross-attention blocks; the masked means of both stacks,
side by side, are classified. Two further outputs exist for the losses: the streams' means in one common space
(AVEL compares them), and a judge that tells a pair that belongs together from one that does not (MEM).

In the published model AVEL's gradient shapes the audio encoder. Frames from a cache have none behind them, and AVEL
would shape nothing that the classifier reads; so a linear layer brings each stream to `dim` first, where all losses
meet. `compat: published` leaves it out: those are the published heads over given frames.

An utterance is all the model sees: what stands beside it in a batch, and how far it is padded, changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import UserError
from train.models.contract import FrameBatch, Output
from train.models.foalnet import PAIR, Params

BLOCK_DROPOUT, PROJECTION_DROPOUT = 0.1, 0.5  # published
TEMPERATURE = 0.07
LARGEST_SCALE = 100.0  # as in CLIP: beyond it a batch's nearest wrong pair is all that is learned from


@dataclass(kw_only=True)
class Pairs(Output):
    """What the losses read beside the logits; with one modality in use only the logits say anything."""

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

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.project = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(BLOCK_DROPOUT)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, Tq, d]; key, value [B, heads, Tk, d/heads]; mask [B, Tk] bool, None for all -> [B, Tq, d]."""
        return self.norm(x + self.dropout(self.change(x, key, value, mask)))

    def change(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """What attention adds; 0 where all keys are masked."""
        q = self.query(x).unflatten(-1, (key.shape[1], -1)).transpose(1, 2)
        if mask is None:
            return self.project(F.scaled_dot_product_attention(q, key, value).transpose(1, 2).flatten(2))
        some = mask.any(1)[:, None, None]
        mask = (mask[:, None] | ~some)[:, None]  # a softmax over nothing has no value
        answer = F.scaled_dot_product_attention(q, key, value, mask).transpose(1, 2).flatten(2)
        return self.project(answer) * some


class Stack(nn.Module):
    """One modality asks the other: `layers` blocks, every one over the other's frames as they came.

    They are projected once for all blocks, and once for matched and mismatched pairs alike.
    """

    def __init__(self, asked: int, dim: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads, self.layers = heads, layers
        self.blocks = nn.ModuleList(Block(dim) for _ in range(layers))
        self.memory = nn.Linear(asked, layers * 2 * dim)  # rows: layer, (key, value), heads

    def keys(self, x: Tensor) -> Tensor:
        """[B, Tk, d'] -> [B, 2·layers, heads, Tk, d/heads]."""
        return self.memory(x).unflatten(-1, (2 * self.layers, self.heads, -1)).permute(0, 2, 3, 1, 4)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, Tq, d], keys of the same B, mask [B, Tk] bool or None -> [B, Tq, d]."""
        for i, block in enumerate(self.blocks):
            x = block(x, keys[:, 2 * i], keys[:, 2 * i + 1], mask)
        return x


class FoalNet(nn.Module):
    """dims: modality -> size of a frame; with one modality its masked mean is classified, and nothing else exists."""

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.published = params.compat == "published"
        self.modalities = [m for m in PAIR if m in dims]
        self.other = {m: o for m in self.modalities for o in self.modalities if o != m}
        self.dropout = nn.Dropout(params.dropout)
        width = {m: dims[m] if self.published else params.dim for m in self.modalities}
        self.enter = nn.ModuleDict(
            {} if self.published else {m: nn.Linear(dims[m], width[m]) for m in self.modalities}
        )
        # Asks in place of a missing stream's frames: zeros would be a frame like any other.
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(width[m])) for m in self.modalities})
        if self.other:
            for m, d in width.items():
                if d % params.heads:
                    raise UserError(
                        f"model.heads={params.heads} does not divide {d}, the size of the {m} frames"
                    )
            self.align = nn.ModuleDict({m: Projection(width[m], params.head) for m in self.modalities})
            # The published code stores the logarithm CLIP starts from and divides by it: its temperature is 2.66.
            self.temperature = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
            self.match = nn.ModuleDict({m: nn.Linear(width[m], 2) for m in self.modalities})
        self.stacks = nn.ModuleDict(
            {m: Stack(width[o], width[m], params.heads, params.layers) for m, o in self.other.items()}
        )
        self.classify = nn.Linear(sum(width.values()), classes)

    def forward(self, batch: FrameBatch) -> Pairs:
        """The U utterances of the batch, in its order."""
        frames = {m: self._frames(m, batch.features[m]) for m in self.modalities}
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
            nobody = torch.zeros_like(here[self.modalities[0]])
            return Pairs(
                logits=logits, both=nobody, aligned={}, scale=logits.new_ones(()), matched={}, judge=judge
            )
        means = {m: self.align[m](_mean(x, present[m])) for m, x in frames.items()}
        return Pairs(
            logits=logits,
            both=here["audio"] & here["visual"],
            aligned={m: F.normalize(x, dim=-1) for m, x in means.items()},
            scale=1 / self.temperature if self.published else self.temperature.exp().clamp(max=LARGEST_SCALE),
            matched={m: self.match[m](x) for m, x in fused.items()},
            judge=judge,
        )

    def _frames(self, m: str, x: Tensor) -> Tensor:
        x = self.dropout(x)
        return x if self.published else self.enter[m](x)

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
