"""Apply a trained model to a dataset: probabilities, optionally with a modality hidden, and attention maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from train.data.corpus import Corpus
from train.data.missing import B, without

BATCH = 64  # units; a prediction does not depend on it
# Rows of a padded batch: a dialogue of thousands of turns must not pad 63 others to its length.
PADDED = 64 * 256


@torch.no_grad()
def probabilities(
    model: nn.Module,
    data: Corpus,
    device: torch.device,
    change: Callable[[Any], Any] | None = None,
    temperature: float = 1.0,
    split: str | None = None,
) -> np.ndarray:
    """Return calibrated probabilities, or predicted values, `[N, K]`, one row per row of the dataset.

    Args:
        model: the network.
        data: the dataset.
        device: where to compute.
        change: a function of each batch before the network reads it, such as `hide`.
        temperature: divides the logits (train/calibration.py).
        split: the split to predict, or None for all. The rows of other splits are 0.

    Raises:
        UserError: an answer is not finite.
    """
    out = torch.zeros(len(data.utterances), len(data.goal.names))
    model.eval()
    for group in data.groups(data.units(split), BATCH):
        for part in _cut(data, group):
            batch = data.batch(part, device)
            if change is not None:
                batch = change(batch)
            out[batch.indices] = data.goal.answers(model(batch).logits.float() / temperature).cpu()
    if not (finite := out.isfinite().all(1)).all():
        first = data.utterances[int((~finite).nonzero()[0])].utterance
        raise UserError(
            f"utterance {first}: the model's output is not finite ({int((~finite).sum())} of {len(out)} are not): its "
            "features are far from the training features, or the model is damaged; run `dvc repro --force train`"
        )
    return out.numpy()


@torch.no_grad()
def attention(
    model: nn.Module, data: Corpus, device: torch.device, chosen: Sequence[int]
) -> dict[tuple[str, str], list[np.ndarray]] | None:
    """Return attention maps: {(query modality, key modality): `[T, T]` per chosen dialogue}.

    A map is the mean over the heads of the last layer. Return None if the model has no cross-attention (ablated, or a
    baseline).
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
    """Yield the group in parts; a part of several units has at most PADDED rows after padding to its longest unit."""
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
    """Return the batch with `modality` marked as missing in every utterance."""
    return without(
        batch, {modality: torch.ones(len(batch.labels), dtype=torch.bool, device=batch.labels.device)}
    )
