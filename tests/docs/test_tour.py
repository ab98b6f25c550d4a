"""docs/tour.ipynb runs from top to bottom on a finished run of a small built-in corpus."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.clone import copy, run


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_notebook_runs(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = copy(finished, tmp_path)
    for name, mu1 in (("mu1-low", "0.1"), ("mu1-high", "0.5")):
        run(project, "dvc", "exp", "run", "--temp", "-n", name, "-S", f"loss.mu1={mu1}")
    monkeypatch.setenv("PYTHONPATH", str(project))
    notebook = nbformat.read(project / "docs/tour.ipynb", as_version=4)
    where = {"metadata": {"path": str(project / "docs")}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    shown = [str(output) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in text for text in shown) == 2
    assert any("mu1-low" in text and "mu1-high" in text for text in shown)
