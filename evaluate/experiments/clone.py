"""Run experiments in one temporary clone of the repository, all of them in one process.

DVC's queue makes a folder and starts several processes per experiment, which costs more than the training of a quick
model. Here the clone is made once, and evaluate/experiments/worker.py runs the stages of all experiments in it. The
results are ordinary DVC experiments with the same bytes. The clone contains what the folders of the queue contain: the
commit, the uncommitted changes of tracked files, and the data in DVC's cache.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dvc.config import merge
from dvc.repo import Repo

from evaluate.check import tracked
from pipeline.errors import UserError
from pipeline.params import PARAMS, load
from pipeline.scratch import scratch

REASONS = Path(".cache/experiments")
INTERRUPTED = "interrupted"


def run(experiments: Mapping[str, Sequence[str]]) -> None:
    """Run experiments, given as name → changed params; keep those that HEAD already has with the same inputs.

    A failed experiment leaves its reason (see `reason`), and the others run.

    Raises:
        UserError: DVC does not track an imported stream, the clone cannot be made, or the experiments' process ends
            with an error.
    """
    tracked(load())
    home = Path.cwd()
    baseline = head(home)
    with Repo() as repo, scratch(Path(repo.tmp_dir)) as folder:
        place = folder / "clone"
        _clone(repo, home, baseline, place)
        words = [sys.executable, "-m", "evaluate.experiments.worker", str(home)]
        params = (place / PARAMS).read_bytes()
        left, code = dict(experiments), -1
        while left and code < 0:
            (place / PARAMS).write_bytes(params)  # a killed experiment leaves its own
            code = subprocess.run(
                words, cwd=place, env=environment(), input=json.dumps(left), text=True
            ).returncode
            if code < 0:
                left = _after_the_killed(left, home, baseline, signal.Signals(-code).name)
    if code > 0:
        raise UserError(
            f"the experiments ended with exit code {code}; the message is above. The finished ones are kept: run the "
            "command again for the others"
        )


def environment() -> dict[str, str]:
    """Return this process's environment with the folder of its Python first in PATH.

    The stages run `python`, which is another one if the project's environment is not activated.
    """
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), path])}


def _clone(repo: Repo, home: Path, baseline: str, place: Path) -> None:
    """Clone the repository with its uncommitted changes; DVC uses the cache and the remotes of the original."""
    git(home, "clone", "--quiet", "--shared", "--no-checkout", str(home), str(place))
    git(place, "checkout", "--quiet", "--detach", baseline)
    if changes := git(home, "diff", "--binary", baseline):
        git(place, "apply", "--whitespace=nowarn", "-", given=changes)
    for key in ("user.name", "user.email"):
        if value := git(home, "config", "--default", "", key).strip():
            git(place, "config", key, value)
    with Repo(str(place)) as copy, copy.config.edit("local") as config:
        for level in ("repo", "local"):
            merge(config, repo.config.read(level))
        merge(config, {"cache": {"dir": repo.cache.local_cache_dir}})


def _after_the_killed(
    left: Mapping[str, Sequence[str]], home: Path, baseline: str, why: str
) -> dict[str, Sequence[str]]:
    """Record which experiment a signal ended, and return the experiments after it.

    Raises:
        UserError: no experiment was running.
    """
    names = list(left)
    running = [i for i, name in enumerate(names) if reason(home, ref(baseline, name)) == INTERRUPTED]
    if not running:
        raise UserError(
            f"the process of the experiments ended by {why} before the first one; run the command again"
        )
    last = running[0]
    said = f"its process ended by {why}; SIGKILL often means too little memory"
    write_reason(home, ref(baseline, names[last]), said)
    return {name: left[name] for name in names[last + 1 :]}


def reason(home: Path, place: str) -> str | None:
    """Return why the last run of an experiment in `home` failed, or None if it did not; `place` is its reference."""
    path = home / REASONS / f"{place}.txt"
    return path.read_text(encoding="utf-8") if path.exists() else None


def write_reason(home: Path, place: str, text: str | None) -> None:
    """Record why an experiment failed; None removes the record."""
    path = home / REASONS / f"{place}.txt"
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def head(folder: Path) -> str:
    """Return the current commit of a repository, 40 hex digits."""
    return git(folder, "rev-parse", "HEAD").strip()


def ref(baseline: str, name: str) -> str:
    """Return the git reference of an experiment; `baseline` is the commit that it starts from."""
    return f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"


def git(folder: Path, *words: str, given: str | None = None) -> str:
    """Run git in a folder and return its output.

    Raises:
        UserError: git ends with an error.
    """
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        input=given,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
    )
    if done.returncode:
        raise UserError(
            f"`git {' '.join(words)}` in {folder} failed; correct the cause: {done.stderr.strip()}"
        )
    return done.stdout
