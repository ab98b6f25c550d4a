"""`python -m pipeline.features info|verify|diff|export`."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.features import STATUSES, FeatureCache, Row, write
from pipeline.features.__main__ import main
from tests.pipeline import feature_files as files


@pytest.fixture
def cache(tmp_path) -> Path:
    return files.small(tmp_path / "face.h5")


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["features", *map(str, arguments)])
    main()


def test_info_tells_a_stranger_all(cache, monkeypatch, capsys):
    run(monkeypatch, "info", cache)
    said = capsys.readouterr().out
    about = files.meta()
    with FeatureCache(cache) as opened:
        hashes = [opened.digest, opened.rows_hash]
    for part in (
        "face (visual)", about.licence, "20: ok 16, no_face 4",
        "[20, 5] f4: a, b, c, …", "] f2, 2.5 per utterance: x, y, z",
        "encoder.every", "0.0001", "vggface2", about.weights["sha256"], "numpy 2.0, torch 2.9", about.code,
        about.fingerprint, *hashes, "1 × no_face: no face in any of 3 frames – größer?", "1 × ok: cut to 512 tokens",
    ):  # fmt: skip
        assert part in said


def test_info_of_the_cache_without_rows(monkeypatch, capsys):
    run(monkeypatch, "info", "data/features/none.h5")
    assert "0: none" in capsys.readouterr().out


def test_info_keeps_escapes_of_hostile_params_off_the_terminal(tmp_path, monkeypatch, capsys):
    path = files.small(tmp_path / "x.h5", encoder={"a\x1b[2J": "b\x1b[2J"})
    run(monkeypatch, "info", path)
    assert "\x1b" not in capsys.readouterr().out


def test_verify(cache, monkeypatch, capsys):
    run(monkeypatch, "verify", cache, cache)
    assert capsys.readouterr().out.count("ok; 20 rows") == 2


def test_verify_of_a_damaged_file_ends_with_one_line_and_code_2(cache):
    cache.write_bytes(cache.read_bytes()[:-100])
    command = [sys.executable, "-m", "pipeline.features", "verify", str(cache)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"error: {cache}: file: damaged")
    assert run.stderr.count("\n") == 1


def diff(monkeypatch, capsys, a: Path, b: Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "diff", a, b)
    assert isinstance(stop.value.code, int)
    return stop.value.code, capsys.readouterr().out


def test_no_difference(cache, tmp_path, monkeypatch, capsys):
    same = files.small(tmp_path / "same.h5")
    assert diff(monkeypatch, capsys, cache, same) == (0, "no difference\n")


def test_diff_says_which_and_by_how_much(cache, tmp_path, monkeypatch, capsys):
    about, rows, ids = files.meta(licence="another"), files.rows(files.meta(), 20), files.names(20)
    nudged = rows[2].pooled.copy()
    nudged[1] += 0.5
    rows[2] = Row(rows[2].key, "ok", "", nudged, rows[2].frames, rows[2].times)
    rows[5] = Row(rows[5].key, "ok", "", rows[5].pooled, rows[5].frames + 2, rows[5].times)
    rows[6] = Row(rows[6].key, "ok", "", rows[6].pooled, rows[6].frames[:1], rows[6].times[:1])
    rows[7] = Row("", "too_short", "0.02 s")
    write(tmp_path / "b.h5", about, [*ids[:19], "new one"], rows)
    code, said = diff(monkeypatch, capsys, cache, tmp_path / "b.h5")
    assert code == 1
    assert "licence: CC BY 4.0, own recordings | another" in said
    assert f"only in {cache}: {ids[19]}\nonly in {tmp_path / 'b.h5'}: new one" in said
    assert "4 of 19 common utterances differ, by at most inf" in said
    assert f"  {ids[7]}: status ok | too_short" in said
    assert f"  {ids[6]}: frames has a different shape" in said
    assert f"  {ids[2]}: pooled by 0.5\n" in said
    # Stored as f2, so about 2.
    assert f"  {ids[5]}: frames by " in said
    assert said.index(ids[5] + ":") < said.index(ids[2] + ":")


def test_diff_sees_another_order_and_another_width(cache, tmp_path, monkeypatch, capsys):
    rows, ids = files.rows(files.meta(), 20), files.names(20)
    write(tmp_path / "b.h5", files.meta(), ids[::-1], rows[::-1])
    code, said = diff(monkeypatch, capsys, cache, tmp_path / "b.h5")
    assert (code, said) == (1, "the rows are in a different order\n")
    wide = files.small(tmp_path / "c.h5", pooled_dim=6, pooled_names=())
    code, said = diff(monkeypatch, capsys, cache, wide)
    assert "pooled_dim: 5 | 6" in said
    assert "16 of 20 common utterances differ" in said
    assert "pooled has a different shape" in said


def test_export_to_npz_holds_everything_without_pickles(cache, tmp_path, monkeypatch):
    run(monkeypatch, "export", cache, "--to", "npz")
    made = np.load(tmp_path / "face.npz", allow_pickle=False)
    with FeatureCache(cache) as opened:
        assert made["utterance"].tolist() == opened.utterances
        assert made["error"].tolist() == opened.errors
        assert made["status"].tolist() == [STATUSES[code] for code in opened.status]
        assert made["pooled"].tobytes() == opened.pooled().tobytes()
        offsets = made["offsets"]
        for i in range(20):
            assert np.array_equal(made["frames"][offsets[i] : offsets[i + 1]], opened.frames(i))
            assert np.array_equal(made["times"][offsets[i] : offsets[i + 1]], opened.times(i))
        assert made["pooled_names"].tolist() == list(opened.meta.pooled_names)
        assert json.loads(str(made["about"]))["digest"] == opened.digest


def test_export_to_csv_reads_back_to_the_last_bit(cache, tmp_path, monkeypatch, capsys):
    run(monkeypatch, "export", cache, "--to", "csv", "--out", tmp_path / "t.csv")
    assert "the csv contains no frames" in capsys.readouterr().out
    with FeatureCache(cache) as opened, (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
        assert header == ["utterance", "status", "error", "a", "b", "c", "d", "é"]
        pooled = opened.pooled()
        for i, line in enumerate(lines):
            assert line[:3] == [opened.utterances[i], STATUSES[opened.status[i]], opened.errors[i]]
            if line[1] == "ok":
                assert np.array_equal(np.array(line[3:], "f4"), pooled[i])
            else:
                assert line[3:] == [""] * 5


def test_export_overwrites_nothing(cache, tmp_path, monkeypatch):
    (tmp_path / "face.npz").write_text("precious")
    with pytest.raises(UserError, match=r"face\.npz: file exists"):
        run(monkeypatch, "export", cache, "--to", "npz")
    assert (tmp_path / "face.npz").read_text() == "precious"
