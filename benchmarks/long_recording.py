"""Measure the time and memory of transcribing a long recording, with one kill.

    python -m benchmarks.long_recording a.wav b.wav --hours 10
    python -m benchmarks.long_recording a.wav --hours 1 --csv rows.csv

The files, repeated in order, become one recording of 16 kHz. `python -m pipeline.transcribe` transcribes it, is killed
by SIGKILL when half of the recording is in its journal, and is run again. One row per run:

- hours: of recording that the run transcribed.
- cpu_min: minutes of CPU time per hour of recording.
- wall_min: minutes per hour of recording.
- early_mb: the process's memory when a tenth of the recording was in the journal.
- peak_mb: its peak memory. A flat memory has a peak near `early_mb`.
"""

from __future__ import annotations

import itertools
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import pandas as pd
import psutil

from benchmarks.rows import write as write_rows
from pipeline.command import parser
from pipeline.errors import entry
from pipeline.transcribe.sound import RATE, read

EVERY = 1.0  # seconds between two samples


def main() -> None:
    """Make the recording, transcribe it in two runs, print the table."""
    words = parser("benchmarks.long_recording", __doc__)
    words.add_argument("files", type=Path, nargs="+", help="media files with speech")
    words.add_argument("--hours", type=float, default=10.0, help="the recording's length; default: 10")
    words.add_argument("--csv", type=Path, help="also write the table to this file")
    words.add_argument("--json", type=Path, help="a file for the rows of the table")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "long.wav"
        repeat(given.files, round(given.hours * 3600), recording)
        rows = [
            {"run": "killed", **transcribe(recording, given.hours, until=given.hours / 2)},
            {"run": "resumed", **transcribe(recording, given.hours, until=math.inf)},
        ]
    shown = pd.DataFrame(rows)
    print(shown.to_string(index=False, float_format="{:.2f}".format))
    if given.csv:
        shown.to_csv(given.csv, index=False, float_format="%.2f", lineterminator="\n")
    if given.json:
        write_rows(given.json, "long_recording", rows, ["run"])


def repeat(files: list[Path], seconds: int, out: Path) -> None:
    """Write the sound of the files to `out`, one after another, again and again until it has `seconds`."""
    left = seconds * RATE
    with wave.open(str(out), "wb") as to:
        to.setnchannels(1)
        to.setsampwidth(2)
        to.setframerate(RATE)
        for piece in itertools.chain.from_iterable(read(file) for file in itertools.cycle(files)):
            to.writeframes((piece[:left] * 32767).round().clip(-32768, 32767).astype("<i2").tobytes())
            left -= len(piece)
            if left <= 0:
                return


def transcribe(recording: Path, whole: float, until: float) -> dict[str, float]:
    """Run the command on a recording of `whole` hours, and kill it when its journal holds `until` hours.

    Returns:
        The columns of a row, but for its name.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    to = recording.parent / "out"
    command = [sys.executable, "-m", "pipeline.transcribe", str(recording), "--to", str(to)]
    begin, first = time.monotonic(), heard(to)
    with subprocess.Popen(command) as running:
        process = psutil.Process(running.pid)
        early, peak, cpu = math.nan, 0.0, 0.0
        while running.poll() is None:
            memory = process.memory_info().rss / 1e6
            cpu, peak = sum(process.cpu_times()[:2]), max(peak, memory)
            done = heard(to)
            if math.isnan(early) and done - first >= whole / 10:
                early = memory
            if done >= until:
                running.kill()
            time.sleep(EVERY)
    if running.returncode != (0 if until == math.inf else -signal.SIGKILL):
        raise subprocess.CalledProcessError(running.returncode, command)
    hours = heard(to) - first
    minutes = (time.monotonic() - begin) / 60
    return {
        "hours": hours,
        "cpu_min": cpu / 60 / hours,
        "wall_min": minutes / hours,
        "early_mb": early,
        "peak_mb": peak,
    }


def heard(to: Path) -> float:
    """Return the hours of recording in the journal of the folder `to`, which its last complete line states."""
    for journal in to.glob(".transcribe/*.jsonl"):
        line = journal.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[2]
        if line:
            return float(json.loads(line.partition(b" ")[2])["end"]) / RATE / 3600
    return 0.0


if __name__ == "__main__":
    entry(main)
