"""The documentation site builds without a warning, and opens without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from pipeline.closure import ROOT


def test_the_site_builds_strictly_and_names_no_other_host(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)', page) == []
    # Search from disk: a page cannot fetch an index there, so it is a script.
    assert (tmp_path / "site/search/search_index.js").exists()
    assert not list((tmp_path / "site").rglob("*.py"))
