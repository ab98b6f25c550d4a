"""Arrays made elsewhere → caches; ids are matched, zeros and damage become statuses, nothing is unpickled."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.features.__main__ import main
from pipeline.features.arrays import ArrayError, Npz, read_npy
from pipeline.tables import schema as tables

IDS = [f"d{i // 3}_{i % 3}" for i in range(9)]
ABOUT = [
    "--stream",
    "hubert",
    "--modality",
    "audio",
    "--corpus",
    "mine",
    "--licence",
    "none",
    "--encoder",
    "HuBERT, mean",
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with nine utterances and a folder `made` of vectors for all of them."""
    monkeypatch.chdir(tmp_path)
    rows = [(u, u[:2], int(u[-1]), "A", "", "hi", "", "", "", "") for u in IDS]
    tables.write_table(
        pd.DataFrame(rows, columns=tables.UTTERANCE_COLUMNS), tables.UTTERANCE_COLUMNS, tables.UTTERANCES
    )
    (tmp_path / "made").mkdir()
    for i, utterance in enumerate(IDS):
        np.save(tmp_path / "made" / f"{utterance}.npy", np.full(4, i + 1.0))
    return tmp_path


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["features", *map(str, arguments)])
    main()


def imported(monkeypatch, *arguments) -> FeatureCache:
    run(monkeypatch, "import", *arguments, *ABOUT)
    with FeatureCache(Path("data/features/hubert.h5")) as cache:
        cache.verify()
    return FeatureCache(Path("data/features/hubert.h5"))


def test_a_folder_of_vectors(project, monkeypatch, capsys):
    with imported(monkeypatch, "made") as cache:
        assert cache.utterances == IDS
        assert np.array_equal(cache.pooled(), np.arange(1, 10, dtype="f4")[:, None].repeat(4, 1))
        assert cache.counts() == {"ok": 9}
        assert (cache.meta.modality, cache.meta.licence, cache.meta.corpus) == ("audio", "none", "mine")
        assert cache.meta.encoder["note"] == "HuBERT, mean"
    assert "HuBERT, mean" in capsys.readouterr().out


def test_rows_hash_follows_the_files_and_the_fingerprint_what_is_said_of_them(project, monkeypatch):
    with imported(monkeypatch, "made") as cache:
        first = cache.rows_hash, cache.meta.fingerprint
    np.save("made/d0_0.npy", np.full(4, 7.0))
    with imported(monkeypatch, "made", "--frames", "f4") as cache:
        assert cache.rows_hash != first[0]
        assert cache.meta.fingerprint != first[1]


def test_frames_are_kept_and_pooled_by_their_mean(project, monkeypatch):
    frames = np.arange(12.0).reshape(3, 4)
    np.save("made/d0_0.npy", np.asfortranarray(frames))
    with imported(monkeypatch, "made", "--frames", "f2", "--rate", 50) as cache:
        assert np.array_equal(cache.frames(0), frames)
        assert np.allclose(cache.times(0), [0, 0.02, 0.04])
        assert np.array_equal(cache.pooled()[0], frames.mean(0))
        assert cache.frames(1).tolist() == [[2.0] * 4]  # a vector is one frame
        assert cache.meta.frames_dim == 4
    with pytest.raises(UserError, match="d0_0: 3 frames without a rate; give it with --rate"):
        imported(monkeypatch, "made", "--frames", "f2")
    with imported(monkeypatch, "made") as cache:
        assert not cache.has_frames


def test_what_cannot_be_used_is_a_status_with_a_reason(project, monkeypatch):
    np.save("made/d0_0.npy", np.zeros(4))
    np.save("made/d0_1.npy", np.array([1, np.nan, 1, 1]))
    np.save("made/d0_2.npy", np.zeros((0, 4)))
    np.save("made/d1_0.npy", np.array([{}]), allow_pickle=True)
    (project / "made/d1_1.npy").write_bytes((project / "made/d1_1.npy").read_bytes()[:-3])
    np.save("made/d1_2.npy", np.ones((2, 2, 2)))
    with imported(monkeypatch, "made") as cache:
        assert cache.counts() == {"ok": 3, "corrupt": 3, "too_short": 1, "failed": 2}
        reasons = (
            "all values are 0",
            "not finite",
            "no frames",
            "Python objects",
            "does not fit",
            "expected numbers",
        )
        for error, reason in zip(cache.errors, reasons, strict=False):
            assert reason in error


def test_missing_and_extra_ids_are_listed_and_refused_unless_partial(project, monkeypatch, capsys):
    (project / "made/d2_2.npy").rename(project / "made/stranger.npy")
    with pytest.raises(UserError, match=r"(?s)1 of 9 .*: d2_2\n1 in made .*: stranger\n.*--names.*--partial"):
        imported(monkeypatch, "made")
    with imported(monkeypatch, "made", "--partial") as cache:
        assert cache.counts() == {"ok": 8, "missing_file": 1}
        assert cache.status[-1] == 1
    assert "stranger" in capsys.readouterr().out


def test_names_of_another_kind_are_mapped_by_a_csv(project, monkeypatch):
    for i, utterance in enumerate(IDS):
        (project / "made/sub").mkdir(exist_ok=True)
        (project / f"made/{utterance}.npy").rename(project / f"made/sub/clip{i}.npy")
    (project / "names.csv").write_text(
        "file,utterance\n" + "".join(f"sub/clip{i}.npy,{u}\n" for i, u in enumerate(IDS))
    )
    with imported(monkeypatch, "made", "--names", "names.csv") as cache:
        assert cache.counts() == {"ok": 9}
    with pytest.raises(UserError, match="9 of 9 utterances are not in made"):
        imported(monkeypatch, "made", "--partial")
    (project / "names.csv").write_text("from,to\n")
    with pytest.raises(UserError, match=r"names\.csv:1: missing column file, utterance"):
        imported(monkeypatch, "made", "--names", "names.csv")


def test_a_folder_of_npz(project, monkeypatch):
    for utterance in IDS:
        (project / f"made/{utterance}.npy").unlink()
        np.savez_compressed(project / f"made/{utterance}.npz", emb=np.ones(3), other=np.ones(2))
    with pytest.raises(UserError, match=r"d0_0\.npz: contains emb, other; choose one with --array"):
        imported(monkeypatch, "made")
    with imported(monkeypatch, "made", "--array", "emb") as cache:
        assert cache.pooled().shape == (9, 3)


def test_one_npz_of_matrices(project, monkeypatch):
    values = np.arange(27, dtype="f4").reshape(9, 3) + 1
    np.savez(
        project / "m.npz", utterance=IDS[::-1], pooled=values[::-1], au=values * 2, clip=np.array(IDS, "S")
    )
    with imported(monkeypatch, "m.npz") as cache:
        assert np.array_equal(cache.pooled(), values)
    with imported(monkeypatch, "m.npz", "--ids", "clip", "--array", "au", "--frames", "f4") as cache:
        assert np.array_equal(cache.pooled(), values * 2)
        assert np.array_equal(cache.frames(8), values[8:] * 2)
    with pytest.raises(UserError, match="no array 'x'; there are utterance, pooled, au, clip"):
        imported(monkeypatch, "m.npz", "--array", "x")
    np.savez(project / "twice.npz", utterance=["a", "a"], pooled=values[:2])
    with pytest.raises(UserError, match="duplicate ids: a"):
        imported(monkeypatch, "twice.npz")
    np.savez(project / "odd.npz", utterance=IDS, pooled=values[:2])
    with pytest.raises(UserError, match=r"give ids \[N\] and values"):
        imported(monkeypatch, "odd.npz")


def test_an_export_can_be_imported_again(project, monkeypatch):
    with imported(monkeypatch, "made") as cache:
        before = cache.pooled()
    run(monkeypatch, "export", "data/features/hubert.h5", "--to", "npz", "--out", "x.npz")
    with imported(monkeypatch, "x.npz") as cache:
        assert np.array_equal(cache.pooled(), before)


def test_shapes_that_differ_name_the_utterance(project, monkeypatch):
    np.save("made/d1_1.npy", np.ones(5))
    with pytest.raises(UserError, match=r"d1_1: pooled has the shape \(5,\), not \(4,\)"):
        imported(monkeypatch, "made")


def test_nothing_usable_and_no_such_folder(project, monkeypatch):
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        imported(monkeypatch, "nowhere")
    for utterance in IDS:
        np.save(f"made/{utterance}.npy", np.zeros(4))
    with pytest.raises(UserError, match=r"no utterance has a usable array; .*\n  d0_0: all values are 0"):
        imported(monkeypatch, "made")
    np.savez("made/d0_0.npz", x=np.ones(4))
    with pytest.raises(UserError, match=r"duplicate file of utterance d0_0; first is .*d0_0\.np."):
        imported(monkeypatch, "made")


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00v\x00", npy(np.ones(3))[:-1],
        npy(np.ones(3)) + b"x", npy(np.array([object()])),
        header("(4611686018427387904, 4)"), header("(-1,)"), header("(True,)"), header("(0, 9)", "'V0'"),
        header("__import__('os')"), header("(1,)", "'|O'"), header("(" * 40), header("(2,)", "[('a', '|O')]"),
    ],
)  # fmt: skip
def test_hostile_npy_is_refused(data):
    with pytest.raises(ArrayError, match=r"x: no readable \.npy"):
        read_npy(data, "x")


def test_every_kind_of_number_is_read():
    for array in (
        np.ones((2, 3), ">f8"),
        np.arange(4, dtype="i2"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.ones((0, 4)),
    ):
        assert np.array_equal(read_npy(npy(array), "x"), array)


def test_hostile_npz_is_refused(tmp_path):
    for data in (b"", b"PK\x03\x04", b"x" * 100):
        with pytest.raises(ArrayError, match="readable"):
            Npz(data, "x")
    np.savez_compressed(tmp_path / "x.npz", a=np.arange(1000))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[200] ^= 1
    with pytest.raises(ArrayError, match="x: a is damaged"):
        Npz(bytes(data), "x")["a"]
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("a.npy", b"no array")
    with pytest.raises(ArrayError, match=r"x: a: no readable \.npy"):
        Npz(tmp_path / "y.npz", "x")["a"]


def test_a_bomb_is_refused_before_it_unfolds(tmp_path):
    """Zeros pack a thousandfold: 270 MB of them in 270 kB."""
    header_ = header("(33554432,)")
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as file,
    ):
        file.write(header_)
        for _ in range(256):
            file.write(bytes(1 << 20))
    with pytest.raises(
        ArrayError, match=r"x: a claims 268,\d+,\d+ bytes, packed into 2\d\d,\d+; .*numpy.savez"
    ):
        Npz(tmp_path / "x.npz", "x")["a"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array([0x110000] * 9, "<u4").view("<U1"), "contains invalid text"),
        (np.array([0xDC80] * 9, "<u4").view("<U1"), "duplicate ids"),
        (np.array([b"\xff\xfe"] * 9), "contains invalid text"),
    ],
)
def test_ids_that_are_no_text_are_one_message(project, monkeypatch, ids, expected):
    np.savez("x.npz", pooled=np.ones((9, 4)), utterance=ids)
    with pytest.raises(UserError, match=rf"x.npz: utterance: .*{expected}"):
        imported(monkeypatch, "x.npz")


def test_ids_there_twice_are_counted_in_one_pass(project, monkeypatch):
    ids = np.array([f"u{i % 60_000:06}" for i in range(120_000)])
    np.savez("x.npz", pooled=np.ones((len(ids), 1)), utterance=ids)
    begin = time.process_time()
    with pytest.raises(UserError, match=r"duplicate ids: u000000, .* and 59980 more"):
        imported(monkeypatch, "x.npz")
    assert time.process_time() - begin < 20  # each id counted anew took an hour


def test_what_is_no_file_or_fits_no_float_is_a_status(project, monkeypatch):
    (project / "made" / f"{IDS[0]}.npy").unlink()
    (project / "made" / f"{IDS[0]}.npy").mkdir()
    np.save(project / "made" / f"{IDS[1]}.npy", np.full(4, 1e300))
    with imported(monkeypatch, "made", "--partial") as cache:
        assert cache.errors[:2] == ["not in the import", "values beyond what the cache's floats can hold"]
        assert cache.counts()["ok"] == 7


def test_a_short_row_of_names_is_one_message(project, monkeypatch):
    (project / "names.csv").write_text("file,utterance\na\n")
    with pytest.raises(UserError, match=r"names.csv:2: 1 values, but the header has 2 columns"):
        imported(monkeypatch, "made", "--names", "names.csv")
