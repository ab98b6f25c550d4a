"""Foal-Net's objective: CE + avel·AVEL + mem·MEM (Interspeech 2024)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.models.cross_entropy import wide
from train.models.foalnet import LossParams
from train.models.foalnet.network import Pairs


def avel(audio: Tensor, visual: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """Audio-video emotion alignment (Foal-Net): a contrast both ways whose positives are all of the same emotion.

    audio, visual [N, d] of unit length; labels [N]; scale, what similarities are multiplied by -> scalar. Summed
    over an anchor's positives, its own pair among them; the mean over anchors and directions. A batch of one
    emotion pulls all of it together, evenly; one without utterances gives 0.
    """
    scores = scale * audio @ visual.T
    same = labels[:, None] == labels
    both_ways = F.log_softmax(scores, 1) + F.log_softmax(scores, 0)
    return -torch.where(same, both_ways, 0.0).sum() / (2 * max(1, len(labels)))


def negatives(scores: Tensor, labels: Tensor) -> Tensor:
    """[N, N] probabilities of each anchor's (row's) mismatched partner: the more similar, the likelier (Foal-Net).

    Nobody of the anchor's own emotion: the published code draws from those too where a batch holds no other.

    scores [N, N] similarities. A row without another emotion is 0.
    """
    other = labels[:, None] != labels
    return scores.masked_fill(~other, -torch.inf).softmax(1).nan_to_num(0.0)


def mem(pairs: Pairs, rows: Tensor, partners: Mapping[str, Tensor]) -> Tensor:
    """Cross-modal emotion label matching (Foal-Net): tell own pairs from mismatched ones.

    rows [n] of the batch; partners: asking modality -> [n] rows of the other modality, of another emotion. Mean
    cross-entropy of n matched and n mismatched pairs, averaged over the two who ask. -> scalar.
    """
    truth = torch.cat([torch.ones_like(rows), torch.zeros_like(rows)])
    terms = []
    for m, other in partners.items():
        judged = torch.cat([pairs.matched[m][rows], pairs.judge(m, rows, other)])
        terms.append(F.cross_entropy(wide(judged), truth))
    return torch.stack(terms).mean()


class FoalNetLoss(nn.Module):
    """CE + avel·AVEL + mem·MEM.

    forward: Pairs of U utterances and labels [U] -> {"total", "ce", "avel", "mem"}, scalars; a loss of weight 0 is
    not computed. Utterances labelled -1 are left out; AVEL and MEM read those with both modalities. A batch of one
    emotion has nothing mismatched to tell apart: its MEM is 0.
    """

    def __init__(self, params: LossParams, counts: Tensor) -> None:
        super().__init__()
        self.params = params

    def forward(self, output: Pairs, labels: Tensor) -> dict[str, Tensor]:
        params, known = self.params, labels >= 0
        with torch.autocast(labels.device.type, enabled=False):
            logits = wide(output.logits)[known]
            ce = F.cross_entropy(logits, labels[known], reduction="sum") / max(1, len(logits))
        terms, shares = {"ce": ce}, {"ce": 1.0}
        if output.aligned and (params.avel or params.mem):
            rows = torch.nonzero(known & output.both).flatten()
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
