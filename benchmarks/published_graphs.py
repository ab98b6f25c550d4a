"""The published code of DialogueGCN and MMGCN, run without changes from the user's checkouts (see `benchmarks.graphs`).

Both were written for PyTorch 1 and PyTorch Geometric 1. What has changed since is supplied here:
- `RGCNConv` had an argument `edge_norm`, which is dropped.
- An array of two rows was an index of two dimensions; it is passed as a tuple.
- MMGCN imports a debugger, which is an empty module here, and calls `.cuda()` on every machine, which does nothing
  without a card.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.shapes import DIMS
from train.models.contract import Batch

PARTIES, CLASSES, LONGEST = 9, 7, 200


class Published:
    """One training step of a published model: negative log-likelihood, and Adam with its settings.

    Args:
        folder: the folder of its model.py.
        modalities: the modalities that it reads.
        lr: the published learning rate.
        weight_decay: the published L2 term.
        sizes: arguments of the network after the common ones.
    """

    def __init__(
        self, folder: Path, modalities: tuple[str, ...], lr: float, weight_decay: float, **sizes: Any
    ) -> None:
        model = _module(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            self.net: nn.Module = model.DialogueGCNModel(
                "LSTM", DIMS["text"], 150, 150, 100, 100, 100, n_speakers=PARTIES, max_seq_len=LONGEST, window_past=10,
                window_future=10, n_classes=CLASSES, dropout=0.4, nodal_attention=True, no_cuda=True, **sizes,
            )  # fmt: skip
        self.modalities = modalities
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=lr, weight_decay=weight_decay)

    def prepare(self, batch: Batch) -> tuple[list[Any], Tensor]:
        """Return the network's arguments and the labels [N]."""
        real = torch.arange(batch.speakers.shape[1]) < batch.lengths[:, None]
        # The code looks for each turn's speaker, so that padding has one, too.
        parties = F.one_hot(batch.speakers, PARTIES).float()
        features = [batch.features[m].transpose(0, 1).contiguous() for m in self.modalities]
        text, others = features[0], features[1:]
        arguments = [
            text,
            parties.transpose(0, 1).contiguous(),
            real.float(),
            batch.lengths.tolist(),
            *others,
        ]
        return arguments, batch.labels

    def step(self, inputs: tuple[list[Any], Tensor]) -> float:
        """Run forward, backward and update, and return the loss."""
        arguments, labels = inputs
        self.optimiser.zero_grad()
        loss = F.nll_loss(self.net(*arguments)[0], labels)
        loss.backward()
        self.optimiser.step()
        return float(loss.item())


def dialoguegcn(checkout: Path) -> Published:
    """Return the authors' DialogueGCN, from a checkout of conv-emotion (MIT)."""
    return Published(checkout / "DialogueGCN", ("text",), 3e-4, 0.0, graph_hidden_size=100)


def mmgcn(checkout: Path) -> Published:
    """Return the authors' MMGCN with its settings for MELD, from a checkout of MMGCN (no licence)."""
    return Published(
        checkout, ("text", "audio", "visual"), 1e-3, 0.0, graph_hidden_size=100, graph_type="MMGCN",
        graph_construct="direct", D_m_a=DIMS["audio"], D_m_v=DIMS["visual"], modals="avl",
        att_type="concat_subsequently", Deep_GCN_nlayers=4, dataset="MELD", use_speaker=True,
    )  # fmt: skip


def _module(folder: Path) -> Any:
    """Import model.py of a checkout.

    Raises:
        SystemExit: the file or PyTorch Geometric is missing.
    """
    if not (folder / "model.py").is_file():
        sys.exit(f"{folder}/model.py does not exist; pass a checkout as the help of this command describes")
    try:
        layers = importlib.import_module("torch_geometric.nn")
    except ImportError:
        sys.exit("the published code needs PyTorch Geometric; run `pip install torch_geometric`")

    class RGCN(layers.RGCNConv):  # type: ignore[misc, name-defined]
        """The relational graph layer, with the argument that PyTorch Geometric removed."""

        def forward(self, x: Tensor, edges: Tensor, kinds: Tensor, edge_norm: Tensor | None = None) -> Tensor:
            """Return the new nodes [N, D]; `edge_norm` is not used."""
            out: Tensor = super().forward(x, edges, kinds)
            return out

    layers.RGCNConv = RGCN  # type: ignore[attr-defined]
    sys.modules.setdefault("ipdb", types.ModuleType("ipdb"))
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda tensor, *_: tensor  # type: ignore[method-assign]
    torch.Tensor.__setitem__ = _set  # type: ignore[assignment]
    for name in ("model", "model_mm", "model_GCN"):  # both checkouts have a module `model`
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("model")
    finally:
        sys.path.remove(str(folder))


_SET = torch.Tensor.__setitem__


def _set(tensor: Tensor, index: Any, value: Any) -> None:
    """Set items; an array of two rows indexes two dimensions, as in PyTorch 1."""
    _SET(tensor, tuple(index) if isinstance(index, np.ndarray) and index.ndim == 2 else index, value)
