"""A prediction that was killed goes on: nothing extracted before is extracted again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pipeline.closure import ROOT
from tests.evaluate.recording import run
from tests.extract.make_clips import clip
from tests.extract.project import inline

COUNT, KEPT = 6, 4
# Predicts in one process, which kills itself when KEPT rows are in the journal.
DYING = f"""
import os, signal, sys
from evaluate.predict import __main__ as predict
from extract.engine import journal, local
from tests.extract.project import inline

put, kept = journal.Journal.put, 0

def put_and_die(self, entries):
    global kept
    put(self, entries)
    self.commit()
    kept += len(entries)
    if kept == {KEPT}:
        os.kill(os.getpid(), signal.SIGKILL)

local.extract, journal.Journal.put = inline, put_and_die
predict.main()
"""


@pytest.mark.slow
def test_a_killed_prediction_extracts_the_rest_and_equals_an_uninterrupted_one(talk, monkeypatch):
    clip(talk / "long.wav", COUNT, video=False, codec="pcm_s16le")
    spans = "".join(f"u{i},d,{i},long.wav,{i},{i + 1}\n" for i in range(COUNT))
    (talk / "spans.csv").write_text("utterance,dialogue,turn,media,start,end\n" + spans)
    words = ["--csv", "spans.csv", "--to"]
    dead = subprocess.run(
        [sys.executable, "-c", DYING, *words, "out"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert sorted(path.name for path in (talk / "out").iterdir()) == [".predict"]
    extracted: list[str] = []

    def counting(*given):
        for entries in inline(*given):
            extracted.extend(entry.key for entry in entries)
            yield entries

    monkeypatch.setattr("extract.engine.local.extract", counting)
    run(monkeypatch, *words, "out")
    assert len(extracted) == COUNT - KEPT
    run(monkeypatch, *words, "whole")
    assert len(extracted) == 2 * COUNT - KEPT
    for name in ("predictions.csv", "long.emotion.srt"):
        assert (talk / "out" / name).read_bytes() == (talk / "whole" / name).read_bytes()
    run(monkeypatch, *words, "out")
    assert len(extracted) == 2 * COUNT - KEPT, "a finished prediction is only written again"
