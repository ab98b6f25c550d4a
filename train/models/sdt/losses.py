"""The loss of SDT: the goal's loss of all classifiers, and distillation from the fused to the unimodal logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.models.plain_loss import wide
from train.models.sdt import LossParams
from train.models.sdt.network import Distilled
from train.targets.goal import Goal
from train.truth import known


class SDTLoss(nn.Module):
    """CE(fused) + unimodal · Σ_m CE(m) + distil · Σ_m KL(softmax(fused/τ) ‖ softmax(m/τ)).

    Every term is a mean over the labelled utterances; the terms of a modality leave out utterances without its feature.
    As published, the gradient of KL reaches the fused logits too, and KL is not multiplied by τ².

    Args:
        params: the section `loss`.
        goal: what the model learns. For other goals than labels, its loss replaces CE, and its divergence KL.
    """

    def __init__(self, params: LossParams, goal: Goal) -> None:
        super().__init__()
        self.params, self.goal = params, goal

    def forward(self, output: Distilled, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss for the truth of U utterances as `total`, and its terms."""
        params, goal, labelled = self.params, self.goal, known(labels)
        fused = wide(output.logits)
        own = goal.loss(fused[labelled], labels[labelled])
        unimodal, distil = [], []
        for m, logits in output.unimodal.items():
            here = labelled & output.present[m]
            alone = wide(logits)
            unimodal.append(goal.loss(alone[here], labels[here]))
            distil.append(_mean(goal.divergence(fused / params.tau, alone / params.tau), here))
        terms = {goal.term: own, "unimodal": torch.stack(unimodal).sum(), "distil": torch.stack(distil).sum()}
        total = own + params.unimodal * terms["unimodal"] + params.distil * terms["distil"]
        return {"total": total, **terms}


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen values [U]; 0 where none is chosen."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
