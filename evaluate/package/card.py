"""Write a model card: what the model is, its scores, who may use it, and what it is not for.

The form is that of the Hugging Face hub: README.md with YAML in front. Mitchell et al., "Model Cards for Model
Reporting", FAT* 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.markdown import cell, table
from train.record import Record, StreamRecord

INTENDED = """For research on emotions that people annotate in conversations, on recordings like those of the corpus.

Not for decisions about people, such as hiring, education, health, insurance or policing. In the European Union,
inferring emotions at work or in education is prohibited (Regulation (EU) 2024/1689, article 5)."""
LIMITS = """- A label is what annotators perceived, not what a person felt. Annotators of other cultures may differ.
- Scores are those of one corpus. On other speakers, languages, microphones or cameras they are usually lower.
- Probabilities are calibrated on the corpus's val split, and only for recordings like it.
- Scores by gender, age or origin of the speakers were not measured."""


def markdown(
    record: Record, scores: Mapping[str, Mapping[str, float]], licence: str, extra: Iterable[str]
) -> str:
    """Return the card.

    Args:
        record: the model's record.
        scores: split → metric → value; empty if not measured.
        licence: who may use the model, and for what.
        extra: names of further files in the folder, each with its meaning.
    """
    name, corpus = record.params.model.name, corpus_of(record)
    about = {
        "library_name": "emofuse",
        "license": "other",
        "license_name": licence,
        "tags": ["emotion-recognition", "conversation", *record.dims],
    }
    # An utterance may have several labels or values, so only single labels sum to utterances.
    count, target = sum(record.class_counts), record.target
    learnt = f"{count:,} labelled utterances" if target == "single" else f"target `{target}`"
    parts = [
        # JSON is valid YAML, and its quotes make any text safe.
        "---\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in about.items()) + "---",
        f"# {name} for emotions in conversations, trained on {cell(corpus)}",
        f"Licence: {cell(licence)}",
        "## Use",
        "```bash\npython -m evaluate.predict talk.mp4 --subtitles talk.srt --model THIS_FOLDER --to out/\n```",
        "\n".join(["`model.json` describes the model, `model.safetensors` has its weights.", *extra]),
        "## Intended use",
        INTENDED,
        "## Limits",
        LIMITS,
        "## Scores",
        _scores(scores),
        "## Training",
        f"Corpus {cell(corpus)}, {learnt}, seed {record.seed}, epoch {record.best_epoch}, chosen "
        f"on val. The fold is `{record.params.train.fold}`.",
        table(["label", "train utterances"], [[label, f"{count:,}"] for label, count in _labels(record)]),
        table(
            ["modality", "stream", "encoder", "weights", "numbers"],
            [_stream(m, s, record) for m, s in _streams(record)],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def corpus_of(record: Record) -> str:
    """Return the name of the corpus whose features the model was trained on."""
    return next(iter(record.streams.values())).corpus


def _labels(record: Record) -> Iterable[tuple[str, int]]:
    return zip(record.labels, record.class_counts, strict=True)


def _streams(record: Record) -> Iterable[tuple[str, StreamRecord]]:
    return record.streams.items()


def _stream(modality: str, stream: StreamRecord, record: Record) -> list[str]:
    encoder, weights = stream.encoder.get("encoder", ""), stream.weights
    named = f"{weights.name} {weights.revision[:12]}".strip() or "none"
    return [modality, stream.stream, str(encoder), named, str(record.dims[modality])]


def _scores(scores: Mapping[str, Mapping[str, float]]) -> str:
    if not scores:
        return "Not measured."
    metrics = list(dict.fromkeys(name for found in scores.values() for name in found))
    rows = [
        [metric.replace("_", " "), *(_number(found.get(metric)) for found in scores.values())]
        for metric in metrics
    ]
    return (
        "Mean over the seeds of the run. `low` and `high` bound the 95% interval over dialogues.\n\n"
        + table(["metric", *scores], rows)
    )


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else ""
