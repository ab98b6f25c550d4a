"""The order of a batch's utterances in memory, chosen so that no model computes on padding.

Dialogues are sorted by length, longest first. Their U utterances have two orders:

* *time-major*, for recurrences: all first turns, then all second turns, and so on. The first `sizes[t]` dialogues have
  a turn t, so a finished dialogue needs no mask. The reverse direction counts turns from the end of each dialogue and
  has the same sizes.
* *dialogue-major*, for attention: dialogues of equal length are neighbours. Attention reads them as [n, L, d] views,
  without padding, mask or copy.

On a GPU, where many small kernels cost more than padding, dialogue-major order is *dense*: T rows for each dialogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass
class Move:
    """A partial permutation of rows. Its gradient is the inverse permutation, so no scatter is needed.

    Attributes:
        rows: [n'] the source row of each result row, -1 for a row of zeros.
        inverse: [n] the result row of each source row, -1 if it is not used.
    """

    rows: Tensor
    inverse: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the permuted rows [n', d] of `x` [n, d]."""
        taken: Tensor = _Take.apply(x, self.rows, self.inverse)
        return taken


@dataclass
class Chain:
    """One direction of time. Its rows 0 … U - 1 are time-major in that direction.

    Attributes:
        start: from forward time-major rows to the rows of this direction.
        before: [U] the row of the same party's previous turn, U if there is none.
        after: [U] the row of the same party's next turn, U if there is none.
        source: the row of the party state that each step of the emotion recurrence reads, U for zeros. None if each
            step reads its own row.
        end: from the rows of the emotion recurrence to the R key rows.
    """

    start: Move
    before: Tensor
    after: Tensor
    source: Tensor | None
    end: Move


class Layout:
    """Index tensors of one batch: R key rows and Q query rows; R = Q = U if nothing is padded.

    Args:
        lengths: [B] number of turns of each dialogue, on the CPU.
        speakers: [B, T] number of the party of each turn.
        padded: whether every dialogue has T keys, as in the published code.
        dense: whether every dialogue has T keys and T queries.

    Attributes:
        sizes: the number of dialogues that have a turn t.
        emotion_sizes: the same for the emotion recurrence, which runs over padding in the published code.
        groups: (dialogues, queries of each, keys of each) for each length, in dialogue-major order.
        chains: the forward and the reverse direction.
        inputs: [U] index in [B * T] of the time-major rows.
        keys: [R] index in [B * T] of the key rows.
        padding: [R] bool, True where padded.
        place: from time-major rows to key rows.
        ask: from key rows to query rows, None if they are the same.
        answers: from query rows to the U utterances in the order of the batch.
        outputs: [U] index in [B * T] of the utterances in the order of the batch.
    """

    sizes: list[int]
    emotion_sizes: list[int]
    groups: list[tuple[int, int, int]]
    chains: tuple[Chain, Chain]
    inputs: Tensor
    keys: Tensor
    padding: Tensor
    place: Move
    ask: Move | None
    answers: Move
    outputs: Tensor

    def __init__(self, lengths: Tensor, speakers: Tensor, padded: bool, dense: bool) -> None:
        self._device = speakers.device
        lengths, order = torch.sort(lengths, descending=True, stable=True)
        batch, turns, total = len(lengths), int(lengths[0]), int(lengths.sum())
        clock, dialogue = torch.arange(turns), torch.arange(batch)[:, None]
        real = clock < lengths[:, None]
        self.sizes = real.sum(0).tolist()
        self.emotion_sizes = [batch] * turns if padded else self.sizes

        # Time-major rows, as grids [B, T] of the sorted dialogues.
        offsets = torch.tensor([0, *self.sizes[:-1]]).cumsum(0)
        forward = offsets[clock] + dialogue
        backward = offsets[(lengths[:, None] - 1 - clock).clamp(min=0)] + dialogue
        in_batch = order[:, None] * speakers.shape[1] + clock
        self.inputs = _at(forward[real], in_batch[real]).to(self._device)

        # Dialogue-major rows.
        whole = torch.full_like(lengths, turns)
        key_count, query_count = whole if padded or dense else lengths, whole if dense else lengths
        has_key, has_query = clock < key_count[:, None], clock < query_count[:, None]
        key = (key_count.cumsum(0) - key_count)[:, None] + clock
        query = (query_count.cumsum(0) - query_count)[:, None] + clock
        self.keys, self.padding = in_batch[has_key].to(self._device), ~real[has_key].to(self._device)
        self.place = self._move(torch.where(real, forward, -1)[has_key], total)
        self.ask = None if query_count is key_count else self._move(key[has_query], int(key_count.sum()))
        rank = torch.argsort(order)
        self.answers = self._move(query[rank][real[rank]], int(query_count.sum()))
        self.outputs = in_batch[rank][real[rank]].to(self._device)
        runs = torch.unique_consecutive(torch.stack([query_count, key_count], 1), dim=0, return_counts=True)
        self.groups = [(n, *pair) for pair, n in zip(*(x.tolist() for x in runs), strict=True)]

        # The previous and the next turn of each party.
        party = speakers.cpu()[order, :turns]
        same = (party[:, :, None] == party[:, None, :]) & real[:, None, :]
        earlier = torch.where(same & (clock < clock[:, None]), clock, -1).amax(-1)
        later = torch.where(same & (clock > clock[:, None]), clock, turns).amin(-1)
        later[later == turns] = -1
        first_party = torch.where(real & (party == 0), clock, -1).amax(-1, keepdim=True)

        def chain(time: Tensor, previous: Tensor, following: Tensor, flipped: bool) -> Chain:
            def row_of(turn: Tensor) -> Tensor:
                return torch.where(turn >= 0, time.gather(1, turn.clamp(min=0)), total)

            before, after = (_at(time[real], row_of(turn)[real]) for turn in (previous, following))
            here, source = torch.where(real, time, -1), None
            if padded:
                # In the published code the emotion recurrence continues after the end of a dialogue and reads the
                # last state of party 0. The reverse direction's states there are not used.
                step = torch.where(real, lengths[:, None] - 1 - clock, clock) if flipped else clock
                rows = step * batch + dialogue
                source = _at(rows.flatten(), torch.where(real, time, row_of(first_party)).flatten())
                here = rows.masked_fill(~real, -1) if flipped else rows
            return Chain(
                self._move(_at(time[real], forward[real]), total),
                before.to(self._device),
                after.to(self._device),
                source if source is None else source.to(self._device),
                self._move(here[has_key], sum(self.emotion_sizes)),
            )

        self.chains = chain(forward, earlier, later, False), chain(backward, later, earlier, True)

    def _move(self, index: Tensor, length: int) -> Move:
        taken = index >= 0
        inverse = torch.full((length,), -1).scatter_(0, index[taken], torch.arange(len(index))[taken])
        return Move(index.to(self._device), inverse.to(self._device))


def _at(places: Tensor, values: Tensor) -> Tensor:
    """Return `values` permuted: values[i] at index places[i]."""
    return torch.empty_like(values).scatter_(0, places, values)


def _take(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index.clamp(min=0)).masked_fill_((index < 0)[:, None], 0)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return _take(x, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _take(grad, *ctx.saved_tensors), None, None
