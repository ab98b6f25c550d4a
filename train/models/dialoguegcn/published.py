"""The parts of DialogueGCN that the authors' code computes differently from the paper.

Held to a recording of github.com/declare-lab/conv-emotion (6128ca2) on PyTorch Geometric 1.4.3.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.errors import UserError
from train.layers.masked import masked_softmax
from train.models.dialoguegcn import Params
from train.models.dialoguegcn.graph import RelationalSum

TURNS = 110  # IEMOCAP's longest dialogue: the edge weights are a table over turn numbers


class PublishedContext(nn.Module):
    """An LSTM of two layers and both directions whose reverse direction starts in the padding."""

    def __init__(self, size: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.rnn = nn.LSTM(size, dim, num_layers=2, batch_first=True, bidirectional=True, dropout=dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the states `[B, T, 2 * dim]`."""
        states: Tensor = self.rnn(x)[0]
        return states


class PublishedGraph(nn.Module):
    """Two graph layers without activations: `[B, T, size]` → `[B, T, out]`.

    A turn's edge weights depend on its number, not on its content, and sum to 1 over what it sends.
    """

    def __init__(self, size: int, out: int, params: Params) -> None:
        super().__init__()
        self.score = nn.Linear(size, TURNS, bias=False)
        self.first, self.first_own = RelationalSum(size, out, params), nn.Linear(size, out)
        self.second, self.second_own = nn.Linear(out, out, bias=False), nn.Linear(out, out)

    def forward(self, x: Tensor, edges: Tensor, relation: Tensor) -> Tensor:
        """Return the turns' vectors after both layers; edges is `[B, T, T]` bool, relation `[B, T, T]` long.

        Raises:
            UserError: a dialogue is longer than the table of edge weights.
        """
        turns = x.shape[1]
        if turns > TURNS:
            raise UserError(
                f"model.compat=published: a dialogue has {turns} turns and the published DialogueGCN reads at most "
                f"{TURNS}; set model.compat=default"
            )
        to_sender = self.score(x)[..., :turns].mT
        alpha = masked_softmax(to_sender, edges.mT).mT
        h = self.first(x, alpha, relation) + self.first_own(x)
        out: Tensor = edges.to(h.dtype) @ self.second(h) + self.second_own(h)
        return out
