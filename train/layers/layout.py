"""Where an utterance's row lies, so that no model computes on padding.

Two orders of the same U utterances, dialogues sorted by length, longest first:

* *time-major*, for recurrences: all first turns, all second turns, … The dialogues still running at a turn are the
  first `sizes[t]` of it, so that a finished dialogue simply leaves. Counted from each dialogue's own last turn it
  is the order of the reverse direction; both have the same sizes.
* *dialogue-major*, for attention: dialogues of one length are neighbours and are attended to together as
  [n, L, d] views, without padding, mask or copy.

On a GPU, where a launch costs more than padding does, the second is *dense*: T rows a dialogue, one group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass
class Move:
    """A partial permutation of rows, -1 where nothing is taken. Its gradient is its inverse, not a scatter."""

    rows: Tensor  # [n'] row of the source, or -1
    inverse: Tensor  # [n] row of the result

    def __call__(self, x: Tensor) -> Tensor:
        """x [n, d] -> [n', d], zeros where there is none."""
        return _Take.apply(x, self.rows, self.inverse)


@dataclass
class Chain:
    """One direction of time. Its rows are time-major in that direction, 0 … U - 1."""

    start: Move  # from forward time-major rows to this direction's
    before: Tensor  # [U] the same party's previous turn, U where there is none
    after: Tensor  # [U] the same party's next turn, U where there is none
    heard: Tensor | None  # rows (U: nobody's) whose state the emotion recurrence reads, if not its own
    end: Move  # from the emotion recurrence's rows to the R key rows


class Layout:
    """Index tensors of one batch.

    lengths: [B] on the CPU; speakers: [B, T]; padded: every dialogue has T keys, as in the published code; dense:
    every dialogue has T keys and T queries. There are R key rows and Q query rows; R = Q = U where nothing is padded.
    """

    sizes: list[int]  # dialogues running at each turn
    emotion_sizes: list[int]  # the same for the emotion recurrence, which published does not stop
    groups: list[tuple[int, int, int]]  # (dialogues, queries of each, keys of each), in dialogue-major order
    chains: tuple[Chain, Chain]  # forward, reverse
    inputs: Tensor  # [U] place in [B * T] of the time-major rows
    keys: Tensor  # [R] place in [B * T] of the key rows
    padding: Tensor  # [R] bool
    place: Move  # from time-major rows to the key rows
    ask: Move | None  # from the key rows to the query rows, where these are fewer
    answers: Move  # from the query rows to the U utterances in the batch's own order
    outputs: Tensor  # [U] place in [B * T] of the utterances in the batch's own order

    def __init__(self, lengths: Tensor, speakers: Tensor, padded: bool, dense: bool) -> None:
        self._device = speakers.device
        lengths, order = torch.sort(lengths, descending=True, stable=True)
        batch, turns, total = len(lengths), int(lengths[0]), int(lengths.sum())
        clock, dialogue = torch.arange(turns), torch.arange(batch)[:, None]
        real = clock < lengths[:, None]
        self.sizes = real.sum(0).tolist()
        self.emotion_sizes = [batch] * turns if padded else self.sizes

        # Time-major: the grids of these names are [B, T], in sorted order.
        offsets = torch.tensor([0, *self.sizes[:-1]]).cumsum(0)
        forward = offsets[clock] + dialogue
        backward = offsets[(lengths[:, None] - 1 - clock).clamp(min=0)] + dialogue
        in_batch = order[:, None] * speakers.shape[1] + clock
        self.inputs = _at(forward[real], in_batch[real]).to(self._device)

        # Dialogue-major.
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

        # Who spoke when.
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
            here, heard = torch.where(real, time, -1), None
            if padded:
                # After its end a dialogue's emotion recurrence goes on, reading the state that party 0 was left in;
                # the reverse direction's states there are thrown away.
                step = torch.where(real, lengths[:, None] - 1 - clock, clock) if flipped else clock
                rows = step * batch + dialogue
                heard = _at(rows.flatten(), torch.where(real, time, row_of(first_party)).flatten())
                here = rows.masked_fill(~real, -1) if flipped else rows
            return Chain(
                self._move(_at(time[real], forward[real]), total),
                before.to(self._device),
                after.to(self._device),
                heard if heard is None else heard.to(self._device),
                self._move(here[has_key], sum(self.emotion_sizes)),
            )

        self.chains = chain(forward, earlier, later, False), chain(backward, later, earlier, True)

    def _move(self, index: Tensor, length: int) -> Move:
        taken = index >= 0
        inverse = torch.full((length,), -1).scatter_(0, index[taken], torch.arange(len(index))[taken])
        return Move(index.to(self._device), inverse.to(self._device))


def _at(places: Tensor, values: Tensor) -> Tensor:
    """values[i] at places[i], a permutation."""
    return torch.empty_like(values).scatter_(0, places, values)


def _take(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index.clamp(min=0)).masked_fill_((index < 0)[:, None], 0)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, index, inverse):
        ctx.save_for_backward(inverse)
        return _take(x, index)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return _take(grad, *ctx.saved_tensors), None, None
