"""With `train.normalise: speaker` all turns without a speaker were one person's: test turns moved those of train."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.train import small
from train.data.dialogues import Dialogues
from train.data.utterances import Utterances
from train.fusion.build import read


@pytest.mark.parametrize("model", ["multiemo", "foalnet"])
def test_turns_without_a_speaker_have_the_train_splits_statistics(tmp_path, monkeypatch, model):
    small.make(tmp_path)
    small.add_frames(tmp_path)
    monkeypatch.chdir(tmp_path)
    table = pd.read_csv("data/utterances.csv", dtype=str, keep_default_na=False)
    unnamed = (table["speaker"] == "S0").to_numpy()
    table.loc[unnamed, "speaker"] = ""
    table.to_csv("data/utterances.csv", index=False)
    every, own = (values(model, normalise) for normalise in ("global", "speaker"))
    for i in range(len(table)):
        assert np.array_equal(own[i], every[i]) == (unnamed[i] or not every[i].any())


def values(model: str, normalise: str) -> list[np.ndarray]:
    data = read(small.params(model={"name": model}, train={"normalise": normalise, "frames": "f4"}))
    if isinstance(data, Utterances):
        return [data.frames["audio"][i] for i in range(len(data.utterances))]
    assert isinstance(data, Dialogues)
    return list(data.features["audio"].numpy())
