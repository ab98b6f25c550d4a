"""What a run extracts, and what it writes: counted on a fake encoder, in this process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extract import encoders
from extract.contract import Item
from extract.engine import run
from extract.engine.journal import Journal, journal_path
from extract.engine.plan import Plan
from extract.streams import encoder_of, load_checked
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.tables.schema import read_utterances
from tests.extract.fake_encoders import features
from tests.extract.outcomes import framed
from tests.extract.project import ENCODER, Project, inline, sentences


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "extracted.log"))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setitem(encoders.REGISTRY, "fake", ENCODER)
    monkeypatch.setattr("extract.engine.local.extract", inline)


def project(tmp_path: Path, texts: list[str], **params: Any) -> Project:
    made = Project(tmp_path, texts, **params)
    run.run("fake")
    return made


def new(made: Project) -> list[str]:
    """Run again; what that extracted."""
    before = len(made.extracted())
    run.run("fake")
    return made.extracted()[before:]


def test_the_file_holds_the_features_in_table_order(tmp_path: Path) -> None:
    texts = sentences(25)
    made = project(tmp_path, texts)
    with FeatureCache(made.file) as cache:
        assert cache.utterances == [f"u{i:05}" for i in range(25)]
        expected = np.stack([features(text, 8).pooled for text in texts])
        np.testing.assert_array_equal(cache.pooled(), expected)
        assert not cache.has_frames
        assert (cache.meta.stream, cache.meta.modality, cache.meta.corpus) == ("fake", "text", "demo")
        assert cache.meta.encoder["batch"] == 4
        cache.verify()


@pytest.mark.parametrize("kind", ["f2", "f4"])
def test_frames_are_stored_as_asked(tmp_path: Path, kind: str) -> None:
    texts = sentences(12)
    made = project(tmp_path, texts, frames=kind)
    with FeatureCache(made.file) as cache:
        for i, text in enumerate(texts):
            (expected,) = framed([features(text, 8)])
            np.testing.assert_array_equal(cache.frames(i), expected.frames.astype(kind))
            np.testing.assert_array_equal(cache.times(i), expected.times)


def test_a_second_run_extracts_nothing_and_gives_the_same_bytes(tmp_path: Path) -> None:
    made = project(tmp_path, sentences(25))
    first = made.sha256
    assert new(made) == []
    assert made.sha256 == first


def test_adding_ten_utterances_extracts_ten(tmp_path: Path) -> None:
    made = project(tmp_path, sentences(20))
    made.table(sentences(30))
    assert len(new(made)) == 10


def test_an_edited_sentence_costs_the_utterances_whose_context_it_enters(tmp_path: Path) -> None:
    texts = sentences(20)
    made = project(tmp_path, texts, past=2)
    texts[6] = "something else"
    made.table(texts)
    assert {line.split(" | ")[-1].split()[0] for line in new(made)} == {"something", "line7", "line8"}


def test_a_replaced_clip_costs_itself(tmp_path: Path) -> None:
    made = project(tmp_path, sentences(20))
    made.table(sentences(20), hashes={4: "b" * 64})
    [again] = new(made)
    assert again.startswith("line4 ")
    assert again.endswith("b" * 64)


def test_a_corrected_label_costs_nothing(tmp_path: Path) -> None:
    made = project(tmp_path, sentences(20))
    (tmp_path / "data/labels.csv").write_text("utterance,split,emotion\nu00000,train,b\n")
    before = made.sha256
    assert new(made) == []
    assert made.sha256 == before


def test_going_back_to_old_params_costs_a_merge(tmp_path: Path) -> None:
    made = project(tmp_path, sentences(20))
    first = made.sha256
    made.params(salt="other")
    assert len(new(made)) == 20
    assert made.sha256 != first
    made.params()
    assert new(made) == []
    assert made.sha256 == first


def test_max_failed_and_timeout_do_not_extract_anew(tmp_path: Path) -> None:
    made = project(tmp_path, sentences(20))
    first = made.sha256
    made.params(max_failed=0.5, timeout=3.0)
    assert new(made) == []
    assert made.sha256 == first


def test_equal_items_are_extracted_once(tmp_path: Path) -> None:
    made = project(tmp_path, ["same words"] * 15 + ["others"] * 5)
    assert len(made.extracted()) == 2
    with FeatureCache(made.file) as cache:
        assert len(np.unique(cache.pooled(), axis=0)) == 2


def test_utterances_without_item_have_their_status_and_no_row_in_the_journal(tmp_path: Path) -> None:
    made = project(tmp_path, ["one", "", "three", "this was cut"])
    with FeatureCache(made.file) as cache:
        assert cache.counts() == {"ok": 3, "no_text": 1}
        assert cache.errors == ["", "the utterance has no text", "", "cut to 3 words"]
    assert len(made.journalled()) == 3


def test_batches_hold_items_of_one_length(tmp_path: Path) -> None:
    made = project(tmp_path, [*sentences(50), ""], batch=4)
    encoder = encoder_of("fake", load_checked())
    plan = Plan(encoder, read_utterances())
    batches = plan.batches([i for i in range(51) if i != 50])
    assert sorted(i for batch in batches for i in batch) == list(range(50))
    assert all(len({plan.item(i).length for i in batch}) == 1 for batch in batches)
    # 50 texts of 1 to 7 words: 8 of the first length, 7 of the others, two batches each.
    assert sorted(len(batch) for batch in batches) == [3] * 6 + [4] * 8
    assert plan.batches(range(50)) != plan.batches(range(50))
    assert len(made.journalled()) == 50


def test_items_of_unknown_length_go_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, sentences(6), batch=4)
    encoder = encoder_of("fake", load_checked())
    item = type(encoder).item

    def of_unknown_length(*args: Any) -> Item:
        made = item(*args)
        assert isinstance(made, Item)
        return Item(made.content)

    monkeypatch.setattr(type(encoder), "item", of_unknown_length)
    plan = Plan(encoder, read_utterances())
    assert sorted(plan.batches(range(6))) == [[i] for i in range(6)]


def test_damaged_rows_are_all_done_again_in_one_more_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    texts = sentences(20)
    made = project(tmp_path, texts)
    first, data = made.sha256, bytearray(made.database.read_bytes())
    for i in (3, 4, 17):
        values = features(texts[i], 8).pooled.tobytes()
        # Some builds of SQLite leave copies behind where a page was split.
        for place in [match.start() for match in re.finditer(re.escape(values), data)]:
            data[place + 3] ^= 1
    made.database.write_bytes(data)
    capsys.readouterr()
    assert sorted(line.split()[0] for line in new(made)) == ["line17", "line3", "line4"]
    assert made.sha256 == first
    said = capsys.readouterr()
    assert said.err.count("is damaged; deleted it") == 3
    assert "extracted 3 in" in said.out


@pytest.mark.parametrize("share", [0.0, 0.02, 0.4, 0.8])
def test_a_truncated_journal_costs_what_it_lost(tmp_path: Path, share: float) -> None:
    made = project(tmp_path, sentences(100))
    first, data = made.sha256, made.database.read_bytes()
    made.database.write_bytes(data[: int(len(data) * share)])
    assert 0 < len(new(made)) <= 100
    assert made.sha256 == first
    assert new(made) == []


def test_the_file_does_not_tell_how_often_the_journal_was_broken(tmp_path: Path) -> None:
    made = project(tmp_path, sentences(20))
    first = made.sha256
    made.database.write_bytes(b"rubbish" * 1000)
    assert len(new(made)) == 20
    assert made.sha256 == first


def test_files_that_are_not_here_end_the_run_after_all_else(tmp_path: Path) -> None:
    made = Project(tmp_path, [*sentences(9), "missing one", "missing two"])
    with pytest.raises(UserError, match=r"2 media files .* are not under data/demo .*EMOFUSE_MEDIA"):
        run.run("fake")
    assert len(made.journalled()) == 9
    assert not made.file.exists()


def test_too_many_failures_fail_the_stage_after_everything_is_kept(tmp_path: Path) -> None:
    made = Project(tmp_path, [*sentences(8), "corrupt", ""], max_failed=0.15)
    with pytest.raises(UserError, match=r"2 of 10 utterances have no features \(20\.0%\).*max_failed=0\.15"):
        run.run("fake")
    assert len(made.journalled()) == 9
    with FeatureCache(made.file) as cache:
        assert cache.counts() == {"ok": 8, "corrupt": 1, "no_text": 1}
    made.params(max_failed=0.2)
    assert new(made) == []


def test_the_journal_lies_in_dvcs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "home"))
    Project(tmp_path, sentences(3))
    run.run("fake")
    [path] = (tmp_path / "home/.cache/journal").glob("*.sqlite")
    assert path == journal_path(path.stem)
    with Journal(path) as journal:
        assert journal.forget_failures() == 0
