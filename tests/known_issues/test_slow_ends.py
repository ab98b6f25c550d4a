"""A command that had imported torch searched all objects for garbage at its end, which took up to a second."""

from __future__ import annotations

import subprocess
import sys

from tests.clone import ROOT

# The functions that are registered last run first.
PROGRAM = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > len(gc.get_objects())))
from pipeline.errors import entry
entry(lambda: None)
"""


def test_nothing_is_left_to_search_at_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
