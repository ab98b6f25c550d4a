"""What holds for every test: no setting of the caller's reaches it, and no example depends on time or chance."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.env import ONE_THREAD
from tests import clone
from tests.warm_python import serving

OURS = ("EMOFUSE_", "DVC_", "FAKE_")
KEPT = ("EMOFUSE_DATA", "EMOFUSE_GOLDEN")
# The files that take longest. They start first, so that no process works alone at the end.
LONGEST = [
    "test_commands.py", "test_pipeline.py", "test_kills.py", "test_ray_engine.py", "test_clone.py", "test_gpu_kit.py",
    "test_silent_majority.py", "test_full_disk.py", "test_grids_fit_the_corpus.py", "test_tour.py", "test_meld_text.py",
    "test_size.py", "test_models.py", "test_crossfit.py", "test_help.py", "test_loop.py", "test_finetune.py",
    "test_tables.py", "test_journal_damage.py",
]  # fmt: skip

# As every command does it at its start (`pipeline.errors.entry`), before anything here loads torch.
os.environ.update(ONE_THREAD)
# Millions of objects of pytest and the libraries stay until the end, and each search for garbage would look at them.
gc.disable()
settings.register_profile("emofuse", deadline=None, derandomize=True)
settings.load_profile("emofuse")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_settings_of_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(OURS) and name not in KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(tmp_path_factory.mktemp("bin")) as folder:
        yield folder


@pytest.fixture
def warm(warm_python: Path) -> Iterator[None]:
    """Let DVC and the shell run the project's commands without importing the large libraries each time."""
    with _first(warm_python):
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str, warm_python: Path) -> Path:
    """Return a project whose pipeline has run, made once for all processes of the run; tests change a copy of it."""
    own = tmp_path_factory.getbasetemp()
    with _first(warm_python):
        return clone.finished(own if worker_id == "master" else own.parent)


@contextmanager
def _first(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clone, "FIRST", [str(folder), *clone.FIRST])
        yield
