"""The local engine on the device: workers, decoders, mixed lengths, shared devices, and too little memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from extract.contract import Encoder, Item
from extract.encoders import build
from extract.engine import local
from extract.engine.journal import Entry, Journal
from pipeline.env import cores
from pipeline.errors import UserError
from tests.extract import tiny_models
from tests.extract.fake_encoders import FakeParams
from tests.extract.make_clips import clip, item
from tests.extract.project import inline, sentences
from tests.gpu.conftest import gap
from tests.gpu.memory import GreedyEncoder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    tiny_models.speech(folder / "wavlm", "wavlm")
    for i, seconds in enumerate((0.5, 1.3, 0.7, 2.0, 0.9, 1.31)):
        clip(folder / f"{i}.mp4", seconds, sound=_noise(seconds, i), video=False)
    return folder


def _noise(seconds: float, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16000 * seconds))).astype(np.float32)


def speech(folder: Path) -> tuple[Encoder[Any], list[list[Item]]]:
    """Return an encoder and two batches of sounds of different lengths."""
    params = {"encoder": "speech", "weights": str(folder / "wavlm"), "frames": "f4"}
    items = [item(path) for path in sorted(folder.glob("*.mp4"))]
    return build("speech", params, Path("params.yaml"), folder), [items[:3], items[3:]]


def frames(entries: Iterator[list[Entry]]) -> dict[str, np.ndarray]:
    found = [entry for chunk in entries for entry in chunk]
    assert {entry.status for entry in found} == {"ok"}
    return {entry.key: safetensors.numpy.load(entry.payload)["frames"] for entry in found}


def test_a_gpu_has_one_worker_and_its_share_of_the_cores_decodes(clips: Path, device: torch.device) -> None:
    encoder, batches = speech(clips)
    pool = local._Pool(encoder, iter(batches), None, 60)
    if device.type == "cuda":
        gpus = 1 if device.index is not None else torch.cuda.device_count()
        assert (pool.count, pool.decoders) == (gpus, max(1, cores() // gpus))
    else:
        assert (pool.count, pool.decoders) == (cores(), 1)


def test_two_workers_share_the_device_and_agree_with_the_cpu(
    clips: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("EMOFUSE_DEVICE", "cpu")
        encoder, batches = speech(clips)
        expected = frames(inline(encoder, iter(batches), 1, 60))
    encoder, batches = speech(clips)
    if device.type == "cuda":
        monkeypatch.setenv("EMOFUSE_DEVICE", f"cuda:{device.index or 0}")
    pool = local._Pool(encoder, iter(batches), 2, 60)
    seen: set[tuple[int, str]] = set()

    def watched() -> Iterator[list[Entry]]:
        for entries in pool.run():
            seen.update((worker.process.pid, worker.device) for worker in pool.workers)
            yield entries

    found = frames(watched())
    assert len(seen) == 2
    assert len({where for _, where in seen}) == 1
    assert found.keys() == expected.keys()
    assert max(gap(found[key], expected[key]) for key in expected) <= 1e-4


def greedy(folder: Path, texts: list[str]) -> tuple[GreedyEncoder, list[Item]]:
    encoder = GreedyEncoder(FakeParams(encoder="fake", batch=4), folder)
    return encoder, [Item({"texts": [text], "media": ""}, length=1) for text in texts]


def test_a_batch_that_needs_too_much_memory_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    encoder, items = greedy(tmp_path, sentences(8))
    entries = [e for chunk in local.extract(encoder, iter([items[:4], items[4:]]), 1, 60) for e in chunk]
    assert {entry.status for entry in entries} == {"ok"}
    assert sorted(entry.key for entry in entries) == sorted(item.key for item in items)
    # A batch that does not fit is not computed, so every item is computed once.
    assert len((tmp_path / "log").read_text().splitlines()) == 8


def test_an_item_that_needs_too_much_memory_ends_the_run_and_is_not_journalled(tmp_path: Path) -> None:
    encoder, items = greedy(tmp_path, ["large", *sentences(3)])
    with Journal(tmp_path / "journal.sqlite") as journal:

        def extract() -> None:
            for entries in local.extract(encoder, iter([items]), 1, 60):
                journal.put(entries)

        with pytest.raises(
            UserError, match=r"alone in a worker: OutOfMemoryError.*no item was marked as failed"
        ):
            extract()
        journal.commit()
        # So the next run tries it again.
        assert items[0].key not in journal.known([item.key for item in items])
