"""Equal values are no special case: a published model picks its attention by whether two streams are equal."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.train.dialogues import CLASSES, batch
from tests.train.test_models import small_params
from train.fusion.params import declared
from train.models import MODELS
from train.models.contract import Batch

POOLED = [name for name in MODELS if declared(name).reads == "pooled"]
SIZE = 4  # of each stream, so that two can be equal


def equal(seed: int = 0) -> Batch:
    """Dialogues whose streams all hold the same values, and whose first two turns do."""
    data = batch([5, 3], seed=seed)
    x = data.features["audio"]
    x[:, 1] = x[:, 0]
    return dataclasses.replace(data, features=dict.fromkeys(data.features, x))


@pytest.mark.parametrize("name", POOLED)
def test_nearly_equal_inputs_have_nearly_the_answers_of_equal_ones(name: str) -> None:
    torch.manual_seed(0)
    dims = dict.fromkeys(("text", "audio", "visual"), SIZE)
    net = declared(name).network(dims, CLASSES, small_params(name)).double().eval()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    data = equal()
    exact = net(data).logits
    apart = {m: x + 1e-9 * torch.randn_like(x) for m, x in data.features.items()}
    torch.testing.assert_close(
        net(dataclasses.replace(data, features=apart)).logits, exact, rtol=0, atol=1e-6
    )
    assert torch.isfinite(exact).all()
