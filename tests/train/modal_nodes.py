"""The nodes of MMGCN and M3Net, one by one, for the tests of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.train.dialogues import DIMS
from train.models.contract import MODALITIES, Batch

Node = tuple[str, int]  # modality, turn


def nodes(net: Any, data: Batch, b: int) -> tuple[dict[Node, Tensor], set[Node]]:
    """Return the vector of each node of dialogue `b`, and the nodes that have a feature."""
    turns, vectors, here = int(data.lengths[b]), {}, set()
    for m in [m for m in MODALITIES if m in DIMS]:
        here |= {(m, t) for t in range(turns) if data.present[m][b, t]}
        x = [
            net.project[m](data.features[m][b, t]) if (m, t) in here else net.missing[m] for t in range(turns)
        ]
        if m == "text":
            x = list(net.text.rnn(torch.stack(x)[None])[0][0])
        for t in range(turns):
            vectors[m, t] = x[t] + net.speakers(data.speakers[b : b + 1])[0, t]
    return vectors, here


def sources(node: Node, here: set[Node], causal: bool) -> list[Node]:
    """Return the nodes that a node receives from: those of its modality or of its turn, itself among them."""
    if node not in here:
        return []
    m, t = node
    return [(o, i) for o, i in sorted(here) if (o == m or i == t) and (i <= t or not causal)]
