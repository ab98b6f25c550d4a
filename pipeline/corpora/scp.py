"""Import `.scp` lists, as used by Foal-Net and many speech toolkits: one file per split, one `id path label` per line.

    Ses03F_impro01_F002 Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_F002.wav neu

The file's name contains the split: `train`, `val` (or valid, dev) or `test` (or eval). The id is the first word and
the label is the last, so a path may contain spaces. A path is relative to corpus.root, or absolute and inside it.
The dialogue is the id without its last `_` part. Turns follow the order of the lines. IEMOCAP ids also give session
and speaker, and IEMOCAP's three-letter labels are accepted. The utterances have no text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline import folders
from pipeline.corpora import iemocap, raw
from pipeline.env import media_root
from pipeline.errors import UserError
from pipeline.messages import Problems
from pipeline.params import CorpusParams

_IEMOCAP = re.compile(r"Ses(\d\d)[FM]_\w+_([FM])\w*")


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Read one utterance from each line of the lists in `root`.

    Raises:
        UserError: if there is no list, a split has two lists, or a line is invalid.
    """
    problems = Problems()
    lists = _lists(root)
    rows = [row for split, path in lists.items() for row in _rows(path, split, corpus, problems)]
    return raw.tables(rows, corpus, problems)


def _lists(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in folders.files(root, ".scp", below=False):
        names = [
            raw.SPLIT_WORDS[word]
            for word in re.split("[^a-z]+", path.stem.lower())
            if word in raw.SPLIT_WORDS
        ]
        if len(set(names)) != 1:
            raise UserError(
                f"{path}: split unknown; the file's name must contain one of {', '.join(raw.SPLIT_WORDS)}"
            )
        if names[0] in found:
            raise UserError(
                f"{path}: second list for the split {names[0]}, after {found[names[0]].name}; keep one list per split"
            )
        found[names[0]] = path
    if not found:
        raise raw.NoAnnotation(f"{root}: no .scp lists here")
    return found


def _rows(path: Path, split: str, corpus: CorpusParams, problems: Problems) -> Iterator[raw.Row]:
    root = os.path.abspath(media_root(corpus.root))
    for number, (place, line) in enumerate(raw.text_lines(path)):
        line = line.replace("\t", " ")
        name, _, rest = line.strip().partition(" ")
        media, _, emotion = rest.strip().rpartition(" ")
        if not media:
            if line.strip():
                problems.add(place, "line", line, "must be: id path label")
            continue
        media = media.strip()
        if os.path.isabs(media):
            if not media.startswith(root + os.sep):
                problems.add(
                    place, "path", media, f"is outside {root}; set corpus.root to the folder above it"
                )
                continue
            media = media[len(root) + 1 :]
        of_iemocap = _IEMOCAP.fullmatch(name)
        yield raw.Row(
            place=place,
            utterance=name,
            dialogue=name.rpartition("_")[0] or name,
            order=(number,),
            speaker=name[:5] + of_iemocap[2] if of_iemocap else "",
            text="",
            split=split,
            emotion=iemocap.label(emotion, corpus.labels) or emotion,
            session=str(int(of_iemocap[1])) if of_iemocap else "",
            media=raw.media_path(media),
        )
