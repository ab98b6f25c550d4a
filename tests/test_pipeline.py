"""The main job, end to end under DVC: recordings in, compared metrics out, and only what changed runs again."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import dvc.api
import h5py
import numpy as np
import pandas as pd
import pytest

from tests.clone import STREAMS, copy, edit, git, ran, run
from tests.extract import tiny_models

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    return copy(finished, tmp_path_factory.mktemp("project"))


@pytest.fixture(autouse=True)
def clean(project):
    yield
    git(project, "checkout", "-q", "-f", "main")
    run(project, "dvc", "checkout", "-q")


def test_it_leaves_metrics_plots_report_and_model(project):
    metrics = json.loads((project / "results/metrics.json").read_text())
    for split in ("train", "val", "test"):
        assert 0 <= metrics[split]["weighted_f1"] <= 1
    assert (project / "results/report.html").stat().st_size > 10_000
    assert (project / "models/seed0/model.safetensors").exists()
    assert (project / "results/predictions.csv").exists()
    assert "weighted_f1" in run(project, "dvc", "metrics", "show")


def test_a_second_repro_runs_nothing(project):
    output = run(project, "dvc", "repro")
    assert ran(output) == []
    assert "up to date" in output


@pytest.mark.slow
def test_another_loss_weight_trains_and_evaluates_only(project):
    before = json.loads((project / "models/seed0/model.json").read_text())
    assert ran(run(project, "dvc", "exp", "run", "-S", "loss.mu1=0.4")) == ["check", "train", "evaluate"]
    after = json.loads((project / "models/seed0/model.json").read_text())
    assert (before["params"]["loss"]["mu1"], after["params"]["loss"]["mu1"]) == (0.3, 0.4)
    assert "loss.mu1" in run(project, "dvc", "exp", "diff")


@pytest.mark.slow
def test_two_experiments_side_by_side(project):
    """docs/how-to/experiments.md: dvc exp show, dvc metrics diff, and a table with a significance test."""
    for name, mu1 in (("mu1-low", "0.1"), ("mu1-high", "0.5")):
        assert ran(run(project, "dvc", "exp", "run", "-n", name, "-S", f"loss.mu1={mu1}"))[-1] == "evaluate"
    # Not --only-changed: it also hides scores that happen to be equal.
    drop = r"live|train\.|val|macro|accuracy|low|high|sd|Created"
    shown = run(project, "dvc", "exp", "show", "--csv", "--drop", drop)
    table = {row["Experiment"] or row["rev"]: row for row in csv.DictReader(io.StringIO(shown))}
    scores = {name: float(table[name]["test.weighted_f1"]) for name in ("mu1-low", "mu1-high")}
    assert {name: table[name]["loss.mu1"] for name in scores} == {"mu1-low": "0.1", "mu1-high": "0.5"}
    moved = json.loads(run(project, "dvc", "metrics", "diff", "mu1-low", "mu1-high", "--json", "--all"))
    change = moved["results/metrics.json"]["test.weighted_f1"]
    assert (change["old"], change["new"]) == pytest.approx((scores["mu1-low"], scores["mu1-high"]), abs=1e-4)
    words = ("compare", "mu1-low", "mu1-high", "--against", "mu1-low", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(run(project, "evaluate.experiments.tables", *words))))
    assert {row["row"]: float(row["weighted_f1"]) for row in rows} == pytest.approx(
        {name: 100 * score for name, score in scores.items()}, abs=1e-2
    )
    # This corpus has too few test dialogues for a p (tests/known_issues/test_p_values.py).
    assert [row["p"] for row in rows] == ["", ""]


@pytest.mark.slow
def test_a_held_out_dialogue_is_predicted_as_evaluation_predicted_it(project, tmp_path):
    lines = (project / "data/demo/annotations.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines))
    held_out = next(row["dialogue"] for row in rows if row["split"] == "test")
    kept = [line for line, row in zip(lines[1:], rows, strict=True) if row["dialogue"] == held_out]
    (tmp_path / "spans.csv").write_text("\n".join([lines[0], *kept]) + "\n", encoding="utf-8")
    before = run(project, "dvc", "status")
    words = ("--csv", str(tmp_path / "spans.csv"), "--to", str(tmp_path / "out"))
    output = run(project, "evaluate.predict", *words, EMOFUSE_MEDIA="data/demo")
    assert f"{len(kept)} utterances, " in output
    assert run(project, "dvc", "status") == before
    found, known = (
        pd.read_csv(path, keep_default_na=False).set_index("utterance")
        for path in (tmp_path / "out/predictions.csv", project / "results/predictions.csv")
    )
    labels = json.loads((project / "models/seed0/model.json").read_text())["labels"]
    known = known.loc[found.index]
    assert np.allclose(found[labels], known[labels], atol=1e-5)
    assert list(found["emotion"]) == list(known["predicted"])


@pytest.mark.slow
def test_other_text_context_touches_the_text_stream_alone(project):
    output = run(project, "dvc", "exp", "run", "-S", "extract.text.context.past=2")
    assert ran(output) == ["check", "extract@text", "train", "evaluate"]


@pytest.mark.slow
def test_a_corrected_label_runs_no_stream(project):
    annotations = project / "data/demo/annotations.csv"
    lines = annotations.read_text(encoding="utf-8").splitlines()
    number = next(i for i, line in enumerate(lines) if line.endswith(",neutral"))
    lines[number] = lines[number].removesuffix("neutral") + "anger"
    annotations.unlink()  # DVC's cache may share the file
    annotations.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run(project, "dvc", "commit", "-f", "corpus@demo")
    assert ran(run(project, "dvc", "repro")) == ["prepare", "train", "evaluate"]


@pytest.mark.slow
def test_foalnet_is_one_param_in_the_same_stages_and_metrics(project):
    before = json.loads((project / "results/metrics.json").read_text())
    output = run(project, "dvc", "exp", "run", "-n", "frames", "-S", "model.name=foalnet")
    assert ran(output) == ["check", "train", "evaluate"]
    after = json.loads((project / "results/metrics.json").read_text())
    assert after.pop("causal") is True  # Foal-Net reads no other turn
    assert {split: set(row) for split, row in after.items()} == {s: set(row) for s, row in before.items()}
    details = json.loads((project / "results/details.json").read_text())
    assert set(details["modalities"]) == {"audio", "visual"}
    assert "foalnet" in details["dropped"]["text"]
    shown = run(project, "dvc", "exp", "show", "--csv")
    assert "frames" in shown
    assert "foalnet" in shown


@pytest.mark.slow
def test_a_preset_of_foalnet_runs_with_the_streams_it_names(project):
    preset = (project / "presets/demo-foalnet.yaml").read_text(encoding="utf-8")
    for old, new in ("epochs: 40", "epochs: 2"), ("count: 6", "count: 2"):
        assert preset.count(old) == 1
        preset = preset.replace(old, new)
    (project / "params.yaml").write_text(preset, encoding="utf-8")
    assert ran(run(project, "dvc", "repro")) == ["check", "train", "evaluate"]


@pytest.mark.slow
def test_dropping_a_modality_is_one_param(project):
    assert ran(run(project, "dvc", "exp", "run", "-S", "train.streams.visual=none")) == [
        "check",
        "train",
        "evaluate",
    ]


@pytest.mark.slow
def test_a_fine_tuned_stream_is_one_param_and_its_weights_say_what_they_saw(project, tmp_path):
    """docs/finetuning.md: added by -S, taken by -S, refused as test what it was fitted to, and fitted to each fold."""
    annotations = project / "data/demo/annotations.csv"
    table = pd.read_csv(annotations, dtype=str, keep_default_na=False)
    # Halves of dialogues are dialogues here: a fold needs two for train and val.
    turns = table.groupby("dialogue")["turn"]
    table["dialogue"] += (2 * turns.cumcount() // turns.transform("size")).astype(str)
    table["session"] = ["AB"[i % 2] for i in pd.factorize(table["dialogue"])[0]]
    annotations.unlink()  # DVC's cache may share the file
    table.to_csv(annotations, index=False, lineterminator="\n")
    run(project, "dvc", "commit", "-f", "corpus@demo")
    weights = tiny_models.bert(tmp_path / "tiny")
    entry = (
        f"{{encoder: text, weights: {weights}, context: {{past: 1, tokens: 48}}, training: {{epochs: 1}}}}"
    )
    added = ("-S", f"+finetune.text_ft={entry}", "-S", "train.streams.text=text_ft")
    output = run(project, "dvc", "exp", "run", *added)
    tuned = ["finetune@text_ft", "extract_finetuned@text_ft"]
    assert sorted(ran(output)) == sorted(["check", "prepare", *STREAMS, *tuned, "train", "evaluate"])
    fitted = (project / "weights/text_ft/model.safetensors").read_bytes()
    assert fitted != (weights / "model.safetensors").read_bytes()
    assert "fold" in run(project, "pipeline.features", "info", "data/features/text_ft.h5")
    assert ran(run(project, "dvc", "exp", "run", "-S", "loss.mu1=0.4")) == ["check", "train", "evaluate"]
    output = run(project, "dvc", "exp", "run", "-S", "train.fold=A", code=255)
    assert ran(output) == ["check"]
    assert "finetune.text_ft.training.fold=none, but train.fold=A" in output
    assert "Traceback" not in output
    edit(project / "params.yaml", "fold: A", "fold: none")
    run(project, "evaluate.experiments.folds", "queue")
    run(project, "dvc", "exp", "run", "--run-all")
    table = run(project, "evaluate.experiments.folds", "show")
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["fold A", "fold B", "mean"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  mu1: 0.3", "  mu_1: 0.3", "params.yaml: loss.mu_1: unknown key; did you mean `mu1`?"),
        ("  mu1: 0.3", "  mu1: 0.99", "loss.mu1=0.99 + loss.mu2=0.02 = 1.01 > 1"),
        ("visual: face}", "visual: fase}", "did you mean `face`?"),
        ("    feature_set:", "    featureset:", "extract.opensmile.featureset: unknown key"),
    ],
)
def test_a_mistake_in_params_ends_with_one_message(project, old, new, said):
    edit(project / "params.yaml", old, new)
    output = run(project, "evaluate.check", code=2)
    assert said in output
    assert "Traceback" not in output
    output = run(project, "dvc", "repro", "-q", code=255)
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_table_row_without_its_file_and_a_truncated_clip_are_rows_with_a_status(project):
    clips = sorted((project / "data/demo/media").iterdir())
    cut = clips[1].read_bytes()[:2000]
    for clip in clips[:2]:
        clip.unlink()
    clips[1].write_bytes(cut)
    run(project, "dvc", "commit", "-f", "corpus@demo")
    output = run(project, "dvc", "repro")
    assert "1 missing_file" in output
    assert "1 corrupt" in output
    details = json.loads((project / "results/details.json").read_text())
    face = next(s for s in details["streams"] if s["stream"] == "face")
    assert (face["status"]["missing_file"], face["status"]["corrupt"]) == (1, 1)
    status = run(project, "extract", "status", "face")
    assert re.search(rf"{clips[0].stem}  missing_file  .*{clips[0].name}: did not exist", status)
    assert re.search(rf"{clips[1].stem}  corrupt  not a media file, or its index is missing", status)


@pytest.mark.slow
def test_features_and_models_travel_without_the_media(project, tmp_path):
    """docs/how-to/share.md: push here; pull, train and evaluate there."""
    remote, there = tmp_path / "remote", tmp_path / "there"
    run(project, "dvc", "remote", "add", "-f", "-d", "--local", "lab", str(remote))
    run(project, "dvc", "push")
    git(tmp_path, "clone", "-q", str(project), str(there))
    run(there, "dvc", "remote", "add", "-d", "--local", "lab", str(remote))
    run(there, "dvc", "pull", "prepare", "extract")
    output = run(there, "dvc", "exp", "run", "--pull", "--allow-missing", "-S", "loss.mu1=0.4")
    assert ran(output) == ["check", "train", "evaluate"]
    assert not (there / "data/demo").exists()
    assert not (there / ".cache/journal").exists()
    assert (there / "results/metrics.json").exists()
    for name in ("text", "opensmile", "face"):
        assert (there / f"data/features/{name}.h5").read_bytes() == (
            project / f"data/features/{name}.h5"
        ).read_bytes()
    other = tmp_path / "other.h5"
    run(tmp_path, "dvc", "get", str(there), "data/features/text.h5", "-o", str(other), "--remote", "lab")
    assert ": ok; " in run(project, "pipeline.features", "verify", str(other))
    inside = {"repo": str(there), "remote": "lab", "mode": "rb"}
    with dvc.api.open("data/features/text.h5", **inside) as file, h5py.File(file) as cache:
        assert cache.attrs["stream"] == b"text"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "score"), [("soft", "kl"), ("multi", "macro_f1"), ("values", "ccc")])
def test_the_other_targets_train_on_the_same_features(project, kind, score):
    """docs/how-to/targets.md: each preset trains on the features of the first run."""
    shutil.copy(project / f"presets/demo-{kind}.yaml", project / "params.yaml")
    edit(project / "params.yaml", "count: 6", "count: 2")  # as in the clone, so that no stream runs
    assert sorted(ran(run(project, "dvc", "repro"))) == ["check", "evaluate", "prepare", "train"]
    table = json.loads((project / "results/metrics.json").read_text())["test"]
    details = json.loads((project / "results/details.json").read_text())
    # Two dialogues are too few to learn from: tests/train/test_models.py compares every model with the constant answer.
    assert np.isfinite([table[score], details["majority"][score]]).all()
    assert (project / "results/report.html").stat().st_size > 10_000
    clip = next(iter(sorted((project / "data/demo/media").iterdir()))).name
    spans = project / "data/spans.csv"
    spans.write_text(f"utterance,dialogue,turn,text,media\na,a,0,We got the house!,demo/media/{clip}\n")
    run(project, "evaluate.predict", "--csv", str(spans), "--to", "data/answers")
    with (project / "data/answers/predictions.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    labels = ["valence", "arousal"] if kind == "values" else details["labels"]
    assert all(np.isfinite(float(row[name])) for name in labels)
