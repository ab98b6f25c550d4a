"""`dvc exp run --run-all` waited forever for a worker of DVC's queue that had ended, and so did the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import clone


def test_a_command_that_hangs_fails_with_the_log_of_the_queues_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / ".dvc/tmp/exps/celery/worker/worker.out"
    log.parent.mkdir(parents=True)
    log.write_text("json.decoder.JSONDecodeError: a message that was half written", encoding="utf-8")
    monkeypatch.setattr(clone, "LIMIT", 0.5)
    with pytest.raises(
        AssertionError, match=r"(?s)SIGKILL after 0\.5 s:\nbefore\n.*worker\.out:\n.*half written"
    ):
        clone.shell(tmp_path, "echo before; sleep 600")
