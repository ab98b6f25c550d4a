"""What the demo corpus holds: checked on the plan, before a single clip is made."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from pipeline.demo.plan import EMOTIONS, NAMES, PORTRAITS, SPLITS, VOICES, clips

PLAN = clips()
FELT = [clip for clip in PLAN if clip.emotion != "neutral"]


def share(flag: str, among: list) -> float:
    return sum(getattr(clip, flag) for clip in among) / len(among)


def test_size():
    dialogues = defaultdict(list)
    for clip in PLAN:
        dialogues[clip.dialogue].append(clip)
    assert len(dialogues) >= 44
    assert 340 <= len(PLAN) <= 390
    for turns in dialogues.values():
        assert 6 <= len(turns) <= 10
        assert [clip.turn for clip in turns] == list(range(len(turns)))
        assert len({clip.speaker for clip in turns}) == 2
        assert len({(clip.speaker, clip.portrait, clip.voice) for clip in turns}) == 2
        assert len({clip.split for clip in turns}) == 1


def test_splits_are_about_60_15_25():
    count = Counter(clip.split for clip in PLAN)
    for split, wanted in zip(SPLITS, (0.60, 0.15, 0.25), strict=True):
        assert count[split] / len(PLAN) == pytest.approx(wanted, abs=0.04)


def test_no_sentence_twice():
    words = [" ".join(re.findall(r"[a-z]+", clip.text.lower())) for clip in PLAN]
    assert [text for text, times in Counter(words).items() if times > 1] == []


def test_emotions_are_skewed_and_everywhere():
    count = Counter((clip.split, clip.emotion) for clip in PLAN)
    assert set(count) == {(split, emotion) for split in SPLITS for emotion in EMOTIONS.values()}
    assert min(count.values()) >= 4
    overall = Counter(clip.emotion for clip in PLAN)
    assert overall.most_common(1)[0][0] == "neutral"
    assert overall["neutral"] > 2.5 * min(overall.values())


def test_who_speaks_tells_nothing_about_the_split():
    for split in SPLITS:
        inside = [clip for clip in PLAN if clip.split == split]
        assert {clip.portrait for clip in inside} == set(PORTRAITS)
        assert {clip.voice for clip in inside} == set(VOICES)
    assert {clip.speaker for clip in PLAN} == set(NAMES)


@pytest.mark.parametrize("flag", ["open_wording", "flat_voice", "still_face"])
def test_every_modality_is_silent_about_a_third(flag):
    assert 0.30 <= share(flag, FELT) <= 0.35
    for split in SPLITS:
        assert 0.2 <= share(flag, [clip for clip in FELT if clip.split == split]) <= 0.45


def test_modalities_are_silent_independently():
    """Knowing that one modality is silent must not tell much about another."""
    for one, other in (
        ("open_wording", "flat_voice"),
        ("open_wording", "still_face"),
        ("flat_voice", "still_face"),
    ):
        given = share(other, [clip for clip in FELT if getattr(clip, one)])
        assert given == pytest.approx(share(other, FELT), abs=0.12)


def test_emotions_carry_over():
    """An emotion is more often the one just shown than chance has it, and its own speaker's last one too."""
    chance = sum((times / len(PLAN)) ** 2 for times in Counter(clip.emotion for clip in PLAN).values())
    pairs = list(pairwise(PLAN))
    answered = [(a, b) for a, b in pairs if a.dialogue == b.dialogue and a.speaker != b.speaker]
    kept = [
        (a, b)
        for a, b in zip(PLAN, PLAN[2:], strict=False)
        if (a.dialogue, a.speaker) == (b.dialogue, b.speaker)
    ]
    assert sum(a.emotion == b.emotion for a, b in answered) / len(answered) > 2 * chance
    assert sum(a.emotion == b.emotion for a, b in kept) / len(kept) > 1.5 * chance


def test_mishaps_are_rare_and_never_two_at_once():
    count = Counter((clip.picture, clip.sound) for clip in PLAN)
    assert set(count) == {
        ("face", "speech"), ("room", "speech"), ("face", "noise"), ("face", "silence"), ("face", "none"),
    }  # fmt: skip
    for times in (
        count["room", "speech"],
        count["face", "noise"],
        count["face", "silence"] + count["face", "none"],
    ):
        assert 0.02 <= times / len(PLAN) <= 0.03


def test_a_smaller_rehearsal_is_a_part_of_the_whole():
    part = clips(2)
    assert Counter(split for split, _ in {(clip.split, clip.dialogue) for clip in part}) == dict.fromkeys(
        SPLITS, 2
    )
    assert set(part) <= set(PLAN)
    assert {(clip.split, clip.emotion) for clip in part} == {
        (s, e) for s in SPLITS for e in EMOTIONS.values()
    }
