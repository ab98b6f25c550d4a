"""What the machine lacks, or did not let a worker do, is never journalled as a clip's own failure."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from extract.engine import crew, local
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from tests.extract.fake_encoders import LACKS, FakeEncoder, FakeParams
from tests.extract.project import Project, sentences
from tests.extract.test_engine_faults import extract, failures


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "extracted.log"))
    return FakeEncoder(FakeParams(encoder="fake", batch=4), tmp_path)


@pytest.mark.parametrize(
    "trouble",
    [
        "lacks=memory",
        "read-lacks=library",
        *(pytest.param(f"lacks={w}", marks=pytest.mark.slow) for w in LACKS),
    ],
)
def test_what_the_machine_lacks_ends_the_run_and_fails_no_item(encoder: FakeEncoder, trouble: str) -> None:
    with pytest.raises(
        UserError, match=r"this machine cannot extract an item, even alone in a worker: .*no item was marked"
    ):
        extract(encoder, [*sentences(6), trouble, *sentences(9)[6:]])


@pytest.mark.slow
def test_a_worker_that_is_always_killed_from_outside_ends_the_run(tmp_path: Path) -> None:
    made = Project(tmp_path, [*sentences(20), "die"], batch=2)
    result = made.run()
    assert result.returncode == 2
    assert "SIGKILL ended the worker, probably because memory ran out; free memory" in result.stderr
    assert "Traceback" not in result.stderr
    with sqlite3.connect(made.database) as db:
        assert db.execute("SELECT DISTINCT status FROM rows").fetchall() == [("ok",)]
    # Mended (here: the sentence), the rest is done, and nothing that was done is done again.
    made.table([*sentences(20), "live"])
    made.done()
    with FeatureCache(made.file) as cache:
        assert cache.counts() == {"ok": 21}


@pytest.mark.parametrize("what", ["memory", "room"])
def test_what_was_lacking_once_is_tried_again(encoder: FakeEncoder, tmp_path: Path, what: str) -> None:
    assert failures(extract(encoder, [*sentences(6), f"lacks-once={what},{tmp_path}/was"])) == {}


def test_a_batch_too_large_for_the_gpu_is_halved(encoder: FakeEncoder, tmp_path: Path) -> None:
    texts = [f"fits=2 line{i}" for i in range(8)]
    assert failures(extract(encoder, texts)) == {}
    # Each was in a batch of four, and then in one of two.
    assert sorted((tmp_path / "extracted.log").read_text().splitlines()) == sorted(texts * 2)


@pytest.mark.slow
def test_a_worker_stopped_for_longer_than_the_limit_is_not_overdue(
    encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "LOADING_SECONDS", 0.0)
    stopped: list[int] = []
    handle = local._Pool._handle

    def stop_second(self, worker, message):
        if message == ("encoding", 1) and not stopped:
            stopped.append(worker.process.pid)
            os.kill(worker.process.pid, signal.SIGSTOP)
            threading.Timer(6, os.kill, (worker.process.pid, signal.SIGCONT)).start()
        return handle(self, worker, message)

    monkeypatch.setattr(local._Pool, "_handle", stop_second)
    # The second batch is of one item: there is nobody else to suspect.
    assert failures(extract(encoder, [*sentences(4), "sleep=0.5"], timeout=4)) == {}
    assert stopped


@pytest.mark.slow
def test_a_run_stopped_for_longer_than_the_limit_blames_nobody(tmp_path: Path) -> None:
    go = tmp_path / "go"
    # Among many, since what is done first has time for loading.
    made = Project(tmp_path, [*sentences(19), f"await={go}"], batch=1, timeout=4.0)
    process = made.start("fake")
    while f"await={go}" not in made.extracted():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(6)
    os.killpg(process.pid, signal.SIGCONT)
    time.sleep(0.5)  # so that the run looks at its watch before the item is done
    go.touch()
    out, err = process.communicate()
    assert "20 utterances: 20 ok" in out, err


@pytest.mark.slow
def test_the_first_read_has_the_time_that_loading_takes(
    encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Faces, pictures and speech import their packages, and load what detects faces, when they first read.
    monkeypatch.setattr(crew, "LOADING_SECONDS", 30.0)
    assert failures(extract(encoder, ["read-sleep=4 first", "second"], timeout=2)) == {}


def test_a_run_that_gives_no_features_is_no_success(tmp_path: Path) -> None:
    made = Project(tmp_path, ["corrupt"] * 30)
    result = made.run()
    assert result.returncode == 2
    assert (
        "30 of 30 utterances have no features (100.0%), more than extract.fake.max_failed=0.5"
        in result.stderr
    )
    made.params(max_failed=1.0)
    assert made.run().returncode == 0
