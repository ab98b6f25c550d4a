"""Make the clips of the built-in corpus (speech, pictures, encoding) in parallel processes."""

from __future__ import annotations

import csv
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pipeline.corpora.demo import ANNOTATIONS, COLUMNS
from pipeline.demo.encode import write_mp4
from pipeline.demo.face import empty_room, talking
from pipeline.demo.plan import Clip, clips, generator
from pipeline.demo.voice import loudness, noise, prosody, room, speak
from pipeline.disk import replacing
from pipeline.env import cores, workers


def build(root: Path, dialogues: int | None = None) -> None:
    """Write the corpus.

    Args:
        root: the folder to write to.
        dialogues: limits the corpus to the first dialogues of each split.

    Raises:
        UserError: if EMOFUSE_WORKERS is not a whole number, 1 or more.
    """
    processes, plan = workers() or cores(), clips(dialogues)
    shutil.rmtree(root / "media", ignore_errors=True)
    (root / "media").mkdir(parents=True)
    # ProcessPoolExecutor reports a dead worker; multiprocessing.Pool would start new ones endlessly.
    with ProcessPoolExecutor(
        min(processes, len(plan)), multiprocessing.get_context("spawn"), initializer=_one_thread
    ) as pool:
        made = pool.map(partial(record, root), plan)
        for _ in tqdm(made, total=len(plan), desc="demo", unit=" clips", disable=None):
            pass
    with replacing(root / ANNOTATIONS) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for clip in plan:
            place = (clip.utterance, clip.dialogue, clip.turn, clip.speaker, "")
            table.writerow([*place, clip.text, media(clip), clip.split, clip.emotion])


def media(clip: Clip) -> str:
    """Return the clip's file, relative to the corpus."""
    return f"media/{clip.utterance}.mp4"


def record(root: Path, clip: Clip) -> None:
    """Write one clip to `root`; its bytes depend only on `clip`."""
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
