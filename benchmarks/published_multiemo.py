"""The published MultiEMO code, run without changes from the user's checkout (see `benchmarks.train_step`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.shapes import DIMS, Setting
from train.models.contract import MODALITIES, Batch


class Published:
    """One training step of the published code: its modules, its losses, and Adam with its settings.

    Args:
        folder: a checkout of MultiEMO-ACL2023.
        setting: the data set and the hyperparameters.
    """

    def __init__(self, folder: Path, setting: Setting) -> None:
        for part, module in ("Model", "MultiEMO_Model"), ("Loss", "SoftHGRLoss"):
            if not (folder / part / f"{module}.py").is_file():
                sys.exit(
                    f"--published {folder}: {part}/{module}.py does not exist; pass a checkout of MultiEMO-ACL2023"
                )
            sys.path.insert(0, str(folder / part))
        from MultiEMO_Model import MultiEMO
        from SampleWeightedFocalContrastiveLoss import SampleWeightedFocalContrastiveLoss
        from SoftHGRLoss import SoftHGRLoss

        self.parties, self.loss = setting.parties, setting.loss
        model, loss, d, device = setting.model, setting.loss, setting.model.dim, torch.device("cpu")
        counts = torch.tensor(setting.counts).float()
        self.net = MultiEMO(
            setting.dataset, True, DIMS["text"], model.ffn, 0.0, model.layers, d, model.heads, DIMS["audio"],
            DIMS["visual"], d, d, d, d, len(setting.counts), self.parties, False, "simple", d, 0.0, device,
        )  # fmt: skip
        self.swfc = SampleWeightedFocalContrastiveLoss(
            loss.temperature, loss.focus, loss.alpha, setting.dataset, counts, device
        )
        self.hgr = SoftHGRLoss()
        self.text_rnn = setting.dataset == "IEMOCAP"
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-4, weight_decay=1e-5)

    def prepare(self, batch: Batch) -> list[Tensor]:
        """Return the batch in the form of the published collate function."""
        real = torch.arange(batch.speakers.shape[1]) < batch.lengths[:, None]
        labels = torch.full(real.shape, -1).masked_scatter(real, batch.labels).flatten()
        parties = F.one_hot(batch.speakers, self.parties).float() * real[..., None]
        features = [batch.features[m].transpose(0, 1).contiguous() for m in MODALITIES]
        return [*features, parties.transpose(0, 1).contiguous(), real.float(), labels]

    def step(self, inputs: list[Tensor]) -> float:
        """Run forward, backward and update, and return the loss."""
        self.optimiser.zero_grad()
        *fused, z, logits = self.net(*inputs)
        labels = inputs[-1][inputs[-1] != -1]
        mu1, mu2 = self.loss.mu1, self.loss.mu2
        loss = mu1 * self.swfc(z, labels) + mu2 * self.hgr(*fused)
        loss = loss + (1 - mu1 - mu2) * F.cross_entropy(logits, labels)
        loss.backward()
        self.optimiser.step()
        return float(loss.item())

    def parts(self, inputs: list[Tensor]) -> dict[str, Callable[[], list[Tensor]]]:
        """Return the functions to time by name. Each runs forward and returns the tensors to start backward from."""
        *features, parties, real, _ = inputs
        leaves = [torch.randn(*real.shape, self.net.fc.out_features, requires_grad=True) for _ in features]

        def context() -> list[Tensor]:
            outputs = []
            for m, x in zip(MODALITIES, features, strict=True):
                x = getattr(self.net, f"{m}_fc")(x)
                rnn = getattr(self.net, f"{m}_dialoguernn")
                outputs.append(rnn(x, parties, real) if m != "text" or self.text_rnn else x)
            return outputs

        return {"context": context, "multiattn": lambda: list(self.net.multiattn(*leaves))}
