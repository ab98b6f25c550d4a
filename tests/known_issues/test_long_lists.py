"""A message that listed the names of utterances, sessions, arrays or columns could be pages long."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluate.experiments.folds import over_folds
from evaluate.experiments.tables import Failed
from pipeline.corpora import csv, mmsa_pickle
from pipeline.errors import UserError
from pipeline.features import FeatureCache, report
from pipeline.features.arrays import Npz
from pipeline.features.fitted import fitted
from pipeline.features.importer import About, Source, import_features
from pipeline.messages import Problems, listed
from pipeline.params import CorpusParams
from pipeline.tables.schema import UTTERANCE_COLUMNS, Utterance, read_utterances, write_table
from pipeline.tables.splits import splits
from tests.pipeline.feature_files import small

MANY = 10_000
NAMES = [f"d_{i:05}" for i in range(MANY)]
ABOUT = About("bert", "text", "own", "none", "BERT")
POOLED = {"frames": "none", "frames_dim": 0, "pooled_names": (), "frames_names": ()}
CORPUS = CorpusParams(name="csv", watch="own", root="own", labels=["joy", "anger"])


def utterances(sessions: bool = False) -> list[Utterance]:
    return [Utterance(name, name, 0, "A", name if sessions else "", "", "", None, None, "") for name in NAMES]


def no_such_session(_: Path) -> None:
    rows = utterances(sessions=True)
    splits(pd.DataFrame({"split": ["train"] * MANY}), rows, "x", 0)


def unknown_columns(folder: Path) -> None:
    (folder / "utterances.csv").write_text(",".join([*UTTERANCE_COLUMNS, *NAMES]) + "\n", encoding="utf-8")
    read_utterances(folder / "utterances.csv")


def ignored_columns(folder: Path) -> None:
    columns = ["utterance", "dialogue", "turn", "text", "split", "emotion", *NAMES]
    (folder / "a.csv").write_text(f"{','.join(columns)}\n{'1,' * len(NAMES)}1,1,1,1,1,1\n", encoding="utf-8")
    raise UserError("\n".join(csv.ignored(folder / "a.csv")))


def ids_of_another_corpus(folder: Path) -> None:
    np.savez(folder / "x.npz", utterance=[f"x{name}" for name in NAMES], pooled=np.ones((MANY, 2)))
    import_features(Source(folder / "x.npz"), ABOUT, utterances(), folder / "x.h5", partial=False)


def nothing_usable(folder: Path) -> None:
    np.savez(folder / "x.npz", utterance=NAMES, pooled=np.zeros((MANY, 2)))
    import_features(Source(folder / "x.npz"), ABOUT, utterances(), folder / "x.h5", partial=False)


def no_such_array(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        for name in NAMES:
            archive.writestr(f"{name}.npy", b"")
    Npz(folder / "x.npz", "x.npz")["pooled"]


def weights_of_another_corpus(folder: Path) -> None:
    row = ("a", "a", "0", "A", "", "hi", "", "", "", "")
    write_table(pd.DataFrame([row], columns=UTTERANCE_COLUMNS), UTTERANCE_COLUMNS, folder / "utterances.csv")
    (folder / "seen.txt").write_text("\n".join(NAMES), encoding="utf-8")
    fitted(str(folder / "seen.txt"), folder / "utterances.csv")


def many_tables(folder: Path) -> None:
    for name in NAMES:
        (folder / f"{name}.csv").touch()
    csv.read(folder, CORPUS)


def many_pickles(folder: Path) -> None:
    for name in NAMES:
        (folder / f"{name}.pkl").touch()
    mmsa_pickle.read(folder, CORPUS)


def other_utterances(folder: Path) -> None:
    small(folder / "a.h5", MANY, **POOLED)
    small(folder / "b.h5", 0, **POOLED)
    with FeatureCache(folder / "a.h5") as a, FeatureCache(folder / "b.h5") as b:
        raise UserError(report.diff(a, b))


def failed_folds(_: Path) -> None:
    run = over_folds("MultiEMO", {name: Failed("not run") for name in NAMES})
    assert isinstance(run, Failed)
    raise UserError(run.reason)


@pytest.mark.parametrize(
    "fault",
    [
        no_such_session, unknown_columns, ignored_columns, ids_of_another_corpus, nothing_usable, no_such_array,
        weights_of_another_corpus, many_tables, many_pickles, other_utterances, failed_folds,
    ],
)  # fmt: skip
def test_a_message_lists_twenty_names_and_counts_the_others(
    fault: Callable[[Path], None], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"and {MANY - 20} more") as raised:
        fault(tmp_path)
    assert len(str(raised.value)) < 3000


def test_few_names_are_listed_in_full() -> None:
    assert listed([]) == ""
    assert listed(NAMES[:20]) == ", ".join(NAMES[:20])
    assert listed(NAMES[:21], "; ") == "; ".join([*NAMES[:20], "and 1 more"])
    problems = Problems("a.csv")
    for name in NAMES:
        problems.add("", "utterance", name, "is unknown")
    with pytest.raises(UserError, match=rf"(?s)a.csv: {MANY} invalid .*\n  and {MANY - 20} more$"):
        problems.stop()
