"""Conversion of MultiEMO weights between the published code and this project, in both directions.

The published code has a tensor for every head and every gate. This project concatenates them, so the conversion pairs
parts of tensors. It works for weights and for gradients.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.errors import UserError
from train.models.contract import MODALITIES
from train.models.renaming import Find, Pairs, linear


def from_published(state: Mapping[str, Tensor], ours: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Convert a published MultiEMO's state_dict to ours.

    Tensors that published MELD models hold and never use (text DialogueRNN, reverse directions) are dropped.

    Args:
        state: the published state_dict.
        ours: the state_dict of a model of the same sizes, with all three modalities and MultiAttn. Only its shapes are
            read.
        heads: the attention heads.

    Raises:
        UserError: a tensor is missing, has another shape, or is not part of the model.
    """
    unread = dict(state)

    def find(name: str, *shape: int) -> Tensor:
        if name not in state:
            raise UserError(f"published checkpoint: no tensor {name}; use the state_dict of a MultiEMO model")
        if state[name].shape != shape:
            found = list(state[name].shape)
            raise UserError(
                f"published checkpoint: {name} is {found}, but this model needs {list(shape)}; change the section "
                "`model` of params.yaml"
            )
        return unread.pop(name, state[name])

    converted = {name: torch.zeros_like(x) for name, x in ours.items()}
    for theirs, part in multiemo(find, converted, heads):
        part.copy_(theirs)
    if unread:
        raise UserError(
            f"published checkpoint: {len(unread)} tensors are not part of this model, such as {min(unread)}; change "
            "the section `model` of params.yaml"
        )
    for m in MODALITIES:  # the published code replaces a missing feature by zeros before the projection
        converted[f"missing.{m}"] = converted[f"project.{m}.bias"].clone()
    return converted


def to_published(ours: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Convert our state_dict, or gradients by its names, to the published names.

    Tensors that only the published code has are zeros.

    Args:
        ours: our tensors by name.
        heads: the attention heads.
    """
    state: dict[str, Tensor] = {}
    like = next(iter(ours.values()))

    def find(name: str, *shape: int) -> Tensor:
        return state.setdefault(name, like.new_zeros(shape))

    for theirs, part in multiemo(find, ours, heads):
        theirs.copy_(part)
    return state


def multiemo(find: Find, ours: Mapping[str, Tensor], heads: int) -> Pairs:
    """Yield the pairs of the whole model."""
    d = len(ours["joint.weight"])
    bidirectional = any(name.startswith("join.") for name in ours)
    chains = len(ours["rnn.score"]) // (2 if bidirectional else 1)
    # In published MELD models text has no recurrence.
    recurrent = MODALITIES if chains == len(MODALITIES) else MODALITIES[1:]
    for m in MODALITIES:
        yield from linear(find, f"{m}_fc", ours, f"project.{m}")
        chain = recurrent.index(m) if m in recurrent else None
        yield from _dialogue_rnn(find, ours, f"{m}_dialoguernn.", m, chain, chains, d)
    yield from multiattn(find, ours, heads, "multiattn.", "multiattn.")
    for name, own in ("fc", "joint"), ("mlp.linear_1", "hidden"), ("mlp.linear_2", "classify"):
        yield from linear(find, name, ours, own)


def _dialogue_rnn(
    find: Find, ours: Mapping[str, Tensor], prefix: str, m: str, chain: int | None, chains: int, d: int
) -> Pairs:
    """Yield the pairs of a modality: row `chain` of `rnn.*` is its forward chain, row `chain + chains` its reverse."""
    rnn = {name.removeprefix("rnn."): x for name, x in ours.items() if name.startswith("rnn.")}
    unused = {name: torch.zeros_like(x[:1]) for name, x in rnn.items()}
    both = f"join.{m}.weight" in ours
    forward = reverse = unused, 0
    if chain is not None:
        forward, reverse = (rnn, chain), (rnn, chain + chains) if both else reverse
    yield from dialogue_chain(find, f"{prefix}dialog_rnn_f.", *forward)
    yield from dialogue_chain(find, f"{prefix}dialog_rnn_r.", *reverse)
    if both:
        yield from linear(find, f"{prefix}linear", ours, f"join.{m}")
    else:
        find(f"{prefix}linear.weight", d, 2 * d), find(f"{prefix}linear.bias", d)


def dialogue_chain(find: Find, prefix: str, rnn: Mapping[str, Tensor], k: int) -> Pairs:
    """Yield the pairs of chain k of a DialogueRNN.

    The published order of GRU gates is (r, z, n). Ours is (r, z, n) for the input and (h, r, z) for the state.
    """
    w = {name: x[k] for name, x in rnn.items()}
    d = len(w["score"])
    (input_to_g, input_to_p), (party_to_g, party_to_p) = (
        torch.split(w[name], 3 * d, 1) for name in ("of_input", "of_party")
    )
    (g_input_bias, p_input_bias), (g_hidden_bias, p_hidden_bias) = w["input_bias"], w["hidden_bias"]
    (e_input_bias,), (e_hidden_bias,) = w["emotion_input_bias"], w["emotion_hidden_bias"]
    cells = (
        ("g", [input_to_g, party_to_g], w["of_global"], g_input_bias, g_hidden_bias),
        ("p", [input_to_p, w["of_context"]], party_to_p, p_input_bias, p_hidden_bias),
        ("e", [w["emotion_of_party"]], w["emotion_of_emotion"], e_input_bias, e_hidden_bias),
    )
    for letter, inputs, state, input_bias, hidden_bias in cells:
        cell = f"{prefix}dialogue_cell.{letter}_cell."
        theirs = find(f"{cell}weight_ih", 3 * d, len(inputs) * d)
        for i, part in enumerate(inputs):
            yield theirs[:, i * d : (i + 1) * d].T, part
        theirs = find(f"{cell}weight_hh", 3 * d, d).T
        yield theirs[:, 2 * d :], state[:, :d]
        yield theirs[:, : 2 * d], state[:, d:]
        yield find(f"{cell}bias_ih", 3 * d), input_bias.flatten()
        theirs = find(f"{cell}bias_hh", 3 * d).view(3, d)
        yield theirs[2], hidden_bias[0]
        yield theirs[:2], hidden_bias[1:]
    yield find(f"{prefix}dialogue_cell.attention.scalar.weight", 1, d)[0], w["score"]


def multiattn(find: Find, ours: Mapping[str, Tensor], heads: int, prefix: str = "", own: str = "") -> Pairs:
    """Yield the pairs of the three stacks.

    The rows of our key projections are ordered by querying modality, layer, (key, value), head.
    """
    d = len(ours[f"{own}stacks.text.0.contract.bias"])
    layers = sum(name.startswith(f"{own}stacks.text.") and name.endswith("contract.bias") for name in ours)
    for m in MODALITIES:
        others = [o for o in MODALITIES if o != m]
        for i in range(layers):
            here, there = f"{own}stacks.{m}.{i}.", f"{prefix}multiattn_{m}.multiattn_layers.{i}."
            for j, asked in enumerate(others):
                attend = f"{there}attn_{j + 1}."
                slot = [o for o in MODALITIES if o != asked].index(m)
                for kind, shape in ("weight", (d // heads, d)), ("bias", (d // heads,)):
                    query = torch.unflatten(ours[f"{here}attend.{j}.query.{kind}"], 0, (heads, -1))
                    memory = torch.unflatten(ours[f"{own}keys.{asked}.{kind}"], 0, (2, layers, 2, heads, -1))
                    keys = memory[slot, i]
                    for h in range(heads):
                        for name, part in ("query", query), ("key", keys[0]), ("value", keys[1]):
                            yield find(f"{attend}attention_heads.{h}.{name}_matrix.{kind}", *shape), part[h]
                yield from linear(find, f"{attend}projection_matrix", ours, f"{here}attend.{j}.project")
            for j in range(3):
                yield from linear(find, f"{there}add_norm_{j + 1}.layer_norm", ours, f"{here}norms.{j}.norm")
            yield from linear(find, f"{there}ff.linear_W1", ours, f"{here}expand")
            yield from linear(find, f"{there}ff.linear_W2", ours, f"{here}contract")
