"""DialogueRNN (Majumder et al., AAAI 2019): the context of each turn within a modality (C^m of MultiEMO's equation 1).

Each turn has three states: a global state with attention over its past, the state of the speaker's party, and an
emotion state, which is the output. Both directions of all modalities run as one batch of chains (recurrence.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.layout import Layout
from train.layers.recurrence import Emotions, Parties


class DialogueRNN(nn.Module):
    """DialogueRNNs of M modalities: M forward chains, then M reverse chains if bidirectional; K chains in all.

    The weights of each product are [K, in, out]. Every GRU has two biases, (r, z, n) and (h, r, z), in the order of
    recurrence.py. The two biases of r and z have equal gradients, but a single bias would move half as far in each step
    of Adam.

    Args:
        modalities: the number of modalities, M.
        dim: the size of inputs and states, d.
        bidirectional: whether to run reverse chains.
    """

    def __init__(self, modalities: int, dim: int, bidirectional: bool) -> None:
        super().__init__()
        self.modalities, self.bidirectional = modalities, bidirectional
        chains = modalities * (2 if bidirectional else 1)

        def draw(*shape: int) -> nn.Parameter:
            bound = dim**-0.5  # as in nn.GRUCell
            return nn.Parameter(torch.empty(chains, *shape).uniform_(-bound, bound))

        self.of_input, self.of_party = draw(dim, 6 * dim), draw(dim, 6 * dim)
        self.of_global, self.of_context = draw(dim, 3 * dim), draw(dim, 3 * dim)
        self.score = draw(dim)
        self.input_bias, self.hidden_bias = draw(2, 3, dim), draw(2, 3, dim)
        self.emotion_of_party, self.emotion_of_emotion = draw(dim, 3 * dim), draw(dim, 3 * dim)
        self.emotion_input_bias, self.emotion_hidden_bias = draw(1, 3, dim), draw(1, 3, dim)

    def forward(self, inputs: list[Tensor], layout: Layout) -> list[Tensor]:
        """Return M tensors [R, d], or [R, 2d] if bidirectional.

        Args:
            inputs: M tensors [U, d] in forward time-major order.
            layout: the layout of the batch.
        """
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
            sources = [chain.source for chain in directions for _ in inputs if chain.source is not None]
            if sources:
                states = F.pad(q, (0, 0, 0, 1)).unbind()
                q = torch.stack([x.index_select(0, rows) for x, rows in zip(states, sources, strict=True)])
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
    """Add the biases [K, G, 3, d] of G GRUs, (r, z, n) and (h, r, z), to [K, 4 G d], (h, r, z, n)."""
    return (F.pad(input_bias, (0, 0, 1, 0)) + F.pad(hidden_bias, (0, 0, 0, 1))).flatten(1)
