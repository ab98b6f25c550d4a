"""The sides that `benchmarks.train_step` compares: this project's MultiEMO and the published code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.published_multiemo import Published
from benchmarks.shapes import DIMS, Setting
from train.layers.layout import Layout
from train.models.contract import MODALITIES, Batch
from train.models.multiemo.losses import MultiEMOLoss
from train.models.multiemo.network import MultiEMO
from train.targets.single import Single

# For MELD, the published text branch has no DialogueRNN, but the project's default has one.
SAME_LAYERS = ", text as published"


class Side(Protocol):
    """A training step to measure. The type of the inputs is the side's own."""

    @property
    def net(self) -> nn.Module:
        """The network that is trained."""

    def prepare(self, batch: Batch) -> Any:
        """Return the inputs of the other methods."""

    def step(self, inputs: Any) -> float:
        """Run forward, backward and update, and return the loss."""

    def parts(self, inputs: Any) -> dict[str, Callable[[], list[Tensor]]]:
        """Return the functions to time by name. Each runs forward and returns the tensors to start backward from."""


class Ours:
    """One training step of this project.

    Args:
        setting: the data set and the hyperparameters.
        compat: `published` computes the same numbers as the published code.
        device: the device of the model.
        bf16: whether to use autocast with bfloat16.
        same_layers: whether to use exactly the layers of the published model.
    """

    def __init__(
        self,
        setting: Setting,
        compat: Literal["default", "published"],
        device: str = "cpu",
        bf16: bool = False,
        same_layers: bool = True,
    ) -> None:
        text_rnn = setting.dataset == "IEMOCAP" if same_layers else setting.model.text_rnn
        params = setting.model.model_copy(update={"compat": compat, "text_rnn": text_rnn})
        self.device, self.bf16, self.compat = device, bf16, compat
        self.net = MultiEMO(DIMS, len(setting.counts), params).to(device)
        goal = Single([f"label {i}" for i in range(len(setting.counts))], torch.tensor(setting.counts))
        self.criterion = MultiEMOLoss(setting.loss, goal).to(device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-4, weight_decay=1e-5, fused=True)
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(0.9))

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch on the device."""
        features, present = (
            {m: x.to(self.device) for m, x in y.items()} for y in (batch.features, batch.present)
        )
        rest = (x.to(self.device) for x in (batch.labels, batch.indices))
        return Batch(features, present, batch.speakers.to(self.device), batch.lengths, *rest)

    def step(self, batch: Batch) -> float:
        """Run forward, backward and update, and return the loss."""
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            loss = self.criterion(self.net(batch), batch.labels)["total"]
        loss.backward()
        self.optimiser.step()
        if self.compat == "default":  # the published code does not average weights
            self.average.update_parameters(self.net)
        return float(loss.item())

    def parts(self, batch: Batch) -> dict[str, Callable[[], list[Tensor]]]:
        """Return the functions to time by name. Each runs forward and returns the tensors to start backward from."""
        padded = self.compat == "published"
        layout = Layout(batch.lengths, batch.speakers, padded=padded, dense=self.device != "cpu")
        leaves = {m: x.detach().requires_grad_() for m, x in self.net.context(batch, layout).items()}
        everyone = dict.fromkeys(MODALITIES)
        multiattn = self.net.multiattn
        assert multiattn is not None

        def cast(run: Callable[[], dict[str, Tensor]]) -> Callable[[], list[Tensor]]:
            def under_autocast() -> list[Tensor]:
                with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
                    return list(run().values())

            return under_autocast

        return {
            "context": cast(lambda: self.net.context(batch, layout)),
            "multiattn": cast(lambda: multiattn(leaves, everyone, layout)),
        }


def make_side(name: str, setting: Setting, published: Path | None, device: str) -> Side:
    """Return a side with the weights of seed 0.

    Args:
        name: `published`, `same numbers` or a name that starts with `default`. `bf16` and `SAME_LAYERS` in the name
            choose a variant.
        setting: the data set and the hyperparameters.
        published: a checkout of the published code; only `published` needs it.
        device: the device of the default sides. The other sides use the CPU.
    """
    torch.manual_seed(0)
    if name == "published":
        assert published is not None
        return Published(published, setting)
    if name == "same numbers":
        return Ours(setting, "published")
    return Ours(setting, "default", device, "bf16" in name, name.endswith(SAME_LAYERS))
