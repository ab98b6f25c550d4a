"""The network of Foal-Net (Li et al., Interspeech 2024, doi 10.21437/Interspeech.2024-1462).

The frames of each modality attend to the frames of the other through a stack of cross-attention blocks. The classifier
reads the concatenated masked means of both stacks. The losses read two further outputs: the mean of each stream in a
common space (AVEL), and a classifier of matched and mismatched pairs (MEM).

In the published model AVEL's gradient trains the audio encoder. Cached frames have no encoder to train, and AVEL's own
projection heads do not affect the classifier. Therefore a linear layer, shared by all losses, first maps each stream to
`dim`. `compat: published` omits it, which leaves the published heads on given frames.

The output for an utterance does not depend on the rest of the batch or on padding.
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
# As in CLIP. With a larger factor only the nearest wrong pair of a batch contributes to the gradient.
LARGEST_SCALE = 100.0


@dataclass(kw_only=True)
class Pairs(Output):
    """The logits, and what the losses need besides. With one modality in use only the logits are meaningful.

    Attributes:
        both: [U] bool, True for utterances with frames of both modalities.
        aligned: modality → [U, d] of unit length.
        scale: the factor of AVEL's similarities, a scalar.
        matched: querying modality → [U, 2], the (mismatched, matched) logits of each utterance's own pair.
        match: from a querying modality, its rows [n] and the other modality's rows [n] to the logits [n, 2].
    """

    both: Tensor
    aligned: dict[str, Tensor]
    scale: Tensor
    matched: dict[str, Tensor]
    match: Callable[[str, Tensor, Tensor], Tensor]


class Projection(nn.Module):
    """LN(W1 x + dropout(W2 gelu(W1 x))) without biases.

    Args:
        size: the size of the input, D.
        dim: the size of the output, d.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.enter, self.change = nn.Linear(size, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(PROJECTION_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., d] of `x` [..., D]."""
        x = self.enter(x)
        out: Tensor = self.norm(x + self.dropout(self.change(F.gelu(x))))
        return out


class Block(nn.Module):
    """One cross-attention block: LN(x + dropout(W_o attention))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.project = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(BLOCK_DROPOUT)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Return [B, Tq, d].

        Args:
            x: [B, Tq, d] queries.
            key: [B, heads, Tk, d/heads].
            value: [B, heads, Tk, d/heads].
            mask: [B, Tk] bool, False where padded; None for no padding.
        """
        out: Tensor = self.norm(x + self.dropout(self.change(x, key, value, mask)))
        return out

    def change(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Return W_o attention, 0 where all keys are masked. Arguments as in `forward`."""
        q = self.query(x).unflatten(-1, (key.shape[1], -1)).transpose(1, 2)
        some = None
        if mask is not None:
            some = mask.any(1)[:, None, None]
            mask = (mask[:, None] | ~some)[:, None]  # a softmax over no keys is undefined
        answer = F.scaled_dot_product_attention(q, key, value, mask).transpose(1, 2).flatten(2)
        out: Tensor = self.project(answer)
        return out if some is None else out * some


class Stack(nn.Module):
    """The cross-attention blocks of one modality. Every block attends to the other modality's input frames.

    Keys and values are projected once for all blocks, and once for matched and mismatched pairs.

    Args:
        asked: the size of the other modality's frames, d'.
        dim: the size of this modality's frames, d.
        heads: the attention heads.
        layers: the number of blocks.
    """

    def __init__(self, asked: int, dim: int, heads: int, layers: int) -> None:
        super().__init__()
        self.heads, self.layers = heads, layers
        self.blocks = nn.ModuleList(Block(dim) for _ in range(layers))
        self.memory = nn.Linear(asked, layers * 2 * dim)  # rows: layer, (key, value), heads

    def keys(self, x: Tensor) -> Tensor:
        """Return the keys and values [B, 2·layers, heads, Tk, d/heads] of the other modality's frames [B, Tk, d']."""
        memory: Tensor = self.memory(x)
        return torch.unflatten(memory, -1, (2 * self.layers, self.heads, -1)).permute(0, 2, 3, 1, 4)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Return [B, Tq, d] of the queries `x` [B, Tq, d]; `keys` as `keys()` returns them, `mask` as in `Block`."""
        for i, block in enumerate(self.blocks):
            x = block(x, keys[:, 2 * i], keys[:, 2 * i + 1], mask)
        return x


class FoalNet(nn.Module):
    """The Foal-Net network. With one modality in use, it only classifies the masked mean of its frames.

    Args:
        dims: modality in use → size of a frame.
        classes: the number of labels, C.
        params: the section `model`.
    """

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
        # A learned vector is the query of a missing stream, because zeros could be a real frame.
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(width[m])) for m in self.modalities})
        if self.other:
            for m, d in width.items():
                if d % params.heads:
                    raise UserError(
                        f"model.heads={params.heads} does not divide {d}, the size of the {m} frames; "
                        "set a divisor of it"
                    )
            self.align = nn.ModuleDict({m: Projection(width[m], params.head) for m in self.modalities})
            # CLIP's initial value. The published code divides by this logarithm, so its temperature is 2.66.
            self.temperature = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
            self.match = nn.ModuleDict({m: nn.Linear(width[m], 2) for m in self.modalities})
        self.stacks = nn.ModuleDict(
            {m: Stack(width[o], width[m], params.heads, params.layers) for m, o in self.other.items()}
        )
        self.classify = nn.Linear(sum(width.values()), classes)

    def forward(self, batch: FrameBatch) -> Pairs:
        """Return the logits [U, C] of the U utterances, and the inputs of the losses, in the order of the batch."""
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

        def match(m: str, rows: Tensor, others: Tensor) -> Tensor:
            logits: Tensor = self.match[m](ask(m, rows, others))
            return logits

        every = slice(None)
        fused = {m: ask(m, every, every) for m in self.modalities}
        logits = self.classify(self.dropout(torch.cat(list(fused.values()), -1)))
        if not self.other:
            none = torch.zeros_like(here[self.modalities[0]])
            return Pairs(
                logits=logits, both=none, aligned={}, scale=logits.new_ones(()), matched={}, match=match
            )
        means = {m: self.align[m](_mean(x, present[m])) for m, x in frames.items()}
        return Pairs(
            logits=logits,
            both=here["audio"] & here["visual"],
            aligned={m: F.normalize(x, dim=-1) for m, x in means.items()},
            scale=1 / self.temperature if self.published else self.temperature.exp().clamp(max=LARGEST_SCALE),
            matched={m: self.match[m](x) for m, x in fused.items()},
            match=match,
        )

    def _frames(self, m: str, x: Tensor) -> Tensor:
        x = self.dropout(x)
        return x if self.published else self.enter[m](x)

    def _stack(self, m: str) -> Stack:
        return cast(Stack, self.stacks[m])

    def _asking(self, m: str, x: Tensor, present: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        """Return the queries [U, T, D] and their mask [U, T]; a missing stream has one query, the learned vector."""
        if bool(here.all()):
            return x, present
        first = torch.zeros_like(present)
        first[:, 0] = ~here
        return torch.where(first[:, :, None], self.missing[m].to(x.dtype), x), present | first


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean [U, d] of the frames [U, T, d] where `mask` [U, T] is True; 0 where it never is."""
    return (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
