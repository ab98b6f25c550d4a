"""Measure whose face each setting of `faces` takes, on clips of two people of whom one speaks.

    python -m benchmarks.speaker                       # 20 clips of the built-in corpus's portraits and voices
    python -m benchmarks.speaker --weights finetuning_TalkSet.model --csv results/published/faces.csv

Each clip shows two people side by side, who change places at a cut halfway. In every second clip the listener's mouth
moves, too, but not with the sound. A row has the share of face vectors that are the speaker's, and the CPU seconds of
decoding, detection and selection per second of recording, without loading weights.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.pairs import write_pair
from extract.contract import Failure
from extract.encoders.face import FaceEncoder
from extract.reading.face_params import FaceParams
from extract.reading.media import Span
from pipeline.command import parser
from pipeline.errors import entry


def main() -> None:
    """Make the clips, measure every setting, print a table."""
    words = parser("benchmarks.speaker", __doc__)
    words.add_argument("--clips", type=int, default=20, help="number of clips; default: 20")
    words.add_argument("--weights", default="", help="LR-ASD's file; adds a row")
    words.add_argument("--csv", type=Path, help="also write the table to this file")
    given = words.parse_args()
    table = measure(given.clips, given.weights)
    print(table.to_string(index=False))
    if given.csv:
        table.to_csv(given.csv, index=False, lineterminator="\n")


def measure(count: int, weights: str) -> pd.DataFrame:
    """Return a row per setting of `faces`; one more with LR-ASD if its weights are given."""
    settings = {name: {"faces": name} for name in ("all", "largest", "most_central", "track")}
    settings["speaker, mouths"] = {"faces": "speaker", "speaker_weights": "mouths"}
    if weights:
        settings["speaker, LR-ASD"] = {"faces": "speaker", "speaker_weights": weights}
    with tempfile.TemporaryDirectory() as folder:
        clips = [
            write_pair(Path(folder) / f"{seed}.mp4", seed, chewing=bool(seed // 2 % 2))
            for seed in range(count)
        ]
        return pd.DataFrame(
            [_measured(name, setting, clips, Path(folder)) for name, setting in settings.items()]
        )


def _measured(
    name: str, setting: dict[str, str], clips: list[tuple[Path, np.ndarray]], folder: Path
) -> dict[str, str | int]:
    encoder = FaceEncoder(FaceParams(encoder="face", count=12, **setting), folder)  # type: ignore[arg-type]
    encoder.look(Span(clips[0][0], None, None, ""))  # loads the weights
    hits: list[bool] = []
    without = 0
    begin = time.process_time()
    for path, right in clips:
        seen = encoder.decode(Span(path, None, None, ""))
        if isinstance(seen, Failure):
            without += 1
            continue
        for one in seen:
            at_right = (one.boxes[:, 0] + one.boxes[:, 2]) / 2 > 320
            hits += (at_right == right[min(round(one.seconds * 25), len(right) - 1)]).tolist()
    length = sum(len(right) for _, right in clips) / 25
    return {
        "faces": name,
        "vectors of the speaker": f"{np.mean(hits):.1%}",
        "vectors": len(hits),
        "clips without": without,
        "CPU s per s": f"{(time.process_time() - begin) / length:.2f}",
    }


if __name__ == "__main__":
    entry(main)
