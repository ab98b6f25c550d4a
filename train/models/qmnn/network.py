"""QMNN (Li et al., AAAI 2021): an utterance is a quantum mixture of D dimensions, a dialogue its evolution.

    u_m = ReLU(W_m x_m)
    ψ_m = u_m/‖u_m‖ · exp(iφ_m)  with the phases φ_m = t·ω_m + 2π σ(speaker)
    ρ_t = Σ_m w_m ψ_m ψ_m†  with w the softmax over the modalities of ‖u_m‖
    h_t = λ U ρ_t U† + (1 − λ) V h_{t−1} V†  from h_0 = I/D
    p_k = v_k† h_t v_k  with D unit vectors v_k
    logits = Linear(dropout(ReLU(Linear(D·p))))

U and V are exponentials of skew-Hermitian matrices, hence unitary after any step of an ordinary optimiser.

A missing feature is no part of the mixture. An utterance without any is I/D, the state that says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.layers.codes import Speakers
from train.models.contract import MODALITIES, Batch, Output
from train.models.cross_entropy import wide
from train.models.qmnn import Params


class QMNN(nn.Module):
    """The network.

    Args:
        dims: modality → feature size, modalities in use only.
        classes: number of labels.
        params: sizes.
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
        """Return the logits of the U real utterances, in dialogue-then-turn order."""
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

        D·p, because p alone is about 1/D: at the other models' learning rates it would hardly train.
        """
        d = states.shape[-1]
        inward, onward, share = self.inward(), self.onward(), torch.sigmoid(self.balance)
        vectors = torch.complex(*self.measure)
        vectors = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        nothing = torch.eye(d, dtype=states.dtype, device=states.device) / d
        states = states @ inward.T
        unsaid = (1 - weights.sum(-1))[..., None, None]
        h, measured = nothing.expand(len(states), d, d), []
        for t in range(states.shape[1]):
            mixed = (states[:, t].mT * weights[:, t, None]) @ states[:, t].conj() + unsaid[:, t] * nothing
            h = share * mixed + (1 - share) * (onward @ h @ onward.mH)
            measured.append(((vectors.conj() @ h) * vectors).sum(-1).real)
        return torch.stack(measured, 1) * d


class Unitary(nn.Module):
    """A unitary matrix exp(A − A†) of a free complex matrix A, the identity at the start."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.parts = nn.Parameter(torch.zeros(2, dim, dim))  # real and imaginary

    def forward(self) -> Tensor:
        """Return the matrix [D, D], complex."""
        free = torch.complex(*self.parts)
        matrix: Tensor = torch.linalg.matrix_exp(free - free.mH)
        return matrix


def _weights(lengths: Tensor) -> Tensor:
    """Return the modalities' weights [B, T, M] of u [B, T, M, D]; all 0 in an utterance whose every u is 0."""
    norms: Tensor = torch.linalg.vector_norm(lengths, dim=-1)
    here = norms > 0
    some = here.any(-1, keepdim=True)
    return norms.masked_fill(~here & some, -torch.inf).softmax(-1) * some
