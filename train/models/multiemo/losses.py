"""MultiEMO's objective: mu1 SWFC + mu2 Soft-HGR + (1 - mu1 - mu2) CE, equations 18–22 of the paper.

The λ‖θ‖² of equation 22 is the optimiser's weight decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from train.models.cross_entropy import wide
from train.models.multiemo import LossParams
from train.models.multiemo.network import Fused

BLOCK = 2**20  # numbers of the N x N similarities that exist at a time
NO_DIRECTION = 1e-6  # a z shorter than this is not normalised: its gradient would be its noise times 1e6


def class_weights(counts: Tensor, alpha: float, kind: str) -> Tensor:
    """(N / n_c)^α of equation 19 from the train split's counts: [C] -> [C] float64.

    `normalised` makes their sum 1, as the published code does. A label absent from the train split weighs 0.
    """
    counts = counts.double()
    weights = torch.where(counts > 0, (counts.sum() / counts.clamp(min=1)) ** alpha, 0.0)
    return weights / weights.sum() if kind == "normalised" else weights


def swfc(z: Tensor, labels: Tensor, weights: Tensor, temperature: float, focus: float) -> Tensor:
    """Sample-weighted focal contrastive loss, equations 18 and 19, over the utterances of a batch.

    z [N, d]; labels [N] in 0 … C - 1; weights [C] -> scalar, the mean over N. z is L2-normalised, as published
    and not in the paper: otherwise the temperature means nothing. An utterance without positives adds 0.
    """
    if len(z) == 0:
        return z.sum()
    norm = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    unit = torch.where(norm > NO_DIRECTION, z / norm.clamp(min=NO_DIRECTION), 0.0)
    labels, order = torch.sort(labels, stable=True)
    kinds, runs = torch.unique_consecutive(labels, return_counts=True)
    shares = weights.to(z)[kinds] / (runs - 1).clamp(min=1)
    return -_Contrast.apply(unit[order], shares.tolist(), runs.tolist(), temperature, focus) / len(z)


class _Contrast(torch.autograd.Function):
    """Σ_j share_j Σ_{g ∈ R_j} (1 - s_jg)^γ log s_jg, with its gradient made along the way.

    Rows are sorted by label, which makes the positives of a block of rows a block of columns. Of the N x N
    similarities BLOCK numbers exist at a time, and the backward pass needs none of them: memory O(N · block).
    """

    @staticmethod
    def forward(ctx, unit, shares, runs, temperature, focus):
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
    def backward(ctx, grad):
        return ctx.saved_tensors[0] * grad, None, None, None, None


def _block(unit: Tensor, rows: slice, own: slice, temperature: float, focus: float) -> tuple[Tensor, Tensor]:
    """Σ (1 - s)^γ log s over some anchors' positives, and its derivative by their scores [rows, N]."""
    scores = (unit[rows] / temperature) @ unit.T
    scores.diagonal(rows.start).fill_(-torch.inf)  # an anchor is not its own partner
    logs = F.log_softmax(scores, -1)
    log_s = logs[:, own].clone()
    log_s.diagonal(rows.start - own.start).fill_(0.0)
    rest = -torch.expm1(log_s)  # 1 - s, exact where s is nearly 1
    focal = rest**focus
    value = torch.sum(focal * log_s)
    # d/dlog s [(1 - s)^γ log s] = (1 - s)^γ + γ s (1 - s)^γ · (-log s / (1 - s)), the last factor being 1 at s = 1.
    ratio = torch.where(rest > 0, -log_s / rest.clamp(min=torch.finfo(rest.dtype).tiny), 1.0)
    slope = focal.mul_(ratio.mul_(1 - rest).mul_(focus).add_(1))
    slope.diagonal(rows.start - own.start).fill_(0.0)
    s = logs.exp_()
    s *= -slope.sum(-1, keepdim=True)
    s[:, own] += slope
    return value, s


def soft_hgr(fused: Mapping[str, Tensor], present: Mapping[str, Tensor], kind: str) -> Tensor:
    """Soft-HGR, equation 20, over the pairs of modalities: [N, d] each -> scalar.

    A pair counts the utterances that have both. `exact` is the equation: covariances [d, d] over centred
    utterances, every ordered pair. `scaled` is what the published code does: each pair once, covariances [N, N]
    between the utterances over the d features, and another division by N. Its trace costs O(N d²) all the same:
    tr(X Xᵀ Y Yᵀ) = ‖Xᵀ Y‖².
    """
    terms = [0 * x.sum() for x in fused.values()]  # where no utterance has two modalities
    for a, b in combinations(fused, 2):
        both = present[a] & present[b]
        x, y = (fused[m] if bool(both.all()) else fused[m][both] for m in (a, b))
        n, d = x.shape
        if n < 2:  # nothing to correlate
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
    """Equation 22. counts: [C] utterances per label in the train split.

    forward: Fused of N utterances and labels [N] -> {"total", "swfc", "hgr", "ce"}, scalars. Utterances labelled
    -1 are left out. Where one modality is in use there is no "hgr", and the weights are mu1 and 1 - mu1.
    """

    weights: Tensor  # [C]

    def __init__(self, params: LossParams, counts: Tensor) -> None:
        super().__init__()
        self.params = params
        weights = class_weights(counts, params.alpha, params.swfc_weights)
        self.register_buffer("weights", weights.to(torch.get_default_dtype()), persistent=False)

    def forward(self, output: Fused, labels: Tensor) -> dict[str, Tensor]:
        params, known = self.params, labels >= 0

        def labelled(x: Tensor) -> Tensor:
            x = wide(x)
            return x if known.all() else x[known]

        with torch.autocast(labels.device.type, enabled=False):
            z, logits, fused = labelled(output.z), labelled(output.logits), output.fused
            labels = labelled(labels)
            terms = {"swfc": swfc(z, labels, self.weights, params.temperature, params.focus)}
            shares = {"swfc": params.mu1}
            if len(fused) > 1:
                fused, present = ({m: labelled(x) for m, x in y.items()} for y in (fused, output.present))
                terms["hgr"], shares["hgr"] = soft_hgr(fused, present, params.soft_hgr), params.mu2
            # Not the mean, which is NaN where no utterance is labelled.
            terms["ce"] = F.cross_entropy(logits, labels, reduction="sum") / max(1, len(labels))
            shares["ce"] = 1 - sum(shares.values())
            return {
                "total": torch.stack([shares[name] * term for name, term in terms.items()]).sum(),
                **terms,
            }
