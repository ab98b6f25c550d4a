"""What a report says of params: all that can change the run's numbers, and no path."""

from __future__ import annotations

from pathlib import Path

from evaluate.run import details, report
from evaluate.run.settings import settings
from pipeline.params import Params
from pipeline.settings import read_yaml
from pipeline.strict import validate
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


def test_every_change_of_a_number_shows():
    before, after = settings(preset("demo")), settings(preset("demo", loss__mu1=0.4, corpus__root="/mine"))
    assert {k: v for k, v in after.items() if before[k] != v} == {"loss.mu1": 0.4}
    assert before["extract.text.context.past"] == 3


def test_an_unused_stream_and_what_changes_no_feature_do_not_count():
    streams = {"text": "text", "audio": "none", "visual": "face"}
    found = settings(preset("demo", extract__face__timeout=9.0, train__streams=streams))
    assert not [field for field in found if "opensmile" in field or "timeout" in field]


def test_of_the_models_params_count_those_that_it_reads():
    found = settings(preset("demo", model__name="bclstm"))
    assert {k for k in found if k.startswith(("model.", "loss."))} == {
        "model.name",
        "model.causal",
        "model.dim",
        "model.dropout",
    }


def test_no_path_is_told():
    found = settings(preset("demo", extract__face__weights="/home/me/faces.h5"))
    assert found["extract.face.weights"] == "faces.h5"


def test_the_page_lists_them(make_run):
    run = make_run(lr=5e-4)
    page = Page(report.render(run, details.details(run)))
    text = next(e["text"] for e in page.all("table") if e.get("class") == "params")
    assert "train.lr0.0005" in text.replace("\n", "").replace(" ", "")
