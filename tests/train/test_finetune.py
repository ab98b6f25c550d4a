"""Fine-tuning: an encoder fitted to the train split, its features, and what they may be used for."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from sklearn.metrics import silhouette_score

from evaluate.check import main as check
from evaluate.check import same_split
from evaluate.predict.trained import open_model
from evaluate.run.load import load_run
from extract.contract import Failure
from extract.encoders.text import TextEncoder
from extract.engine import run
from extract.networks.weights import content_hash
from extract.streams import base_of, encoder_of, load_checked
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import Utterance, read_utterances
from pipeline.tables.splits import splits
from pipeline.tables.target import Target
from tests.extract.project import inline
from tests.train import tuned
from train import stage
from train.data.labelled import Labelled
from train.finetune import stage as finetuning
from train.fusion.build import read as load_dataset


@pytest.fixture(autouse=True)
def project(tuned_project, monkeypatch) -> Path:
    monkeypatch.setattr("extract.engine.local.extract", inline)
    return tuned_project


def part_of(fold="none", seed=0) -> np.ndarray:
    utterances = read_utterances()
    return splits(read_labels(utterances, Target(tuned.LABELS)), utterances, fold, seed)


def ids_hash(utterances: list[Utterance], split: np.ndarray) -> dict[str, str]:
    return Labelled(utterances, Target(tuned.LABELS), torch.zeros(0), split).ids()


def test_it_learns_and_leaves_a_folder_that_transformers_reads(monkeypatch, bert):
    tuned.finetune(monkeypatch)
    record = tuned.record()
    scores = [row["val_weighted_f1"] for row in record["history"]]
    assert max(scores) > 0.9
    assert record["best_epoch"] == 1 + int(np.argmax(scores))
    assert record["base"]["sha256"] == content_hash(bert)
    assert record["training"]["lr"] == 3e-3
    assert "weights" not in record["encoder"]
    assert sorted(tuned.contents()) == [
        "config.json", "finetune.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    for name, content in tuned.contents().items():
        assert str(Path.cwd()).encode() not in content, name
    assert transformers.AutoModel.from_pretrained("weights/tuned").config.model_type == "bert"
    assert not list(Path(".cache/train").iterdir())
    assert not list(Path("weights").glob(".*"))


def test_a_table_edited_meanwhile_leaves_no_weights(monkeypatch):
    table, real = Path("data/labels.csv"), finetuning.fit

    def edited(*args):
        table.write_text(table.read_text() + "\n")
        return real(*args)

    monkeypatch.setattr(finetuning, "fit", edited)
    with pytest.raises(UserError, match=r"changed while the stage ran: data/labels\.csv"):
        tuned.finetune(monkeypatch)
    assert not Path("weights/tuned").exists()


def test_its_features_are_those_of_the_fitted_weights_and_say_what_they_saw(monkeypatch):
    tuned.finetune(monkeypatch)
    run.run("tuned")
    params = load_checked()
    base, _ = base_of("tuned", params)
    encoder = encoder_of("tuned", params)
    utterances = read_utterances()
    model = transformers.AutoModel.from_pretrained("weights/tuned").eval()
    with FeatureCache("data/features/tuned.h5") as cache:
        meta, pooled = cache.meta, cache.pooled()
    assert meta.weights == {"name": "tuned", "revision": "", "sha256": content_hash(Path("weights/tuned"))}
    assert meta.weights_saw == {"fold": "none", "ids": ids_hash(utterances, part_of())}
    assert meta.fingerprint == encoder.fingerprint() != base.fingerprint()
    for i in range(4):
        item = encoder.item(utterances[:4], i)
        assert item == base.item(utterances[:4], i)
        begin, end = item.content["own"]
        with torch.no_grad():
            states = model(torch.tensor([item.content["ids"]])).last_hidden_state[0]
        np.testing.assert_allclose(pooled[i], states[begin:end].mean(0), rtol=1e-5, atol=1e-5)


def test_utterances_of_one_emotion_move_together(monkeypatch):
    tuned.finetune(monkeypatch)
    params, talk, part = load_checked(), read_utterances(), part_of()
    labels = read_labels(talk, Target(tuned.LABELS))["emotion"][part == "test"]
    found = []
    for encoder in (base_of("tuned", params)[0], encoder_of("tuned", params)):
        items = [encoder.item(talk[i - i % 4 : i - i % 4 + 4], i % 4) for i in np.flatnonzero(part == "test")]
        found.append(silhouette_score(np.stack([f.pooled for f in encoder.extract(items)]), labels))
    assert found[1] > found[0] + 0.2


def test_same_seed_same_bytes_and_another_seed_others(monkeypatch):
    made = []
    for seed in (3, 3, 4):
        tuned.change(Path(), "finetune", seed=seed, epochs=1)
        tuned.finetune(monkeypatch)
        made.append(tuned.contents())
    assert made[0] == made[1]
    assert made[0]["model.safetensors"] != made[2]["model.safetensors"]


def test_the_test_split_is_not_read(monkeypatch, project):
    tuned.change(project, "finetune", epochs=1)
    tuned.finetune(monkeypatch)
    before = tuned.contents()
    for name, column, noise in (("utterances", "text", "really sorry ."), ("labels", "emotion", "joy")):
        table = pd.read_csv(f"data/{name}.csv", dtype=str, keep_default_na=False)
        table.loc[part_of() == "test", column] = noise
        table.to_csv(f"data/{name}.csv", index=False, lineterminator="\n")
    tuned.finetune(monkeypatch)
    assert tuned.contents() == before


def test_a_fold_is_kept_apart(monkeypatch, project):
    tuned.change(project, "finetune", fold=2, epochs=1)
    seen, whole = [], TextEncoder.item
    monkeypatch.setattr(
        TextEncoder, "item", lambda self, talk, i: seen.append(talk[i].session) or whole(self, talk, i)
    )
    tuned.finetune(monkeypatch)
    assert set(seen) == {"1", "3"}
    assert tuned.record()["fold"] == "2"
    assert tuned.record()["ids"] == ids_hash(read_utterances(), part_of(2))


def test_features_are_refused_where_their_weights_saw_the_test_part(monkeypatch, project):
    tuned.change(project, "finetune", fold=2, epochs=1)
    tuned.finetune(monkeypatch)
    run.run("tuned")
    tuned.change(project, "train", fold="2")
    assert load_dataset(load_checked()).dims == {"text": 32}
    for fold in ("none", "3"):
        tuned.change(project, "train", fold=fold)
        for refuses in (load_dataset, load_run):
            with pytest.raises(UserError, match=r"tuned\.h5: .* was fine-tuned with fold 2.*test utterances"):
                refuses(load_checked())


@pytest.mark.parametrize(
    ("encoder", "fusion", "said"),
    [
        ({"fold": 2}, {"fold": "2"}, None),
        ({"seed": 1}, {}, None),  # without a fold, val is the corpus' own
        ({"fold": 2, "seed": 4}, {"fold": 2, "seed": 4}, None),
        ({"fold": 2}, {}, r"tuned\.training\.fold=2, but train\.fold=none: .*make them equal"),
        ({}, {"fold": "s"}, r"tuned\.training\.fold=none, but train\.fold=s: "),
        ({"fold": 2}, {"fold": 2, "seed": 1}, r"tuned\.training\.seed=0, but train\.seed=1: .*val"),
        ({"val": "speaker"}, {}, r"tuned\.training\.val=speaker, but train\.val=any: .*make them equal"),
        ({"val": "speaker"}, {"val": "speaker", "seed": 1}, r"tuned\.training\.seed=0, but train\.seed=1: "),
        ({"fold": 2}, {"streams": {"text": "none", "audio": "other", "visual": "none"}}, None),
    ],
)
def test_other_splits_and_seeds_are_refused_before_anything_runs(project, encoder, fusion, said):
    tuned.change(project, "extract", other={"encoder": "opensmile"})
    tuned.change(project, "finetune", **encoder)
    tuned.change(project, "train", **fusion)
    with pytest.raises(UserError, match=said) if said else nullcontext():
        same_split(load_checked())


def test_weights_named_by_their_folder_still_say_what_they_saw(monkeypatch, project):
    tuned.change(project, "finetune", epochs=1)
    tuned.finetune(monkeypatch)
    params = json.loads(Path("params.yaml").read_text())
    params["extract"]["sly"] = {"encoder": "text", "weights": "weights/tuned", "context": {"tokens": 32}}
    Path("params.yaml").write_text(json.dumps(params))
    run.run("sly")
    with FeatureCache("data/features/sly.h5") as cache:
        assert cache.meta.weights_saw["fold"] == "none"
    Path("weights/tuned/finetune.json").write_text("{}")
    with pytest.raises(UserError, match=r"finetune\.json: damaged"):
        run.run("sly")


def test_a_model_on_its_features_finds_the_weights_again(monkeypatch, project):
    """For `python -m evaluate.predict`: the stream's weights have no other name than the folder's."""
    tuned.change(project, "finetune", epochs=1)
    tuned.finetune(monkeypatch)
    run.run("tuned")
    stage.run()
    model = open_model(Path("models/seed0"), {}, project)
    assert model.encoders["text"].fingerprint() == encoder_of("tuned", load_checked()).fingerprint()


def test_without_its_weights_a_stream_says_which_stage_makes_them():
    with pytest.raises(UserError, match=r"weights/tuned: .*run `dvc repro finetune@tuned`"):
        run.run("tuned")


def test_too_many_failures_name_the_streams_own_section(monkeypatch, project):
    tuned.change(project, "finetune", epochs=1)
    tuned.finetune(monkeypatch)
    monkeypatch.setattr(TextEncoder, "read", lambda self, item: Failure("failed", "unreadable"))
    with pytest.raises(UserError, match=r"96 of 96 utterances .*more than finetune\.tuned\.max_failed=0\.5"):
        run.run("tuned")


def test_other_weights_are_other_features_and_the_same_ones_cost_a_merge(monkeypatch, project, capsys):
    # Utterances with the same words in the same context are one item.
    for seed, extracted in ((0, 74), (1, 74), (0, 0)):
        tuned.change(project, "finetune", seed=seed, epochs=1)
        tuned.finetune(monkeypatch)
        capsys.readouterr()
        run.run("tuned")
        assert f"96 utterances: 96 ok; extracted {extracted} in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"training": {"epoch": 3}}, "finetune.tuned.training.epoch: unknown key; did you mean `epochs`?"),
        ({"training": {"epochs": 0}}, "finetune.tuned.training.epochs=0"),
        ({"trainin": {"epochs": 3}}, "finetune.tuned.trainin: unknown key; did you mean `training`?"),
        ({"poling": "cls"}, "finetune.tuned.poling: unknown key; did you mean `pooling`?"),
        ({"pooling": "max"}, "finetune.tuned.pooling='max'"),
        (
            {"encoder": "opensmile"},
            "finetune.tuned.encoder='opensmile': cannot be fine-tuned; use encoder: text",
        ),
        ({"encoder": "txt"}, "finetune.tuned.encoder: unknown encoder 'txt'; did you mean `text`?"),
    ],
)
def test_mistakes_are_told_before_anything_runs(entry, said):
    params = json.loads(Path("params.yaml").read_text())
    params["finetune"]["tuned"] = {"encoder": "text", **entry}
    Path("params.yaml").write_text(json.dumps(params))
    with pytest.raises(UserError) as error:
        load_checked()
    assert said in str(error.value)


def test_a_name_or_fold_that_is_not_there(monkeypatch, project):
    with pytest.raises(UserError, match=r"no `tuend` under finetune; did you mean `tuned`\?"):
        tuned.finetune(monkeypatch, "tuend")
    tuned.change(project, "finetune", fold=7)
    with pytest.raises(
        UserError, match=r"finetune\.tuned\.training\.fold=7: no such session; choose one of .*: 1, 2, 3"
    ):
        tuned.finetune(monkeypatch)


def test_the_command_line_knows_its_streams(monkeypatch, project, capsys):
    from extract import __main__ as command

    def said(*args: str) -> str:
        monkeypatch.setattr("sys.argv", ["extract", *args])
        command.main()
        return capsys.readouterr().out

    assert said("status") == "tuned: not extracted yet; run `dvc repro extract_finetuned@tuned`\n"
    assert "deleted 0 journals" in said("clean")
    tuned.change(project, "finetune", epochs=1)
    tuned.finetune(monkeypatch)
    said("tuned")
    assert "dvc commit --force extract_finetuned@tuned && dvc repro" in said("retry", "tuned")
    assert "1 remain" in said("clean")
    check()
    assert capsys.readouterr().out == "params.yaml: ok\n"
    assert os.path.exists("data/features/tuned.h5")
