"""`make` under Python 3.10 once ended in pip's list of versions of a package that has none for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_an_old_python_is_named_before_anything_is_made(tmp_path: Path) -> None:
    for path in (REPOSITORY / "Makefile", *REPOSITORY.glob("requirements*.txt")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    # `false` answers as an older Python does, when asked whether it is 3.11 or newer.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "PYTHON=false", ".venv/installed"], cwd=tmp_path, env=outside, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: false is not Python 3.11 or newer; run: make PYTHON=")
    assert not (tmp_path / ".venv").exists()
