"""MultiAttn: each modality's stack asks the two others, layer by layer (equations 2–12).

Keys and values are the unimodal inputs in every layer, so a modality's are projected once, for all layers of all
stacks that ask it, in one product.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.layout import Layout
from train.models.contract import MODALITIES


class AddNorm(nn.Module):
    """LayerNorm(x + dropout(sublayer's output)), equations 5, 9 and 12."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        return self.norm(x + self.dropout(change))


class CrossAttention(nn.Module):
    """The query's side of one cross-attention sublayer, equations 2–4; all heads in one product."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.project = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, keys: Keys, key: Tensor, value: Tensor) -> Tensor:
        """x [Q, d], key and value [R, d] -> [Q, d]."""
        return keys.answered(self.project(keys.attend(self.query(x), key, value, self.heads)))

    def weights(self, x: Tensor, keys: Keys, key: Tensor) -> Tensor:
        """x [T, d], key [T, d] of one dialogue -> [T, T], the mean over the heads; 0 where nothing can be heard."""
        q, k = (y.unflatten(-1, (self.heads, -1)).transpose(0, 1) for y in (self.query(x), key))
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        (mask,) = keys.masks
        if mask is not None:
            scores = scores.masked_fill(~mask[0], -torch.inf)
        return keys.answered(scores.softmax(-1).mean(0))


class Keys:
    """Which of a modality's rows may be attended to, and by whom.

    present: [R] bool of the key rows, or None where all are.
    """

    def __init__(self, layout: Layout, present: Tensor | None) -> None:
        self.groups = layout.groups
        self.masks: list[Tensor | None] = [None] * len(self.groups)
        self.heard = None
        if present is not None:
            self.masks, heard = [], []
            for (n, length, turns), mask in zip(
                self.groups, present.split([n * t for n, _, t in self.groups]), strict=True
            ):
                mask = mask.view(n, turns)
                some = mask.any(1, keepdim=True)
                self.masks.append((mask | ~some)[:, None, None])  # a softmax over nothing has no value
                heard.append(some.expand(n, length).reshape(-1, 1))
            self.heard = torch.cat(heard)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        """query [Q, d], key and value [R, d] -> [Q, d], every dialogue for itself."""
        if query.device.type == "cpu":
            # In bfloat16 the CPU's kernel goes back through attentions as small as these ten times as slowly.
            query, key, value = (
                x.to(torch.promote_types(x.dtype, torch.float32)) for x in (query, key, value)
            )
        asking = [n * length for n, length, _ in self.groups]
        asked = [n * turns for n, _, turns in self.groups]
        parts = zip(
            self.groups, self.masks, query.split(asking), key.split(asked), value.split(asked), strict=True
        )
        answers = []
        with torch.autocast("cpu", enabled=False):
            for (n, _, _), mask, *qkv in parts:
                q, k, v = (x.unflatten(0, (n, -1)).unflatten(-1, (heads, -1)).transpose(1, 2) for x in qkv)
                answer = F.scaled_dot_product_attention(q, k, v, mask)
                answers.append(answer.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(answers)

    def answered(self, change: Tensor) -> Tensor:
        """Where all keys are masked attention adds 0."""
        return change if self.heard is None else change * self.heard


class Layer(nn.Module):
    """One layer of one modality's stack: a cross-attention for each other modality, then the FFN."""

    def __init__(self, dim: int, heads: int, ffn: int, others: int, dropout: float) -> None:
        super().__init__()
        self.attend = nn.ModuleList(CrossAttention(dim, heads) for _ in range(others))
        self.expand, self.contract = nn.Linear(dim, ffn), nn.Linear(ffn, dim)
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList(AddNorm(dim, dropout) for _ in range(others + 1))

    def forward(self, x: Tensor, asked: list[tuple[Keys, Tensor, Tensor]]) -> Tensor:
        """x [Q, d]; for each other modality its mask, keys and values [R, d] -> [Q, d]."""
        for attend, norm, (keys, key, value) in zip(self.attend, self.norms, asked, strict=False):
            x = norm(x, attend(x, keys, key, value))
        hidden = F.relu(self.expand(x), inplace=True)
        return self.norms[-1](x, self.dropout(self.contract(hidden)))


class MultiAttn(nn.Module):
    """The stacks of the modalities in use; with one modality only the FFN sublayers are left."""

    def __init__(
        self, modalities: list[str], dim: int, heads: int, ffn: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.modalities, self.layers = modalities, layers
        self.others = {m: [o for o in MODALITIES if o in modalities and o != m] for m in modalities}
        others = len(modalities) - 1
        self.stacks = nn.ModuleDict(
            {
                m: nn.ModuleList(Layer(dim, heads, ffn, others, dropout) for _ in range(layers))
                for m in modalities
            }
        )
        # Rows of the weight: asking modality, layer, (key, value), heads.
        self.keys = nn.ModuleDict(
            {m: nn.Linear(dim, others * layers * 2 * dim) for m in modalities if others}
        )

    def forward(
        self, context: dict[str, Tensor], present: dict[str, Tensor | None], layout: Layout
    ) -> dict[str, Tensor]:
        """context: modality -> [R, d]; present: modality -> [R] bool or None for all -> modality -> [Q, d]."""
        keys = {m: Keys(layout, present[m]) for m in self.modalities}
        projected = {}
        for asked, project in self.keys.items():
            parts = iter(project(context[asked]).chunk(2 * self.layers * len(self.others[asked]), -1))
            for asking in self.others[asked]:
                projected[asking, asked] = [(next(parts), next(parts)) for _ in range(self.layers)]
        fused = {}
        for m in self.modalities:
            x = context[m] if layout.ask is None else layout.ask(context[m])
            for i, layer in enumerate(cast(nn.ModuleList, self.stacks[m])):
                x = layer(x, [(keys[o], *projected[m, o][i]) for o in self.others[m]])
            fused[m] = x
        return fused

    def last(self) -> dict[tuple[str, str], CrossAttention]:
        """The last layer's sublayers: (asking, asked) modality -> cross-attention."""
        layers = {m: cast(Layer, cast(nn.ModuleList, stack)[-1]) for m, stack in self.stacks.items()}
        return {
            (m, o): cast(CrossAttention, attend)
            for m, layer in layers.items()
            for o, attend in zip(self.others[m], layer.attend, strict=True)
        }
