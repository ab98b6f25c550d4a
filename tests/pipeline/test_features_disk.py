"""Writing in bad times: full disks, broken rows, kills; and memory that does not grow."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from pipeline.errors import UserError
from pipeline.features import write
from tests.pipeline import feature_files as files


def test_the_old_file_outlives_rows_that_break(tmp_path):
    path = files.small(tmp_path / "x.h5")
    before = path.read_bytes()

    def broken():
        yield from files.rows(files.meta(), 10)
        raise OSError("the journal is gone")

    # Not dressed up as a full disk: the rows' own errors are the caller's.
    with pytest.raises(OSError, match="the journal is gone"):
        write(path, files.meta(), files.names(20), broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_leftover_of_a_killed_write_is_overwritten(tmp_path):
    (tmp_path / ".x.h5.part").write_bytes(b"half a file" * 10_000)
    path = files.small(tmp_path / "x.h5")
    assert path.read_bytes() == files.small(tmp_path / "y.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.h5", "y.h5"]


KILLED = """
import os, signal, sys; from pathlib import Path
from pipeline.features import write
from tests.pipeline import feature_files as files
def dying(rows):
    for i, row in enumerate(rows):
        if i == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield row
about = files.meta(licence="new")
write(Path(sys.argv[1]), about, files.names(3000), dying(files.rows(about, 3000)))
"""


@pytest.mark.parametrize("row", [0, 1500, 2999])
def test_killed_while_writing_leaves_the_old_file_and_the_next_write_is_the_same(tmp_path, row):
    path = files.small(tmp_path / "x.h5")
    before = path.read_bytes()
    run = subprocess.run([sys.executable, "-c", KILLED, path, str(row)])
    assert run.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    again = files.small(path, 3000, licence="new").read_bytes()
    assert again == files.small(tmp_path / "y.h5", 3000, licence="new").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.h5", "y.h5"]


FULL = """
import resource, sys; from pathlib import Path
from pipeline.errors import UserError
from tests.pipeline import feature_files as files
path = Path(sys.argv[1]); before = path.read_bytes()
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        files.small(path, 400, pooled_dim=700, pooled_names=())
        raise SystemExit(f"{limit}: written")
    except UserError as error:
        assert "not written: File too large" in str(error) and str(path) in str(error), error
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1
print("all refused")
"""


def test_disk_full_at_any_point_leaves_the_old_file(tmp_path):
    size = files.small(tmp_path / "probe.h5", 400, pooled_dim=700, pooled_names=()).stat().st_size
    folder = tmp_path / "full"
    path = files.small(folder / "x.h5")
    limits = [0, 1, 95, 1000, size - 1, *range(size // 12, size, size // 12)]
    run = subprocess.run(
        [sys.executable, "-c", FULL, path, *map(str, limits)], capture_output=True, text=True
    )
    # Not a word on stderr either: HDF5 likes to haunt a process whose file it could not close.
    assert (run.returncode, run.stdout, run.stderr) == (0, "all refused\n", "")


def test_no_place_to_write_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not written: File exists"):
        files.small(tmp_path / "file" / "x.h5")


# Not ru_maxrss: at exec a process inherits the peak of the one that started it.
PEAK = r"""
import re, sys; from pathlib import Path; import numpy as np
from pipeline.features import Row, write
from tests.pipeline import feature_files as files
count = int(sys.argv[2])
about = files.meta(frames_dim=1024, frames="f4", frames_names=())
frames, times, pooled = np.ones((100, 1024), "f4"), np.arange(100, dtype="f4"), np.ones(5, "f4")
write(Path(sys.argv[1]), about, files.names(count), (Row("k", "ok", "", pooled, frames, times) for _ in range(count)))
print(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    def peak(count: int) -> int:
        run = subprocess.run(
            [sys.executable, "-c", PEAK, tmp_path / "x.h5", str(count)], capture_output=True, check=True
        )
        return int(run.stdout) << 10

    few, many = peak(40), peak(640)
    assert (tmp_path / "x.h5").stat().st_size > 250 << 20
    assert many - few < 8 << 20
