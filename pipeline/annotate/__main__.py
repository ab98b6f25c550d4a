"""Label the utterances of the corpus in params.yaml by hand: an offline page and a csv file.

    python -m pipeline.annotate --to labels/            # all utterances, with their emotions where known
    python -m pipeline.annotate --to labels/ --stills   # pictures instead of copies of what browsers cannot play

labels/annotate.html plays each utterance, takes a label by key press, and saves annotations.csv. With `corpus.target:
multi` a key adds or removes a label, and a cell is `joy|surprise`. A file of that name in labels/ is the same table,
to fill in with a spreadsheet. Put one of the two into the folder of the media and set `corpus.name: csv`. The splits
of the corpus are kept, unless all utterances are in the same split. An existing labels/annotations.csv is not
overwritten.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import fragments, prepare, spreadsheet
from pipeline.command import parser
from pipeline.corpora.csv import cells
from pipeline.disk import write_text
from pipeline.env import media_root
from pipeline.errors import UserError, entry
from pipeline.pages import turns
from pipeline.pages.playable import Shown, link, shown
from pipeline.params import CorpusParams, sections
from pipeline.tables.schema import UTTERANCE_COLUMNS, Utterance

PAGE, TABLE = "annotate.html", "annotations.csv"
# What the page says of its keys, by whether an utterance may have several labels.
HOW = {
    False: "the key of its label; the page then goes on to the next turn.",
    True: "the keys of its labels; a key adds or removes one. Enter goes on to the next turn.",
}


def main() -> None:
    """Parse the arguments and write the page and the table."""
    line = parser("pipeline.annotate", __doc__)
    line.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where to write both files")
    line.add_argument(
        "--stills", action="store_true", help="show a picture instead of copying unplayable media"
    )
    words = line.parse_args()
    print(annotate(sections().corpus, words.to, words.stills))


def annotate(corpus: CorpusParams, to: Path, as_stills: bool) -> str:
    """Write the page and the table into `to`, and return a summary.

    Args:
        corpus: the corpus section of params.yaml.
        to: the folder.
        as_stills: whether to show stills instead of copies of media that browsers cannot play.

    Raises:
        UserError: the corpus cannot be read, the table exists, or the folder is not writable.
    """
    if (to / TABLE).exists():
        raise UserError(f"{to / TABLE}: exists and may hold labels; move it, or name another folder")
    if corpus.target not in ("single", "multi"):
        raise UserError(
            f"corpus.target={corpus.target}: the page takes labels, not votes or numbers; set corpus.target to single "
            "or multi, or annotate with another tool"
        )
    several = corpus.target == "multi"
    utterances, labels = prepare.read(corpus)
    found = [
        _utterance(row)
        for row in utterances.astype(object).where(utterances.notna(), None).to_dict("records")
    ]
    media = media_root(corpus.root)
    played = dict.fromkeys(u.played.cell for u in found if u.played.cell)
    files = dict.fromkeys(fragments.split(cell).file for cell in played)
    there = [name for name in files if (media / name).is_file()]
    seen = shown(found, there, media, to, as_stills)
    missing = [f"{name}: not found under {media}" for name in files if name not in there]
    if labels["split"].nunique() == 1:
        # Subtitles and recordings without folders for splits are all `test`; without the column, a split is drawn.
        labels = labels.drop(columns="split")
    given = labels.astype(str).where(labels.notna(), "").drop(columns="utterance").to_dict("records")
    pages = [_turn(utterance, label, to, seen) for utterance, label in zip(found, given, strict=True)]
    text = turns.render(
        title=corpus.title or corpus.name,
        lead=f"Play a turn and press {HOW[several]} "
        "Labels stay in this browser until you save them as a csv file.",
        labels=corpus.labels,
        turns=pages,
        notes=[*seen.notes, *missing],
        step=True,
        several=several,
    )
    table = pd.DataFrame([{**cells(u), **label} for u, label in zip(found, given, strict=True)])
    write_text(to / PAGE, text)
    write_text(to / TABLE, table.to_csv(index=False, lineterminator="\n"))
    spreadsheet.warn(table.to_numpy(dtype=object).ravel(), to / TABLE)
    labelled = int((labels["emotion"] != "").sum())
    return f"{to / PAGE} and {TABLE}: {len(found):,} utterances, {labelled:,} with a label"


def _utterance(row: dict[str, Any]) -> Utterance:
    about = {name: row[name] for name in UTTERANCE_COLUMNS if name != "media_hash"}
    return Utterance(**about, media_hash="", audio=row["audio"])


def _turn(utterance: Utterance, label: dict[str, str], folder: Path, seen: Shown) -> turns.Turn:
    played = utterance.played
    return turns.Turn(
        utterance,
        played.start or 0.0,
        played.end,
        source=link(seen.files.get(fragments.split(played.cell).file), folder),
        label=label["emotion"],
        more={name: cell for name, cell in label.items() if name != "emotion"},
        still=seen.stills.get(utterance.utterance, ""),
    )


if __name__ == "__main__":
    entry(main)
