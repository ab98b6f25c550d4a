"""The csv files for `dvc plots`, and the pictures: complete, well-formed, the same bytes every time."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from evaluate.run import details, figures, plots
from pipeline.pages.palette import colours
from pipeline.settings import read_yaml

ROOT = Path(__file__).parents[2]


def test_confusion_rows_count_up_to_the_matrix(make_run):
    run = make_run(seeds=2, skill=1.0)
    found = details.details(run)
    table = plots.tables(run, found)["confusion"]
    matrix = found["seeds"][0]["splits"]["test"]["confusion"]
    counted = Counter(table.itertuples(index=False, name=None))
    for i, true in enumerate(run.names):
        for j, predicted in enumerate(run.names):
            assert counted[(true, predicted)] == matrix[i][j]


def test_per_label_loss_and_scores_are_those_of_details_and_history(make_run):
    run = make_run(seeds=2)
    found = details.details(run)
    tables = plots.tables(run, found)
    for row in tables["per_label"].to_dict("records"):
        assert row["f1"] == found["splits"]["test"]["labels"][row["label"]]["f1"]
    assert list(tables["loss"]) == ["epoch", "train_loss", "train_swfc", "train_hgr", "train_ce", "val_ce"]
    assert list(tables["scores"]) == ["epoch", "val_weighted_f1", "val_macro_f1", "val_accuracy"]
    pd.testing.assert_frame_equal(tables["loss"], run.history[0][list(tables["loss"])])


def test_attention_by_offset_is_the_mean_of_the_diagonals(make_run):
    run = make_run()
    table = plots.attention_by_offset(run.first).set_index("offset")
    maps = run.first.attention[("text", "audio")]
    for offset in (-3, 0, 2):
        cells = [w[i, i + offset] for w in maps for i in range(len(w)) if 0 <= i + offset < len(w)]
        assert table.loc[offset, "text to audio"] == pytest.approx(np.mean(cells))


def test_queries_that_may_attend_to_nothing_are_left_out(make_run):
    run = make_run()
    maps = [w.copy() for w in run.first.attention[("text", "audio")]]
    maps[0][0] = 0.0
    masked = dataclasses.replace(run.first, attention={("text", "audio"): maps})
    table = plots.attention_by_offset(masked).set_index("offset")
    cells = [w[i, i] for w in maps for i in range(len(w)) if w[i].any()]
    assert table.loc[0, "text to audio"] == pytest.approx(np.mean(cells))


def test_every_plot_is_written_twice_the_same(make_run, tmp_path):
    run = make_run(seeds=2)
    found = details.details(run)
    for folder in ("a", "b"):
        plots.write(run, found, tmp_path / folder)
        figures.write(run, found, tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    stems = {
        "confusion",
        "confusion_normalised",
        "per_label",
        "reliability",
        "loss",
        "soft_hgr",
        "scores",
        "attention",
    }
    stems.add("modalities")
    assert {n for n in names if n.endswith(".svg")} == {f"{stem}.svg" for stem in stems}
    assert {n for n in names if n.endswith(".csv")} == {
        f"{stem}.csv"
        for stem in stems - {"confusion_normalised", "soft_hgr"} | {"attention_by_pair", "values"}
    }
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_run_without_test_labels_or_attention_draws_the_curves_alone(make_run, tmp_path):
    run = make_run(modalities=["text"], unlabelled=1.0)
    found = details.details(run)
    written = {path.stem for path in figures.write(run, found, tmp_path)}
    assert written == {"loss", "soft_hgr", "scores"}
    tables = plots.tables(run, found)
    assert tables["confusion"].empty
    assert list(tables["reliability"]) == ["confidence", "accuracy", "count"]
    assert list(tables["modalities"]) == ["modality", "lost"]
    assert list(tables["attention_by_pair"]) == ["pair", "own_turn", "before", "after"]


def test_every_column_that_dvc_asks_for_is_there_in_every_shape_of_run(make_run):
    """DVC drops a plot for one missing column; one without rows it draws empty."""
    asked = {}
    for plot in read_yaml(ROOT / "dvc.yaml")["plots"]:
        for about in plot.values():
            for path, y in about["y"].items():
                asked.setdefault(Path(path).stem, {about["x"]}).update([y] if isinstance(y, str) else y)
    for shape in ({}, {"modalities": ["text"]}, {"unlabelled": 1.0}, {"parts": ("train", "val")}):
        run = make_run(**shape)
        tables = plots.tables(run, details.details(run))
        for stem, columns in asked.items():
            assert columns <= set(tables[stem]), (stem, shape)


def test_attention_by_pair_says_where_it_lies(make_run):
    run = make_run()
    table = plots.attention_by_pair(run.first).set_index("pair")
    assert len(table) == 6
    assert np.allclose(table.sum(axis=1), 1)
    maps = run.first.attention[("text", "audio")]
    own = [w[i, i] for w in maps for i in range(len(w))]
    before = [w[i, :i].sum() for w in maps for i in range(len(w))]
    assert table.loc["text to audio", "own_turn"] == pytest.approx(np.mean(own))
    assert table.loc["text to audio", "before"] == pytest.approx(np.mean(before))


def test_what_a_modality_is_worth_is_what_details_say(make_run):
    run = make_run(seeds=2)
    found = details.details(run)
    table = plots.tables(run, found)["modalities"].set_index("modality")["lost"]
    assert table.to_dict() == {m: row["cost"]["weighted_f1"] for m, row in found["modalities"].items()}


def test_label_names_are_drawn_as_they_are(make_run, tmp_path):
    names = ["$\\frac{1$", "<b>&amp;", "a_b^c"]
    run = make_run(emotions=names)
    figures.write(run, details.details(run), tmp_path)
    drawn = [
        text.text
        for text in ElementTree.parse(tmp_path / "confusion.svg").iter("{http://www.w3.org/2000/svg}text")
    ]
    assert set(names) <= set(drawn)


def test_neutral_is_grey_and_seven_others_differ():
    names = ["anger", "Neutral", "joy", "fear", "sadness", "disgust", "surprise", "calm"]
    assert len(set(colours(names))) == 8
    assert colours(names)[1] == colours(["neutral"])[0]
