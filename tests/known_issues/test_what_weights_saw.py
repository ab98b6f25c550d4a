"""Features of weights that were fitted to the fusion model's val utterances were admitted."""

from __future__ import annotations

import dataclasses
import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.features import FeatureCache, Row, write
from pipeline.params import load
from pipeline.tables.target import Target
from tests.pipeline.feature_files import meta
from tests.train import tuned
from train.data.labelled import Labelled, labelled
from train.fusion.build import read

PATH = Path("data/features/tuned.h5")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tuned.make(tmp_path, tmp_path / "base")
    return tmp_path


def features(fold: str | int, seed: int, path: Path = PATH) -> Labelled:
    """Write features of weights that were fitted with that fold and seed."""
    data = labelled(Target(tuned.LABELS), fold, seed)
    about = meta(
        stream="tuned", modality="text", weights_saw={"fold": str(fold), "ids": data.ids()},
        pooled_dim=4, frames_dim=0, frames="none", pooled_names=(), frames_names=(),
    )  # fmt: skip
    rows = [Row(f"{i:064x}", "ok", pooled=np.full(4, i, np.float32)) for i in range(len(data.utterances))]
    path.parent.mkdir(exist_ok=True)
    write(path, about, [u.utterance for u in data.utterances], rows)
    return data


def refused(said: str) -> AbstractContextManager[object]:
    return pytest.raises(UserError, match=rf"tuned\.h5: the encoder was fine-tuned .*{said}")


@pytest.mark.parametrize(
    ("encoder", "fusion", "parts"),
    [
        (("none", 0), ("none", 0), ""),
        (("none", 3), ("none", 0), ""),  # without a fold, val is the table's whatever the seed
        (("2", 0), ("2", 0), ""),
        (("2", 1), ("2", 0), "train and val"),
        (("2", 0), ("3", 0), "train and val"),
        (("2", 0), ("none", 0), "train and val"),
        (("none", 0), ("2", 0), "train and val"),
    ],
)
def test_another_fold_or_seed_is_refused(project: Path, encoder: tuple, fusion: tuple, parts: str) -> None:
    saw = features(*encoder)
    tuned.change(project, "train", fold=fusion[0], seed=fusion[1])
    here = labelled(Target(tuned.LABELS), *fusion)
    assert ((saw.split == "train") & (here.split != "train")).any() == bool(parts)
    with refused(f"whose {parts} utterances differ from this run's.*train.seed") if parts else nullcontext():
        assert read(load()).dims == {"text": 4}


def test_a_fetched_file_is_refused_too(project: Path) -> None:
    """No `finetune` entry tells of it, only the file itself."""
    features("2", 1, Path("data/features/fetched.h5"))
    params = json.loads(Path("params.yaml").read_text())
    params["finetune"] = {}
    params["train"].update(fold="2", streams={**params["train"]["streams"], "text": "fetched"})
    Path("params.yaml").write_text(json.dumps(params))
    with pytest.raises(UserError, match=r"fetched\.h5: .*trained on this run's val or test utterances"):
        read(load())
    params["train"].update(seed=1)
    Path("params.yaml").write_text(json.dumps(params))
    assert read(load()).dims == {"text": 4}


def test_val_that_became_train_is_refused(project: Path) -> None:
    features("none", 0)
    table = pd.read_csv("data/labels.csv", dtype=str)
    table["split"] = table["split"].map({"train": "val", "val": "train", "test": "test"})
    table.to_csv("data/labels.csv", index=False)
    with refused("whose train and val utterances differ from this run's"):
        read(load())


def test_features_that_record_one_hash_for_both_parts_are_refused(project: Path) -> None:
    features("none", 0)
    with FeatureCache(PATH) as cache:
        names, x = list(cache.utterances), cache.pooled()
        about = dataclasses.replace(cache.meta, weights_saw={"fold": "none", "ids": "0" * 64})
    write(PATH, about, names, [Row(f"{i:064x}", "ok", pooled=row) for i, row in enumerate(x)])
    with refused("did not record train and val separately.*fine-tune it again"):
        read(load())
