"""Compare Foal-Net and MultiEMO with logistic regression on acted clips; each fold holds out four actors.

    python -m benchmarks.ravdess ravdess_au35_mfcc259.npz                  # the table of docs/results.md, some minutes
    python -m benchmarks.ravdess FILE.npz --normalise speaker              # with each actor's own statistics
    python -m benchmarks.ravdess FILE.npz --to FOLDER --prepare            # only the tables and caches

The file has published features of RAVDESS's 1,440 speech clips (24 actors, 8 emotions; Livingstone and Russo 2018,
CC BY-NC-SA 4.0): `au` `[1440, 35]`, statistics of facial action units; `mfcc` `[1440, 259]`; `label`, `actor` and
`clip`. Each clip is a dialogue of one turn. Each of the six sessions is a group of four actors and the test split of
one fold. The epoch is chosen on 10% of the other actors' clips. The settings were chosen on the next group of four
actors, which was excluded from training for that purpose. That group is the test split of the next fold, so the
scores favour these settings (docs/foalnet.md).
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluate.inference import probabilities
from evaluate.run.metrics import scores
from pipeline.command import parser
from pipeline.params import Params
from pipeline.strict import validate
from train.fusion.build import build, read
from train.fusion.loop import fit
from train.fusion.params import fusion

ROOT = Path(__file__).parents[1]
EMOTIONS = ["neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"]
ACTORS_A_FOLD = 4
STREAMS = {"audio": "mfcc", "visual": "au"}
# Chosen on the next fold's test actors, which were excluded from training. The val clips show actors of the train
# split. That suffices for choosing an epoch, but it favours settings that memorise the actors.
SETTINGS: dict[str, dict[str, Any]] = {
    "logreg": {},
    "multiemo": {
        "train": {"epochs": 30, "patience": 30, "batch_size": 64, "lr": 1e-3},
        "model": {"dim": 64, "ffn": 128, "head": 64, "layers": 1, "dropout": 0.5},
        "loss": {"mu1": 0.0, "mu2": 0.0},
    },
    "foalnet": {
        "train": {"epochs": 40, "patience": 40, "batch_size": 64, "lr": 1e-3},
        "model": {"dim": 64, "head": 64, "layers": 1, "dropout": 0.3},
        "loss": {"avel": 0.05, "mem": 0.1},
    },
}


def main() -> None:
    """Prepare the data, train the models and print their table."""
    options = parser("benchmarks.ravdess", __doc__)
    options.add_argument("file", type=Path, help="the npz file of the features")
    options.add_argument(
        "--to", type=Path, help="a new folder for the tables and caches; default: a temporary folder"
    )
    options.add_argument("--prepare", action="store_true", help="stop after writing the tables and caches")
    options.add_argument(
        "--models",
        nargs="+",
        choices=SETTINGS,
        default=list(SETTINGS),
        help="the models to train; default: all",
    )
    options.add_argument("--seeds", type=int, default=1, help="seeds per fold; default: 1")
    options.add_argument(
        "--normalise", choices=("global", "speaker"), default="global", help="the value of train.normalise"
    )
    words = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = words.to or Path(scratch)
        prepare(words.file.resolve(), folder)
        if not words.prepare:
            os.chdir(folder)
            table(words.models, words.seeds, words.normalise)


def prepare(file: Path, folder: Path) -> None:
    """Write the csv file of the corpus and import two streams, as docs/how-to/import-features.md describes."""
    (folder / "corpus").mkdir(parents=True)
    with (
        np.load(file, allow_pickle=False) as npz,
        (folder / "corpus/ravdess.csv").open("w", newline="") as csv_file,
    ):
        writer = csv.writer(csv_file)
        writer.writerow(["utterance", "dialogue", "turn", "speaker", "session", "split", "emotion"])
        for clip, actor, label in zip(npz["clip"], npz["actor"], npz["label"], strict=True):
            fold = 1 + (int(actor) - 1) // ACTORS_A_FOLD
            split = {5: "val", 6: "test"}.get(fold, "train")  # used if train.fold is none
            writer.writerow([clip, clip, 0, f"actor {actor}", fold, split, EMOTIONS[label]])
    (folder / "data").mkdir()
    (folder / "params.yaml").write_text(validate(Params, settings("logreg"), ROOT).model_dump_json(indent=1))
    _python(folder, "pipeline.prepare")
    (folder / "data/features").mkdir()
    for modality, name in STREAMS.items():
        about = [
            "--licence",
            "CC BY-NC-SA 4.0",
            "--encoder",
            f"{name} statistics of a clip",
            "--corpus",
            "ravdess",
        ]
        arrays = ["--array", name, "--ids", "clip", "--frames", "f4"]
        _python(
            folder, "pipeline.features", "import", str(file), "--stream", name, "--modality", modality, *about, *arrays,
            "--out", f"data/features/{name}.h5",
        )  # fmt: skip


def _python(folder: Path, *words: str) -> None:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def settings(model: str, fold: str | int = "none", normalise: str = "global") -> dict[str, Any]:
    """Return the content of a params file."""
    chosen = SETTINGS[model]
    return {
        "corpus": {"name": "csv", "watch": "corpus", "root": "corpus", "labels": EMOTIONS},
        "extract": {name: {"encoder": "imported", "frames": "f4"} for name in STREAMS.values()},
        "train": {
            "streams": {"text": "none", **STREAMS}, "fold": fold, "frames": "f4", "normalise": normalise,
            **chosen.get("train", {}),
        },
        "model": {"name": model, **chosen.get("model", {})},
        "loss": chosen.get("loss", {}),
        "evaluate": {},
    }  # fmt: skip


def table(models: list[str], seeds: int, normalise: str) -> None:
    """Print one row per model: mean and standard deviation over the folds of the mean over the seeds."""
    print(f"{'':12}{'WA':>14}{'UA':>14}{'val F1':>14}")
    for model in models:
        found = np.array(
            [fold_scores(model, fold, 1 if model == "logreg" else seeds, normalise) for fold in range(1, 7)]
        )
        cells = [
            f"{100 * m:.1f} ± {100 * sd:.1f}"
            for m, sd in zip(found.mean(0), found.std(0, ddof=1), strict=True)
        ]
        print(f"{model:12}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def fold_scores(model: str, fold: int, seeds: int, normalise: str) -> np.ndarray:
    """Return the means over the seeds `[3]`: WA and UA on the held-out actors, and weighted F1 on val."""
    params = validate(Params, settings(model, fold, normalise), ROOT)
    data, cpu = read(params), torch.device("cpu")
    test = np.flatnonzero(data.split == "test")
    rows = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as state:
            *_, done = fit(data, params, seed, cpu, Path(state) / "state")
        network, _ = build(fusion(params), data.dims, data.class_counts())
        network.load_state_dict(done.weights)
        guess = probabilities(network, data, cpu)[test].argmax(1)
        found = scores(data.labels[test].numpy(), guess, len(EMOTIONS))
        val = done.history[done.best_epoch - 1]["val_weighted_f1"]
        rows.append([found["accuracy"], found["unweighted_accuracy"], val])
    mean: np.ndarray = np.mean(rows, axis=0)
    return mean


if __name__ == "__main__":
    main()
