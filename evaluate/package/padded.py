"""MultiEMO on a padded batch, in operations that ONNX has; the weights are those of a trained network.

The trained network orders rows so that nothing is padded, and has its own recurrence. Here every dialogue has T turns,
and one scan over time runs all chains. tests/evaluate/test_package.py compares the logits of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn import functional as F

from train.layers.dialogue_rnn import DialogueRNN
from train.models.multiemo import Params
from train.models.multiemo.multiattn import CrossAttention, Layer, MultiAttn
from train.models.multiemo.network import MultiEMO

FIRST = -1e30  # the logarithm of a sum that has no term yet


class Padded(nn.Module):
    """A trained MultiEMO as a function of plain tensors.

    Args:
        network: the trained network, in evaluation mode.
        params: the section `model`; `compat` must be `default`.
    """

    def __init__(self, network: MultiEMO, params: Params) -> None:
        super().__init__()
        self.network, self.params = network, params

    def forward(
        self, features: Sequence[Tensor], present: Sequence[Tensor], speakers: Tensor, lengths: Tensor
    ) -> Tensor:
        """Return logits [B, T, C]; those of padded turns are meaningless.

        Args:
            features: [B, T, D] of each modality in use, normalised.
            present: [B, T] bool of each modality in use.
            speakers: [B, T] long, the number of each turn's party, by first appearance.
            lengths: [B] long, the number of turns.
        """
        network = self.network
        clock = torch.arange(speakers.shape[1], device=speakers.device)
        real = clock < lengths[:, None]
        keys = {m: here & real for m, here in zip(network.modalities, present, strict=True)}
        inputs = {
            m: torch.where(keys[m][..., None], network.project[m](x), network.missing[m])
            for m, x in zip(network.modalities, features, strict=True)
        }
        context = dict(inputs)
        if network.rnn is not None:
            # The turn that the reverse direction reads at each step: the dialogue from its end, then the padding.
            mirror = torch.where(real, lengths[:, None] - 1 - clock, clock)
            recurrent = [inputs[m] for m in network.recurrent]
            for m, state in zip(
                network.recurrent, _recur(network.rnn, recurrent, speakers, mirror), strict=True
            ):
                context[m] = F.relu(network.join[m](state) if m in network.join else state)
        fused = context
        if network.multiattn is not None:
            fused = _attend(network.multiattn, context, keys, self.params.causal)
        z = network.joint(torch.cat([fused[m] for m in network.modalities], -1))
        logits: Tensor = network.classify(F.relu(network.hidden(z)))
        return logits


def _recur(rnn: DialogueRNN, inputs: list[Tensor], speakers: Tensor, mirror: Tensor) -> list[Tensor]:
    """Return the states [B, T, d], or [B, T, 2d] if bidirectional, of each input [B, T, d]."""
    turns, parties = inputs, [speakers] * len(inputs)
    if rnn.bidirectional:
        turns = [*inputs, *(_in_order(x, mirror) for x in inputs)]
        parties += [speakers.gather(1, mirror)] * len(inputs)
    x = torch.stack(turns).movedim(2, 0)  # [T, K, B, d]
    who = torch.stack(parties).movedim(2, 0)  # [T, K, B]
    states = _chains(rnn, x, who).movedim(0, 2)  # [K, B, T, d]
    forward = states[: len(inputs)].unbind()
    if not rnn.bidirectional:
        return list(forward)
    reverse = (_in_order(state, mirror) for state in states[len(inputs) :].unbind())
    return [torch.cat(pair, -1) for pair in zip(forward, reverse, strict=True)]


def _in_order(x: Tensor, turn: Tensor) -> Tensor:
    return x.gather(1, turn[..., None].expand(-1, -1, x.shape[-1]))


def _chains(rnn: DialogueRNN, x: Tensor, who: Tensor) -> Tensor:
    """Return the emotion states [T, K, B, d] of the inputs `x` [T, K, B, d] of the parties `who` [T, K, B]."""
    turns, chains, batch, d = x.shape
    # A party's number is smaller than the number of turns.
    numbers = torch.arange(turns, device=x.device)

    def step(carry: tuple[Tensor, ...], now: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        party, g, c, mass, e = carry
        u, number = now
        speaking = (numbers == number[..., None])[..., None]  # [K, B, T, 1]
        q = (party * speaking).sum(2)
        bias, hidden = rnn.input_bias, rnn.hidden_bias
        new_g = _gru(
            u @ rnn.of_input[..., : 3 * d] + q @ rnn.of_party[..., : 3 * d],
            g @ rnn.of_global,
            g,
            bias[:, 0],
            hidden[:, 0],
        )
        new_q = _gru(
            u @ rnn.of_input[..., 3 * d :] + c @ rnn.of_context,
            q @ rnn.of_party[..., 3 * d :],
            q,
            bias[:, 1],
            hidden[:, 1],
        )
        new_e = _gru(
            new_q @ rnn.emotion_of_party,
            e @ rnn.emotion_of_emotion,
            e,
            rnn.emotion_input_bias[:, 0],
            rnn.emotion_hidden_bias[:, 0],
        )
        score = (new_g * rnn.score[:, None]).sum(-1, keepdim=True)
        new_c = c + torch.sigmoid(score - mass) * (new_g - c)
        new_mass = torch.maximum(mass, score) + torch.log1p(torch.exp(-(mass - score).abs()))
        new_party = torch.where(speaking, new_q[:, :, None], party)
        return (new_party, new_g, new_c, new_mass, new_e), new_e.clone()

    zeros = x.new_zeros(chains, batch, d)
    first = (
        x.new_zeros(chains, batch, turns, d),
        zeros,
        zeros.clone(),
        zeros[..., :1] + FIRST,
        zeros.clone(),
    )
    _, states = scan(step, first, (x, who))
    return cast(Tensor, states)


def _gru(x: Tensor, h: Tensor, state: Tensor, bias: Tensor, hidden_bias: Tensor) -> Tensor:
    """Return a GRU's new state; `x` and `bias` are ordered (r, z, n), `h` and `hidden_bias` (n, r, z)."""
    xr, xz, xn = (x + bias.flatten(1)[:, None]).chunk(3, -1)
    hn, hr, hz = (h + hidden_bias.flatten(1)[:, None]).chunk(3, -1)
    n = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return n + torch.sigmoid(xz + hz) * (state - n)


def _attend(
    multiattn: MultiAttn, context: dict[str, Tensor], keys: dict[str, Tensor], causal: bool
) -> dict[str, Tensor]:
    """Return modality → [B, T, d] of the contexts [B, T, d]; `keys` [B, T] is False for masked keys."""
    projected = {}
    for asked, project in multiattn.keys.items():
        parts = iter(project(context[asked]).chunk(2 * multiattn.layers * len(multiattn.others[asked]), -1))
        for asking in multiattn.others[asked]:
            projected[asking, asked] = [(next(parts), next(parts)) for _ in range(multiattn.layers)]
    masks = {m: _mask(here, causal) for m, here in keys.items()}
    fused = {}
    for m in multiattn.modalities:
        x = context[m]
        for i, layer in enumerate(cast("list[Layer]", multiattn.stacks[m])):
            for j, other in enumerate(multiattn.others[m]):
                attend = cast(CrossAttention, layer.attend[j])
                x = layer.norms[j](x, _cross(attend, x, *projected[m, other][i], masks[other]))
            x = layer.norms[-1](x, layer.contract(F.relu(layer.expand(x))))
        fused[m] = x
    return fused


def _mask(keys: Tensor, causal: bool) -> Tensor:
    """Return [B, 1, T, T] bool, whether each query (row) may attend to each key."""
    turn = torch.arange(keys.shape[1], device=keys.device)
    allowed = turn <= turn[:, None] if causal else turn >= 0
    return (keys[:, None] & allowed)[:, None]


def _cross(attend: CrossAttention, x: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    q, k, v = (y.unflatten(-1, (attend.heads, -1)).transpose(1, 2) for y in (attend.query(x), key, value))
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~mask, FIRST)
    answer = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    some = mask.any(-1).squeeze(1)[..., None]  # without any key the sublayer adds 0
    change: Tensor = attend.project(answer) * some
    return change
