"""Foal-Net and its losses written out: one utterance, one frame, one head, one pair at a time.

Slow on purpose, like MultiEMO's reference.py, whose linear, layer_norm and attend these share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from train.models.multiemo.reference import attend, layer_norm, linear


def mean(frames: Sequence[Tensor]) -> Tensor:
    return sum(frames) / len(frames)  # type: ignore[return-value]


def stack(
    w: dict[str, Tensor], m: str, asking: list[Tensor], asked: list[Tensor], heads: int, layers: int
) -> Tensor:
    """One utterance: frames [d] that ask the other modality's -> the stack's mean over them, [d]."""
    d = len(asking[0])
    weight, bias = w[f"stacks.{m}.memory.weight"], w[f"stacks.{m}.memory.bias"]
    for i in range(layers):
        rows = [slice((2 * i + n) * d, (2 * i + n + 1) * d) for n in (0, 1)]
        keys, values = ([weight[r] @ x + bias[r] for x in asked] for r in rows)
        block, changed = f"stacks.{m}.blocks.{i}.", []
        for x in asking:
            change = torch.zeros_like(x)
            if asked:
                answer = attend(linear(w, f"{block}query", x), keys, values, heads)
                change = linear(w, f"{block}project", answer)
            changed.append(layer_norm(w, f"{block}norm", x + change))
        asking = changed
    return mean(asking)


def projection(w: dict[str, Tensor], m: str, x: Tensor) -> Tensor:
    """A mean [d] in the common space, of unit length."""
    x = w[f"align.{m}.enter.weight"] @ x
    gelu = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    x = layer_norm(w, f"align.{m}.norm", x + w[f"align.{m}.change.weight"] @ gelu)
    return x / torch.sqrt((x**2).sum())


class Reference:
    """The model's weights, and utterances as {modality: list of frames [D]} (an empty list where missing)."""

    def __init__(
        self, w: dict[str, Tensor], utterances: list[dict[str, list[Tensor]]], heads: int, layers: int
    ):
        self.w, self.heads, self.layers = w, heads, layers
        self.entered = [{m: [linear(w, f"enter.{m}", x) for x in u[m]] for m in u} for u in utterances]

    def ask(self, m: str, i: int, j: int) -> Tensor:
        """Utterance i's frames of m, or its learned vector, over utterance j's of the other modality."""
        other = {"audio": "visual", "visual": "audio"}[m]
        asking = self.entered[i][m] or [self.w[f"missing.{m}"]]
        if other not in self.entered[j]:  # one modality only
            return mean(asking)
        return stack(self.w, m, asking, self.entered[j][other], self.heads, self.layers)

    def logits(self) -> Tensor:
        rows = []
        for i, u in enumerate(self.entered):
            rows.append(linear(self.w, "classify", torch.cat([self.ask(m, i, i) for m in u])))
        return torch.stack(rows)

    def complete(self) -> list[int]:
        """Utterances with both modalities."""
        return [i for i, u in enumerate(self.entered) if all(u.values())]

    def avel(self, labels: list[int]) -> Tensor:
        """For every anchor, cross-entropy against all of its emotion in the other modality; both ways, averaged."""
        rows = self.complete()
        scale = torch.exp(self.w["temperature"])
        sound = {i: projection(self.w, "audio", mean(self.entered[i]["audio"])) for i in rows}
        sight = {i: projection(self.w, "visual", mean(self.entered[i]["visual"])) for i in rows}
        total = torch.zeros((), dtype=torch.float64)
        for anchors, others in (sound, sight), (sight, sound):
            for i in rows:
                below = sum(torch.exp(scale * anchors[i] @ others[j]) for j in rows)
                for j in rows:
                    if labels[i] == labels[j]:
                        total = total - torch.log(torch.exp(scale * anchors[i] @ others[j]) / below) / len(
                            rows
                        )
        return total / 2

    def mem(self, partners: dict[str, dict[int, int]]) -> Tensor:
        """{asking modality: {utterance: utterance whose other modality it is mismatched with}}."""
        ways = []
        for m, drawn in partners.items():
            terms = []
            for i, j in drawn.items():
                for judged, truth in (self.ask(m, i, i), 1), (self.ask(m, i, j), 0):
                    terms.append(-torch.log_softmax(linear(self.w, f"match.{m}", judged), 0)[truth])
            ways.append(torch.stack(terms).mean())
        return torch.stack(ways).mean()
