"""Import recordings without annotation: one dialogue per media file, one utterance per turn, no labels.

    corpus.root/train/kitchen.mp4, call.wav      a folder train, val (dev) or test sets the split; default: test

They are transcribed as `corpus.transcribe` says (pipeline/transcribe). .cache/transcribe keeps the words.
To correct the words first, run `python -m pipeline.transcribe` and use its csv file with corpus `csv`.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline import folders
from pipeline.corpora import raw
from pipeline.corpora.subtitles import SUFFIXES, split_of
from pipeline.messages import Problems
from pipeline.params import PARAMS, CorpusParams
from pipeline.strict import validate
from pipeline.transcribe.params import TranscribeParams
from pipeline.transcribe.recordings import transcribe


def read(root: Path, corpus: CorpusParams) -> raw.Tables:
    """Transcribe every recording under `root`; a recording without words has one utterance without text.

    Raises:
        UserError: if there are no recordings, `corpus.transcribe` is invalid, or its engines or weights are missing.
    """
    files = [path.relative_to(root).as_posix() for path in folders.files(root, *SUFFIXES)]
    if not files:
        raise raw.NoAnnotation(f"{root}: no recordings here")
    params = validate(TranscribeParams, corpus.transcribe, PARAMS, "corpus.transcribe")
    journals = Path(os.environ.get("DVC_ROOT") or ".") / ".cache" / "transcribe"
    rows = [
        row
        for transcript in transcribe(root, files, params, journals)
        for row in transcript.rows(split_of(Path(transcript.file)))
    ]
    return raw.tables(rows, corpus, Problems())
