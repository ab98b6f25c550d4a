"""DialogueRNN's recurrences for K independent chains, with gradients written by hand.

A chain is one modality in one direction. Products that do not depend on the previous step run over all utterances at
once, before or after the loop. Each step keeps three products for global and party states and one for the emotion
state, over the dialogues that are still running. The backward pass overwrites the saved gates with their gradients and
computes the gradients of the weights in one product at the end.

The gates of a GRU are stored as (h, r, z, n), where h is the hidden state's part of the candidate. In this order each
product writes one contiguous slice: (h, r, z) for the hidden state, (r, z, n) for the input.
    r = σ(r), z = σ(z), n = tanh(n + r h), state' = n + z (state - n)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def _steps(sizes: list[int]) -> list[tuple[slice, int, int]]:
    """Return (rows, number of dialogues, number of dialogues that continue) of each step."""
    steps, start = [], 0
    for size, following in zip(sizes, [*sizes[1:], 0], strict=True):
        steps.append((slice(start, start + size), size, following))
        start += size
    return steps


def _one_step_earlier(sizes: list[int], device: torch.device) -> Tensor:
    """Return [U - sizes[0]]: for every row from the second step on, the same dialogue's row of the previous step."""
    starts = [now.start for now, _, _ in _steps(sizes)]
    later = zip(starts, sizes[1:], strict=False)
    return torch.cat([torch.arange(start, start + size) for start, size in later] or [torch.arange(0)]).to(
        device
    )


def _cell(gates: Tensor, state: Tensor, out: Tensor) -> None:
    """Compute a GRU step: activate `gates` [K, B, 4d] in place, and write the new state to `out` [K, B, d].

    `state` is [K, B, d].
    """
    hidden, reset, update, candidate = gates.chunk(4, -1)
    gates[..., hidden.shape[-1] : -hidden.shape[-1]].sigmoid_()
    candidate.addcmul_(reset, hidden).tanh_()
    torch.lerp(candidate, state, update, out=out)


def _cell_backward(gates: Tensor, state: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of the old state [K, B, d] through z alone, and replace `gates` by their gradients.

    `grad` [K, B, d] is the gradient of the new state.
    """
    hidden, reset, update, candidate = gates.chunk(4, -1)
    kept = grad * update
    d_update = torch.ops.aten.sigmoid_backward((state - candidate).mul_(grad), update)
    update.copy_(d_update)
    candidate.copy_(torch.ops.aten.tanh_backward(grad - kept, candidate))
    d_reset = torch.ops.aten.sigmoid_backward(candidate * hidden, reset)
    torch.mul(candidate, reset, out=hidden)
    reset.copy_(d_reset)
    return kept


class Parties(torch.autograd.Function):
    """The global states g, their context c, and the party states q.

    g_t = GRU([u_t, q], g_{t-1}); c_t = Σ_{s<t} softmax_s(w · g_s) g_s; q' = GRU([u_t, c_t], q). The state of a party is
    read from the row of its previous turn, and is zero before its first turn. The scores of the softmax do not depend
    on the query, so c is a running mean: c_{t+1} = c_t + a_t (g_t - c_t).
    """

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        of_input: Tensor,
        of_party: Tensor,
        of_global: Tensor,
        of_context: Tensor,
        bias: Tensor,
        score: Tensor,
        before: Tensor,
        after: Tensor,
        sizes: list[int],
    ) -> Tensor:
        """Return the new party state q' [K, U, d] of the speaker of each turn.

        Args:
            ctx: torch's context.
            u: [K, U, d] inputs.
            of_input: [K, d, 6d] from u to (r, z, n) of g and (r, z, n) of q.
            of_party: [K, d, 6d] from q to (r, z, n) of g and (h, r, z) of q.
            of_global: [K, d, 3d] from g to (h, r, z) of g.
            of_context: [K, d, 3d] from c to (r, z, n) of q.
            bias: [K, 8d] (h, r, z, n) of g and of q.
            score: [K, d] w of the softmax.
            before: [K, U] the row of the same party's previous turn, U if there is none.
            after: [K, U] the row of the same party's next turn, U if there is none.
            sizes: the number of dialogues that have a turn t.
        """
        chains, total, d = u.shape
        exact = torch.promote_types(u.dtype, torch.float32)  # a running sum of weights stalls in bfloat16
        gates = bias[:, None].repeat(1, total, 1)
        gates[..., d : 4 * d].baddbmm_(u, of_input[..., : 3 * d])
        gates[..., 5 * d :].baddbmm_(u, of_input[..., 3 * d :])
        party = u.new_zeros(chains, total + 1, d)
        states, contexts = torch.empty_like(u), torch.empty_like(u)
        shares = u.new_empty(chains, total, 1)
        offset = torch.arange(chains, device=u.device)[:, None] * (total + 1)
        before, after = before + offset, after + offset

        g = u.new_zeros(chains, sizes[0], d)
        contexts[:, : sizes[0]] = 0
        mass = torch.full((chains, sizes[0], 1), -torch.inf, dtype=exact, device=u.device)  # log Σ exp(w · g)
        for now, size, following in _steps(sizes):
            q = party.view(-1, d).index_select(0, before[:, now].reshape(-1)).view(chains, size, d)
            if now.start:  # all states are zero before the first turn
                gates[:, now, d : 7 * d].baddbmm_(q, of_party)
                gates[:, now, : 3 * d].baddbmm_(g[:, :size], of_global)
                gates[:, now, 5 * d :].baddbmm_(contexts[:, now], of_context)
            _cell(gates[:, now, : 4 * d], g[:, :size], out=states[:, now])
            _cell(gates[:, now, 4 * d :], q, out=party[:, now])
            g = states[:, now]
            going = slice(now.start, now.start + following)
            logit = torch.bmm(g[:, :following], score[..., None]).to(exact)
            shares[:, going] = share = torch.sigmoid(logit - mass[:, :following]).to(u.dtype)
            mass = torch.logaddexp(mass[:, :following], logit)
            torch.lerp(
                contexts[:, going], states[:, going], share, out=contexts[:, now.stop : now.stop + following]
            )
        ctx.gates, ctx.sizes = gates, sizes
        weights = of_input, of_party, of_global, of_context, score
        ctx.save_for_backward(u, *weights, party, states, contexts, shares, before, after)
        return party[:, :total]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of u, the weights, the bias and the score; `grad` [K, U, d] is the gradient of q'."""
        u, of_input, of_party, of_global, of_context, score, *made, before, after = ctx.saved_tensors
        party, states, contexts, shares = made
        chains, total, d = u.shape
        steps, gates = _steps(ctx.sizes), ctx.gates
        del ctx.gates  # overwritten below, so a second backward pass must fail
        batch = ctx.sizes[0]
        parties = party.view(-1, d).index_select(0, before.reshape(-1)).view(chains, total, d)
        d_party = torch.zeros_like(party)  # the gradient of the state that each turn read
        d_global, d_context = u.new_zeros(chains, batch, d), u.new_zeros(chains, batch, d)
        d_mass = u.new_zeros(chains, batch, 1)
        d_logits = u.new_zeros(chains, total, 1)
        nothing = u.new_zeros(chains, batch, d)
        for step in range(len(steps) - 1, -1, -1):
            now, size, following = steps[step]
            d_q = d_party.view(-1, d).index_select(0, after[:, now].reshape(-1)).view(chains, size, d)
            d_q = _cell_backward(gates[:, now, 4 * d :], parties[:, now], d_q.add_(grad[:, now]))

            going = slice(now.start, now.start + following)
            g, share, dc = states[:, going], shares[:, going], d_context[:, :following]
            d_share = ((g - contexts[:, going]).mul_(dc)).sum(-1, keepdim=True) * share * (1 - share)
            d_logit = d_logits[:, going] = torch.addcmul(d_share, share, d_mass[:, :following])
            d_mass[:, :following].mul_(1 - share).sub_(d_share)
            d_global[:, :following].addcmul_(share, dc).addcmul_(d_logit, score[:, None])
            dc.mul_(1 - share)

            g = states[:, steps[step - 1][0]] if step else nothing
            d_g = _cell_backward(gates[:, now, : 4 * d], g[:, :size], d_global[:, :size])
            if step:
                torch.baddbmm(d_q, gates[:, now, d : 7 * d], of_party.mT, out=d_party[:, now])
                torch.baddbmm(d_g, gates[:, now, : 3 * d], of_global.mT, out=d_global[:, :size])
                d_context[:, :size].baddbmm_(gates[:, now, 5 * d :], of_context.mT)

        to_g, to_q, later = gates[..., d : 4 * d], gates[..., 5 * d :], slice(batch, total)
        d_u = torch.bmm(to_g, of_input[..., : 3 * d].mT).baddbmm_(to_q, of_input[..., 3 * d :].mT)
        earlier = states.index_select(1, _one_step_earlier(ctx.sizes, u.device))
        return (
            d_u,
            torch.cat([torch.bmm(u.mT, to_g), torch.bmm(u.mT, to_q)], -1),
            torch.bmm(parties[:, later].mT, gates[:, later, d : 7 * d]),
            torch.bmm(earlier.mT, gates[:, later, : 3 * d]),
            torch.bmm(contexts[:, later].mT, to_q[:, later]),
            gates.sum(1),
            torch.bmm(states.mT, d_logits)[..., 0],
            *[None] * 3,
        )


class Emotions(torch.autograd.Function):
    """The emotion states: e_t = GRU(x_t, e_{t-1}), from zeros."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, of_input: Tensor, of_state: Tensor, bias: Tensor, sizes: list[int]
    ) -> Tensor:
        """Return the states [K, U, d].

        Args:
            ctx: torch's context.
            x: [K, U, d] inputs.
            of_input: [K, d, 3d] from x to (r, z, n).
            of_state: [K, d, 3d] from e to (h, r, z).
            bias: [K, 4d] (h, r, z, n).
            sizes: the number of dialogues that have a turn t.
        """
        chains, total, d = x.shape
        gates = bias[:, None].repeat(1, total, 1)
        gates[..., d:].baddbmm_(x, of_input)
        states = torch.empty_like(x)
        e = x.new_zeros(chains, sizes[0], d)
        for now, size, _ in _steps(sizes):
            if now.start:
                gates[:, now, : 3 * d].baddbmm_(e[:, :size], of_state)
            _cell(gates[:, now], e[:, :size], out=states[:, now])
            e = states[:, now]
        ctx.gates, ctx.sizes = gates, sizes
        ctx.save_for_backward(x, of_input, of_state, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, the weights and the bias; `grad` [K, U, d] is the gradient of the states."""
        x, of_input, of_state, states = ctx.saved_tensors
        chains, total, d = x.shape
        steps, gates = _steps(ctx.sizes), ctx.gates
        del ctx.gates
        batch = ctx.sizes[0]
        d_state, nothing = x.new_zeros(chains, batch, d), x.new_zeros(chains, batch, d)
        for step in range(len(steps) - 1, -1, -1):
            now, size, _ = steps[step]
            e = states[:, steps[step - 1][0]] if step else nothing
            d_e = _cell_backward(gates[:, now], e[:, :size], d_state[:, :size].add_(grad[:, now]))
            if step:
                torch.baddbmm(d_e, gates[:, now, : 3 * d], of_state.mT, out=d_state[:, :size])
        to_e, later = gates[..., d:], slice(batch, total)
        earlier = states.index_select(1, _one_step_earlier(ctx.sizes, x.device))
        return (
            torch.bmm(to_e, of_input.mT),
            torch.bmm(x.mT, to_e),
            torch.bmm(earlier.mT, gates[:, later, : 3 * d]),
            gates.sum(1),
            None,
        )
