"""Show the progress of a long command: a bar on a terminal, one line a minute in a log."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

LOG_SECONDS = 60.0


class Progress:
    """A counter of finished work on stderr, with its rate and the time left.

    Args:
        name: what is done.
        total: the amount of work.
        unit: of the work, such as `utt` for utterances or `s` for seconds of recording.
    """

    def __init__(self, name: str, total: float, unit: str = "utt") -> None:
        self.name, self.begin = name, time.monotonic()
        self.logged = self.begin
        self.bar = tqdm(
            total=total, desc=name, unit=unit, disable=not sys.stderr.isatty(), dynamic_ncols=True
        )
        self.count, self.total = 0.0, total

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.bar.close()

    def add(self, count: float) -> None:
        """Count `count` more as finished."""
        self.count += count
        self.bar.update(count)
        now = time.monotonic()
        if self.bar.disable and now - self.logged >= LOG_SECONDS:
            self.logged = now
            rate = self.count / (now - self.begin)
            left = f"{(self.total - self.count) / rate / 60:.0f} min left" if rate else "no rate yet"
            print(
                f"{self.name}: {self.count:.0f} of {self.total:.0f}, {rate:.1f}/s, {left}",
                file=sys.stderr,
                flush=True,
            )
