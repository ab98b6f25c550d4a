"""DialogueGCN against its equations, turn by turn, and against a recording of the published code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.errors import UserError
from tests.train.dialogues import DIMS, batch
from tests.train.test_golden_multiemo import FOLDER, load
from tests.train.test_models import network
from train.models.contract import MODALITIES, Batch
from train.models.dialoguegcn import Params
from train.models.dialoguegcn.graph import window
from train.models.dialoguegcn.network import DialogueGCN


def params(**changes) -> Params:
    return Params(name="dialoguegcn", **{"dim": 4, "past": 2, "future": 1, "parties": 3, **changes})


def dialogue_by_dialogue(net: Any, data: Batch, p: Params) -> Tensor:
    """Logits [U, C], each turn evaluated by loops over its neighbours."""
    logits = []
    for b, turns in enumerate(data.lengths.tolist()):
        inputs, sends = [], []
        for t in range(turns):
            here = {m: bool(data.present[m][b, t]) for m in MODALITIES}
            sends.append(any(here.values()))
            inputs.append(
                torch.cat([data.features[m][b, t] if here[m] else net.missing[m] for m in MODALITIES])
            )
        g = net.context.rnn(torch.stack(inputs)[None])[0][0]
        said = data.speakers[b].tolist()
        h = graph(net.graph, g, said, sends, p)
        q = [torch.cat([g[t], h[t]]) for t in range(turns)]
        for t in range(turns):
            heard = [j for j in range(turns) if sends[j] and (j <= t or not p.causal)]
            scores = [q[j] @ net.score.weight @ q[t] for j in heard]
            shares = list(torch.stack(scores).softmax(0)) if heard else []
            mixed = sum(
                (share * q[j] for share, j in zip(shares, heard, strict=True)), torch.zeros_like(q[t])
            )
            logits.append(net.classify(torch.relu(net.hidden(mixed))))
    return torch.stack(logits)


def relation(i: int, t: int, said: list[int], p: Params) -> int:
    later = int(i >= t)
    if p.relations == "speaker":
        return 2 * (said[i] != said[t]) + later
    from_party, to_party = (min(said[turn], p.parties - 1) for turn in (i, t))
    return 2 * (p.parties * from_party + to_party) + later


def graph(layers: Any, g: Tensor, said: list[int], sends: list[bool], p: Params) -> list[Tensor]:
    """Both layers of the default graph."""
    first, turns = layers.first, len(g)
    near = []
    for t in range(turns):
        last = t if p.causal else t + p.future
        near.append([i for i in range(turns) if t - p.past <= i <= last and sends[i]])
    h = []
    for t in range(turns):
        alpha = {}
        if near[t]:
            scores = torch.stack([g[i] @ layers.score.weight @ g[t] for i in near[t]])
            alpha = dict(zip(near[t], scores.softmax(0), strict=True))
        x = torch.zeros(len(layers.second.weight), dtype=g.dtype)
        for i in near[t]:
            if i == t:
                x = x + alpha[t] * (layers.first_own.weight @ g[t])
                continue
            r = relation(i, t, said, p)
            alike = sum(j != t and relation(j, t, said, p) == r for j in near[t])
            mix = torch.eye(4, dtype=g.dtype)[r] if first.mix is None else first.mix[r]
            matrix = sum(share * basis for share, basis in zip(mix, first.bases, strict=True))
            x = x + alpha[i] / alike * (g[i] @ matrix)
        h.append(torch.relu(x))
    out = []
    for t in range(turns):
        others = [layers.second.weight @ h[i] for i in near[t] if i != t]
        mean = sum(others) / len(others) if others else torch.zeros_like(h[t])
        out.append(torch.relu(mean + layers.second_own.weight @ h[t]))
    return out


@pytest.mark.parametrize("missing", [0.0, 0.6])
@pytest.mark.parametrize(
    "changes",
    [{}, {"relations": "pairs"}, {"causal": True}, {"past": 10, "future": 10}, {"past": 0, "future": 0}],
    ids=["default", "pairs", "causal", "wide", "no neighbours"],
)
def test_it_computes_its_equations(changes, missing):
    p = params(**changes)
    net, data = network("dialoguegcn", params=p), batch([6, 1, 4], missing=missing, parties=4)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.3)
    torch.testing.assert_close(net(data).logits, dialogue_by_dialogue(net, data, p), rtol=0, atol=1e-10)


def test_the_window_counts_turns_before_and_after():
    assert window(4, 1, 2).long().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]]


NAMES = {
    "att_model.scalar.weight": "graph.score.weight",
    "graph_net.conv1.basis": "graph.first.bases",
    "graph_net.conv1.att": "graph.first.mix",
    "graph_net.conv1.root": "graph.first_own.weight",
    "graph_net.conv1.bias": "graph.first_own.bias",
    "graph_net.conv2.weight": "graph.second.weight",
    "graph_net.conv2.lin.weight": "graph.second_own.weight",
    "graph_net.conv2.lin.bias": "graph.second_own.bias",
    "graph_net.matchatt.transform.weight": "score.weight",
    "graph_net.matchatt.transform.bias": "score.bias",
    "graph_net.linear.weight": "hidden.weight",
    "graph_net.linear.bias": "hidden.bias",
    "graph_net.smax_fc.weight": "classify.weight",
    "graph_net.smax_fc.bias": "classify.bias",
}
TRANSPOSED = ("graph_net.conv1.root", "graph_net.conv2.weight")


def test_published_computes_what_the_authors_code_computed():
    data = load(FOLDER / "dialoguegcn_small.npz")
    past, future = data.window.tolist()
    p = params(
        compat="published", relations="pairs", parties=int(data.parties), past=past, future=future,
        dim=len(data.w["graph_net.linear.bias"]),
    )  # fmt: skip
    net = DialogueGCN({"text": data.U.shape[-1]}, len(data.w["graph_net.smax_fc.bias"]), p).double().eval()

    def ours(recorded: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            NAMES.get(name, name.replace("lstm.", "context.rnn.")): x.T if name in TRANSPOSED else x
            for name, x in recorded.items()
        }

    net.load_state_dict(ours(data.w) | {"missing.text": torch.zeros_like(net.missing["text"])})
    x = data.U.transpose(0, 1)
    real = torch.arange(x.shape[1]) < data.lengths[:, None]
    labels = torch.zeros(int(data.lengths.sum()), dtype=torch.long)
    logits = net(Batch({"text": x}, {"text": real}, data.speakers, data.lengths, labels, labels)).logits
    log_prob = logits.log_softmax(-1)
    torch.testing.assert_close(log_prob, data.log_prob, rtol=0, atol=1e-8)

    (log_prob * data.cotangent).sum().backward()
    weights, recorded = dict(net.named_parameters()), ours(data.g)
    assert recorded.keys() == weights.keys() - {"missing.text"}
    for name, gradient in recorded.items():
        torch.testing.assert_close(weights[name].grad, gradient, rtol=1e-7, atol=1e-8)


def test_the_published_table_of_turns_has_an_end():
    p = params(compat="published")
    net = DialogueGCN(DIMS, 3, p).double()
    with pytest.raises(UserError, match=r"111 turns .* at most 110; set model\.compat=default"):
        net(batch([111]))


def test_the_published_graph_cannot_be_causal():
    with pytest.raises(ValidationError, match=r"model\.causal=true needs model\.compat=default"):
        params(compat="published", causal=True)


@pytest.mark.parametrize("missing", [0.5, 1.0])
def test_published_answers_where_features_are_missing(missing):
    net = network("dialoguegcn", params=params(compat="published", relations="pairs"))
    logits = net(batch([5, 1, 3], missing=missing)).logits
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(x.grad).all() for x in net.parameters() if x.grad is not None)
