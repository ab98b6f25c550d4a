"""A scratch folder is gone at the end, even of a process that was killed: the next one removes it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.scratch import PREFIX, scratch

HOLDER = (
    "from pipeline.scratch import scratch\nwith scratch() as folder:\n    print(folder, flush=True); input()"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_what_a_killed_process_left_goes_and_what_is_in_use_stays(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        (theirs / "x").write_text("x")
        with scratch() as folder:
            assert set(place.iterdir()) == {theirs, folder}
        other.kill()
        other.wait()
    assert list(place.iterdir()) == [theirs]
    with scratch() as folder:
        assert list(place.iterdir()) == [folder]
    assert list(place.iterdir()) == []


def test_folders_and_links_of_the_users_own_stay(place: Path) -> None:
    (place / "emofuse-results").mkdir()
    (place / "own").mkdir()
    (place / f"{PREFIX}link").symlink_to("own")
    (place / f"{PREFIX}file").touch()
    before = sorted(place.iterdir())
    with scratch():
        pass
    assert sorted(place.iterdir()) == before
