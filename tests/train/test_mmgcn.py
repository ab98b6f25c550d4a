"""MMGCN against its equations, node by node."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.train.dialogues import DIMS, batch
from tests.train.modal_nodes import nodes, sources
from tests.train.test_models import network
from train.models.contract import MODALITIES, Batch
from train.models.mmgcn import Params
from train.models.mmgcn.network import propagation


def params(**changes) -> Params:
    return Params(name="mmgcn", **{"dim": 3, **changes})


def node_by_node(net: Any, data: Batch, p: Params) -> Tensor:
    """Logits [U, C]: GCNII's equation 5 on the graph of MMGCN's equations 5 and 6."""
    logits = []
    for b, turns in enumerate(data.lengths.tolist()):
        x, here = nodes(net.nodes, data, b)

        def weight(i, j, x=x):
            cosine = F.cosine_similarity(x[i], x[j], dim=0)
            return 1 - torch.arccos(0.99999 * cosine) / math.pi

        near = {node: sources(node, here, p.causal) for node in x}
        degree = {node: sum(weight(node, other) for other in near[node]) for node in x}
        start = {node: torch.relu(net.enter(x[node])) for node in x}
        h = start
        for number, matrix in enumerate(net.layers, 1):
            theta, new = math.log(0.5 / number + 1), {}
            for i in x:
                received = torch.zeros_like(h[i])
                for j in near[i]:
                    received = received + weight(i, j) / torch.sqrt(degree[i] * degree[j]) * h[j]
                changed = torch.cat([received, start[i]]) @ matrix
                new[i] = torch.relu(theta * changed + (1 - theta) * (0.9 * received + 0.1 * start[i]))
            h = new
        for t in range(turns):
            answer = torch.cat([torch.cat([x[m, t], h[m, t]]) for m in MODALITIES if m in DIMS])
            logits.append(net.classify(torch.relu(answer)))
    return torch.stack(logits)


@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize(
    "changes", [{}, {"causal": True}, {"depth": 1}], ids=["default", "causal", "one layer"]
)
def test_it_computes_its_equations(changes, missing):
    p = params(**changes)
    net, data = network("mmgcn", params=p), batch([4, 1, 3], missing=missing, parties=4)
    torch.testing.assert_close(net(data).logits, node_by_node(net, data, p), rtol=0, atol=1e-10)


def test_equal_and_zero_nodes_have_weights_and_gradients():
    """The published code divides 0 by 0 for a node of zeros."""
    x = torch.zeros(1, 4, 3, dtype=torch.float64)
    x[0, :2] = torch.tensor([1.0, -2.0, 0.5])
    x.requires_grad_()
    share = propagation(x, torch.ones(1, 4, 4, dtype=torch.bool))
    assert torch.isfinite(share).all()
    torch.testing.assert_close(share[0, 0], share[0, 1])
    share.square().sum().backward()
    assert torch.isfinite(x.grad).all()


def test_a_bfloat16_cosine_above_one_has_a_weight():
    x = torch.full((1, 2, 1000), 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        share = propagation(x.bfloat16(), torch.ones(1, 2, 2, dtype=torch.bool))
    torch.testing.assert_close(share, torch.full((1, 2, 2), 0.5))


def test_the_depth_is_the_number_of_layers():
    """The published code reads its option and builds 64 layers all the same."""
    assert len(network("mmgcn", params=params(depth=7)).layers) == 7
