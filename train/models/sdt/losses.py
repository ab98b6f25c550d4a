"""The loss of SDT: cross-entropy of all classifiers, and distillation from the fused to the unimodal logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.models.cross_entropy import wide
from train.models.sdt import LossParams
from train.models.sdt.network import Distilled


class SDTLoss(nn.Module):
    """CE(fused) + unimodal · Σ_m CE(m) + distil · Σ_m KL(softmax(fused/τ) ‖ softmax(m/τ)).

    Every term is a mean over the labelled utterances; the terms of a modality leave out utterances without its feature.
    As published, the gradient of KL reaches the fused logits too, and KL is not multiplied by τ².

    Args:
        params: the section `loss`.
    """

    def __init__(self, params: LossParams) -> None:
        super().__init__()
        self.params = params

    def forward(self, output: Distilled, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss for labels [U], -1 where unlabelled, as `total`, and its terms."""
        params, known = self.params, labels >= 0
        fused = wide(output.logits)
        ce = _mean(_ce(fused, labels), known)
        unimodal, distil = [], []
        for m, logits in output.unimodal.items():
            here = known & output.present[m]
            alone = wide(logits)
            unimodal.append(_mean(_ce(alone, labels), here))
            distil.append(_mean(_kl(fused / params.tau, alone / params.tau), here))
        terms = {"ce": ce, "unimodal": torch.stack(unimodal).sum(), "distil": torch.stack(distil).sum()}
        total = ce + params.unimodal * terms["unimodal"] + params.distil * terms["distil"]
        return {"total": total, **terms}


def _ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each utterance's cross-entropy [U]; 0 where unlabelled."""
    return F.cross_entropy(logits, labels, ignore_index=-1, reduction="none")


def _kl(teacher: Tensor, student: Tensor) -> Tensor:
    """Return each utterance's KL(teacher ‖ student) [U] of logits [U, C]."""
    p, q = F.log_softmax(teacher, -1), F.log_softmax(student, -1)
    return (p.exp() * (p - q)).sum(-1)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen values [U]; 0 where none is chosen."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
