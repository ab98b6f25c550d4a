"""Small projects whose one stream is a fake encoder, and the command line over them as real processes.

    python -m tests.extract.project fake      # `python -m extract fake`, with the fake encoder known

KILL_AFTER=k kills the whole process group by SIGKILL once k rows are in the journal, KILL_DELAY seconds later if set.
FILE_LIMIT=n: no file may be longer than n bytes. SAY_PEAK prints the most memory it had, in MB.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from extract import encoders
from extract.contract import Encoder, Item
from extract.engine import journal, worker
from pipeline.tables.schema import UTTERANCE_COLUMNS

REPOSITORY = Path(__file__).resolve().parents[2]
ENCODER = "tests.extract.fake_encoders:FakeEncoder"
# How long anything may take before it counts as stuck: reached in a failing test alone.
PATIENCE = 600


class Project:
    """A folder with params.yaml and data/utterances.csv; dialogues of ten turns."""

    def __init__(self, root: Path, texts: Sequence[str], **params: Any) -> None:
        self.root, self.log = root, root / "extracted.log"
        self.file = root / "data/features/fake.h5"
        (root / "data").mkdir(parents=True, exist_ok=True)
        self.params(**params)
        self.table(texts)

    def params(self, **params: Any) -> None:
        sections = {
            "corpus": {"name": "demo", "watch": "data/demo", "root": "data/demo", "labels": ["a", "b"]},
            "extract": {"fake": {"encoder": "fake", **params}},
            "train": {"streams": {"text": "fake", "audio": "none", "visual": "none"}},
            "model": {"name": "multiemo"},
            "loss": {},
            "evaluate": {},
        }
        (self.root / "params.yaml").write_text(json.dumps(sections))

    def table(self, texts: Sequence[str], hashes: dict[int, str] | None = None) -> None:
        with (self.root / "data/utterances.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(UTTERANCE_COLUMNS)
            for i, text in enumerate(texts):
                media_hash = (hashes or {}).get(i, "")
                place = (f"u{i:05}", f"d{i // 10:05}", i % 10)
                row = (*place, "A", "", text, f"clips/{i}.mp4", "", "", media_hash)
                writer.writerow(row)

    def start(self, *args: str, limit: int | None = None, **environment: Any) -> subprocess.Popen:
        """The command line in a process group of its own; `limit`: the largest file it may write, in bytes."""

        known = {k: v for k, v in os.environ.items() if not k.startswith(("EMOFUSE_", "FAKE_", "DVC_"))}
        known |= {"PYTHONPATH": str(REPOSITORY), "FAKE_LOG": str(self.log), "EMOFUSE_WORKERS": "1"}
        if limit:
            known["FILE_LIMIT"] = str(limit)
        return subprocess.Popen(
            [sys.executable, "-m", "tests.extract.project", *args],
            cwd=self.root,
            env=known | {k: str(v) for k, v in environment.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def until(self, count: int, process: subprocess.Popen) -> None:
        """Wait until so many items were encoded by a process that must not end before."""
        deadline = time.monotonic() + PATIENCE
        while len(self.extracted()) < count:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def run(self, *args: str, **options: Any) -> subprocess.CompletedProcess:
        process = self.start(*(args or ("fake",)), **options)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def done(self) -> subprocess.CompletedProcess:
        """`run`, which must succeed."""
        result = self.run()
        assert result.returncode == 0, result.stderr
        return result

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def extracted(self) -> list[str]:
        """What was encoded so far, in order."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def database(self) -> Path:
        [path] = [p for p in (self.root / ".cache/journal").glob("*.sqlite") if "damaged" not in p.name]
        return path

    def journalled(self) -> set[str]:
        """The keys in the journal."""
        with sqlite3.connect(self.database) as db:
            return {key for (key,) in db.execute("SELECT key FROM rows")}


def sentences(count: int, sleep: float = 0.0) -> list[str]:
    """Texts of one to seven words."""
    pause = f" sleep={sleep}" if sleep else ""
    return [f"line{i}{' word' * (i % 7)}{pause}" for i in range(count)]


def inline(
    encoder: Encoder, batches: Iterator[list[Item]], workers: int, timeout: float
) -> Iterator[list[journal.Entry]]:
    """An engine without processes."""
    for items in batches:
        outcomes = worker.encode(encoder, [encoder.read(item) for item in items])
        yield [worker.entry(item, outcome, encoder) for item, outcome in zip(items, outcomes, strict=True)]


def _kill_after(k: int, delay: float) -> None:
    put, close, count = journal.Journal.put, journal.Journal.close, 0

    def put_and_die(self: journal.Journal, entries: Iterable[journal.Entry]) -> None:
        nonlocal count
        for entry in entries:
            put(self, [entry])
            self.commit()
            count += 1
            if count == k:
                threading.Timer(delay, os.killpg, (0, signal.SIGKILL)).start()
                if not delay:
                    signal.pause()

    def close_and_die(self: journal.Journal) -> None:
        close(self)
        if count >= k:
            signal.pause()

    journal.Journal.put, journal.Journal.close = put_and_die, close_and_die  # type: ignore[method-assign]


if __name__ == "__main__":
    from extract.__main__ import INTERRUPTED, main
    from pipeline.errors import entry

    # A suite that was started in the background has inherited an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "FILE_LIMIT" in os.environ:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["FILE_LIMIT"]),) * 2)
    encoders.REGISTRY["fake"] = ENCODER
    if "KILL_AFTER" in os.environ:
        _kill_after(int(os.environ["KILL_AFTER"]), float(os.environ.get("KILL_DELAY", 0)))
    entry(main, INTERRUPTED)
    if "SAY_PEAK" in os.environ:
        # Not ru_maxrss: at exec a process inherits the peak of the one that started it.
        [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        print(int(peak) // 1024)
