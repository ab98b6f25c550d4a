"""Features in a small unit (numbers about 1e-7) were taken for rounding noise, and zeroed without a word."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.features import FeatureCache
from tests.train import small
from train.data.normalise import scale
from train.fusion.build import read as load


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_a_stream_does_not_matter(tmp_path, monkeypatch, unit):
    small.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = load(small.params()).features["audio"].numpy()
    with FeatureCache(tmp_path / "data/features/voice.h5") as cache:
        names, x, here = list(cache.utterances), cache.pooled(), cache.status == 0
    small.cache(tmp_path, "audio", names, np.where(here[:, None], x * unit, 0).astype("f4"), here)
    after = load(small.params()).features["audio"].numpy()
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_rounding_noise_still_carries_nothing():
    mean = np.array([1e-7, 5e-3, 0.0, -9e-33, 0.2, 1e4])
    sd = np.array([2e-9, 6e-2, 0.0, 1e-32, 5e-2, 6e-3])
    assert np.isfinite(scale(mean, sd)).tolist() == [False, True, False, False, True, False]
