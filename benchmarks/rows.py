"""The file that every benchmark writes with --json: one row for each measured number.

{"benchmark": "cache", "case": "pooled, raw bytes", "measure": "read_s", "value": 0.31}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Key = tuple[str, str, str]


def write(path: Path, benchmark: str, rows: Iterable[Mapping[str, Any]], case: Sequence[str]) -> None:
    """Write the numbers of a benchmark's rows to a JSON file.

    Args:
        path: the file.
        benchmark: the benchmark's name.
        rows: the rows of the benchmark's table; values that are not numbers, and None, are left out.
        case: the keys whose values together name a row.

    Raises:
        ValueError: two rows have the same name.
    """
    found: dict[Key, float] = {}
    for row in rows:
        name = ", ".join(str(row[key]) for key in case if row.get(key) not in (None, ""))
        for measure, value in row.items():
            if measure in case or isinstance(value, str) or value is None:
                continue
            key = (benchmark, name, measure)
            if key in found:
                raise ValueError(f"{benchmark}: two rows are named {name!r}")
            found[key] = float(value)
    lines = [{"benchmark": b, "case": c, "measure": m, "value": value} for (b, c, m), value in found.items()]
    path.write_text(json.dumps(lines, indent=1) + "\n")


def read(path: Path) -> dict[Key, float]:
    """Return the numbers in a file that `write` wrote.

    Raises:
        ValueError: the file is not such a file, or has a row twice.
    """
    found: dict[Key, float] = {}
    lines = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(lines, list):
        raise ValueError(f"{path}: not a list of rows; write it with a benchmark's --json")
    for number, line in enumerate(lines):
        try:
            key, value = (line["benchmark"], line["case"], line["measure"]), float(line["value"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: row {number}: {error!r}; write it with a benchmark's --json") from None
        if key in found or not math.isfinite(value):
            raise ValueError(
                f"{path}: row {number}: {', '.join(key)} is there twice, or is not a finite number"
            )
        found[key] = value
    return found
