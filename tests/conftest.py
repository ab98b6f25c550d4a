"""What holds for every test: no setting of the caller's reaches it, and no example depends on time or chance."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from pipeline.env import ONE_THREAD

OURS = ("EMOFUSE_", "DVC_", "FAKE_")
KEPT = ("EMOFUSE_DATA", "EMOFUSE_GOLDEN")

# As every command does it at its start (`pipeline.errors.entry`), before anything here loads torch.
os.environ.update(ONE_THREAD)
settings.register_profile("emofuse", deadline=None, derandomize=True)
settings.load_profile("emofuse")


@pytest.fixture(autouse=True)
def _no_settings_of_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(OURS) and name not in KEPT:
            monkeypatch.delenv(name)
