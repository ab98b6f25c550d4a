"""Run the stages of many experiments in this process; evaluate/experiments/clone.py starts it in a clone.

    python -m evaluate.experiments.worker HOME < experiments.json

Input: {name: [changed params]} as JSON, such as {"mu1": ["loss.mu1=0.4"]}. For each experiment it writes the params and
runs the stages before `train` that have changed. Then it runs `check`, `train` and `evaluate` as function calls, so
that the code is imported once, and saves the results as a DVC experiment in the repository HOME.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command import parser
from pipeline.errors import UserError, entry

if TYPE_CHECKING:
    from dvc.repo import Repo

IN_PROCESS = ("check", "train", "evaluate")
SECONDS = "Training-seconds"  # a trailer of the commit's message, because the time must not change a file


def main() -> None:
    """Run the experiments of stdin."""
    words = parser("evaluate.experiments.worker", __doc__)
    words.add_argument("home", metavar="HOME", type=Path, help="the repository that receives the experiments")
    home = words.parse_args().home

    from dvc.repo import Repo

    from evaluate.experiments.clone import INTERRUPTED, git, head, ref, write_reason
    from pipeline.params import PARAMS

    with Repo() as repo:
        repo.checkout(force=True, allow_missing=True)
    params, baseline = PARAMS.read_bytes(), head(Path.cwd())
    for name, changes in json.load(sys.stdin).items():
        place = ref(baseline, name)
        write_reason(home, place, INTERRUPTED)
        PARAMS.write_bytes(params)
        try:
            print(f"{name}: {_run(name, changes, place, home)}", flush=True)
            write_reason(home, place, None)
        except Exception as error:  # the other experiments run; the table shows the reason
            if not isinstance(error, UserError):
                traceback.print_exc()
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            said = kind + " ".join(str(error).split())
            git(home, "update-ref", "-d", place)
            write_reason(home, place, said)
            print(f"{name}: no result: {said}", file=sys.stderr, flush=True)


def _run(name: str, changes: Sequence[str], place: str, home: Path) -> str:
    """Run one experiment and save it in `home` under the reference `place`; return what was done.

    Raises:
        UserError: params or inputs are wrong.
        DvcException: a stage before `train` fails.
    """
    from dvc.repo import Repo
    from dvc.utils.hydra import apply_overrides

    import evaluate.check
    import evaluate.stage
    import train.stage
    from evaluate.experiments.clone import git, head
    from pipeline.params import PARAMS

    apply_overrides(PARAMS, list(changes))
    evaluate.check.main()
    with Repo() as repo:
        _prepare(repo, home)
        if _kept(place, home):
            return "already there with the same inputs"
        # If this run is killed, the table must not show an experiment with other inputs.
        git(home, "update-ref", "-d", place)
        with repo.lock:
            for target in IN_PROCESS:
                for stage in repo.stage.collect(target):
                    stage.remove_outs(force=True)
        begun = time.monotonic()
        _as_in_a_new_process(train.stage.run)
        seconds = time.monotonic() - begun
        _as_in_a_new_process(evaluate.stage.run)
        for target in IN_PROCESS:
            repo.commit(target, force=True, relink=False)
    # A DVC experiment is a commit after its baseline, with a reference in refs/exps. `dvc exp save` would also add the
    # plots, which git ignores.
    clone, baseline = Path(), head(Path())
    git(clone, "add", "--update")
    git(clone, "add", "dvc.lock", "results/metrics.json")
    message = f"dvc: commit experiment {name}\n\n{SECONDS}: {seconds:.1f}"
    git(clone, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", message)
    git(clone, "update-ref", place, "HEAD")
    git(clone, "reset", "--quiet", "--soft", baseline)
    git(home, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", os.getcwd(), f"{place}:{place}")
    return f"trained in {seconds:.1f} s"


def _as_in_a_new_process(run: Callable[[], None]) -> None:
    """Run a stage, and undo its settings of torch, which change the last digits of the next stage's numbers."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        run()
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def _prepare(repo: Repo, home: Path) -> None:
    """Run the stages before `train` that have changed; media may be missing if the features are there."""
    stages = repo.stage.collect("train", with_deps=True)
    (last,) = (stage for stage in stages if stage.addressing == "train")
    complete = all(dep.exists for dep in last.deps)
    # DVC_ROOT: extraction uses the journal of the original.
    repo.reproduce(
        [stage.addressing for stage in stages if stage is not last],
        allow_missing=complete,
        run_env={"DVC_ROOT": str(home)},
    )


def _kept(place: str, home: Path) -> bool:
    """Return whether `home` has this experiment, made from the files that the clone has now."""
    from ruamel.yaml import YAML

    from evaluate.experiments.clone import git

    rev = git(home, "for-each-ref", "--format=%(objectname)", place).strip()
    if not rev or git(Path(), "diff", "--name-only", rev, "--", ".", ":!dvc.lock", ":!results/metrics.json"):
        return False

    def inputs(text: str) -> dict[str, Any]:
        stages = YAML(typ="safe", pure=True).load(text)["stages"]
        return {name: stage for name, stage in stages.items() if name not in IN_PROCESS}

    return inputs(git(Path(), "show", f"{rev}:dvc.lock")) == inputs(
        Path("dvc.lock").read_text(encoding="utf-8")
    )


if __name__ == "__main__":
    entry(
        main,
        "experiments: interrupted; the finished ones are kept, and the next run continues with the others",
    )
