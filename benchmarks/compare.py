"""Compare two files that a benchmark wrote with --json: new / old of each number.

    python -m benchmarks.compare old.json new.json

Below 1 is better for seconds and memory, above 1 for rates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Key, read


def lines(old: dict[Key, float], new: dict[Key, float]) -> Iterator[str]:
    """Yield the table: the numbers of both files with their ratio, then those of one file."""
    both = [key for key in old if key in new]
    width = max((len(_name(key)) for key in {*old, *new}), default=0)
    if both:
        yield f"{'':{width}}{'old':>12}{'new':>12}{'new / old':>11}"
    for key in both:
        ratio = f"{new[key] / old[key]:.3f}" if old[key] else "old is 0"
        yield f"{_name(key):{width}}{old[key]:12.5g}{new[key]:12.5g}{ratio:>11}"
    for where, here, there in (("old", old, new), ("new", new, old)):
        for key in here:
            if key not in there:
                yield f"{_name(key):{width}}{here[key]:12.5g}  only in {where}"


def _name(key: Key) -> str:
    return ": ".join(key)


def main() -> None:
    """Print the comparison of the two files that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    args = parser.parse_args()
    try:
        print("\n".join(lines(read(args.old), read(args.new))))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
