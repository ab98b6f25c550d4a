"""Feature files that were imported could not be put under DVC, so that no queued experiment had them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tests.clone import clone, git, ran, run


@pytest.mark.slow
def test_an_imported_stream_trains_in_an_experiment_of_its_own_folder(tmp_path):
    project = clone(tmp_path)
    run(project, "dvc", "repro", "-q", "prepare")
    with (project / "data/utterances.csv").open(newline="", encoding="utf-8") as file:
        names = [row["utterance"] for row in csv.DictReader(file)]
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "pose.npz", x=rng.normal(size=(len(names), 8)).astype(np.float32), ids=np.array(names)
    )
    about = ["--stream", "pose", "--modality", "visual", "--corpus", "demo", "--licence", "none"]
    arrays = ["--array", "x", "--ids", "ids", "--encoder", "random numbers"]
    output = run(project, "pipeline.features", "import", str(tmp_path / "pose.npz"), *about, *arrays)
    assert "dvc add data/features/pose.h5" in output
    run(project, "dvc", "add", "-q", "data/features/pose.h5")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "A stream of our own")
    assert "data/features/pose.h5.dvc" in git(project, "ls-files")
    assert "data/features/pose.h5\n" not in git(project, "ls-files")
    streams = [
        f"train.streams.{m}={name}" for m, name in (("text", "none"), ("audio", "none"), ("visual", "pose"))
    ]
    changes = [word for change in streams for word in ("-S", change)]
    output = run(project, "dvc", "exp", "run", "--temp", "-n", "ours", *changes, "check", "evaluate")
    assert {"check", "train", "evaluate"} <= set(ran(output))
    assert "ours" in run(project, "dvc", "exp", "list", "--name-only")
