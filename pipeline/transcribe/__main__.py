"""Transcribe bare recordings: who says what, and when.

    python -m pipeline.transcribe talk.mp4 other.wav --to FOLDER
    python -m pipeline.transcribe call.wav --to FOLDER --language de --weights Systran/faster-whisper-small

The command writes only to the folder: spans.csv, with a row per utterance, and one .srt per recording. Correct either
by hand; `python -m evaluate.predict --csv` and the corpus `csv` read the one, `--subtitles` and the corpus `subtitles`
the other. A recording that cannot be read has one row without text. FOLDER/.transcribe keeps the
recognised words, so an interrupted command resumes when it is run again, and another --pause or --longest is quick.

Needs requirements-transcribe.txt. The default weights recognise English only.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from pipeline.command import parser
from pipeline.disk import write_text
from pipeline.errors import UserError, entry

CSV, JOURNALS = "spans.csv", ".transcribe"


def main() -> None:
    """Transcribe the given recordings."""
    from pipeline import folders
    from pipeline.strict import validate
    from pipeline.subrip import line, subrip
    from pipeline.transcribe.params import TranscribeParams
    from pipeline.transcribe.recordings import table, transcribe

    words = _arguments()
    begin = time.monotonic()
    named = {
        name: value for name in TranscribeParams.model_fields if (value := getattr(words, name)) is not None
    }
    params = validate(TranscribeParams, named, Path("options"))
    paths = [path.absolute() for path in words.files]
    media = Path(os.path.commonpath([path.parent for path in paths]))
    files = list(dict.fromkeys(path.relative_to(media).as_posix() for path in paths))
    subtitles = {file: words.to / f"{name}.srt" for file, name in folders.stems(files).items()}
    for path in (words.to / CSV, *subtitles.values()):
        if path.exists():
            raise UserError(
                f"{path}: exists, and may hold corrections; move or delete it, or name another folder with --to"
            )
    found = list(transcribe(media, files, params, words.to / JOURNALS))
    for transcript in found:
        cues = [(turn.start, turn.end, line(turn.speaker, turn.text)) for turn in transcript.turns]
        write_text(subtitles[transcript.file], subrip(cues))
    rows = [row for transcript in found for row in transcript.rows("test")]
    write_text(words.to / CSV, table(rows))
    unread = sum(bool(transcript.error) for transcript in found)
    print(
        f"{sum(len(transcript.turns) for transcript in found)} utterances of {len(found)} recordings"
        f"{f' ({unread} unreadable)' if unread else ''} in {time.monotonic() - begin:.0f} s: {words.to / CSV}"
    )
    if words.to.absolute() != media:
        print(
            f"its media are relative to {media}: set EMOFUSE_MEDIA to that folder where you use the csv file"
        )


def _arguments() -> argparse.Namespace:
    line = parser("pipeline.transcribe", __doc__)
    line.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="recordings, with or without pictures"
    )
    line.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where to write the results")
    line.add_argument(
        "--weights", help="Whisper's weights in CTranslate2's format: package:NAME, a folder or a hub id"
    )
    line.add_argument(
        "--language", metavar="CODE", help="the language spoken, such as de (default: detected)"
    )
    line.add_argument(
        "--pause", type=float, metavar="SECONDS", help="silence that ends an utterance (default: 0.5)"
    )
    line.add_argument("--longest", type=float, metavar="SECONDS", help="the longest utterance (default: 20)")
    line.add_argument(
        "--speakers",
        type=int,
        metavar="N",
        help="speakers in a recording (default: estimated); 1 does not tell speakers apart",
    )
    return line.parse_args()


if __name__ == "__main__":
    entry(main)
