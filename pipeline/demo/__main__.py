"""The built-in corpus `demo`: a rehearsal that needs no download, made here from text, eSpeak NG and two portraits.

    python -m pipeline.demo                  # data/demo: media/*.mp4 and annotations.csv
    python -m pipeline.demo --dialogues 2    # a smaller rehearsal: two dialogues of each split

Conversations between two people, written for the project and spoken by a machine, with a drawn expression on a talking
face. It exercises the whole pipeline, and its scores mean nothing about people. The same bytes whatever the number of
processes (`EMOFUSE_WORKERS`, by default one per core).
"""

from __future__ import annotations

import csv
import multiprocessing
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pipeline.closure import NEUTRAL, closure, path_of
from pipeline.closure import ROOT as SOURCE
from pipeline.command import parser
from pipeline.corpora.demo import ANNOTATIONS, COLUMNS
from pipeline.demo.encode import write_mp4
from pipeline.demo.face import empty_room, talking
from pipeline.demo.plan import LINES, Clip, clips, generator
from pipeline.demo.voice import loudness, noise, prosody, room, speak
from pipeline.disk import replacing
from pipeline.env import cores, workers
from pipeline.errors import entry
from pipeline.inputs import Inputs
from pipeline.locks import alone

ROOT = Path("data/demo")


def build(root: Path, dialogues: int | None = None) -> None:
    """Write the corpus into `root`; `dialogues` limits it to the first so many of each split.

    Raises:
        UserError: EMOFUSE_WORKERS is not a positive whole number.
    """
    processes, plan = workers() or cores(), clips(dialogues)
    shutil.rmtree(root / "media", ignore_errors=True)
    (root / "media").mkdir(parents=True)
    with multiprocessing.get_context("spawn").Pool(
        min(processes, len(plan)), initializer=_one_thread
    ) as pool:
        made = pool.imap_unordered(partial(record, root), plan)
        for _ in tqdm(made, total=len(plan), desc="demo", unit=" clips", disable=None):
            pass
    with replacing(root / ANNOTATIONS) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for clip in plan:
            place = (clip.utterance, clip.dialogue, clip.turn, clip.speaker, "")
            table.writerow([*place, clip.text, media(clip), clip.split, clip.emotion])


def media(clip: Clip) -> str:
    """The clip's file, relative to the corpus."""
    return f"media/{clip.utterance}.mp4"


def record(root: Path, clip: Clip) -> None:
    """Speak, draw and encode one clip into `root`; nothing but the clip decides its bytes."""
    voice, face = generator(clip.utterance, "voice"), generator(clip.utterance, "face")
    felt = "neutral" if clip.flat_voice else clip.emotion
    sound = room(speak(clip.text, clip.voice, prosody(felt, voice)), voice)
    loud = loudness(sound)
    if clip.picture == "face":
        frames = talking(clip.portrait, "neutral" if clip.still_face else clip.emotion, loud, face)
    else:
        frames = empty_room(len(loud), face)
    if clip.sound == "noise":
        sound = noise(len(sound), voice)
    elif clip.sound == "silence":
        sound = np.zeros_like(sound)
    write_mp4(root / media(clip), frames, None if clip.sound == "none" else sound)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def main() -> None:
    words = parser("pipeline.demo", __doc__)
    words.add_argument("--dialogues", type=int, metavar="N", help="a smaller rehearsal: N of each split")
    asked = words.parse_args().dialogues
    if asked is not None and asked < 1:
        words.error(f"--dialogues: {asked} is too few, give 1 or more")
    code = [SOURCE / path_of(module) for module in closure("pipeline.demo.__main__", without=NEUTRAL)]
    with alone("demo"):
        inputs = Inputs([], [LINES, *code])
        build(ROOT, asked)
        inputs.check([ROOT])


if __name__ == "__main__":
    entry(main)
