"""The network of QMNN (Li et al., AAAI 2021): a recurrence of density matrices of D dimensions.

    u_m = ReLU(W_m x_m)
    ψ_m = u_m/‖u_m‖ · exp(iφ_m)  with the phases φ_m = t·ω_m + 2π σ(speaker)
    ρ_t = Σ_m w_m ψ_m ψ_m†  with w the softmax over the modalities of ‖u_m‖
    h_t = λ U ρ_t U† + (1 − λ) V h_{t−1} V†  from h_0 = I/D
    p_k = v_k† h_t v_k  with D unit vectors v_k
    logits = Linear(dropout(ReLU(Linear(D·p))))

U and V are exponentials of skew-Hermitian matrices, so they stay unitary under any optimiser.

The D × D matrices h_t are never computed. With U and V unitary, p_k is a sum over the past turns:

    p_k = Σ_j λ (1 − λ)^j Σ_m w_m |v_k† V^j U ψ_m|² of turn t − j, plus (1 − λ)^(t+1) / D, counting turns from 0

A missing feature is left out of ρ_t. If an utterance has no feature, ρ_t is the maximally mixed state I/D.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.codes import Speakers
from train.models.contract import MODALITIES, Batch, Output
from train.models.plain_loss import wide
from train.models.qmnn import Params


class QMNN(nn.Module):
    """The QMNN network.

    Args:
        dims: modality in use → feature size.
        classes: the number of labels, C.
        params: the section `model`.
    """

    def __init__(self, dims: Mapping[str, int], classes: int, params: Params) -> None:
        super().__init__()
        self.modalities = [m for m in MODALITIES if m in dims]
        d = params.dim
        self.project = nn.ModuleDict({m: nn.Linear(dims[m], d) for m in self.modalities})
        rates = 10_000 ** (-torch.arange(d) / d)
        self.rates = nn.ParameterDict({m: nn.Parameter(rates.clone()) for m in self.modalities})
        self.speakers = nn.ModuleDict({m: Speakers(d) for m in self.modalities})
        self.inward, self.onward = Unitary(d), Unitary(d)
        self.balance = nn.Parameter(torch.zeros(()))  # λ = σ(balance), .5 at the start
        self.measure = nn.Parameter(
            torch.stack([torch.eye(d), torch.zeros(d, d)])
        )  # real and imaginary parts
        self.hidden, self.classify = nn.Linear(d, params.head), nn.Linear(params.head, classes)
        self.dropout = nn.Dropout(params.dropout)

    def forward(self, batch: Batch) -> Output:
        """Return the logits [U, C] of the U utterances, in dialogue-then-turn order."""
        lengths = [wide(self._length(m, batch)) for m in self.modalities]
        with torch.autocast(batch.speakers.device.type, enabled=False):
            states = torch.stack(
                [self._state(m, u, batch) for m, u in zip(self.modalities, lengths, strict=True)], 2
            )
            measured = self._measured(states, _weights(torch.stack(lengths, 2)))[batch.real()]
        hidden = self.dropout(F.relu(self.hidden(measured)))
        return Output(logits=self.classify(hidden))

    def _length(self, m: str, batch: Batch) -> Tensor:
        """Return u_m [B, T, D], 0 where the feature is missing."""
        u: Tensor = F.relu(self.project[m](batch.features[m]))
        return u.masked_fill(~batch.present[m][..., None], 0)

    def _state(self, m: str, u: Tensor, batch: Batch) -> Tensor:
        """Return ψ_m [B, T, D], complex, 0 where u is 0."""
        turns = torch.arange(u.shape[1], device=u.device, dtype=u.dtype)[:, None]
        phase = turns * self.rates[m] + 2 * math.pi * torch.sigmoid(self.speakers[m](batch.speakers))
        return torch.polar(F.normalize(u, dim=-1), phase)

    def _measured(self, states: Tensor, weights: Tensor) -> Tensor:
        """Return D·p [B, T, D] of the mixtures of states [B, T, M, D], complex, with weights [B, T, M].

        p is about 1/D. The factor D makes it about 1, so that the classifier trains at the usual learning rates.
        """
        d, turns = states.shape[-1], states.shape[1]
        inward, onward, share = self.inward(), self.onward(), torch.sigmoid(self.balance)
        vectors = torch.complex(*self.measure)
        vectors = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        states, rest = states @ inward.T, 1 - weights.sum(-1, keepdim=True)
        seen = vectors.conj()  # row k is v_k† V^j
        # What is left of I/D: a unitary matrix does not change it, and v_k measures 1/D.
        measured = (1 - share) ** torch.arange(1, turns + 1, device=weights.device)[:, None]
        for j in range(turns):
            past = turns - j
            overlap = torch.view_as_real(states[:, :past] @ seen.T).square().sum(-1)
            mixed = d * (weights[:, :past, :, None] * overlap).sum(2) + rest[:, :past]
            measured = measured + share * (1 - share) ** j * F.pad(mixed, (0, 0, j, 0))
            seen = seen @ onward
        return measured


class Unitary(nn.Module):
    """A unitary matrix exp(A − A†) with a trained complex matrix A, which starts at 0.

    Args:
        dim: the size of the matrix, D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.parts = nn.Parameter(torch.zeros(2, dim, dim))  # real and imaginary

    def forward(self) -> Tensor:
        """Return the matrix [D, D], complex."""
        free = torch.complex(*self.parts)
        matrix: Tensor = torch.linalg.matrix_exp(free - free.mH)
        return matrix


def _weights(lengths: Tensor) -> Tensor:
    """Return the weights [B, T, M] of the modalities for u [B, T, M, D]. They are 0 if all u of an utterance are 0."""
    norms: Tensor = torch.linalg.vector_norm(lengths, dim=-1)
    here = norms > 0
    some = here.any(-1, keepdim=True)
    return norms.masked_fill(~here & some, -torch.inf).softmax(-1) * some
