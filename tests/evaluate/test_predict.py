"""New recordings through a model's own record: what comes out, what is refused, and what is only said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from extract import encoders
from pipeline.corpora.cues import read_cues
from pipeline.messages import Problems
from tests.evaluate.recording import LABELS, SRT, STREAMS, make_model, rows, run, video
from tests.evaluate.test_report import Page
from tests.extract.make_clips import clip, item, tone
from tests.pipeline import raw_folders
from tests.train.goals import single
from train.checkpoint import read_model
from train.fusion.build import build
from train.fusion.params import recorded


def test_a_video_gives_a_table_subtitles_and_a_page(talk, monkeypatch, capsys):
    video(monkeypatch)
    found = rows(talk / "out")
    assert [(r["utterance"], r["start"], r["end"], r["speaker"], r["text"], r["missing"]) for r in found] == [
        ("talk_0000", "0.1", "0.9", "Anna", "Good morning!", ""),
        ("talk_0001", "1.0", "1.8", "", 'Morning, "Anna" <3 & so on.', ""),
    ]
    for r in found:
        p = [float(r[f"p_{name}"]) for name in LABELS]
        assert sum(p) == pytest.approx(1, abs=1e-5)
        assert r["emotion"] == LABELS[int(np.argmax(p))]
    cues = read_cues(talk / "out/talk.emotion.srt", Problems())
    assert [(c.start, c.end) for c in cues] == [(0.1, 0.9), (1.0, 1.8)]
    assert cues[0].lines == (f"[{found[0]['emotion']}] Anna: Good morning!",)
    said = capsys.readouterr()
    assert said.out.startswith("audio: 2 ok\n2 utterances, 2 s of recordings in ")
    assert said.err == "predict: loading models/seed0\npredict: extracting voice of 2 utterances\n"
    assert sorted(p.name for p in talk.iterdir()) == ["models", "out", "talk.mp4", "talk.srt"]


def test_the_page_plays_the_video_beside_it_and_asks_for_nothing_else(talk, monkeypatch):
    (talk / "a b #1").mkdir()
    (talk / "talk.mp4").rename(talk / "a b #1/talk.mp4")
    run(monkeypatch, "a b #1/talk.mp4", "--subtitles", "talk.srt", "--to", "deep/out")
    page = Page((talk / "deep/out/timeline.html").read_text())
    assert page.all("video")[0]["src"] == "../../a%20b%20%231/talk.mp4"
    turns = page.all("li", class_="turn")
    assert [(t["data-start"], t["data-end"]) for t in turns] == [("0.1", "0.9"), ("1.0", "1.8")]
    assert 'Morning, "Anna" <3 & so on.' in turns[1]["text"]
    assert len(page.all("script")) == 2
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none';")
    for element in page.elements:
        if element["tag"] != "video":
            assert element.get("src", "") == ""
            assert element.get("href", "data:,") == "data:,"


def test_a_csv_of_spans_over_two_files(talk, monkeypatch, capsys):
    clip(talk / "more.wav", 1.0, video=False, codec="pcm_s16le")
    (talk / "spans.csv").write_text(
        "utterance,dialogue,turn,speaker,text,media,start,end,split,emotion,note\n"
        "a,x,0,Anna,</script>,talk.mp4,0,1,train,joy,loud\n"
        "b,x,1,Ben,,more.wav,,,,unknown to the model,\n"
        "c,y,0,Anna,Hm?,gone.mp4,,,,,\n"
    )
    run(monkeypatch, "--csv", "spans.csv", "--to", "out")
    found = rows(talk / "out")
    assert [(r["utterance"], r["start"], r["end"], r["missing"]) for r in found] == [
        ("a", "0.0", "1.0", ""), ("b", "0.0", "1.0", ""), ("c", "0.0", "", "audio:missing_file"),
    ]  # fmt: skip
    assert "warning: spans.csv: ignored columns: note\n" in capsys.readouterr().err
    assert {p.name for p in (talk / "out").glob("*.srt")} == {"talk.emotion.srt", "more.emotion.srt"}
    [cue] = read_cues(talk / "out/more.emotion.srt", Problems())
    assert cue.lines == (f"[{found[1]['emotion']}] Ben:",)
    page = Page((talk / "out/timeline.html").read_text())
    assert [e["id"] for e in page.all("section")] == ["speakers", "dialogue-1", "dialogue-2"]
    assert "gone.mp4: not found under ." in "".join(e["text"] for e in page.all("p"))


def test_a_csv_with_sound_beside_the_pictures(talk, monkeypatch, capsys):
    low, high = tone(2.0, hertz=200), tone(2.0, hertz=900)
    clip(talk / "talk.mp4", 2.0, audio=False)
    for name, sound in (("low.wav", low), ("high.wav", high), ("both.wav", np.stack([low, high], 1))):
        raw_folders.wav(talk / name, sound)
    (talk / "spans.csv").write_text(
        "utterance,dialogue,turn,media,audio,start,end\n"
        "a,a,0,talk.mp4,low.wav,0,1\n"
        "b,b,0,talk.mp4,high.wav,0,1\n"
        "c,c,0,talk.mp4,both.wav#channel=right,0,1\n"
        'd,d,0,talk.mp4,"both.wav#channel=1&t=0,1",1,2\n'
        "e,e,0,,low.wav,0,1\n"
        "f,f,0,talk.mp4,gone.wav,1,2\n"
        "g,f,1,talk.mp4,low.wav#channel=2,1,2\n"
        "h,f,2,talk.mp4,low.wav#t=3,1,2\n"
    )
    run(monkeypatch, "--csv", "spans.csv", "--to", "out")
    a, b, c, d, e, *bad = rows(talk / "out")
    joy = [float(r["p_joy"]) for r in (a, b, c, d, e)]
    assert joy == pytest.approx([joy[0], joy[1], joy[1], joy[0], joy[0]], abs=1e-6)
    assert abs(joy[0] - joy[1]) > 1e-4
    assert [r["missing"] for r in (a, b, c, d, e)] == [""] * 5
    assert [r["missing"] for r in bad] == ["audio:missing_file", "audio:no_audio", "audio:too_short"]
    assert [(r["start"], r["end"]) for r in (d, e)] == [("1.0", "2.0"), ("0.0", "1.0")]  # where it is played
    assert {p.name for p in (talk / "out").glob("*.srt")} == {"talk.emotion.srt", "low.emotion.srt"}
    page = Page((talk / "out/timeline.html").read_text())
    turns = page.all("li", class_="turn")
    assert {t["data-source"] for t in turns} == {"../talk.mp4", "../low.wav"}
    said = capsys.readouterr()
    warnings = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert "warning: gone.wav: not found under ." in warnings
    assert "warning: low.wav: no such channel as #channel=2" in warnings
    assert "warning: h: starts after the end of low.wav#t=3" in warnings
    assert len(warnings) == 3
    assert "8 utterances, 4 s of recordings in" in said.out


def test_it_answers_as_training_did(here, monkeypatch):
    """Through the same loader and network, from the features of the same encoder."""
    folder = make_model(here / "models/seed0", normalise="speaker")
    clip(here / "talk.mp4", 2.0)
    (here / "talk.srt").write_text(SRT)
    video(monkeypatch)
    encoder = encoders.build(*STREAMS["audio"], Path("params.yaml"), here)
    spans = [(0.1, 0.9), (1.0, 1.8)]
    x = np.stack([encoder.encode([encoder.read(item(Path("talk.mp4"), *span))])[0].pooled for span in spans])
    # One turn each of Anna and of nobody: own mean x, own sd 0, shrunk by (1 · own + 10 · global) / 11.
    mean, sd = (x + 10 * 0.5) / 11, (0 + 10 * 2.0) / 11
    state, record = read_model(folder)
    network, _ = build(recorded(record.params, folder), record.dims, single([1, 1, 1]))
    network.load_state_dict(state)
    from train.models.contract import Batch

    given = Batch(
        {"audio": torch.from_numpy(((x - mean) / sd).astype(np.float32))[None]},
        {"audio": torch.ones(1, 2, dtype=torch.bool)},
        torch.tensor([[0, 1]]), torch.tensor([2]), torch.tensor([-1, -1]), torch.arange(2),
    )  # fmt: skip
    expected = network.eval()(given).logits.softmax(1).detach().numpy()
    found = [[float(r[f"p_{name}"]) for name in LABELS] for r in rows(here / "out")]
    assert np.allclose(found, expected, atol=1e-6)


def test_a_model_of_frames_answers_too(here, monkeypatch):
    folder = make_model(here / "models/seed0", name="foalnet", audio_seconds=0.5)
    clip(here / "talk.mp4", 2.0)
    (here / "talk.srt").write_text(SRT)
    video(monkeypatch)
    encoder = encoders.build("voice", {"encoder": "opensmile", "frames": "f4"}, Path("params.yaml"), here)
    state, record = read_model(folder)
    network, _ = build(recorded(record.params, folder), record.dims, single([1, 1, 1]))
    network.load_state_dict(state)
    from train.models.contract import FrameBatch

    for row, span in zip(rows(here / "out"), [(0.1, 0.9), (1.0, 1.8)], strict=True):
        made = encoder.encode([encoder.read(item(Path("talk.mp4"), *span))])[0]
        x = made.frames[made.times < 0.5]
        assert 0 < len(x) < len(made.frames)
        given = FrameBatch(
            {"audio": torch.from_numpy(((x - 0.5) / 2.0).astype(np.float16).astype(np.float32))[None]},
            {"audio": torch.ones(1, len(x), dtype=torch.bool)},
            torch.tensor([-1]), torch.arange(1),
        )  # fmt: skip
        expected = network.eval()(given).logits.softmax(1)[0].detach().numpy()
        assert np.allclose([float(row[f"p_{name}"]) for name in LABELS], expected, atol=1e-6)
