"""Writing caches: values survive, bytes repeat, and a full disk or a crash costs nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.errors import UserError
from pipeline.features import STATUSES, FeatureCache, Row, write
from pipeline.features.schema import MAX_ERROR
from tests.pipeline import feature_files as files

LINE = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"))
)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | LINE,
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LINE, inner, max_size=3))  # fmt: skip

# A value that starts like a path is refused; that has a test of its own.
ENCODER = st.dictionaries(LINE, JSON, max_size=3).filter(
    lambda d: not any(str(v).startswith("/") for v in d.values())
)


def floats(*shape: int):
    return hnp.arrays("f4", shape, elements=st.floats(-6e4, 6e4, width=32))


@st.composite
def caches(draw):
    dim, kind = draw(st.integers(1, 4)), draw(st.sampled_from(["none", "f2", "f4"]))
    frames_dim = 0 if kind == "none" else draw(st.integers(1, 3))
    about = files.meta(
        licence=draw(LINE), corpus=draw(LINE), encoder=draw(ENCODER),
        weights_saw=draw(st.none() | st.dictionaries(LINE, JSON, max_size=2)),
        pooled_dim=dim, frames_dim=frames_dim, frames=kind, pooled_names=(), frames_names=(),
    )  # fmt: skip
    ids = draw(st.lists(LINE.filter(bool), unique=True, max_size=6))
    rows = []
    for _ in ids:
        status = draw(st.sampled_from(STATUSES[:2]))
        if status != "ok":
            rows.append(Row("", status, draw(LINE)))
            continue
        length = draw(st.integers(1, 3))
        frames, times = (
            (draw(floats(length, frames_dim)), draw(floats(length))) if frames_dim else (None, None)
        )
        rows.append(Row(draw(LINE), status, draw(LINE), draw(floats(dim)), frames, times))
    return about, ids, rows


@settings(max_examples=30, deadline=None)
@given(caches())
def test_what_is_written_is_read(tmp_path_factory, made):
    about, ids, rows = made
    path = tmp_path_factory.mktemp("cache") / "x.h5"
    write(path, about, ids, rows)
    with FeatureCache(path) as cache:
        cache.verify()
        assert cache.meta == about
        assert (cache.utterances, cache.errors) == (ids, [row.error for row in rows])
        assert [STATUSES[code] for code in cache.status] == [row.status for row in rows]
        pooled = cache.pooled()
        assert pooled.dtype == np.float32
        assert pooled.shape == (len(ids), about.pooled_dim)
        for i, row in enumerate(rows):
            if row.pooled is None:
                assert (pooled[i].view(np.uint32) == 0x7FC00000).all()
            else:
                assert np.array_equal(pooled[i], row.pooled)
            if cache.has_frames:
                frames = np.zeros((0, about.frames_dim)) if row.frames is None else row.frames
                assert np.array_equal(cache.frames(i), frames.astype(about.frames))
                assert np.array_equal(cache.times(i), np.zeros(0) if row.times is None else row.times)


def test_counts_and_reasons(tmp_path):
    with FeatureCache(files.small(tmp_path / "x.h5")) as cache:
        assert cache.counts() == {"ok": 16, "no_face": 4}
        assert cache.errors[3] == "no face in any of 3 frames – größer?"
        assert cache.errors[1] == "cut to 512 tokens"
        assert len(cache) == 20


def test_reasons_are_one_printable_line_of_bounded_length(tmp_path):
    about = files.plain()
    write(
        tmp_path / "x.h5",
        about,
        ["a", "b"],
        [Row("", "failed", "two\nlines\x1b[31m\ud800"), Row("", "failed", "ü" * 500)],
    )
    with FeatureCache(tmp_path / "x.h5") as cache:
        assert cache.errors[0] == "two lines\ufffd[31m\ufffd"
        assert len(cache.errors[1].encode()) <= MAX_ERROR
        assert cache.errors[1].endswith("ü…")


WRITE_AGAIN = """
import sys; from pathlib import Path; import numpy as np
from tests.pipeline import feature_files as files
np.random.default_rng(int(sys.argv[2])).random(10**6)   # other memory contents than in the first process
about = files.meta()
about = files.meta(**{name: dict(reversed(getattr(about, name).items())) for name in ("encoder", "packages")})
from pipeline.features import write
write(Path(sys.argv[1]), about, files.names(3000), iter(files.rows(about, 3000)))
"""


def test_same_inputs_same_bytes_in_another_process_at_another_time(tmp_path):
    first = files.small(tmp_path / "a.h5", 3000)
    time.sleep(1.1)
    other = tmp_path / "elsewhere" / "b.h5"
    subprocess.run([sys.executable, "-c", WRITE_AGAIN, other, "7"], check=True)
    assert first.read_bytes() == other.read_bytes()


def test_no_host_path_or_user_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody-in-particular")
    monkeypatch.setattr("socket.gethostname", lambda: "a-machine-of-ours")
    data = files.small(tmp_path / "x.h5").read_bytes()
    for secret in (socket.gethostname(), str(tmp_path), os.getcwd(), str(Path.home())):
        assert secret.encode() not in data
    with pytest.raises(UserError, match="/home/me/bert"):
        files.small(tmp_path / "x.h5", weights={"name": "/home/me/bert"})


def test_digest_and_rows_hash_tell_what_changed(tmp_path):
    about = files.plain()
    rows = files.rows(about, 6)
    seen = []
    other = Row(rows[0].key, "ok", "", rows[0].pooled + 1)
    moved = Row("another key", "ok", "", rows[0].pooled)
    for first in (rows[0], other, moved):
        write(tmp_path / "x.h5", about, files.names(6), [first, *rows[1:]])
        with FeatureCache(tmp_path / "x.h5") as cache:
            seen.append((cache.digest, cache.rows_hash))
    (digest, rows_hash), of_other, of_moved = seen
    assert of_other[0] != digest
    assert of_other[1] == rows_hash
    assert of_moved[0] == digest
    assert of_moved[1] != rows_hash


def test_the_cache_without_rows_is_the_one_in_git(tmp_path):
    tracked = Path("data/features/none.h5")
    with FeatureCache(tracked) as cache:
        cache.verify()
        assert len(cache) == 0
        assert cache.pooled().shape == (0, 1)
        write(tmp_path / "none.h5", cache.meta, [], [])
    assert (tmp_path / "none.h5").read_bytes() == tracked.read_bytes()


NUMBERS = np.arange(5, dtype="f4")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (Row("k", "ok"), "pooled has the shape"),
        (Row("k", "ok", "", np.zeros(4, "f4")), r"\(4,\), not \(5,\)"),
        (Row("k", "ok", "", np.array([1, 2, 3, 4, np.nan])), "not finite"),
        (Row("k", "ok", "", np.full(5, 1e300)), "too large for float32"),
        (Row("k", "ok", "", np.array(list("abcde"))), "not numbers"),
        (Row("k", "fine", "", NUMBERS), "status='fine'"),
        (Row("k", "no_face", "", NUMBERS), "status=no_face with features"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path, row, why):
    with pytest.raises(UserError, match=f"utterance u: .*{why}"):
        write(tmp_path / "x.h5", files.plain(), ["u"], [row])
    assert list(tmp_path.iterdir()) == []


def test_frames_that_cannot_be_are_refused(tmp_path):
    frames, times = np.ones((2, 3)), np.zeros(2)
    for row, why in (
        (Row("k", "ok", "", NUMBERS), "without frames"),
        (Row("k", "ok", "", NUMBERS, np.zeros((0, 3)), np.zeros(0)), "without frames"),
        (Row("k", "ok", "", NUMBERS, frames[:, :2], times), r"\(2, 2\), not \(2, 3\)"),
        (Row("k", "ok", "", NUMBERS, frames, times[:1]), "times has the shape"),
        (Row("k", "ok", "", NUMBERS, frames * 1e5, times), "too large for float16"),
    ):
        with pytest.raises(UserError, match=why):
            write(tmp_path / "x.h5", files.meta(), ["u"], [row])


def test_rows_and_utterances_must_fit(tmp_path):
    about, row = files.plain(), Row("k", "ok", "", NUMBERS)
    for ids, rows, why in (
        (["a"], [], "0 rows for 1"),
        (["a"], [row, row], "more rows than the 1"),
        (["a", "a"], [row, row], "duplicate utterance id 'a'"),
        ([""], [row], "non-empty"),
        (["a\nb"], [row], "printable"),
    ):
        with pytest.raises(UserError, match=why):
            write(tmp_path / "x.h5", about, ids, rows)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pooled_names": ("a",)}, "pooled_names: expected 5"),
        ({"frames": "none"}, "dimensions"),
        ({"frames": "f8"}, "dimensions"),
        ({"pooled_dim": 0, "pooled_names": ()}, "dimensions"),
        ({"licence": "x" * 2_000_000}, "licence: longer"),
    ],
)
def test_meta_that_cannot_be_is_refused(tmp_path, changes, why):
    with pytest.raises(UserError, match=why):
        write(tmp_path / "x.h5", files.meta(**changes), [], [])
