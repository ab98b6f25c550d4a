"""Two processes that write one file take turns, whatever happens to either: killed, stopped, or left behind by DVC."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extract.project import PATIENCE, Project, sentences
from tests.pipeline import feature_files as files

# Writes 3,000 rows under a licence of its own; stops itself in the middle if its arguments say so.
WRITER = """
import os, signal, sys; from pathlib import Path
from pipeline.features import write
from tests.pipeline import feature_files as files
about = files.meta(licence=sys.argv[2])
def rows():
    for i, row in enumerate(files.rows(about, 3000)):
        if i == 1500 and sys.argv[3:] == ["stop"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        yield row
write(Path(sys.argv[1]), about, files.names(3000), rows())
"""


def writer(path: Path, *args: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), *args], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_second_writer_waits_for_one_that_is_stopped_in_the_middle(
    tmp_path: Path, end: signal.Signals
) -> None:
    path = tmp_path / "x.h5"
    first = writer(path, "first", "stop")
    os.waitpid(first.pid, os.WUNTRACED)
    second = writer(path, "second")
    assert second.stderr is not None
    assert (
        second.stderr.readline() == f"{path}: waiting for another process that writes it\n"
    )  # and so has not begun
    assert not path.exists()
    first.send_signal(end)
    assert second.wait(PATIENCE) == 0
    assert first.wait(PATIENCE) == (0 if end == signal.SIGCONT else -end)
    assert path.read_bytes() == files.small(tmp_path / "alone.h5", 3000, licence="second").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone.h5", "x.h5"]


def test_a_second_writer_that_is_killed_costs_the_first_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    first = writer(path, "first", "stop")
    os.waitpid(first.pid, os.WUNTRACED)
    second = writer(path, "second")
    assert second.stderr is not None
    second.stderr.readline()
    second.kill()
    second.wait(PATIENCE)
    first.send_signal(signal.SIGCONT)
    assert first.wait(PATIENCE) == 0
    assert path.read_bytes() == files.small(tmp_path / "alone.h5", 3000, licence="first").read_bytes()


def test_a_link_to_the_folder_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    first = writer(tmp_path / "real/x.h5", "first", "stop")
    os.waitpid(first.pid, os.WUNTRACED)
    second = writer(tmp_path / "link/x.h5", "second")
    assert second.stderr is not None
    assert "waiting for another process" in second.stderr.readline()
    first.send_signal(signal.SIGCONT)
    assert (first.wait(PATIENCE), second.wait(PATIENCE)) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("command", [["fake"], ["retry", "fake"]])
def test_a_stage_that_outlived_its_dvc_is_waited_for_and_named(tmp_path: Path, command: list[str]) -> None:
    made = Project(tmp_path, sentences(40, 0.02), batch=1, salt="old")
    first = made.start("fake")
    made.until(5, first)
    os.killpg(first.pid, signal.SIGSTOP)
    made.params(batch=1, salt="new")
    second = made.start(*command)
    assert second.stderr is not None
    told = second.stderr.readline()
    assert f"extract fake: waiting for another process of this stage: process {first.pid}, python -m" in told
    assert "fake" in told.split("python -m")[1]
    assert not made.file.exists()
    os.killpg(first.pid, signal.SIGCONT)
    _, err = first.communicate(timeout=PATIENCE)
    assert (first.returncode, "params.yaml: extract.fake" in err) == (2, True), err
    _, err = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, err
    # The file is the later run's. The earlier run wrote nothing, because its params were edited meanwhile.
    other = Project(tmp_path / "other", sentences(40, 0.02), batch=1, salt="new")
    other.done()
    assert made.sha256 == other.sha256
    assert [p.name for p in made.file.parent.iterdir()] == ["fake.h5"]
