"""A clone of the project in a folder of the test's own, with a shrunken built-in corpus and quick training."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def clone(target: Path, dialogues: int = 2) -> Path:
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
        f"-m 'pipeline.${{item}}' --dialogues {dialogues}",
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


def run(folder: Path, *words: str, code: int = 0, **variables: str) -> str:
    """Run `python -m WORDS` (dvc and the stages alike) in the clone; returns stdout and stderr together."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment(**variables), text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == code, f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def shell(folder: Path, script: str, **variables: str) -> str:
    """Run lines of a page in the clone with bash, up to the first that fails; returns stdout and stderr together."""
    done = subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=environment(**variables), text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def environment(**variables: str) -> dict[str, str]:
    """Return the caller's environment without the project's settings, with `variables`."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("EMOFUSE_", "DVC_"))},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "EMOFUSE_WORKERS": "2",
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.invalid",
        **variables,
    }  # fmt: skip


def ran(output: str) -> list[str]:
    """Return the stages that DVC says it ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
