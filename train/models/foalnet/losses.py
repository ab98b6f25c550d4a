"""Foal-Net's loss, CE + avel·AVEL + mem·MEM (Li et al., Interspeech 2024)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.models.foalnet import LossParams
from train.models.foalnet.network import Pairs
from train.models.plain_loss import wide
from train.targets.goal import Goal
from train.targets.single import Single
from train.truth import known


def avel(audio: Tensor, visual: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """Return audio-video emotion alignment, a contrastive loss whose positives are all utterances of one emotion.

    The result is a scalar: the sum over an anchor's positives, which include its own pair, and the mean over anchors
    and both directions. It is 0 without utterances. If all utterances have one emotion, all pairs attract equally.

    Args:
        audio: [N, d] of unit length.
        visual: [N, d] of unit length.
        labels: [N].
        scale: the factor of the similarities, a scalar.
    """
    scores = scale * audio @ visual.T
    same = labels[:, None] == labels
    both_ways = F.log_softmax(scores, 1) + F.log_softmax(scores, 0)
    return -torch.where(same, both_ways, 0.0).sum() / (2 * max(1, len(labels)))


def negatives(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the probabilities [N, N] of each anchor's (row's) mismatched partners, a softmax of the similarities.

    A partner of the anchor's own emotion has probability 0, so the row of an anchor without another emotion is 0. The
    published code draws partners of the anchor's own emotion in that case.

    Args:
        scores: [N, N] similarities.
        labels: [N].
    """
    other = labels[:, None] != labels
    return scores.masked_fill(~other, -torch.inf).softmax(1).nan_to_num(0.0)


def mem(pairs: Pairs, rows: Tensor, partners: Mapping[str, Tensor]) -> Tensor:
    """Return cross-modal emotion label matching: the classification of pairs as matched or mismatched.

    The result is a scalar: the mean cross-entropy of n matched and n mismatched pairs, averaged over both directions.

    Args:
        pairs: the model's output.
        rows: [n] rows of the batch.
        partners: querying modality → [n] rows of the other modality, with another emotion.
    """
    truth = torch.cat([torch.ones_like(rows), torch.zeros_like(rows)])
    terms = []
    for m, other in partners.items():
        logits = torch.cat([pairs.matched[m][rows], pairs.match(m, rows, other)])
        terms.append(F.cross_entropy(wide(logits), truth))
    return torch.stack(terms).mean()


class FoalNetLoss(nn.Module):
    """CE + avel·AVEL + mem·MEM.

    Args:
        params: the section `loss`.
        goal: what the model learns. Its loss replaces CE. AVEL and MEM need one label per utterance.
    """

    def __init__(self, params: LossParams, goal: Goal) -> None:
        super().__init__()
        self.params, self.goal = params, goal

    def forward(self, output: Pairs, labels: Tensor) -> dict[str, Tensor]:
        """Return the scalars `total`, the goal's term, `avel` and `mem`; a term of weight 0 is absent.

        AVEL and MEM use only utterances with both modalities and one label. MEM is 0 if all of them have one emotion.

        Args:
            output: the output for U utterances.
            labels: the truth of the U utterances.
        """
        params, goal, here = self.params, self.goal, known(labels)
        with torch.autocast(labels.device.type, enabled=False):
            own = goal.loss(wide(output.logits)[here], labels[here])
        terms, shares = {goal.term: own}, {goal.term: 1.0}
        if output.aligned and isinstance(goal, Single) and (params.avel or params.mem):
            labels = goal.label(labels)
            rows = torch.nonzero((labels >= 0) & output.both).flatten()
            labels = labels[rows]
            with torch.autocast(labels.device.type, enabled=False):
                audio, visual = (wide(output.aligned[m])[rows] for m in ("audio", "visual"))
                scale = wide(output.scale)
                scores = scale.detach() * audio.detach() @ visual.detach().T
                if params.avel:
                    terms["avel"], shares["avel"] = avel(audio, visual, labels, scale), params.avel
            if params.mem:
                terms["mem"], shares["mem"] = self._mem(output, rows, labels, scores), params.mem
        return {"total": torch.stack([shares[name] * term for name, term in terms.items()]).sum(), **terms}

    def _mem(self, output: Pairs, rows: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        if len(torch.unique(labels)) < 2:
            return 0 * output.logits.sum()
        ways = {"audio": scores, "visual": scores.T}
        drawn = {m: torch.multinomial(negatives(x, labels), 1)[:, 0] for m, x in ways.items()}
        return mem(output, rows, {m: rows[x] for m, x in drawn.items()})
