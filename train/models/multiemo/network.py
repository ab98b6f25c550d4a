"""The network of MultiEMO (Shi and Huang, ACL 2023, doi 10.18653/v1/2023.acl-long.824), equations 1–17.

Each modality has a projection to `dim` and a DialogueRNN for context. MultiAttn fuses the modalities; their
concatenation is classified. `compat: published` also reproduces the authors' code where the default corrects it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.dialogue_rnn import DialogueRNN
from train.layers.layout import Layout
from train.layers.projection import projected
from train.models.contract import MODALITIES, Batch, Output
from train.models.multiemo import Params
from train.models.multiemo.multiattn import CrossAttention, Keys, MultiAttn


@dataclass(kw_only=True)
class Fused(Output):
    """The logits, and what the loss needs besides.

    Attributes:
        z: [U, d] the joint representation (equation 14), which SWFC reads.
        fused: modality → [U, d], which Soft-HGR reads.
        present: modality → [U] bool, False where missing.
    """

    z: Tensor
    fused: dict[str, Tensor]
    present: dict[str, Tensor]


class MultiEMO(nn.Module):
    """The MultiEMO network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.published = params.compat == "published"
        self.modalities = [m for m in MODALITIES if m in dims]
        d, both = params.dim, params.bidirectional and not params.causal
        self.project = nn.ModuleDict({m: nn.Linear(dims[m], d) for m in self.modalities})
        # A learned vector replaces a missing feature, because zeros could be a real feature.
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.zeros(d)) for m in self.modalities})
        self.recurrent = [m for m in self.modalities if m != "text" or params.text_rnn]
        self.rnn = DialogueRNN(len(self.recurrent), d, both) if self.recurrent else None
        self.join = nn.ModuleDict({m: nn.Linear(2 * d, d) for m in self.recurrent if both})
        self.multiattn = None
        if params.multiattn:
            self.multiattn = MultiAttn(
                self.modalities, d, params.heads, params.ffn, params.layers, params.dropout, params.causal
            )
        self.joint = nn.Linear(d * len(self.modalities), d)
        self.hidden, self.classify = nn.Linear(d, params.head), nn.Linear(params.head, classes)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Fused:
        """Return logits, z and fused features of the U utterances, in dialogue-then-turn order."""
        on_gpu = batch.speakers.device.type != "cpu"
        layout = Layout(batch.lengths, batch.speakers, padded=self.published, dense=on_gpu)
        context = self.context(batch, layout)
        present = {m: self._keys(m, batch, layout) for m in self.modalities}
        if self.multiattn is not None:
            fused = self.multiattn(context, present, layout)
        else:
            fused = {m: x if layout.ask is None else layout.ask(x) for m, x in context.items()}
        fused = {m: layout.answers(fused[m]) for m in self.modalities}
        z = self.joint(torch.cat(list(fused.values()), -1))
        logits = self.classify(F.relu(self.hidden(z)))
        if self.published:
            logits = self.dropout(logits)  # removes whole classes from the loss, so the default omits it
        here = {m: batch.present[m].flatten()[layout.outputs] for m in self.modalities}
        return Fused(logits=logits, z=z, fused=fused, present=here)

    @torch.no_grad()
    def attention(self, batch: Batch) -> dict[tuple[str, str], Tensor]:
        """Return the last layer's attention weights in a batch of one dialogue.

        The result maps (querying, queried) modality to [T, T], averaged over the heads. It is empty without MultiAttn.
        """
        if self.multiattn is None:
            return {}
        seen: dict[tuple[str, str], Tensor] = {}

        def hook(pair: tuple[str, str]) -> Callable[..., None]:
            def look(module: CrossAttention, inputs: tuple[Tensor, Keys, Tensor, Tensor], _: Tensor) -> None:
                x, keys, key, _ = inputs
                seen[pair] = module.weights(x, keys, key)

            return look

        hooks = [attend.register_forward_hook(hook(pair)) for pair, attend in self.multiattn.last().items()]
        try:
            self(batch)
        finally:
            for handle in hooks:
                handle.remove()
        return seen

    def context(self, batch: Batch, layout: Layout) -> dict[str, Tensor]:
        """Return C^m of equation 1: modality → [R, d] in dialogue-major order."""
        inputs = {m: projected(m, batch, layout, self.project, self.missing) for m in self.modalities}
        context = {}
        if self.rnn is not None:
            outputs = self.rnn([inputs[m] for m in self.recurrent], layout)
            for m, e in zip(self.recurrent, outputs, strict=True):
                e = self.join[m](e) if m in self.join else e
                context[m] = F.relu(self.dropout(e))
        for m in self.modalities:
            if m not in context:
                x = layout.place(inputs[m])
                if self.published:  # padded turns are keys there, with the projection of zeros
                    nothing = cast(Tensor, self.project[m].bias).to(x.dtype)
                    x = torch.where(layout.padding[:, None], nothing, x)
                context[m] = x
        return {m: context[m] for m in self.modalities}

    def _keys(self, m: str, batch: Batch, layout: Layout) -> Tensor | None:
        """Return [R] bool, False for masked key rows; None for no mask."""
        present = batch.present[m].flatten()[layout.keys]
        if self.published:
            present = present | layout.padding  # published attention sees padded turns
        return None if bool(present.all()) else present
