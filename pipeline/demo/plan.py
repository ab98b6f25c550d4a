"""Plan every clip of the demo corpus: its text, emotion, voice, face and defects.

`lines.txt` contains the conversations: a header `# SPLIT: topic`, then one turn per line, `SPEAKER EMOTION text`, with
IEMOCAP's three-letter emotions. More than a quarter of the turns are `any`: their wording fits any emotion. The Markov
chain below draws it, so only voice, face and context reveal it. The voice is neutral in a third of the utterances, and
independently the face in another third. No single modality suffices.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LINES = Path(__file__).with_name("lines.txt")
SEED = 243  # chosen so that every split has enough of every emotion and defect
SPLITS = ("train", "val", "test")
EMOTIONS = {
    "neu": "neutral",
    "hap": "happiness",
    "exc": "excitement",
    "ang": "anger",
    "fru": "frustration",
    "sad": "sadness",
}
PORTRAITS = ("astronaut", "hopper")
VOICES = ("f1", "m1", "f2", "m2", "f3", "m3", "f4")
NAMES = (
    "Alex", "Ari", "Charlie", "Jo", "Kim", "Morgan", "Noor", "Remy", "Robin", "Sam", "Sasha", "Toni",
)  # fmt: skip

# The Markov chain of the lines marked `any`; rows and columns in the order of EMOTIONS. KEEPS: transitions from the
# speaker's own last emotion. ANSWERS: transitions from the other speaker's last emotion.
KEEPS = np.array([
    [.56, .10, .10, .08, .10, .06],
    [.12, .68, .17, .01, .01, .01],
    [.08, .24, .65, .01, .01, .01],
    [.10, .01, .01, .64, .22, .02],
    [.12, .02, .01, .20, .61, .04],
    [.14, .03, .01, .02, .05, .75],
])  # fmt: skip
ANSWERS = np.array([
    [.60, .10, .09, .07, .09, .05],
    [.14, .66, .17, .01, .01, .01],
    [.08, .22, .67, .01, .01, .01],
    [.14, .01, .01, .58, .23, .03],
    [.20, .02, .01, .16, .56, .05],
    [.22, .03, .01, .02, .06, .66],
])  # fmt: skip

FLAT_VOICE = 0.33
STILL_FACE = 0.33
EMPTY_ROOM = 0.028
NO_SOUND = 0.028
ONLY_NOISE = 0.028


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance: its row in annotations.csv and the settings of its recording."""

    utterance: str
    dialogue: str
    turn: int
    speaker: str
    split: str
    text: str
    emotion: str
    portrait: str
    voice: str
    open_wording: bool  # the text fits any emotion
    flat_voice: bool  # spoken as if neutral
    still_face: bool  # shown as if neutral
    picture: str  # face, room (nobody in it)
    sound: str  # speech, noise, silence, none (a file without an audio track)


def generator(name: str, purpose: str) -> np.random.Generator:
    """Return a random generator seeded by the name of an utterance or dialogue and by the purpose only."""
    digest = hashlib.sha256(f"{SEED}/{name}/{purpose}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


def clips(dialogues: int | None = None) -> list[Clip]:
    """Return all clips in order, or those of the first `dialogues` dialogues of each split."""
    met = dict.fromkeys(SPLITS, 0)
    plan = []
    for number, (split, turns) in enumerate(_screenplay(), start=1):
        if dialogues is None or met[split] < dialogues:
            plan += _dialogue(f"d{number:02d}", split, met[split], turns)
        met[split] += 1
    return plan


def _screenplay() -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return (split, [(speaker A or B, three-letter emotion or any, text)]) of every dialogue."""
    scenes: list[tuple[str, list[tuple[str, str, str]]]] = []
    for line in filter(None, LINES.read_text(encoding="utf-8").splitlines()):
        if line.startswith("# "):
            scenes.append((line[2:].partition(":")[0], []))
        else:
            speaker, emotion, text = line.split(" ", 2)
            scenes[-1][1].append((speaker, emotion, text))
    return scenes


def _dialogue(name: str, split: str, rank: int, turns: list[tuple[str, str, str]]) -> list[Clip]:
    """Plan the clips of one dialogue; `rank`, its position in the split, selects voices so that each split has all."""
    draw = generator(name, "cast")
    names = draw.choice(NAMES, 2, replace=False)
    portraits = draw.permutation(PORTRAITS)
    plan: list[Clip] = []
    for turn, (speaker, wording, text) in enumerate(turns):
        utterance = f"{name}_{turn:02d}"
        who = "AB".index(speaker)
        draw = generator(utterance, "plan")
        feeling = _drawn(draw, plan, names[who]) if wording == "any" else EMOTIONS[wording]
        flat_voice, still_face = bool(draw.random() < FLAT_VOICE), bool(draw.random() < STILL_FACE)
        picture, sound = _mishap(draw)
        plan.append(
            Clip(
                utterance=utterance,
                dialogue=name,
                turn=turn,
                speaker=str(names[who]),
                split=split,
                text=text,
                emotion=feeling,
                portrait=str(portraits[who]),
                voice=VOICES[(2 * rank + who) % len(VOICES)],
                open_wording=wording == "any",
                flat_voice=flat_voice,
                still_face=still_face,
                picture=picture,
                sound=sound,
            )
        )
    return plan


def _drawn(draw: np.random.Generator, before: list[Clip], speaker: str) -> str:
    """Draw an emotion: multiply the transitions from both speakers' last emotions, initially neutral."""
    order = list(EMOTIONS.values())
    own = next((c.emotion for c in reversed(before) if c.speaker == speaker), "neutral")
    other = next((c.emotion for c in reversed(before) if c.speaker != speaker), "neutral")
    chances = KEEPS[order.index(own)] * ANSWERS[order.index(other)]
    return order[draw.choice(len(order), p=chances / chances.sum())]


def _mishap(draw: np.random.Generator) -> tuple[str, str]:
    """Draw (picture, sound); at most one is defective, so that the other still shows the emotion."""
    chance = draw.random()
    if chance < EMPTY_ROOM:
        return "room", "speech"
    chance -= EMPTY_ROOM
    if chance < NO_SOUND:
        return "face", "none" if chance < NO_SOUND / 2 else "silence"
    return "face", "noise" if chance - NO_SOUND < ONLY_NOISE else "speech"
