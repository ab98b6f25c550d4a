from __future__ import annotations

from pathlib import Path

import pytest

from tests.extract import tiny_models
from tests.train import tuned


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    """A tiny checkpoint to fine-tune."""
    return tiny_models.bert(
        tmp_path_factory.mktemp("base") / "tiny", num_hidden_layers=2, initializer_range=0.1
    )


@pytest.fixture
def tuned_project(tmp_path, monkeypatch, bert) -> Path:
    """A project whose text stream is to be fine-tuned; the test runs in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    tuned.make(tmp_path, bert)
    return tmp_path
