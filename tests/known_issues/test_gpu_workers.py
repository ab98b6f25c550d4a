"""One worker a GPU with decoders ahead of it, on simulated GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from extract.engine import crew as engine
from extract.engine import local
from pipeline.errors import UserError
from tests.extract.fake_encoders import FakeEncoder, FakeParams
from tests.extract.test_engine_faults import extract, failures, items


class TorchEncoder(FakeEncoder):
    """As if it computed with torch."""

    def packages(self) -> tuple[str, ...]:
        return ("numpy", "torch")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("EMOFUSE_THREADS", "8")


def crew(kind: type[FakeEncoder], folder: Path, workers: int | None = None) -> local._Pool:
    return local._Pool(kind(FakeParams(encoder="fake"), folder), iter([]), workers, 60)


def devices(made: local._Pool) -> list[str]:
    """Where workers are put, as many as there may be."""
    found = []
    while made.vacant():
        made.workers.append(made.start())
        found.append(made.workers[-1].device)
    made.close()
    return found


def test_a_gpu_has_one_worker_and_its_share_of_the_cores_decodes(tmp_path: Path, two_gpus: None) -> None:
    made = crew(TorchEncoder, tmp_path)
    assert (made.count, made.decoders) == (2, 4)
    assert devices(made) == ["cuda:0", "cuda:1"]


def test_more_workers_share_the_gpus(tmp_path: Path, two_gpus: None) -> None:
    made = crew(TorchEncoder, tmp_path, 4)
    assert (made.count, made.decoders) == (4, 2)
    assert devices(made) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


def test_a_named_gpu_is_the_only_one(tmp_path: Path, two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFUSE_DEVICE", "cuda:1")
    assert devices(crew(TorchEncoder, tmp_path)) == ["cuda:1"]
    monkeypatch.setenv("EMOFUSE_DEVICE", "cuda:2")
    with pytest.raises(UserError, match="no such GPU; PyTorch finds 2"):
        crew(TorchEncoder, tmp_path)


def test_what_needs_no_gpu_has_a_worker_a_core(
    tmp_path: Path, two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (crew(FakeEncoder, tmp_path).count, crew(FakeEncoder, tmp_path).decoders) == (8, 1)
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    assert (crew(TorchEncoder, tmp_path).count, crew(TorchEncoder, tmp_path).decoders) == (8, 1)


def test_decoders_read_at_the_same_time_and_a_crash_among_them_costs_one_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = FakeEncoder(FakeParams(encoder="fake", batch=1), tmp_path)
    monkeypatch.setattr(local._Pool, "decoders", 3)
    # Two that each wait for what the other makes when it is read: one thread could never read both.
    a, b = tmp_path / "a", tmp_path / "b"
    pair = [f"read-touch={a} read-await={b}", f"read-touch={b} read-await={a}"]
    made = items(["first", *pair, *(f"line{i}" for i in range(12)), "read-crash"])
    entries = [e for chunk in local.extract(encoder, iter([[one] for one in made]), 1, 60) for e in chunk]
    assert sorted(entry.key for entry in entries) == sorted(item.key for item in made)
    assert [entry.key for entry in entries if entry.status != "ok"] == [made[-1].key]


@pytest.mark.slow
def test_reading_that_hangs_in_one_of_several_decoders_costs_one_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOADING_SECONDS", 0.0)
    monkeypatch.setattr(local._Pool, "decoders", 3)
    encoder = FakeEncoder(FakeParams(encoder="fake", batch=1), tmp_path)
    found = failures(extract(encoder, [*(f"line{i}" for i in range(8)), "read-hang"], timeout=4))
    assert found == {"read-hang": "failed: took longer than 4 s"}
