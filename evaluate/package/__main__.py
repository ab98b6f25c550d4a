"""Package a trained model as a folder for other people: weights, record, model card, and optionally ONNX.

    python -m evaluate.package models/seed0 --licence "research only" --to OUT
    python -m evaluate.package models/seed0 --licence "research only" --to OUT --onnx

OUT has model.safetensors, distance.safetensors, model.json, config.json (labels, for the Hugging Face hub) and
README.md, the model card. It also has weights/NAME for encoders that were fine-tuned here.
`python -m evaluate.predict … --model OUT` predicts with it in any clone of this project. `hf upload USER/NAME OUT` puts
it on the hub, and `hf download` brings it back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command import parser
from pipeline.disk import replacing_folder
from pipeline.errors import UserError, entry

if TYPE_CHECKING:
    from train.record import Record

METRICS = Path("results/metrics.json")
WEIGHTS = Path("weights")
CARD, CONFIG, ONNX = "README.md", "config.json", "model.onnx"


def package(model: Path, to: Path, licence: str, metrics: Path, onnx: bool) -> list[str]:
    """Write the folder `to` and return the names of its files.

    Args:
        model: the model's folder, models/seedN.
        to: the folder to write; it may not exist.
        licence: who may use the model, and for what.
        metrics: the scores of the run; they may be missing.
        onnx: whether to add the network as ONNX.

    Raises:
        UserError: the folder exists, the model is missing or damaged, or it cannot be exported to ONNX.
    """
    from evaluate.package import card, to_onnx
    from extract.crossfit import without
    from train import distance
    from train.checkpoint import read_model
    from train.fusion.build import restored
    from train.fusion.params import recorded
    from train.targets import recorded_goal

    if to.exists():
        raise UserError(f"--to {to}: exists; name a new folder")
    state, record = read_model(model)
    names, extra = ["model.safetensors", "model.json"], []
    if distance.read(model, record):
        names.append(distance.FILE)
        extra.append(f"`{distance.FILE}` tells which utterances are far from those of training.")
    with replacing_folder(to) as part:
        for name in names:
            shutil.copyfile(model / name, part / name)
        for name, source in _local_weights(record):
            # The encoders of cross-fitting (extract/crossfit.py) encode train utterances only.
            shutil.copytree(source, part / WEIGHTS / name, ignore=shutil.ignore_patterns(without("*")))
            extra.append(f"`{WEIGHTS}/{name}` has the weights of an encoder that was fine-tuned.")
        if onnx:
            fusion = recorded(record.params, model / "model.json")
            network = restored(model, state, fusion, record.dims, recorded_goal(record))
            to_onnx.write(network, fusion, dict(record.dims), part / ONNX)
            extra.append(f"`{ONNX}` is the fusion network, from normalised features to logits.")
        config = {
            "model_type": "emofuse",
            "architectures": [record.params.model.name],
            "id2label": dict(enumerate(record.labels)),
            "label2id": {label: number for number, label in enumerate(record.labels)},
        }
        (part / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        text = card.markdown(record, _scores(metrics), licence, extra)
        (part / CARD).write_text(text, encoding="utf-8")
    return sorted(path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file())


def _local_weights(record: Record) -> Iterator[tuple[str, Path]]:
    """Yield (name, folder) of the encoders' weights that stage `finetune` made."""
    for stream in record.streams.values():
        weights = stream.weights
        source = WEIGHTS / weights.name
        if weights.name and not weights.revision and ":" not in weights.name and source.is_dir():
            yield weights.name, source


def _scores(path: Path) -> dict[str, dict[str, float]]:
    if not path.exists():
        return {}
    try:
        found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        return {split: dict(scores) for split, scores in found.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path}: not readable: {error}; run `dvc repro evaluate`, or give another --metrics"
        ) from None


def main() -> None:
    """Run `python -m evaluate.package`."""
    words = parser("evaluate.package", __doc__)
    words.add_argument("model", type=Path, help="the model's folder, such as models/seed0")
    words.add_argument("--to", type=Path, required=True, metavar="OUT", help="a new folder")
    words.add_argument("--licence", required=True, help="who may use the model, and for what")
    words.add_argument(
        "--metrics", type=Path, default=METRICS, help=f"scores for the card (default: {METRICS})"
    )
    words.add_argument(
        "--onnx", action="store_true", help=f"add {ONNX}, for some models (requirements-onnx.txt)"
    )
    asked = words.parse_args()
    print(asked.to, *package(asked.model, asked.to, asked.licence, asked.metrics, asked.onnx), sep="\n  ")


if __name__ == "__main__":
    entry(main)
