"""MultiEMO's loss, mu1 SWFC + mu2 Soft-HGR + (1 - mu1 - mu2) CE, equations 18–22 of the paper.

λ‖θ‖² of equation 22 is the weight decay of the optimiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from train.models.multiemo import LossParams
from train.models.multiemo.network import Fused
from train.models.plain_loss import wide
from train.targets.goal import Goal
from train.targets.single import Single
from train.truth import known

BLOCK = 2**20  # the number of similarities, out of N x N, that are in memory at a time
# A shorter z counts as 0, because normalisation would multiply its rounding error by 1e6.
NO_DIRECTION = 1e-6


def class_weights(counts: Tensor, alpha: float, kind: str) -> Tensor:
    """Return the label weights (N / n_c)^α of equation 19, [C] float64.

    Args:
        counts: [C] number of labelled train utterances per label. A label with count 0 has weight 0.
        alpha: α.
        kind: `normalised` divides the weights by their sum, as the published code does; `raw` does not.
    """
    counts = counts.double()
    weights = torch.where(counts > 0, (counts.sum() / counts.clamp(min=1)) ** alpha, 0.0)
    return weights / weights.sum() if kind == "normalised" else weights


def swfc(z: Tensor, labels: Tensor, weights: Tensor, temperature: float, focus: float) -> Tensor:
    """Return the sample-weighted focal contrastive loss of a batch, equations 18 and 19, a scalar: the mean over N.

    z is L2-normalised as in the published code, but not in the paper; otherwise the temperature has no fixed scale. An
    utterance without positives adds 0.

    Args:
        z: [N, d].
        labels: [N] in 0 … C - 1.
        weights: [C].
        temperature: the divisor of the similarities.
        focus: γ.
    """
    if len(z) == 0:
        return z.sum()
    norm = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    unit = torch.where(norm > NO_DIRECTION, z / norm.clamp(min=NO_DIRECTION), 0.0)
    labels, order = torch.sort(labels, stable=True)
    kinds, runs = torch.unique_consecutive(labels, return_counts=True)
    shares = weights.to(z)[kinds] / (runs - 1).clamp(min=1)
    total: Tensor = _Contrast.apply(unit[order], shares.tolist(), runs.tolist(), temperature, focus)
    return -total / len(z)


class _Contrast(torch.autograd.Function):
    """Σ_j share_j Σ_{g ∈ R_j} (1 - s_jg)^γ log s_jg. The forward pass also computes the gradient.

    Rows are sorted by label, so the positives of a block of rows are a block of columns. At most BLOCK similarities (or
    one row of N) are in memory at a time, and none is kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, unit: Tensor, shares: list[float], runs: list[int], temperature: float, focus: float
    ) -> Tensor:
        total, gradient = unit.new_zeros(()), torch.zeros_like(unit)
        step, stop = max(1, BLOCK // len(unit)), 0
        for share, run in zip(shares, runs, strict=True):
            own = slice(stop, stop := stop + run)
            if run == 1:  # no positives
                continue
            for start in range(own.start, own.stop, step):
                rows = slice(start, min(start + step, own.stop))
                value, slope = _block(unit, rows, own, temperature, focus)
                total += share * value
                slope *= share / temperature
                gradient[rows].addmm_(slope, unit)
                gradient.addmm_(slope.T, unit[rows])
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0] * grad, None, None, None, None


def _block(unit: Tensor, rows: slice, own: slice, temperature: float, focus: float) -> tuple[Tensor, Tensor]:
    """Return Σ (1 - s)^γ log s over the positives of some anchors, and its derivative by their scores [rows, N]."""
    scores = (unit[rows] / temperature) @ unit.T
    scores.diagonal(rows.start).fill_(-torch.inf)  # exclude each anchor's pair with itself
    logs = F.log_softmax(scores, -1)
    log_s = logs[:, own].clone()
    log_s.diagonal(rows.start - own.start).fill_(0.0)
    rest = -torch.expm1(log_s)  # 1 - s, accurate where s is close to 1
    focal = rest**focus
    value = torch.sum(focal * log_s)
    # d/dlog s [(1 - s)^γ log s] = (1 - s)^γ + γ s (1 - s)^γ · (-log s / (1 - s)). The last factor is 1 at s = 1.
    ratio = torch.where(rest > 0, -log_s / rest.clamp(min=torch.finfo(rest.dtype).tiny), 1.0)
    slope = focal.mul_(ratio.mul_(1 - rest).mul_(focus).add_(1))
    slope.diagonal(rows.start - own.start).fill_(0.0)
    s = logs.exp_()
    s *= -slope.sum(-1, keepdim=True)
    s[:, own] += slope
    return value, s


def soft_hgr(fused: Mapping[str, Tensor], present: Mapping[str, Tensor], kind: str) -> Tensor:
    """Return Soft-HGR over the pairs of modalities, equation 20, a scalar.

    A pair uses the utterances that have both modalities. `exact` is the equation: every ordered pair, with covariances
    [d, d] over centred utterances. `scaled` is the published code: each pair once, with covariances [N, N] between
    utterances over the d features, and another division by N. Its trace costs only O(N d²), because
    tr(X Xᵀ Y Yᵀ) = ‖Xᵀ Y‖².

    Args:
        fused: modality → [N, d].
        present: modality → [N] bool, False where missing.
        kind: `exact` or `scaled`.
    """
    terms = [0 * x.sum() for x in fused.values()]  # the result if no utterance has two modalities
    for a, b in combinations(fused, 2):
        both = present[a] & present[b]
        x, y = (fused[m] if bool(both.all()) else fused[m][both] for m in (a, b))
        n, d = x.shape
        if n < 2:  # one utterance has no covariance
            continue
        if kind == "exact":
            x, y = x - x.mean(0), y - y.mean(0)
            trace = torch.sum((x.T @ x) * (y.T @ y)) / (n - 1) ** 2
            terms.append(-2 * (torch.sum(x * y) / n - trace / 2))
        else:
            cross = (x - x.mean(1, keepdim=True)).T @ (y - y.mean(1, keepdim=True))
            trace = torch.sum(cross * cross) / (d - 1) ** 2
            terms.append(-(torch.sum(x * y) / n - trace / (2 * n)) / n)
    return torch.stack(terms).sum()


class MultiEMOLoss(nn.Module):
    """The loss of equation 22.

    Args:
        params: the section `loss`.
        goal: what the model learns. Its loss replaces CE. SWFC needs one label per utterance; without it, SWFC is
            absent.

    Attributes:
        weights: [C] the label weights of SWFC.
    """

    weights: Tensor

    def __init__(self, params: LossParams, goal: Goal) -> None:
        super().__init__()
        self.params, self.goal = params, goal
        weights = class_weights(goal.counts, params.alpha, params.swfc_weights)
        self.register_buffer("weights", weights.to(torch.get_default_dtype()), persistent=False)

    def forward(self, output: Fused, labels: Tensor) -> dict[str, Tensor]:
        """Return the scalars `total`, `swfc`, `hgr` and the goal's term.

        With one modality in use there is no `hgr`, and the weights are mu1 and 1 - mu1.

        Args:
            output: the output for U utterances.
            labels: the truth of the U utterances.
        """
        params, goal, here = self.params, self.goal, known(labels)

        def labelled(x: Tensor) -> Tensor:
            x = wide(x)
            return x if here.all() else x[here]

        with torch.autocast(labels.device.type, enabled=False):
            z, logits, fused = labelled(output.z), labelled(output.logits), output.fused
            labels = labelled(labels)
            terms, shares = {}, {}
            if isinstance(goal, Single):
                label = goal.label(labels)
                some = label >= 0
                terms["swfc"] = swfc(z[some], label[some], self.weights, params.temperature, params.focus)
                shares["swfc"] = params.mu1
            if len(fused) > 1:
                fused, present = ({m: labelled(x) for m, x in y.items()} for y in (fused, output.present))
                terms["hgr"], shares["hgr"] = soft_hgr(fused, present, params.soft_hgr), params.mu2
            terms[goal.term] = goal.loss(logits, labels)
            shares[goal.term] = 1 - sum(shares.values())
            return {
                "total": torch.stack([shares[name] * term for name, term in terms.items()]).sum(),
                **terms,
            }
