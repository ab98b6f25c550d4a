from __future__ import annotations

import csv
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import graphs, published_graphs

# A checkout in miniature: the arguments and the answers of the published model.py.
MODEL = """
import torch
from torch_geometric.nn import RGCNConv

class DialogueGCNModel(torch.nn.Module):
    def __init__(self, base, text, *_, n_classes, **others):
        super().__init__()
        self.layer = torch.nn.Linear(text, n_classes)
        self.graph = RGCNConv(2, 2, 1)

    def forward(self, text, speakers, mask, lengths, audio=None, visual=None):
        assert (audio is None) == (visual is None)
        assert speakers.shape[:2] == text.shape[:2] == mask.shape[::-1]
        self.graph(torch.zeros(1, 2), torch.zeros(2, 0).long(), torch.zeros(0).long(), torch.zeros(0))
        rows = [text[:n, i] for i, n in enumerate(lengths)]
        return self.layer(torch.cat(rows)).log_softmax(1), None
"""


class RGCNConv(torch.nn.Module):
    """The layer as PyTorch Geometric has it now, without `edge_norm`."""

    def __init__(self, *_: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor, edges: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        return x


def test_both_models_are_timed_beside_their_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = types.ModuleType("torch_geometric.nn")
    layers.RGCNConv = RGCNConv  # type: ignore[attr-defined]
    package = types.ModuleType("torch_geometric")
    package.nn = layers  # type: ignore[attr-defined]
    for name, module in (("torch_geometric", package), ("torch_geometric.nn", layers)):
        monkeypatch.setitem(sys.modules, name, module)
    for folder in (tmp_path / "conv/DialogueGCN", tmp_path / "mm"):
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(MODEL)
    out = tmp_path / "graphs.csv"
    words = ["--dialoguegcn", str(tmp_path / "conv"), "--mmgcn", str(tmp_path / "mm"), "--csv", str(out)]
    monkeypatch.setattr(sys, "argv", ["graphs", *words, "--batches", "1", "--rounds", "1", "--threads", "1"])
    monkeypatch.setattr(torch.Tensor, "cuda", torch.Tensor.cuda)
    monkeypatch.setattr(torch.Tensor, "__setitem__", torch.Tensor.__setitem__)
    graphs.main()
    head, *rows = csv.reader(out.read_text().splitlines())
    assert head == graphs.HEAD
    assert [row[0] for row in rows] == ["DialogueGCN"] * 3 + ["MMGCN"] * 3
    assert all(float(row[3]) >= 0 for row in rows)
    assert rows[0][4] == rows[3][4] == "1.0x"
    assert {row[1] for row in rows} == {"1"}
    assert capsys.readouterr().out.count("published") == 4


def test_a_missing_checkout_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"model\.py does not exist"):
        published_graphs.dialoguegcn(tmp_path)


def test_an_array_of_two_rows_indexes_two_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "__setitem__", published_graphs._set)
    found = torch.zeros(3, 3)
    found[np.array([[0, 1], [2, 2]])] = torch.tensor([1.0, 2.0])
    assert found[0, 2] == 1
    assert found[1, 2] == 2
    found[0] = torch.ones(3)
    assert found.sum() == 5
