"""Measure how well `pipeline.prepare --check --listen` separates a clip's own text from other texts.

    python -m benchmarks.listen                    # after `dvc repro prepare`
    python -m benchmarks.listen --clips 200 --json rows.json

The words recognised in each clip are compared with the clip's own text, and with the texts of all other clips. A row
is a threshold of the share of common words, in percent:

- own listed: clips below the threshold with their own text, which are false alarms if the corpus is right.
- swapped missed: pairs of a clip and another clip's text at or above it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.rows import write as write_rows
from pipeline import fragments
from pipeline.command import parser
from pipeline.env import media_root
from pipeline.errors import entry
from pipeline.listen import COMMON, FEWEST, common, words
from pipeline.params import PARAMS, sections
from pipeline.strict import validate
from pipeline.tables.schema import read_utterances
from pipeline.transcribe.listener import Listener
from pipeline.transcribe.params import TranscribeParams
from pipeline.transcribe.sound import Unreadable, cuts

THRESHOLDS = (0.1, 0.2, COMMON, 0.4, 0.5)


def main() -> None:
    """Recognise the words of the clips, and print a row per threshold."""
    line = parser("benchmarks.listen", __doc__)
    line.add_argument("--clips", type=int, default=60, help="clips, spread over the corpus; default: 60")
    line.add_argument("--json", type=Path, help="a file for the rows of the table")
    given = line.parse_args()
    rows = measure(given.clips)
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.1f}".format))
    if given.json:
        write_rows(given.json, "listen", rows, ["threshold"])


def measure(count: int) -> list[dict[str, float | str]]:
    """Return a row per threshold, for at most `count` utterances of the corpus; clips without sound are left out."""
    corpus = sections().corpus
    params = validate(TranscribeParams, corpus.transcribe, PARAMS, "corpus.transcribe")
    listener = Listener(params.weights, params.language)
    spoken = [one for one in read_utterances() if one.heard.sha256 and len(words(one.text)) >= FEWEST]
    places = np.linspace(0, len(spoken) - 1, min(count, len(spoken))).round().astype(int)
    texts, heard = [], []
    for one in (spoken[i] for i in places):
        path = media_root(corpus.root) / fragments.split(one.heard.cell).file
        span = (one.heard.start or 0.0, math.inf if one.heard.end is None else one.heard.end)
        try:
            (sound,) = cuts(path, [span])
        except Unreadable:
            continue  # as in the check
        texts.append(one.text)
        heard.append("".join(word.text for word in listener.words(sound)))
    shares = np.array([[common(text, said) for text in texts] for said in heard])
    swapped = np.array([[text != other for text in texts] for other in texts])
    return [
        {
            "threshold": f"{threshold:g}",
            "own listed": 100 * float((shares.diagonal() < threshold).mean()),
            "swapped missed": 100 * float((shares[swapped] >= threshold).mean()),
        }
        for threshold in THRESHOLDS
    ]


if __name__ == "__main__":
    entry(main)
