"""MultiAttn: each modality's stack attends to the two other modalities in every layer (equations 2–12).

Every layer takes keys and values from the unimodal inputs, so one product projects a modality's keys and values for all
layers of all stacks.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.layout import Layout
from train.models.contract import MODALITIES


class AddNorm(nn.Module):
    """LayerNorm(x + dropout(change)), equations 5, 9 and 12."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, x: Tensor, change: Tensor) -> Tensor:
        """Return [Q, d] of a sublayer's input `x` and output `change`, both [Q, d]."""
        out: Tensor = self.norm(x + self.dropout(change))
        return out


class CrossAttention(nn.Module):
    """The query and output projections of a cross-attention sublayer, equations 2–4; one product for all heads.

    Args:
        dim: the size of queries, keys and values, d.
        heads: the attention heads, a divisor of `dim`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.project = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, keys: Keys, key: Tensor, value: Tensor) -> Tensor:
        """Return [Q, d] of the queries `x` [Q, d], for `key` and `value` [R, d]."""
        return keys.masked(self.project(keys.attend(self.query(x), key, value, self.heads)))

    def weights(self, x: Tensor, keys: Keys, key: Tensor) -> Tensor:
        """Return the attention weights [T, T] of one dialogue, averaged over the heads; 0 where all keys are masked.

        Args:
            x: [T, d] queries.
            keys: the mask of the keys.
            key: [T, d].
        """
        q, k = (y.unflatten(-1, (self.heads, -1)).transpose(0, 1) for y in (self.query(x), key))
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        (mask,) = keys.masks
        if mask is not None:
            scores = scores.masked_fill(~mask[0], -torch.inf)
        return keys.masked(scores.softmax(-1).mean(0))


class Keys:
    """The key rows of a modality: their grouping by dialogue, and their mask.

    Args:
        layout: the layout of the batch.
        present: [R] bool, False for masked rows; None for no mask.
        causal: whether a turn attends to no later turn.
    """

    def __init__(self, layout: Layout, present: Tensor | None, causal: bool) -> None:
        self.groups = layout.groups
        self.masks: list[Tensor | None] = [None] * len(self.groups)
        self.some = None  # [Q, 1] bool, whether a query has any key
        if present is None and causal:
            present = torch.ones_like(layout.padding)
        if present is not None:
            self.masks, has_key = [], []
            for (n, length, turns), mask in zip(
                self.groups, torch.split(present, [n * t for n, _, t in self.groups]), strict=True
            ):
                mask = mask.view(n, 1, turns)
                if causal:
                    mask = mask & mask.new_ones(length, turns).tril()
                some = mask.any(-1, keepdim=True)
                self.masks.append((mask | ~some)[:, None])  # a softmax over no keys is undefined
                has_key.append(some.expand(n, length, 1).reshape(-1, 1))
            self.some = torch.cat(has_key)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        """Return the attention [Q, d] of `query` [Q, d] to `key` and `value` [R, d], within each dialogue."""
        if query.device.type == "cpu":
            # For attention this small, the backward pass of the CPU's bfloat16 kernel is ten times slower.
            query, key, value = (
                x.to(torch.promote_types(x.dtype, torch.float32)) for x in (query, key, value)
            )
        asking = [n * length for n, length, _ in self.groups]
        asked = [n * turns for n, _, turns in self.groups]
        parts = zip(
            self.groups,
            self.masks,
            torch.split(query, asking),
            torch.split(key, asked),
            torch.split(value, asked),
            strict=True,
        )
        answers = []
        with torch.autocast("cpu", enabled=False):
            for (n, _, _), mask, *qkv in parts:
                q, k, v = (x.view(n, -1, heads, x.shape[-1] // heads).transpose(1, 2) for x in qkv)
                answer = F.scaled_dot_product_attention(q, k, v, mask)
                answers.append(answer.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(answers)

    def masked(self, change: Tensor) -> Tensor:
        """Return `change` [Q, d], set to 0 where all keys are masked."""
        return change if self.some is None else change * self.some


class Layer(nn.Module):
    """One layer of a modality's stack: cross-attention to each other modality, then the feed-forward sublayer.

    Args:
        dim: the size of a vector, d.
        heads: the attention heads, a divisor of `dim`.
        ffn: the inner size of the feed-forward sublayer.
        others: the number of other modalities.
        dropout: in each sublayer.
    """

    def __init__(self, dim: int, heads: int, ffn: int, others: int, dropout: float) -> None:
        super().__init__()
        self.attend = nn.ModuleList(CrossAttention(dim, heads) for _ in range(others))
        self.expand, self.contract = nn.Linear(dim, ffn), nn.Linear(ffn, dim)
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList(AddNorm(dim, dropout) for _ in range(others + 1))

    def forward(self, x: Tensor, asked: list[tuple[Keys, Tensor, Tensor]]) -> Tensor:
        """Return [Q, d] of `x` [Q, d]; `asked` holds (mask, keys [R, d], values [R, d]) of each other modality."""
        for attend, norm, (keys, key, value) in zip(self.attend, self.norms, asked, strict=False):
            x = norm(x, attend(x, keys, key, value))
        hidden = F.relu(self.expand(x), inplace=True)
        out: Tensor = self.norms[-1](x, self.dropout(self.contract(hidden)))
        return out


class MultiAttn(nn.Module):
    """The stacks of the modalities in use. With one modality they have only feed-forward sublayers.

    Args:
        modalities: the modalities in use.
        dim: the size of a vector, d.
        heads: the attention heads, a divisor of `dim`.
        ffn: the inner size of the feed-forward sublayers.
        layers: the number of layers of each stack.
        dropout: in each sublayer.
        causal: whether a turn attends to no later turn.
    """

    def __init__(
        self, modalities: list[str], dim: int, heads: int, ffn: int, layers: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        self.modalities, self.layers, self.causal = modalities, layers, causal
        self.others = {m: [o for o in MODALITIES if o in modalities and o != m] for m in modalities}
        others = len(modalities) - 1
        self.stacks = nn.ModuleDict(
            {
                m: nn.ModuleList(Layer(dim, heads, ffn, others, dropout) for _ in range(layers))
                for m in modalities
            }
        )
        # The rows of the weight are ordered by querying modality, layer, (key, value), head.
        self.keys = nn.ModuleDict(
            {m: nn.Linear(dim, others * layers * 2 * dim) for m in modalities if others}
        )

    def forward(
        self, context: dict[str, Tensor], present: dict[str, Tensor | None], layout: Layout
    ) -> dict[str, Tensor]:
        """Return modality → [Q, d].

        Args:
            context: modality → [R, d].
            present: modality → [R] bool, False for masked rows; None for no mask.
            layout: the layout of the batch.
        """
        keys = {m: Keys(layout, present[m], self.causal) for m in self.modalities}
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
        """Return the cross-attention sublayers of the last layer by (querying, queried) modality."""
        layers = {m: cast(Layer, cast(nn.ModuleList, stack)[-1]) for m, stack in self.stacks.items()}
        return {
            (m, o): cast(CrossAttention, attend)
            for m, layer in layers.items()
            for o, attend in zip(self.others[m], layer.attend, strict=True)
        }
