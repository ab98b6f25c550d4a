"""A chunk that a disk gave back as zeros, its checksum too: neither training nor evaluation reads on."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from pipeline.features import CacheError
from tests.train import small
from train.fusion.build import read


def zero_first_chunk(path: Path, name: str) -> None:
    data, places = path.read_bytes(), []
    with h5py.File(path) as file:
        file[name].id.chunk_iter(lambda info: places.append((info.byte_offset, info.size)))
    at, size = places[0]
    path.write_bytes(data[:at] + bytes(size) + data[at + size :])


@pytest.mark.parametrize(("model", "name"), [("multiemo", "pooled"), ("foalnet", "frames")])
def test_zeroed_values_do_not_reach_a_model(tmp_path, monkeypatch, model, name):
    monkeypatch.chdir(tmp_path)
    small.make(tmp_path)
    small.add_frames(tmp_path)
    streams = {**small.STREAM, "text": "none"}
    params = small.params(train={"streams": streams}, model={"name": model})
    read(params)
    zero_first_chunk(tmp_path / "data/features/voice.h5", name)
    with pytest.raises(CacheError, match=f"voice.h5: {name}: damaged: rows 0 to .* do not match their sum"):
        read(params)
