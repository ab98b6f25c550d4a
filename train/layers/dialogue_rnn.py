"""DialogueRNN: context within a modality from who spoke when (equation 1's C^m; Majumder et al., AAAI 2019).

Per turn: a global state, attended over its own past, the state of the party that speaks, and an emotion state,
which is the output. Both directions of all modalities run as one batch of chains (recurrence.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.layout import Layout
from train.layers.recurrence import Emotions, Parties


class DialogueRNN(nn.Module):
    """M modalities at once: M forward chains, and after them M reverse ones where `bidirectional`.

    Each product's weights lie as [K, in, out]; every GRU keeps its two biases apart, (r, z, n) and (h, r, z) in the
    order of recurrence.py: their gradients are equal but in r and z, and Adam's steps add up.
    """

    def __init__(self, modalities: int, dim: int, bidirectional: bool) -> None:
        super().__init__()
        self.modalities, self.bidirectional = modalities, bidirectional
        chains = modalities * (2 if bidirectional else 1)

        def draw(*shape: int) -> nn.Parameter:
            bound = dim**-0.5  # as nn.GRUCell draws them
            return nn.Parameter(torch.empty(chains, *shape).uniform_(-bound, bound))

        self.of_input, self.of_party = draw(dim, 6 * dim), draw(dim, 6 * dim)
        self.of_global, self.of_context = draw(dim, 3 * dim), draw(dim, 3 * dim)
        self.score = draw(dim)
        self.input_bias, self.hidden_bias = draw(2, 3, dim), draw(2, 3, dim)
        self.emotion_of_party, self.emotion_of_emotion = draw(dim, 3 * dim), draw(dim, 3 * dim)
        self.emotion_input_bias, self.emotion_hidden_bias = draw(1, 3, dim), draw(1, 3, dim)

    def forward(self, inputs: list[Tensor], layout: Layout) -> list[Tensor]:
        """M tensors [U, d] in forward time-major order -> M tensors [R, d], or [R, 2d] where bidirectional."""
        directions = layout.chains[: 1 + self.bidirectional]
        u = torch.stack([chain.start(x) for chain in directions for x in inputs])
        before = torch.stack([chain.before for chain in directions for _ in inputs])
        after = torch.stack([chain.after for chain in directions for _ in inputs])
        device = u.device.type
        cast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else u.dtype
        with torch.autocast(device, enabled=False):
            q = Parties.apply(
                *(x.to(cast) for x in (u, self.of_input, self.of_party, self.of_global, self.of_context)),
                _gate_bias(self.input_bias, self.hidden_bias).to(cast),
                self.score.to(cast),
                before,
                after,
                layout.sizes,
            )
            heard = [chain.heard for chain in directions for _ in inputs if chain.heard is not None]
            if heard:
                states = F.pad(q, (0, 0, 0, 1)).unbind()
                q = torch.stack([x.index_select(0, rows) for x, rows in zip(states, heard, strict=True)])
            e = Emotions.apply(
                *(x.to(cast) for x in (q, self.emotion_of_party, self.emotion_of_emotion)),
                _gate_bias(self.emotion_input_bias, self.emotion_hidden_bias).to(cast),
                layout.emotion_sizes,
            ).unbind()
        outputs = []
        for i in range(self.modalities):
            ways = [chain.end(e[i + k * self.modalities]) for k, chain in enumerate(directions)]
            outputs.append(torch.cat(ways, -1) if self.bidirectional else ways[0])
        return outputs


def _gate_bias(input_bias: Tensor, hidden_bias: Tensor) -> Tensor:
    """[K, G, 3, d] (r, z, n) and (h, r, z) of G GRUs -> [K, 4 G d] (h, r, z, n)."""
    return (F.pad(input_bias, (0, 0, 1, 0)) + F.pad(hidden_bias, (0, 0, 0, 1))).flatten(1)
