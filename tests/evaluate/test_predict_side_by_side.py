"""The streams of a short recording load and run side by side; those of a long one in turn, each with all cores."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from evaluate.predict import __main__ as predict
from extract.engine.run import side_by_side
from tests.evaluate.recording import SRT, STREAMS, make_model, rows, video
from tests.extract.make_clips import clip
from tests.extract.project import inline


@pytest.fixture
def events(here, monkeypatch) -> list[tuple[str, str, int | None]]:
    """Return the list to which each stream's extraction adds its start and its end."""
    found: list[tuple[str, str, int | None]] = []

    def engine(encoder, batches, workers, timeout):
        found.append(("start", encoder.modality, workers))
        yield []
        yield from inline(encoder, batches, workers, timeout)
        found.append(("end", encoder.modality, workers))

    make_model(here / "models/seed0", tuple(STREAMS))
    clip(here / "talk.mp4", 2.0)
    (here / "talk.srt").write_text(SRT)
    monkeypatch.setattr("extract.engine.local.extract", engine)
    monkeypatch.setenv("EMOFUSE_THREADS", "7")
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    return found


def test_streams_of_few_utterances_start_before_any_ends(events, here, monkeypatch):
    video(monkeypatch)
    assert events[:3] == [("start", modality, 2) for modality in sorted(STREAMS)]
    assert sorted(events[3:]) == sorted(("end", modality, 2) for modality in STREAMS)
    together = (here / "out/predictions.csv").read_bytes()
    events.clear()
    monkeypatch.setattr(predict, "FEW", 1)
    video(monkeypatch, "--to", "again")
    assert events == [(event, m, None) for m in sorted(STREAMS) for event in ("start", "end")]
    assert (here / "again/predictions.csv").read_bytes() == together
    assert all(row["missing"] in ("", "visual:no_face") for row in rows(here / "out"))


def test_the_number_of_workers_asked_for_is_each_streams(events, monkeypatch):
    monkeypatch.setenv("EMOFUSE_WORKERS", "3")
    video(monkeypatch)
    assert {workers for _, _, workers in events} == {3}


def test_a_failed_stream_ends_the_others():
    ended = []

    def endless() -> Generator[None, None, int]:
        try:
            while True:
                yield
        finally:
            ended.append("endless")

    def failing() -> Generator[None, None, int]:
        yield
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="the disk is full"):
        side_by_side({"a": endless(), "b": failing()})
    assert ended == ["endless"]


def test_each_stream_has_its_own_result():
    def counting(steps: int) -> Generator[None, None, int]:
        for _ in range(steps):
            yield
        return steps

    assert side_by_side({n: counting(n) for n in (3, 0, 1)}) == {3: 3, 0: 0, 1: 1}
