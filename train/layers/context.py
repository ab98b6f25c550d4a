"""Recurrences that give every turn its dialogue's context."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def states(rnn: nn.GRU | nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """Return the states of a recurrence over whole dialogues, `[B, T, directions * d]`; rows of padding are 0.

    Args:
        rnn: the recurrence, `batch_first`, of size d.
        x: `[B, T, n]`.
        lengths: the numbers of turns `[B]`, on the CPU.
    """
    # Packing makes the reverse direction start at the last turn of each dialogue and not in the padding.
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class Context(nn.Module):
    """A GRU or LSTM of two layers over whole dialogues: `[B, T, n]` → `[B, T, 2 * dim]`.

    It has two directions of `dim` each, or one direction of `2 * dim` where a turn may read the past alone.
    """

    def __init__(
        self, kind: type[nn.GRU | nn.LSTM], size: int, dim: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        self.rnn = kind(
            size,
            2 * dim if causal else dim,
            num_layers=2,
            batch_first=True,
            bidirectional=not causal,
            dropout=dropout,
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the states; rows of padding are 0."""
        return states(self.rnn, x, lengths)
