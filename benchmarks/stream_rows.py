"""The rows of `benchmarks.extract`: what one holds, and the table of them, printed and as in docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass
class Row:
    """A line of the table. The last four fields are empty in the row of a reference.

    Attributes:
        stream: the name of the stream.
        what: the measured program or setting.
        utterances: the number of utterances.
        seconds: wall-clock seconds.
        cpu_seconds: CPU seconds.
        against: the row that this row is compared with.
        faster: the speed relative to `against`.
        aim: the intended value of `faster`.
        difference: the largest difference of the features, relative to the largest value.
    """

    stream: str
    what: str
    utterances: int
    seconds: float
    cpu_seconds: float
    against: str = ""
    faster: float | None = None
    aim: float | None = None
    difference: float | None = None


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the rows with rates and ratios as they are shown."""
    return pd.DataFrame(
        {
            "stream": row.stream,
            "what": row.what,
            "utterances/s": f"{row.utterances / row.seconds:.3g}",
            "CPU s an utterance": f"{row.cpu_seconds / row.utterances:.3g}",
            "compared with": row.against,
            "ratio": "" if row.faster is None else f"{row.faster:.1f}x",
            "aim": "" if row.aim is None else f"{row.aim:g}x",
            "largest difference": "" if row.difference is None else f"{row.difference:.0e}",
        }
        for row in rows
    )


def line(row: Row) -> str:
    """Return a row as a line of the printed table."""
    faster = "" if row.faster is None else f"{row.faster:.2f}x"
    aim = "" if row.aim is None else f"{row.aim:g}x"
    gap = "" if row.difference is None else f"{row.difference:.1e}"
    rate = row.utterances / row.seconds
    what = f"{row.stream}: {row.what}"
    return f"{what:42}{row.seconds:9.2f}{row.cpu_seconds:9.2f}{rate:8.2f}{faster:>8}{aim:>6}{gap:>12}  {row.against}"
