"""Run `python -m MODULE …` in a fork of a process that has imported the large libraries.

A new interpreter that imports torch needs three seconds of processor time, a fork of such a process almost none. The
fork imports every module of the project anew, because the process that is forked has imported none.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess

LIBRARIES = ["av", "cv2", "h5py", "numpy", "pandas", "sklearn.metrics", "torch"]
LIMIT = 300.0  # seconds
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(LIBRARIES)


def run(folder: Path, *words: str, **variables: str) -> CompletedProcess[str]:
    """Run `python -m WORDS` in a folder, with these environment variables added; return its code and output."""
    with tempfile.TemporaryDirectory() as place:
        printed = Path(place) / "stdout", Path(place) / "stderr"
        process = CONTEXT.Process(target=_main, args=(folder, words, {**os.environ, **variables}, printed))
        process.start()
        process.join(LIMIT)
        process.kill()
        process.join()
        assert process.exitcode is not None
        return CompletedProcess(words, process.exitcode, *(path.read_text("utf-8") for path in printed))


def _main(
    folder: Path, words: tuple[str, ...], environment: dict[str, str], printed: tuple[Path, Path]
) -> None:
    for number, path in enumerate(printed, start=1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(words)  # `run_module` replaces the first by the module's file
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
