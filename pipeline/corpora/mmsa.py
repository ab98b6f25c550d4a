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
from collections.abc import Sequence
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
    table = list(raw.csv_rows(raw.find(root, TABLES, "table of MMSA's layout"), NEEDED))
    problems = Problems()
    return raw.tables(rows(table, corpus, problems), corpus, problems)


def rows(table: Sequence[raw.CsvRow], corpus: CorpusParams, problems: Problems) -> list[raw.Row]:
    """Return the clips of a table with the columns NEEDED.

    Args:
        table: the rows.
        corpus: the corpus section of params.yaml.
        problems: receives the invalid numbers.
    """
    parts: dict[str, set[str]] = defaultdict(set)
    for _, row in table:
        parts[row["video_id"]].add(row["mode"])
    numbers = {name: column for name, column in VALUES.items() if table and column in table[0][1]}
    found = []
    for place, row in table:
        video, clip, mode = row["video_id"], row["clip_id"], row["mode"]
        found.append(
            raw.Row(
                place=place,
                utterance=utterance(video, clip),
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
    return found


def utterance(video: str, clip: str) -> str:
    """Return a clip's utterance id; a clip without a name is its whole video."""
    return f"{video}_{clip}" if clip else video


def _position(clip: str) -> float:
    """Return the clip's number; clips with other names follow, by name."""
    return float(clip) if clip.isdecimal() and len(clip) < 10 else math.inf
