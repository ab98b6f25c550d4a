"""A trained model's answers for a dataset: probabilities, with a modality hidden, and what attends to what."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from train.data.corpus import Corpus
from train.models.contract import Batch, FrameBatch

B = TypeVar("B", Batch, FrameBatch)

BATCH = 64  # units; a prediction does not depend on it
PADDED = (
    64 * 256
)  # rows of a padded batch: one dialogue of thousands of turns must not pad 63 others to its length


@torch.no_grad()
def probabilities(
    model: nn.Module, data: Corpus, device: torch.device, hidden: str | None = None
) -> np.ndarray:
    """Return [N, C] for every row of the dataset; `hidden` names a modality to treat as missing everywhere.

    Raises:
        UserError: an answer that is not finite.
    """
    out = torch.empty(len(data.utterances), len(data.label_names))
    model.eval()
    for group in data.groups(data.units(), BATCH):
        for part in _cut(data, group):
            batch = data.batch(part, device)
            if hidden is not None:
                batch = hide(batch, hidden)
            out[batch.indices] = model(batch).logits.float().softmax(1).cpu()
    if not (finite := out.isfinite().all(1)).all():
        first = data.utterances[int((~finite).nonzero()[0])].utterance
        raise UserError(
            f"utterance {first}: the model's answer is not finite, as {int((~finite).sum())} of {len(out)} are: its "
            "features are far from those of training, or the model is damaged; run `dvc repro --force train`"
        )
    return out.numpy()


@torch.no_grad()
def attention(
    model: nn.Module, data: Corpus, device: torch.device, chosen: Sequence[int]
) -> dict[tuple[str, str], list[np.ndarray]] | None:
    """{(query modality, key modality): [T, T] per chosen dialogue}: the last layer's mean over heads.

    None where the model has no cross-attention (ablated, or a baseline).
    """
    look = getattr(model.eval(), "attention", None)
    if look is None:
        return None
    maps: dict[tuple[str, str], list[np.ndarray]] = {}
    for d in chosen:
        seen: dict[tuple[str, str], Tensor] = look(data.batch([d], device))
        for pair, weights in seen.items():
            maps.setdefault(pair, []).append(weights.float().cpu().numpy())
    return maps or None


def _cut(data: Corpus, group: Sequence[int]) -> Iterator[list[int]]:
    """The group in parts: padded to a part's longest unit, no part of several units has more than PADDED rows."""
    part: list[int] = []
    longest = 0
    for unit in group:
        rows = data.rows(unit)
        longest = max(longest, rows.stop - rows.start)
        if part and (len(part) + 1) * longest > PADDED:
            yield part
            part, longest = [], rows.stop - rows.start
        part.append(unit)
    yield part


def hide(batch: B, modality: str) -> B:
    """The batch as if `modality` had failed for every utterance."""
    features, present = dict(batch.features), dict(batch.present)
    features[modality] = torch.zeros_like(features[modality])
    present[modality] = torch.zeros_like(present[modality])
    return dataclasses.replace(batch, features=features, present=present)
