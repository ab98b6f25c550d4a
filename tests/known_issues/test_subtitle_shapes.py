"""Subtitles of many programs: turns were joined, names stayed in the words, one odd file stopped a corpus."""

from __future__ import annotations

import pytest

from pipeline.corpora import subtitles
from pipeline.corpora.cues import read_cues
from pipeline.corpora.turns import turns
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.prepare import prepare
from tests.pipeline import raw_folders

ONE, TWO, THREE = (
    "00:00:00,500 --> 00:00:01,500",
    "00:00:01,600 --> 00:00:02,400",
    "00:00:02,500 --> 00:00:03,400",
)
BOTH = [("ANNA", "Good morning."), ("BEN", "Morning.")]


def said(tmp_path, text: str | bytes, keep_tags: bool = False) -> list[tuple[str, str]]:
    """(speaker, words) of a file without any mistake."""
    path = tmp_path / "talk.srt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    problems = Problems()
    found = turns(read_cues(path, problems), keep_tags)
    assert problems.listed == []
    return [(turn.speaker, turn.text) for turn in found]


def cue(*lines: str) -> str:
    return "\n".join(["1", ONE, *lines, ""])


@pytest.mark.parametrize(
    "text",
    [
        f"1\n{ONE}\nANNA: Good morning.\n2\n{TWO}\nBEN: Morning.\n",
        f"{ONE}\nANNA: Good morning.\n{TWO}\nBEN: Morning.\n",
        f"1\n{ONE}\n\nANNA: Good morning.\n\n2\n{TWO}\n\nBEN: Morning.\n",
        f"1\n{ONE}\n \nANNA: Good morning.\n \n2\n{TWO}\n \nBEN: Morning.",
        f"  1  \n\n  {ONE}  \n\n  ANNA:   Good\n\n  morning.  \n\n\n  2  \n\n  {TWO}  \n\nBEN: Morning.\n\n\n",
        f"1\n{ONE}\nANNA: Good morning.\n\n\ufeff2\n{TWO}\nBEN: Morning.\n",
        f"1\n{ONE}\n[ANNA]: Good morning.\n\n2\n{TWO}\n（BEN）：Morning.\n",
        f"1\n{ONE}\n【ANNA】：Good morning.\n\n2\n{TWO}\n【BEN】: Morning.\n",
        f"1\n{ONE}\n>> ANNA: Good morning.\n\n2\n{TWO}\n- BEN : Morning.\n",
        f"1\n{ONE}\nANNA:\nGood morning.\n\n2\n{TWO}\nBEN (yawns): Morning.\n",
        f"1\n{ONE}\nANNA: Good morning.\nBEN: Morning.\n",
        f"1\n{ONE}\n- ANNA: Good morning. - BEN: Morning.\n",
        f"1\n{ONE} X1:100 X2:200\n\u202aANNA: Good morning.\u202c\n\n2\n{TWO}\n&lrm;BEN: Morning.\n",
        f"1\n{ONE.replace('-->', '--&gt;')}\nANNA: Good morning.\n\n1\n{TWO}\nBEN: Morning.\n",
        f"1\n{ONE}\nANNA: Good morning.\n\n2\n{TWO}\nBEN: Morning.\n".encode("utf-16"),
        f"WEBVTT\n\n{ONE}\n<v Anna>x</v>\n".replace("Anna>x", "ANNA>Good morning.") + f"<v.loud BEN>Morning.\n{TWO}",
    ],
    ids=[
        "no blank lines", "no numbers", "blank before words", "space before words", "padded", "inner byte order mark",
        "brackets", "lenticular brackets",
        "marks", "name on its own line", "two names in a cue", "dashes on one line", "writing direction",
        "escaped arrow", "UTF-16", "WebVTT voices",
    ],
)  # fmt: skip
def test_two_turns_with_their_speakers(tmp_path, text):
    assert said(tmp_path, text) == BOTH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"1\n{ONE}\n42\n2\n{TWO}\n2019\n", ["42", "2019"]),
        (f"1\n{ONE}\n2\n{TWO}\nHi.\n", ["Hi."]),
        (f"{ONE}\n42\n{TWO}\n7\n", ["42", "7"]),
        (cue("Tom &amp; I say AT&T&nbsp;is &lt;3 &#233; &nosuch;"), ["Tom & I say AT&T is <3 é &nosuch;"]),
        (cue('{\\an8}<font color="#f00"><i>Good</i></font>\\Nmorning {\\i1}all{\\i0}'), ["Good morning all"]),
        (cue("- What?", "- No."), ["What?", "No."]),
        (cue("–What?", "–No."), ["What?", "No."]),
        (cue("What?", "- No."), ["What?", "No."]),
        (cue("It is", "-5 outside"), ["It is -5 outside"]),
        (cue("I thought", "—and still do—", "-- no"), ["I thought —and still do— -- no"]),
        (cue(">> Hi. >> Hello.", ">> Hey."), ["Hi.", "Hello.", "Hey."]),
        (cue("[laughs]"), []),
        (cue("(door", "slams)"), []),
        (cue("♪ La la", "la ♪"), []),
        (cue("ANNA: ♪ Happy birthday"), []),
        (cue("(sighs) Fine. [door slams]"), ["Fine."]),
        (cue("Question:"), ["Question:"]),
        (cue("5 < 6 and 7 > 3"), ["5 < 6 and 7 > 3"]),
        (cue("🎵 one 🎵 Hello."), ["Hello."]),
        (cue("【笑】"), []),
        (cue("【音乐】早上好"), ["早上好"]),
        (cue("{\\an7\\p1}m 0 0 l 100 0 100 100{\\p0}Hello."), ["Hello."]),
        (cue("{\\p1}m 0 0 l 100 0", "100 100 0 100"), []),
        (cue("{\\an8}{\\pos(192,210)}{\\fad(100,100)}Hello{\\r}."), ["Hello."]),
    ],
)  # fmt: skip
def test_words_are_clean(tmp_path, text, expected):
    assert [words for _, words in said(tmp_path, text)] == expected


def test_a_named_turn_below_one_without_a_name(tmp_path):
    assert said(tmp_path, cue("What?", "ANNA: No.")) == [("", "What?"), ("ANNA", "No.")]
    assert said(tmp_path, f"WEBVTT\n\n{ONE}\nWhat? <v Anna>No.</v>") == [("", "What?"), ("Anna", "No.")]


def test_webvtt(tmp_path):
    text = (
        "WEBVTT - a title\nKind: captions\nLanguage: en\n\nSTYLE\n::cue { color: red }\n\nNOTE\nnot said\n\n"
        "intro\n00:00.500 --> 00:01.500 align:start position:0%\n \n<c.blue>Good</c> <00:00:01.000><c> morning.</c>\n\n"
        "NOTE nor this\n\n1:00:01.600 --> 1:00:02.400\nMorning.\n"
    )
    assert said(tmp_path, text) == [("", "Good morning."), ("", "Morning.")]
    path = tmp_path / "talk.srt"
    assert [(c.start, c.end) for c in read_cues(path, Problems())] == [(0.5, 1.5), (3601.6, 3602.4)]


def test_captions_that_roll_say_each_word_once(tmp_path):
    text = "WEBVTT\nKind: captions\n\n" + "\n\n".join(
        f"00:00:0{at} --> 00:00:0{until} align:start position:0%\n{lines}"
        for at, until, lines in [
            ("0.080", "2.389", " \nhello<00:00:00.400><c> and</c><00:00:00.560><c> welcome</c>"),
            ("2.389", "2.399", "hello and welcome\n "),
            ("2.399", "4.470", "hello and welcome\nto<00:00:02.560><c> it</c>"),
            ("4.470", "4.480", "to it\n "),
            ("4.480", "5.100", "to it\nyeah"),
            ("5.100", "6.000", "yeah\nyeah"),
        ]
    )
    assert [words for _, words in said(tmp_path, text)] == ["hello and welcome", "to it", "yeah", "yeah"]
    plain = f"WEBVTT\n\n{ONE}\nNo.\n\n{TWO}\nNo.\n"
    assert [words for _, words in said(tmp_path, plain)] == ["No.", "No."]


def test_hours_and_minutes_beyond_the_clock(tmp_path):
    path = tmp_path / "talk.srt"
    path.write_text("1\n99:59:59,505 --> 100:00:29,605\nFoo\n\n2\n00:75:01,0 --> 0:75:2,5\nhi\n")
    found = read_cues(path, Problems())
    assert [(c.start, c.end) for c in found] == [(4501.0, 4502.5), (359999.505, 360029.605)]


@pytest.mark.parametrize(
    "names",
    [
        ("[SPEAKER_00]:", "[SPEAKER_01]:"), ("[SPEAKER_00]", "[SPEAKER_01]"), ("Speaker 1:", "speaker 2:"),
        ("安娜：", "本："), ("安娜:", "本:"), ("anna:", "ben:"), ("אנה:", "בן:"), ("अन्ना:", "बेन:"),
        ("Jose\u0301:", "O’Neill:"),
        ("MAN #1:", "Mrs. Smith:"), ("АННА:", "Бен:"), ("JEAN-LUC:", "R2:"),
    ],
)  # fmt: skip
def test_names_of_any_script(tmp_path, names):
    text = f"1\n{ONE}\n{names[0]} 好 good\n\n2\n{TWO}\n{names[1]} so: well\n"
    bare = [name.strip("[]:：") for name in names]
    assert said(tmp_path, text) == [(bare[0], "好 good"), (bare[1], "so: well")]


def test_words_before_a_colon_are_no_names(tmp_path):
    words = [
        "Look at this: it works.",
        "look: it works",
        "他说：我不去",
        "At 12:30 then.",
        "see http://x.org",
    ]
    text = "".join(f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\n{line}\n\n" for i, line in enumerate(words, 1))
    assert [speaker for speaker, _ in said(tmp_path, text)] == [""] * 5


def test_tags_are_kept_where_asked(tmp_path):
    text = (
        f"1\n{ONE}\nANNA (laughing): [coughs] Good.\n\n2\n{TWO}\n♪ La la ♪\n\n3\n{THREE}\n[laughs] BEN: Hm.\n"
    )
    assert said(tmp_path, text) == [("ANNA", "Good."), ("BEN", "Hm.")]
    assert said(tmp_path, text, keep_tags=True) == [
        ("ANNA", "(laughing) [coughs] Good."), ("", "♪ La la ♪"), ("BEN", "[laughs] Hm."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("-->", "->", 6), ("-->", "→", 6), ("-->", "-", 6), ("00:00:01,600", "00:00:0x,600", 6),
        ("00:00:01,600", "", 6),
        ("00:00:01,600", "-00:00:01,600", 6), ("00:00:02,400", "00:00:01,600", 6), (f"{TWO}\n", "", 6), (TWO, "", 6),
    ],
)  # fmt: skip
def test_a_damaged_time_line_is_named_and_joins_no_turns(tmp_path, old, new, line):
    whole = f"1\n{ONE}\nGood.\n\n2\n{TWO}\nMorning.\n\n3\n{THREE}\nHm.\n"
    head, tail = whole[: whole.index("2\n00")], whole[whole.index("2\n00") :]
    (tmp_path / "talk.srt").write_text(head + tail.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"1 invalid values; correct them:\n.*talk\.srt:{line}: line="):
        subtitles.read(tmp_path, raw_folders.corpus("subtitles", tmp_path))


def test_one_message_names_the_bad_lines_of_all_files(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.srt").write_text("1\n00:00:05,000 --> 00:00:04,000\nHi.\n\nx --> y\nHo.\n")
    with pytest.raises(UserError, match="4 invalid values") as caught:
        subtitles.read(tmp_path, raw_folders.corpus("subtitles", tmp_path))
    assert all(f"{name}.srt:{line}: " in str(caught.value) for name in "ab" for line in (2, 5))


def test_cues_left_out_are_counted(tmp_path):
    (tmp_path / "talk.srt").write_text(
        f"1\n{ONE}\nHi.\n\n2\n{TWO}\n[door]\n\n3\n{THREE}\n- (yawns)\n- ♪ la\n"
    )
    said = "2 cues contain only sounds and were skipped; corpus.keep_tags=true keeps them"
    corpus = raw_folders.corpus("subtitles", tmp_path)
    assert prepare(corpus, tmp_path / "u.csv", tmp_path / "l.csv").endswith(said)
    kept = prepare(corpus.model_copy(update={"keep_tags": True}), tmp_path / "u.csv", tmp_path / "l.csv")
    assert kept.startswith("subtitles: 4 utterances")
    assert said not in kept


@pytest.mark.parametrize(
    ("subtitle", "media"),
    [
        ("talk.srt", "talk.MTS"), ("talk.SRT", "talk.m4v"), ("talk.en.sdh.srt", "talk.opus"),
        ("talk.mp4.srt", "talk.mp4"),
        ("talk.vtt", "talk.Mp4"), ("Cafe\u0301.srt", "Caf\u00e9.wav"), ("Caf\u00e9.en.srt", "Cafe\u0301.WAV"),
        ("dr. no.srt", "dr. no.mkv"),
    ],
)  # fmt: skip
def test_the_recording_beside_is_found(tmp_path, subtitle, media):
    (tmp_path / "Dev").mkdir()
    (tmp_path / "Dev" / subtitle).write_text(f"1\n{ONE}\nHi.\n")
    (tmp_path / "Dev" / media).write_bytes(b"x")
    utterances, labels = subtitles.read(tmp_path, raw_folders.corpus("subtitles", tmp_path))
    assert (tmp_path / utterances["media"][0]).is_file()
    assert list(labels["split"]) == ["val"]


def test_two_files_of_one_dialogue(tmp_path):
    for name in ("talk.srt", "talk.vtt"):
        (tmp_path / name).write_text(f"1\n{ONE}\nHi.\n")
    with pytest.raises(
        UserError, match=r"talk.vtt: dialogue='talk': duplicate of the dialogue in .*talk.srt"
    ):
        subtitles.read(tmp_path, raw_folders.corpus("subtitles", tmp_path))
