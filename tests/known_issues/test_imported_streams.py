"""Feature files that were made elsewhere: they could not be put under DVC, and evaluation knew no weights of theirs."""

from __future__ import annotations

import csv
import json
import pickle

import numpy as np
import pytest
from ruamel.yaml import YAML

from tests.clone import clone, git, ran, run
from tests.pipeline.published import dialogue_rnn


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
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


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_published_pickles_go_through_the_whole_pipeline(tmp_path):
    project = clone(tmp_path)
    turns = {f"Ses0{1 + k % 5}{'MF'[k % 2]}_impro{k:02}": 6 for k in range(30)}
    entries = dialogue_rnn(turns, [name for name in turns if not name.startswith("Ses05")])
    (tmp_path / "IEMOCAP_features.pkl").write_bytes(pickle.dumps(tuple(entries.values())))
    run(project, "pipeline.corpora.pickles", str(tmp_path / "IEMOCAP_features.pkl"), "--to", "data")
    yaml = YAML()
    params = yaml.load(project / "presets/iemocap.yaml")
    params.update(extract={}, finetune={})
    params["train"].update(streams={m: m for m in ("text", "audio", "visual")}, epochs=2)
    params["model"].update(dim=16, ffn=16, layers=1, head=16)
    yaml.dump(params, project / "params.yaml")
    run(project, "dvc", "commit", "-f", "prepare")
    run(project, "dvc", "add", "-q", *(f"data/features/{m}.h5" for m in ("text", "audio", "visual")))
    assert ran(run(project, "dvc", "repro")) == ["check", "train", "evaluate"]
    assert "test" in json.loads((project / "results/metrics.json").read_text())
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "Published features")
    assert "train" in ran(run(project, "dvc", "exp", "run", "--temp", "-S", "loss.mu1=0.1"))
