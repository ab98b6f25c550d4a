"""The optimiser's groups of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from train.finetune.groups import groups

TINY: dict[str, Any] = {
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "num_hidden_layers": 3,
}
NETWORKS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(vocab_size=20, **TINY)),
    "mpnet": lambda: transformers.MPNetModel(transformers.MPNetConfig(vocab_size=20, **TINY)),
    "wav2vec2": lambda: transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(
            num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, conv_dim=[4] * 7, **TINY
        )
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_layer_learns_more_slowly_than_the_layer_above_it(kind):
    network, head = NETWORKS[kind](), nn.Linear(8, 2)
    made = groups(network, head, 0.01, 0.5)
    shares = {id(p): group["share"] for group in made for p in group["params"]}
    assert set(shares) == {id(p) for p in [*network.parameters(), *head.parameters()]}
    layers = network.encoder.layers if kind == "wav2vec2" else network.encoder.layer
    assert [{shares[id(p)] for p in layer.parameters()} for layer in layers] == [{0.125}, {0.25}, {0.5}]
    assert shares[id(next(network.parameters()))] == 0.0625
    assert {shares[id(p)] for p in head.parameters()} == {1.0}


def test_matrices_alone_decay_and_frozen_parameters_are_left_out():
    network, head = NETWORKS["bert"](), nn.Linear(8, 2)
    network.embeddings.requires_grad_(False)
    made = groups(network, head, 0.01, 1.0)
    assert {group["share"] for group in made} == {1.0}
    for group in made:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    left = {id(p) for group in made for p in group["params"]}
    assert not left & {id(p) for p in network.embeddings.parameters()}


def test_a_network_without_layers_has_one_rate():
    made = groups(nn.Linear(3, 3), nn.Linear(3, 2), 0.0, 0.5)
    assert sorted(group["share"] for group in made) == [0.5, 0.5, 1.0, 1.0]
    assert torch.optim.AdamW(made, lr=1e-3).param_groups[0]["share"] == 0.5
