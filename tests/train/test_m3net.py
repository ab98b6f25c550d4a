"""M3Net against its equations, node by node and hyperedge by hyperedge."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.train.dialogues import DIMS, batch
from tests.train.modal_nodes import nodes, sources
from tests.train.test_models import network
from train.models.contract import MODALITIES, Batch
from train.models.m3net import Params
from train.models.m3net.network import M3Net

USED = [m for m in MODALITIES if m in DIMS]


def params(**changes) -> Params:
    return Params(name="m3net", **{"dim": 3, **changes})


def node_by_node(net: Any, data: Batch, p: Params) -> Tensor:
    """Logits [U, C]."""
    logits = []
    for b, turns in enumerate(data.lengths.tolist()):
        vectors, here = nodes(net.nodes, data, b)
        x = {node: net.enter(vector) for node, vector in vectors.items()}
        y = dict(x)
        for layer in net.hyper:
            new = {}
            for m, t in x:
                mean = torch.zeros_like(x[m, t])
                if (m, t) in here:
                    of_modality = [
                        x[m, i] for i in range(turns) if (m, i) in here and (i <= t or not p.causal)
                    ]
                    of_turn = [x[o, t] for o in USED if (o, t) in here]
                    share = torch.sigmoid(layer.kind[USED.index(m)])
                    mean = share * sum(of_modality) / len(of_modality) + (1 - share) * sum(of_turn) / len(
                        of_turn
                    )
                new[m, t] = F.leaky_relu(layer.change(mean))
            x = new
        near = {node: [other for other in sources(node, here, p.causal) if other != node] for node in y}
        degree = {node: max(1, len(others)) for node, others in near.items()}
        for layer in net.high:
            new = {}
            for i in y:
                new[i] = y[i]
                for j in near[i]:
                    gate = torch.tanh(layer.receiver(y[i]) + layer.sender(y[j]))
                    new[i] = new[i] + gate * y[j] / (degree[i] * degree[j]) ** 0.5
            y = new
        for t in range(turns):
            answer = torch.cat([torch.cat([x[m, t], y[m, t]]) for m in USED])
            logits.append(net.classify(torch.relu(answer)))
    return torch.stack(logits)


@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize(
    "changes", [{}, {"causal": True}, {"hyper": 1, "high": 1}], ids=["default", "causal", "one layer"]
)
def test_it_computes_its_equations(changes, missing):
    p = params(**changes)
    net, data = network("m3net", params=p), batch([4, 1, 3], missing=missing, parties=4)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    torch.testing.assert_close(net(data).logits, node_by_node(net, data, p), rtol=0, atol=1e-10)


def test_hyperedges_weigh_the_same_at_first_and_have_no_weight_by_position():
    net = network("m3net", params=params())
    assert [tuple(layer.kind.shape) for layer in net.hyper] == [(3,)] * 3
    fresh = M3Net(DIMS, 4, params())
    assert all(torch.equal(torch.sigmoid(layer.kind), torch.full((3,), 0.5)) for layer in fresh.hyper)
