"""The built-in corpus `demo`: a rehearsal that needs no download, made here from text, eSpeak NG and two portraits.

    python -m pipeline.demo                  # data/demo: media/*.mp4 and annotations.csv
    python -m pipeline.demo --dialogues 2    # a smaller rehearsal: two dialogues of each split

Conversations between two people, written for the project and spoken by a machine, with a drawn expression on a talking
face. It exercises the whole pipeline, and its scores mean nothing about people. The same bytes whatever the number of
processes (`EMOFUSE_WORKERS`, by default one per core).
"""

from __future__ import annotations

from pathlib import Path

from pipeline.closure import NEUTRAL, closure, path_of
from pipeline.closure import ROOT as SOURCE
from pipeline.command import parser
from pipeline.errors import entry
from pipeline.inputs import Inputs
from pipeline.locks import alone

ROOT = Path("data/demo")


def main() -> None:
    words = parser("pipeline.demo", __doc__)
    words.add_argument("--dialogues", type=int, metavar="N", help="a smaller rehearsal: N of each split")
    asked = words.parse_args().dialogues
    if asked is not None and asked < 1:
        words.error(f"--dialogues: {asked} is too few, give 1 or more")

    # A worker cannot find what is defined in this file: it does not import it.
    from pipeline.demo.build import build
    from pipeline.demo.plan import LINES

    code = [SOURCE / path_of(module) for module in closure("pipeline.demo.__main__", without=NEUTRAL)]
    with alone("demo"):
        inputs = Inputs([], [LINES, *code])
        build(ROOT, asked)
        inputs.check([ROOT])


if __name__ == "__main__":
    entry(main)
