"""The page, parsed: its numbers are those of the files, it asks for nothing, and a corpus cannot write into it."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from urllib.parse import quote, unquote

import numpy as np
import pytest

from evaluate.run import charts, details, report
from evaluate.run.results import Prediction

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=http://evil.example/x onerror=alert(3)>',
    "' onmouseover='alert(4)",
    "{{ 7 * 7 }} <!-- \u2028 & &amp; \\u003c",
)
VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Elements with their attributes, own section and text; a small DOM, enough to ask questions of."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict] = []
        self.open: list[dict] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", "own": "", **dict(attrs)}
        element["section"] = next((e["id"] for e in reversed(self.open) if e["tag"] == "section"), "")
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag, "every element is closed in its order"

    def handle_data(self, data):
        if self.open:
            self.open[-1]["own"] += data
        for element in self.open:
            element["text"] += data

    def all(self, tag=None, **attributes):
        return [
            e for e in self.elements
            if (tag is None or e["tag"] == tag) and all(e.get(k.rstrip("_")) == v for k, v in attributes.items())
        ]  # fmt: skip

    def data(self):
        return json.loads(self.all("script", id="data")[0]["text"])


def rendered(run):
    found = details.details(run)
    return found, Page(report.render(run, found))


def close(text: str, value: float) -> bool:
    """Whether the shown text is the value, rounded: a share in percent with one decimal, a count as it is."""
    plain = text.replace("\u202f", "").replace("−", "-")
    return plain == str(value) if isinstance(value, int) else plain == f"{100 * value:.1f}"


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_number_is_the_one_in_the_files(make_run, tmp_path, seeds):
    run = make_run(seeds=seeds, skill=1.0)
    found = details.details(run)
    details.write(run, found, tmp_path)
    page = Page(report.render(run, found))
    table = json.loads((tmp_path / "metrics.json").read_text())
    stored = json.loads((tmp_path / "details.json").read_text())
    shown = page.all("data")
    assert len(shown) > 150
    places = set()
    for element in shown:
        value = stored
        path = json.loads(element["data-path"])
        for key in path:
            value = value[key]
        assert float(element["value"]) == value
        assert close(element["text"], value), (path, element["text"], value)
        places.add(tuple(path))
    for split, row in table.items():
        for name, value in row.items():
            metric, _, part = name.partition("_f1_")
            path = ("splits", split, f"{metric}_f1" if part else name, part or "mean")
            assert path in places
            assert stored["splits"][split][path[2]][path[3]] == value


def test_no_score_is_typed_beside_the_marked_ones(make_run):
    _, page = rendered(make_run(seeds=2, skill=1.0))
    for element in page.elements:
        if element["section"] in ("scores", "labels", "modalities", "wrong") and element["tag"] != "data":
            assert not re.search(r"\d\.\d", element["own"]), element


def test_the_dialogue_view_shows_the_first_seeds_answers(make_run):
    run = make_run(seeds=2, skill=1.0)
    _, page = rendered(run)
    data = page.data()
    turns = [e for e in page.all("li") if e.get("class", "").startswith("turn")]
    rows = [i for group in run.test_dialogues() for i in group]
    assert [int(t["data-row"]) for t in turns] == rows
    truth = run.truth
    for turn, i in zip(turns, rows, strict=True):
        p = run.first.probabilities[i]
        u = run.utterances[i]
        assert int(turn["data-predicted"]) == p.argmax()
        assert int(turn["data-truth"]) == truth[i]
        verdict = "right" if p.argmax() == truth[i] else "wrong"
        assert turn["data-verdict"] == (verdict if truth[i] >= 0 else "unlabelled")
        assert u.text in turn["text"]
        assert u.speaker in turn["text"]
        assert f"{100 * p.max():.1f}%" in turn["text"]
        columns = [p, *(run.first.without[m][i] for m in data["modalities"])]
        for column, stored in zip(columns, data["turns"][str(i)], strict=True):
            assert stored == pytest.approx(1000 * column, abs=0.51)
    for pair in data["attention"]:
        for stored, weight in zip(
            pair["maps"], run.first.attention[(pair["query"], pair["key"])], strict=True
        ):
            assert [v for line in stored for v in line] == pytest.approx(1000 * weight.ravel(), abs=0.51)


def test_nothing_on_the_page_asks_for_the_network(make_run):
    run = make_run()
    text = report.render(run, details.details(run))
    page = Page(text)
    for element in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert element.get(name, "#").startswith(("#", "data:")), element
    styles = " ".join(e["text"] for e in page.all("style")) + " ".join(
        e.get("style") or "" for e in page.elements
    )
    assert not re.search(r"@import|url\(", styles)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none';")
    script = (report.HERE / "report.js").read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|XMLHttp|innerHTML|eval\(", script)


def test_an_error_names_the_picture_of_its_faces(make_run):
    run = make_run()
    named = [dataclasses.replace(u, utterance=f"../{u.utterance}%?") for u in run.utterances]
    found, page = rendered(dataclasses.replace(run, utterances=named))
    for row, item in zip(found["wrong"], page.all("li", section="wrong"), strict=True):
        assert unquote(item["data-faces"]) == f"faces/face/{quote(row['utterance'], safe='')}.jpg"
    assert not rendered(make_run(modalities=("text", "audio")))[1].all("p", class_="faces")


def test_hostile_text_stays_text(make_run):
    run = make_run(lines=HOSTILE, speakers=HOSTILE[:2], emotions=[*HOSTILE[:4], "neutral"], skill=0.3)
    named = [dataclasses.replace(u, dialogue=f"{HOSTILE[2]}{u.dialogue}") for u in run.utterances]
    streams = [
        dataclasses.replace(s, weights=HOSTILE[0], encoder={"encoder": HOSTILE[1]}) for s in run.streams
    ]
    run = dataclasses.replace(run, utterances=named, streams=streams, dropped={"visual": HOSTILE[0]})
    found, page = rendered(run)
    assert len(page.all("script")) == 2
    assert not page.all("img")
    assert not [e for e in page.elements if any(key.startswith("on") for key in e)]
    assert page.data()["labels"] == run.names
    texts = [e["text"] for e in page.all("span", class_="text") if e["section"] == "dialogues"]
    assert set(texts) == {run.utterances[i].text for rows in run.test_dialogues() for i in rows}
    assert {e["value"] for e in page.all("option") if e.get("value") in HOSTILE} == set(HOSTILE[:2])
    assert {e["text"] for e in page.all("q")} == {w["text"] for w in found["wrong"]}


@pytest.mark.parametrize(
    "shape",
    [
        {"modalities": ["text"]},
        {"modalities": ["audio", "visual"]},
        {"parts": ("train", "val")},
        {"unlabelled": 1.0},
        {"parts": ("train", "val", "test")},
        {"speakers": ["A"], "lines": [""]},
        {"emotions": ["no", "yes"], "seeds": 2},
        {"normalise": "speaker", "fold": "1"},
    ],
    ids=str,
)
def test_every_shape_of_run_has_a_whole_page(make_run, shape):
    run = make_run(**shape)
    found, page = rendered(run)
    assert not page.open
    sections = {e["id"] for e in page.all("section")}
    assert {"scores", "run", "training", "dialogues"} <= sections
    assert ("labels" in sections) == bool(found["splits"]["test"]["scored"])
    assert ("modalities" in sections) == bool(found["modalities"])
    assert {a["href"][1:] for a in page.all("a") if a["href"].count("-") == 0} <= sections
    # Neither Python's nor JavaScript's word for "nothing there" may reach a reader.
    words = " ".join(e["own"] for e in page.elements if e["tag"] not in ("script", "style"))
    assert not re.search(r"\bNone\b|\bnan\b|undefined:|\bnull\b", words)


def test_what_a_reader_must_know_is_said(make_run):
    run = make_run(seeds=2, normalise="speaker")
    corpus = run.params.corpus.model_copy(update={"build": ["demo"]})
    run = dataclasses.replace(
        run, params=run.params.model_copy(update={"corpus": corpus}), dropped={"visual": "no file"},
        oracle=run.predictions,
    )  # fmt: skip
    text = report.render(run, details.details(run))
    assert "they say nothing about real speech" in text
    assert "Transductive:" in text
    assert "Without <b>visual</b>: no file." in text
    assert "the first seed, 0" in text
    assert "text + audio ·" in text
    assert "oracle_test: epoch chosen on test" in text
    plain = make_run()
    assert "epoch chosen on test" not in report.render(plain, details.details(plain))


def test_the_same_run_gives_the_same_page(make_run):
    pages = {report.render(run, details.details(run)) for run in (make_run(seeds=2), make_run(seeds=2))}
    assert len(pages) == 1


def test_the_corpus_is_named_by_its_title(make_run):
    run = make_run()
    corpus = run.params.corpus.model_copy(update={"title": "Our <calls>"})
    _, page = rendered(dataclasses.replace(run, params=run.params.model_copy(update={"corpus": corpus})))
    assert page.all("h1")[0]["text"] == "multiemo on Our <calls>"
    assert page.all("title")[0]["text"] == "multiemo on Our <calls> · Emofuse"
    assert rendered(run)[1].all("h1")[0]["text"] == "multiemo on demo"


def test_params_are_the_last_section(make_run):
    _, page = rendered(make_run())
    assert [e["id"] for e in page.all("section")][-1] == "params"
    assert [e["section"] for e in page.all("table", class_="params")] == ["params"]


def test_the_majority_of_train_is_scored_on_test(make_run):
    run = make_run(skill=1.0)
    found, page = rendered(run)
    truth, test = run.truth, (run.splits == "test") & (run.truth >= 0)
    label = np.bincount(truth[(run.splits == "train") & (truth >= 0)]).argmax()
    assert found["majority"]["label"] == run.names[label]
    assert found["majority"]["accuracy"] == pytest.approx((truth[test] == label).mean())
    [row] = [e for e in page.all("tr") if "majority on test" in e["text"]]
    assert f"“{run.names[label]}”" in row["text"]
    assert "majority" not in json.dumps(details.short(found, run.params))
    assert rendered(make_run(parts=("train", "val")))[0]["majority"] is None


def test_logistic_regression_is_scored_on_test(make_run):
    run = make_run()
    assert not [e for e in rendered(run)[1].all("tr") if "regression on test" in e["text"]]
    exact = np.eye(len(run.names))[np.maximum(run.truth, 0)]
    found, page = rendered(dataclasses.replace(run, logistic=Prediction(0, exact)))
    assert set(found["logistic_regression"].values()) == {1.0}
    [row] = [e for e in page.all("tr") if "regression on test" in e["text"]]
    assert row["text"].startswith("logistic regression")
    assert row["text"].count("100.0") == 4


def test_soft_hgr_does_not_flatten_the_losses(make_run):
    run = make_run()
    for frame in run.history.values():
        frame["train_hgr"] *= 1000
    drawn = charts.history(run)
    assert [line.name for line in drawn["correlation"].lines] == ["train_hgr"]
    names = [line.name for line in drawn["loss"].lines]
    assert names == ["train_loss", "train_swfc", "train_ce", "val_ce"]
    heights = [y for line in drawn["loss"].lines for _, y in line.points]
    assert max(heights) - min(heights) > 200
    assert "Soft-HGR" in "".join(e["text"] for e in rendered(run)[1].all("figcaption"))
    without = {seed: frame.drop(columns="train_hgr") for seed, frame in run.history.items()}
    assert "correlation" not in charts.history(dataclasses.replace(run, history=without))


@pytest.mark.parametrize(
    ("root", "folder"),
    [("data/demo", "../data/demo/"), ("/srv/people", ""), ("../calls", ""), ("a b", "../a%20b/")],
)
def test_a_turn_names_its_clip_and_no_private_path(make_run, root, folder):
    run = make_run()
    corpus = run.params.corpus.model_copy(update={"root": root})
    said = [dataclasses.replace(u, media=f"a b/{u.media}", start=0.5, end=2.0) for u in run.utterances]
    params = run.params.model_copy(update={"corpus": corpus})
    _, page = rendered(dataclasses.replace(run, params=params, utterances=said))
    [field] = [e for e in page.all("input") if e.get("type") == "text"]
    assert field["value"] == folder
    turns = [e for e in page.all("li") if "data-clip" in e]
    assert turns[0]["data-clip"] == f"a%20b/{turns[0]['data-utterance']}.mp4#t=0.5,2"
    assert "/srv" not in json.dumps(page.elements)
