"""What a report says of params: those that differ from the corpus's preset, or all where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evaluate.run import details, presets, report
from pipeline.params import Params, load, read_yaml, validate
from tests.evaluate.test_report import Page

ROOT = Path(__file__).parents[2]


def preset(name: str, **changes: object) -> Params:
    raw = read_yaml(ROOT / f"presets/{name}.yaml")
    for field, value in changes.items():
        *sections, last = field.split("__")
        part = raw
        for section in sections:
            part = part[section]
        part[last] = value
    return validate(Params, raw, Path("params.yaml"))


@pytest.mark.parametrize("path", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_differs_from_itself_in_nothing(path):
    assert presets.changed(load(path), ROOT / "presets")["params"] == {}


def test_every_difference_is_named_with_both_values():
    changes = {"loss__mu1": 0.4, "extract__text__context__past": 2, "corpus__root": "/mine"}
    found = presets.changed(preset("demo", **changes), ROOT / "presets")
    assert found["preset"].endswith("presets/demo.yaml")
    assert found["params"] == {
        "loss.mu1": {"value": 0.4, "preset": 0.3},
        "extract.text.context.past": {"value": 2, "preset": 3},
    }


def test_an_unused_stream_and_what_changes_no_feature_do_not_count():
    changes = {
        "extract__face__timeout": 9.0,
        "train__streams": {"text": "text", "audio": "none", "visual": "face"},
    }
    params = preset("demo", **changes, extract__opensmile__feature_set="IS09")
    assert presets.changed(params, ROOT / "presets")["params"] == {
        "train.streams.audio": {"value": "none", "preset": "opensmile"}
    }


def test_the_nearest_of_several_presets_is_taken(tmp_path):
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    for name in ("meld", "meld-text"):
        found = presets.changed(preset(name, train__seeds=7), tmp_path / "presets")
        assert found["preset"].endswith(f"/{name}.yaml")
        assert list(found["params"]) == ["train.seeds"]


def test_without_a_preset_every_param_is_listed_and_no_path_is():
    params = preset("demo", corpus__name="csv", extract__face__weights="/home/me/faces.h5")
    found = presets.changed(params, ROOT / "presets")
    assert found["preset"] is None
    assert found["params"]["loss.mu1"] == {"value": 0.3, "preset": None}
    assert found["params"]["extract.face.weights"]["value"] == "faces.h5"
    assert len(found["params"]) > 40


def test_the_page_tells_which_and_of_what(make_run, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = make_run(lr=5e-4)
    found = details.details(run)
    assert found["changed"]["params"]["train.lr"] == {"value": 5e-4, "preset": 1e-3}
    page = Page(report.render(run, found))
    text = next(e["text"] for e in page.all("table") if e.get("class") == "params")
    assert "Params that differ from presets/demo.yaml" in text
    assert "train.lr0.00050.001" in text.replace("\n", "").replace(" ", "")
