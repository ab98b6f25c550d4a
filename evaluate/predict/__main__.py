"""Predict the emotions of new recordings, or values such as valence, with a trained model.

    python -m evaluate.predict talk.mp4 --to out/                           # a recording, which is transcribed first
    python -m evaluate.predict talk.mp4 --subtitles talk.srt --to out/      # a recording and its subtitles
    python -m evaluate.predict --csv spans.csv --to out/                    # spans of one or more recordings

The command writes only to the folder: predictions.csv (one row per utterance, one column per label), one .srt per
recording with the emotion before each cue, and timeline.html, which plays the recording and jumps to a turn on click.
Its folder .predict keeps what was transcribed and extracted, so an interrupted command resumes when it is run again.

Extractors, normalisation and label order come from models/seedN/model.json. If local weights have moved, give their
new place by `--weights STREAM=PATH`.
"""

# Each extraction worker imports this file again, so heavy modules are imported inside the functions that need them.
from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from evaluate.predict.hub import MODELS, model_folder, seed_folders
from pipeline.command import parser
from pipeline.disk import write_text
from pipeline.errors import UserError, entry, writing
from pipeline.locks import say
from pipeline.scratch import scratch

if TYPE_CHECKING:
    from evaluate.predict.answers import Answers
    from evaluate.predict.source import Recordings
    from evaluate.predict.trained import Trained

CSV, PAGE, JOURNALS = "predictions.csv", "timeline.html", ".predict"
# Utterances. Extracting so few takes less time than loading the encoders, so the streams load and run side by side.
FEW = 40


def main() -> None:
    """Predict the emotions of the given recordings."""
    words = _arguments()
    begin = time.monotonic()
    given = dict(pair.split("=", 1) for pair in words.weights)
    named = words.model or str(_first_model())
    say(f"predict: loading {named}")
    chosen = model_folder(named)  # may download
    with scratch() as folder:
        from evaluate.predict.source import from_csv, from_recording, from_video
        from evaluate.predict.trained import open_model
        from pipeline.corpora import csv
        from pipeline.env import media_root

        media = words.video.parent if words.video else media_root(words.csv.parent)
        model = open_model(chosen, given, media)
        if words.at_least and model.goal.kind == "values":
            raise UserError(
                f"--at-least {words.at_least}: the model predicts {', '.join(model.labels)}, not probabilities; "
                "remove the option"
            )
        if words.csv:
            recordings = from_csv(words.csv, model.goal.target(), folder)
        elif words.subtitles:
            recordings = from_video(words.video, words.subtitles, model.goal.target(), folder)
        else:
            recordings = from_recording(
                words.video, words.speakers, model.goal.target(), folder, words.to / JOURNALS
            )
        columns = csv.ignored(words.csv) if words.csv else []
        for note in [*model.warnings, *columns, *recordings.notes()]:
            say(f"warning: {note}")
        nothing_lost(recordings, words.to, words.csv or words.subtitles)
        with writing(words.to):
            words.to.mkdir(parents=True, exist_ok=True)
        answers = answer(model, recordings, folder, words.to / JOURNALS, words.at_least)
        write(answers, model, words.to, words.stills)
    for modality, found in answers.far.items():
        if found.any():
            say(
                f"warning: {modality}: {found.sum()} of {len(found)} utterances are far from those of training; the "
                f"column `far` of {CSV} names them"
            )
    for modality, status in answers.missing.items():
        counts = {name: status.count(name) for name in sorted(set(status), key=lambda s: s != "ok")}
        print(f"{modality}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    print(
        f"{len(recordings.utterances)} utterances, {recordings.seconds:.0f} s of recordings in "
        f"{time.monotonic() - begin:.0f} s: {words.to / PAGE}, {CSV} and .srt files beside it"
    )


def answer(
    model: Trained, recordings: Recordings, folder: Path, journals: Path, at_least: float = 0.0
) -> Answers:
    """Extract the features that the model needs, write them to `folder`, and return the predictions.

    Args:
        model: the model and its encoders.
        recordings: the utterances and their files.
        folder: where the features go.
        journals: the folder of the journals of extraction, by which an interrupted command goes on.
        at_least: the probability below which an utterance is left open.

    Raises:
        UserError: no utterance has a feature, or the features differ in size from those of training.
    """
    from evaluate.inference import probabilities
    from evaluate.predict.answers import Answers
    from evaluate.predict.source import corpus_of
    from extract.engine.plan import Plan
    from extract.engine.run import filling, meta, side_by_side
    from pipeline.env import device, workers_each
    from pipeline.features import STATUSES, FeatureCache
    from train.distance import far
    from train.fusion.build import read_unlabelled

    corpus = corpus_of(model.goal.target(), Path(), recordings.media)
    caches = {m: folder / f"{name}.h5" for m, name in model.streams.items()}
    few = len(recordings.utterances) <= FEW
    for together in [list(model.encoders)] if few else [[m] for m in model.encoders]:
        runs = {}
        for modality in together:
            about = meta(model.streams[modality], corpus, model.encoders[modality])
            plan = Plan(model.encoders[modality], recordings.utterances)
            say(f"predict: extracting {about.stream} of {len(plan)} utterances")
            journal = journals / f"{about.fingerprint}.sqlite"
            runs[modality] = filling(plan, about, journal, caches[modality], workers_each(len(together)))
        side_by_side(runs)
    missing, reasons = {}, []
    for modality in model.encoders:
        with FeatureCache(caches[modality]) as cache:
            missing[modality] = [STATUSES[code] for code in cache.status]
            reasons += [f"{modality}: {why}" for why in cache.errors if why][:1]
    if all(status != "ok" for statuses in missing.values() for status in statuses):
        raise UserError(
            f"no utterance has features for the model ({'; '.join(reasons)}); check the recordings"
        )
    data = read_unlabelled(
        model.fusion.declared, model.train, recordings.utterances, model.goal, caches, model.statistics
    )
    if data.dims != model.dims:
        raise UserError(
            f"the features have sizes {data.dims}, but the model was trained on {model.dims}; "
            "use the encoders of training"
        )
    where = device()
    found = probabilities(model.network.to(where), data, where, temperature=model.temperature)
    return Answers(
        recordings,
        model.labels,
        found,
        missing,
        at_least,
        model.goal.kind,
        model.thresholds,
        far(data, model.regions),
    )


def nothing_lost(recordings: Recordings, to: Path, source: Path | None) -> None:
    """Check that no output in `to` overwrites the csv file or the subtitles, `source`, if there are any.

    Raises:
        UserError: an output would overwrite `source`.
    """
    from evaluate.predict.answers import subtitle_names

    for name in (CSV, PAGE, *subtitle_names(recordings).values()):
        if source and (to / name).resolve() == source.resolve():
            raise UserError(f"--to {to}: {name} would overwrite {source}; name another folder")


def write(answers: Answers, model: Trained, to: Path, as_stills: bool) -> None:
    """Write the table, the subtitles, the page, and copies of media that browsers cannot play into `to`.

    Args:
        answers: the predictions.
        model: the model that made them.
        to: the folder.
        as_stills: whether the page shows a still of each turn instead of such copies.

    Raises:
        UserError: the folder is not writable.
    """
    from evaluate.predict.answers import subtitle_names, subtitles, table
    from evaluate.predict.timeline import render
    from pipeline import spreadsheet
    from pipeline.pages.playable import shown

    names = subtitle_names(answers.recordings)
    texts = {names[media]: text for media, text in subtitles(answers).items()}
    rows = table(answers)
    texts[CSV] = rows.to_csv(index=False, lineterminator="\n")
    found = answers.recordings
    files = [name for name, file in found.files.items() if not file.error]
    texts[PAGE] = render(answers, model, to, shown(found.utterances, files, found.media, to, as_stills))
    for name, text in texts.items():
        write_text(to / name, text)
    spreadsheet.warn([*rows.columns, *rows.to_numpy(dtype=object).ravel()], to / CSV)


def _first_model() -> Path:
    found = seed_folders(MODELS)
    if not found:
        raise UserError(
            f"{MODELS}: no model found; train one with `dvc repro`, fetch it with `dvc pull train`, "
            "or name one with --model"
        )
    return found[0]


def _arguments() -> argparse.Namespace:
    line = parser("evaluate.predict", __doc__)
    line.add_argument("video", type=Path, nargs="?", help="a recording")
    line.add_argument(
        "--subtitles",
        type=Path,
        metavar="SRT",
        help="the recording's subtitles: times and words; without them it is transcribed",
    )
    line.add_argument(
        "--speakers",
        type=int,
        default=0,
        metavar="N",
        help="speakers in a recording that is transcribed (default: estimated)",
    )
    line.add_argument("--csv", type=Path, help="spans of one or more recordings, instead of a video")
    line.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where to write the results")
    line.add_argument(
        "--model",
        metavar="MODEL",
        help="the model's folder, or USER/NAME[@REVISION] of the Hugging Face hub (default: the first in models/)",
    )
    line.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="STREAM=PATH",
        help="where a stream's local weights are",
    )
    line.add_argument(
        "--at-least",
        type=float,
        default=0.0,
        metavar="P",
        help="leave turns open whose probability is below P",
    )
    line.add_argument(
        "--stills", action="store_true", help="show a picture instead of copying unplayable media"
    )
    words = line.parse_args()
    if words.speakers < 0 or (words.speakers and (words.csv or words.subtitles)):
        line.error(f"--speakers {words.speakers}: must be 1 or more, for a recording that is transcribed")
    if not 0 <= words.at_least <= 1:
        line.error(f"--at-least {words.at_least}: must be from 0 to 1")
    if bool(words.csv) == bool(words.video) or (words.csv and words.subtitles):
        line.error("give a recording, with or without its --subtitles, or a --csv")
    if wrong := [pair for pair in words.weights if "=" not in pair]:
        line.error(f"--weights {wrong[0]}: must be STREAM=PATH")
    return words


if __name__ == "__main__":
    entry(main)
