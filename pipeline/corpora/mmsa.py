"""Import the layout that MMSA calls standard, and CH-SIMS v2: one table of clips with their sentiment.

    label.csv      video_id, clip_id, text, label, mode; also label_T, label_A, label_V, annotation
    meta.csv       the same in CH-SIMS v2, without the further columns
    Raw/VIDEO/CLIP.mp4

Mao et al., "M-SENA: An Integrated Platform for Multimodal Sentiment Analysis", ACL 2022; Liu et al., "Make Acoustic and
Visual Cues Matter: CH-SIMS v2.0", ICMI 2022. The numbers for `corpus.values` are sentiment (the column `label`) and, in
label.csv, sentiment_text, sentiment_audio and sentiment_visual. With `corpus.labels`, `annotation` is the emotion. A
video is a dialogue. If its clips are in several splits, each split's clips are a dialogue.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from pipeline.corpora import raw
from pipeline.messages import Problems
from pipeline.params import CorpusParams
from pipeline.tables.labels import rating

FAULTS = (
    "CH-SIMS draws its splits over clips, so a video may be in several splits.",
    "Clips have no speakers; a video of CMU-MOSI or MOSEI has one, a video of CH-SIMS several.",
)
TABLES = ("label.csv", "meta.csv")
NEEDED = ("video_id", "clip_id", "text", "label", "mode")
# Our name of a number → its column.
VALUES = {
    "sentiment": "label",
    "sentiment_text": "label_T",
    "sentiment_audio": "label_A",
    "sentiment_visual": "label_V",
}


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read the clips of the table.

    Raises:
        UserError: if there is no table, a column is missing, or a row is invalid.
    """
    path = raw.find(root, TABLES, "table of MMSA's layout")
    table = list(raw.csv_rows(path, NEEDED))
    parts: dict[str, set[str]] = defaultdict(set)
    for _, row in table:
        parts[row["video_id"]].add(row["mode"])
    problems = Problems()
    numbers = {name: column for name, column in VALUES.items() if table and column in table[0][1]}
    rows = []
    for place, row in table:
        video, clip, mode = row["video_id"], row["clip_id"], row["mode"]
        rows.append(
            raw.Row(
                place=place,
                utterance=f"{video}_{clip}",
                dialogue=video if len(parts[video]) == 1 else f"{video}_{mode}",
                order=(_position(clip),),
                speaker="",
                text=row["text"],
                split=raw.SPLIT_WORDS.get(mode, mode),
                emotion=row.get("annotation", "").lower() if corpus.labels else "",
                media=raw.media_path(f"Raw/{video}/{clip}.mp4"),
                values={
                    name: rating(row[column], column, place, problems) for name, column in numbers.items()
                },
            )
        )
    return raw.tables(rows, corpus, problems)


def _position(clip: str) -> float:
    """Return the clip's number; clips with other names follow, by name."""
    return float(clip) if clip.isdecimal() and len(clip) < 10 else math.inf
