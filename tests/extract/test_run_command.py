"""`python -m extract` as its users meet it: real processes, killed, starved, interrupted and side by side."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from extract.engine import crew
from tests.extract.project import PATIENCE, Project, sentences

COUNT, BATCH = 60, 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sha256 of the file that one uninterrupted run of one worker gives."""
    made = Project(tmp_path_factory.mktemp("whole"), sentences(COUNT, 0.002), batch=BATCH)
    made.done()
    assert sorted(made.extracted()) == sorted(sentences(COUNT, 0.002))
    return made.sha256


def killed_after(made: Project, k: int, workers: int) -> str:
    """Kill the run after the k-th row, resume it, count; a line for the table."""
    process = made.start("fake", KILL_AFTER=k, EMOFUSE_WORKERS=workers)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    kept, before = len(made.journalled()), made.extracted()
    assert kept == k
    assert not made.file.exists()
    made.done()
    again = made.extracted()[len(before) :]
    assert len(again) == len(set(again)) == COUNT - k
    twice = len(set(again) & set(before))
    assert twice == len(before) - k <= workers * crew.AHEAD * BATCH
    return f"killed after row {k:2} of {COUNT}, {workers} workers: {len(again)} left, {twice} of them again"


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 20))])
def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path, whole: str, seed: int) -> None:
    rng = random.Random(seed)
    made = Project(tmp_path, sentences(COUNT, 0.002), batch=BATCH)
    print(killed_after(made, rng.randrange(1, COUNT), rng.choice([1, 2])))
    assert made.sha256 == whole


@pytest.mark.slow
def test_kill_9_at_any_time_again_and_again(tmp_path: Path, whole: str) -> None:
    rng, made, kills = random.Random(5), Project(tmp_path, sentences(COUNT, 0.002), batch=BATCH), 0
    for _ in range(12):
        after, delay = rng.randrange(1, 9), rng.uniform(0.001, 0.02)
        process = made.start("fake", EMOFUSE_WORKERS=2, KILL_AFTER=after, KILL_DELAY=delay)
        process.communicate(timeout=PATIENCE)
        if process.returncode == 0:  # fewer rows were left
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
    made.done()
    extracted = len(made.extracted())
    print(f"{kills} kills at random moments: {extracted} extractions of {COUNT} items")
    assert kills
    assert made.sha256 == whole
    assert extracted <= COUNT + kills * 2 * crew.AHEAD * BATCH


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_number_of_workers_changes_no_byte(tmp_path: Path, whole: str, workers: int) -> None:
    made = Project(tmp_path, sentences(COUNT, 0.002), batch=BATCH)
    assert made.run(EMOFUSE_WORKERS=workers).returncode == 0
    assert made.sha256 == whole


@pytest.mark.slow
def test_no_order_of_extraction_changes_a_byte(tmp_path: Path, whole: str) -> None:
    texts = sentences(COUNT, 0.002)
    for seed in range(3):
        # Parts of the table extracted in earlier runs, in any order, then the whole.
        made = Project(tmp_path / str(seed), texts, batch=BATCH)
        for count in random.Random(seed).sample(range(5, COUNT), 2):
            made.table(texts[:count])
            made.done()
        made.table(texts)
        made.done()
        assert made.sha256 == whole
        assert len(made.extracted()) == COUNT


def test_two_processes_share_one_journal_and_the_work(tmp_path: Path, whole: str) -> None:
    both = [Project(tmp_path / name, sentences(COUNT, 0.002), batch=BATCH) for name in ("a", "b")]
    processes = [p.start("fake", DVC_ROOT=tmp_path, FAKE_LOG=tmp_path / "log") for p in both]
    for process in processes:
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert f"{COUNT} ok" in out
    assert [p.sha256 for p in both] == [whole] * 2
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(set(lines)) == COUNT
    assert len(list((tmp_path / ".cache/journal").glob("*.sqlite"))) == 1


def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(tmp_path: Path) -> None:
    # One of the two workers is busy for good once its turn comes, so that the run cannot end by itself.
    made = Project(tmp_path, [*sentences(COUNT, 0.02), "hang"], batch=BATCH)
    process = made.start("fake", EMOFUSE_WORKERS=2)
    made.until(COUNT // 2, process)
    os.killpg(process.pid, signal.SIGINT)
    # Returns once nobody holds the other ends of its pipes, which the workers have inherited.
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.strip().splitlines() == [
        "interrupted; finished items are in the journal; run again to continue"
    ]
    assert len(made.journalled()) >= COUNT // 2 - 2 * crew.AHEAD * BATCH


def test_workers_end_when_their_run_is_killed_alone(tmp_path: Path) -> None:
    made = Project(tmp_path, ["hang"] * 4, batch=1)
    process = made.start("fake", EMOFUSE_WORKERS=2)
    made.until(1, process)
    process.kill()
    # Returns once nobody holds the other ends of its pipes, which the workers have inherited.
    process.communicate(timeout=PATIENCE)


@pytest.mark.slow
def test_a_full_disk_keeps_the_old_file_and_the_work(tmp_path: Path) -> None:
    made = Project(tmp_path, sentences(40), dim=1000)
    made.done()
    old = made.sha256

    made.table(sentences(39))
    merge = made.run(limit=50_000)
    assert merge.returncode == 2
    assert "data/features/fake.h5" in merge.stderr
    assert "Traceback" not in merge.stderr
    assert made.sha256 == old

    made.table(sentences(200))
    journal = made.run(limit=made.database.stat().st_size + 100_000)
    assert journal.returncode == 2
    assert "free disk space" in journal.stderr
    assert "Traceback" not in journal.stderr
    assert made.sha256 == old
    assert 40 < len(made.journalled()) < 200

    kept = len(made.journalled())
    before = len(made.extracted())
    made.done()
    assert len(made.extracted()) - before == 200 - kept
    assert sorted(p.name for p in made.file.parent.iterdir()) == ["fake.h5"]


@pytest.mark.slow
def test_a_users_mistake_in_a_worker_is_one_message(tmp_path: Path) -> None:
    result = Project(tmp_path, [*sentences(5), "usererror"]).run(EMOFUSE_WORKERS=2)
    assert result.returncode == 2
    assert result.stderr == "error: fake: weights are missing; run `fake download`\n"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        made = Project(tmp_path / str(count), sentences(count), dim=50_000, batch=1)
        result = made.run("fake", EMOFUSE_WORKERS=2, SAY_PEAK=1)
        assert result.returncode == 0, result.stderr
        return int(result.stdout.splitlines()[-1])

    small, large = peak(600), peak(2400)
    print(f"peak memory: {small} MB for 120 MB of features, {large} MB for 480 MB")
    # What grows a little is the most that ever happened to wait for a commit.
    assert large < small + 120
