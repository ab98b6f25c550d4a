"""Build timeline.html: the page of turns (pipeline/pages/turns.py) with the predicted emotions."""

from __future__ import annotations

import math
from pathlib import Path

from evaluate.bars import bar, gauges, top
from evaluate.predict.answers import Answers
from evaluate.predict.trained import Trained
from pipeline import fragments
from pipeline.pages import turns
from pipeline.pages.playable import Shown, link


def render(answers: Answers, model: Trained, folder: Path, shown: Shown) -> str:
    """Return the page's HTML, to be saved in `folder`; equal answers give equal text.

    Args:
        answers: the predictions.
        model: the model that made them.
        folder: where the page will be.
        shown: the files that the page plays, and stills of the others.
    """
    found = turns_of(answers, folder, shown)
    numbers = answers.kind == "values"
    said = f"{' and '.join(answers.labels)} by" if numbers else "Emotions by"
    return turns.render(
        title=f"{len({turn.utterance.dialogue for turn in found})} dialogues",
        lead=f"{said} {model.name}, trained on {model.corpus}. Each {'number' if numbers else 'label'} is a model's "
        "prediction for one turn, not a fact about a person.",
        labels=[] if numbers else answers.labels,
        several=answers.kind == "multi",
        turns=found,
        notes=[*answers.recordings.notes(), *shown.notes],
        step=False,
    )


def turns_of(answers: Answers, folder: Path, shown: Shown) -> list[turns.Turn]:
    """Return the turns of a page in `folder`, in row order."""
    return [_turn(answers, i, folder, shown) for i in range(len(answers.recordings.utterances))]


def _turn(answers: Answers, i: int, folder: Path, shown: Shown) -> turns.Turn:
    utterance = answers.recordings.utterances[i]
    start, end = answers.recordings.span(utterance)
    numbers = answers.kind == "values"
    gaps = [f"{modality}: {status}" for modality, status in answers.gaps(i)]
    far = [f"{modality}: far from training" for modality, found in answers.far.items() if found[i]]
    return turns.Turn(
        utterance,
        start,
        end if math.isfinite(end) else None,
        source=link(shown.files.get(fragments.split(utterance.played.cell).file), folder),
        label="" if numbers else answers.emotion(i),
        numbers=dict(zip(answers.labels, answers.probabilities[i].tolist(), strict=True)) if numbers else {},
        guess=None if numbers else _guess(answers, i),
        flags=(*gaps, *far),
        still=shown.stills.get(utterance.utterance, ""),
    )


def _guess(answers: Answers, i: int) -> turns.Guess:
    probabilities = answers.probabilities[i]
    likeliest = int(probabilities.argmax())
    return turns.Guess(
        label=answers.labels[likeliest],
        probability=float(probabilities[likeliest]),
        bar=gauges(probabilities) if answers.kind == "multi" else bar(probabilities),
        shares=[(answers.labels[k], float(probabilities[k])) for k in top(probabilities)],
    )
