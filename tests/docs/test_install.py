"""`pip install -e .` (docs/reference/python.md): the packages are importable from anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clone import clone

READ = """
import site
site.addsitedir({folder!r})
import evaluate, extract, train
from pipeline.features import FeatureCache
from pathlib import Path
print(Path(train.__file__ or train.__path__[0]).as_posix())
with FeatureCache(Path({file!r})) as cache:
    print(len(cache))
"""


@pytest.mark.slow
def test_an_editable_install_reads_features_from_any_folder(tmp_path: Path) -> None:
    project = clone(tmp_path / "project")
    # Without dependencies and isolation: neither may be fetched here.
    command = [
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--prefix",
        str(tmp_path / "env"),
        "-e",
        ".",
    ]
    subprocess.run([sys.executable, "-m", *command], cwd=project, check=True)
    [folder] = (tmp_path / "env").glob("lib/python*/site-packages")
    script = READ.format(folder=str(folder), file=str(project / "data/features/none.h5"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    place, count = done.stdout.split()
    assert place.startswith(project.as_posix())
    assert count == "0"
