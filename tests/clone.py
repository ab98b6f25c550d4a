"""A clone of the project in a folder of the test's own, with a shrunken built-in corpus and quick training."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STREAMS = ["extract@text", "extract@opensmile", "extract@face"]
# The folders that come first in a command's PATH. The fixture `warm` adds that of tests/warm_python.py.
FIRST = [str(Path(sys.executable).parent)]
# Of a command, in seconds. `dvc exp run --run-all` waits forever if the queue's worker ended, for example because it
# read a message that was only half written.
LIMIT = 900


def clone(target: Path) -> Path:
    """Copy what git tracks (or would), commit it there, and make corpus and training small."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    edit(
        target / "dvc.yaml",
        "-m 'pipeline.${item}'",
        "-m 'pipeline.${item}' --dialogues 1",
    )
    edit(target / "params.yaml", "epochs: 60", "epochs: 3")
    edit(target / "params.yaml", "count: 6", "count: 2")
    # The locked hashes are those of the whole corpus.
    (target / "dvc.lock").unlink(missing_ok=True)
    git(target, "init", "-q", "-b", "main")
    git(target, "add", "-A")
    git(target, "commit", "-q", "-m", "A clone")
    return target


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name}: {old!r} occurs {text.count(old)} times, expected once"
    path.write_text(text.replace(old, new), encoding="utf-8")


def git(folder: Path, *words: str) -> str:
    name = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
    return subprocess.run(
        ["git", *name, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def experiment(folder: Path, name: str) -> str:
    """Return the commit of DVC's experiment of this name, 40 hex digits; empty if there is none."""
    return git(folder, "for-each-ref", "--format=%(objectname)", f"refs/exps/**/{name}").strip()


def finished(place: Path) -> Path:
    """Return a clone below `place` whose pipeline has run; the first process that asks for it makes it."""
    folder = place / "finished"
    with (place / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            (place / "unfinished").mkdir()
            project = clone(place / "unfinished")
            stages = ["check", "corpus@demo", "prepare", *STREAMS, "train", "evaluate"]
            assert sorted(ran(run(project, "dvc", "repro"))) == sorted(stages)
            git(project, "add", "-A")
            git(project, "commit", "-q", "-m", "Reproduced")
            project.rename(folder)
    return folder


def copy(project: Path, target: Path) -> Path:
    """Copy a project with all that its runs left."""
    return Path(shutil.copytree(project, target, symlinks=True, dirs_exist_ok=True))


def run(folder: Path, *words: str, code: int = 0, **variables: str) -> str:
    """Run `python -m WORDS` (dvc and the stages alike) in the clone; returns stdout and stderr together."""
    return _run(folder, ["python", "-m", *words], code, variables)


def shell(folder: Path, script: str, **variables: str) -> str:
    """Run lines of a page in the clone with bash, up to the first that fails; returns stdout and stderr together."""
    return _run(folder, ["bash", "-ec", script], 0, variables)


def _run(folder: Path, words: list[str], code: int, variables: dict[str, str]) -> str:
    """Run a command that must end with `code` within `LIMIT`; a failure shows all output, that of DVC's queue too."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=environment(**variables), stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            ended = str(process.wait(LIMIT))
        except subprocess.TimeoutExpired:
            ended = f"SIGKILL after {LIMIT} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        said = output.read()
    assert ended == str(code), f"{' '.join(words)} ended with {ended}:\n{said}\n{_queue(folder)}"
    return said


def _queue(folder: Path) -> str:
    """Return the logs of the workers of DVC's queue, which outlive the command that started them."""
    logs = sorted((folder / ".dvc/tmp/exps").rglob("*.out"))
    return "\n".join(f"{path}:\n{path.read_text(encoding='utf-8', errors='replace')}" for path in logs)


def environment(**variables: str) -> dict[str, str]:
    """Return the caller's environment without the project's settings, with `variables`."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("EMOFUSE_", "DVC_"))},
        "PATH": os.pathsep.join([*FIRST, os.environ["PATH"]]),
        "HF_HUB_OFFLINE": "1",
        # Every worker imports torch. tests/extract/test_run_command.py compares numbers of workers.
        "EMOFUSE_WORKERS": "1",
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.invalid",
        **variables,
    }  # fmt: skip


def ran(output: str) -> list[str]:
    """Return the stages that DVC says it ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
