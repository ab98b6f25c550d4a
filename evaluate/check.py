"""Check params.yaml before anything runs, as the stage `check` does.

    python -m evaluate.check

Every section, every stream by its encoder's own rules, and what two sections say of one thing. Each stage checks
what it reads once more, since `dvc repro train` skips this one. Exit code 2 where something is wrong.
"""

from __future__ import annotations

from pathlib import Path

from extract.encoders import finetune_params
from extract.streams import load_checked
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.params import PARAMS, TRACK, Params, imported_to
from pipeline.prepare import module
from train.fusion.params import fusion, unread


def main() -> None:
    params = load_checked()
    module(params.corpus)
    same_split(params)
    fusion(params)
    for note in [*strays(params), *filter(None, [unread(params)])]:
        print(note)
    print(f"{PARAMS}: ok")


def same_split(params: Params, path: Path = PARAMS) -> None:
    """Check, hours before training would, that the encoders in `train.streams` are fitted to what the fusion model is.

    Raises:
        UserError: it would be tested, or its epoch chosen, on what an encoder is fitted to.
    """
    fusion = params.train
    for name in fusion.streams.in_use().values():
        if name not in params.finetune:
            continue
        training = finetune_params(name, params.finetune[name], path)[2]
        field = f"{path}: finetune.{name}.training"
        if str(training.fold) != str(fusion.fold):
            raise UserError(
                f"{field}.fold={training.fold}, but train.fold={fusion.fold}: one is fitted to what the other holds "
                "out; make them equal"
            )
        if str(fusion.fold) != "none" and training.seed != fusion.seed:
            raise UserError(
                f"{field}.seed={training.seed}, but train.seed={fusion.seed}: with a fold, val is drawn by the seed, "
                "and the epoch would be chosen on dialogues that the encoder is fitted to; make them equal"
            )


def strays(params: Params) -> list[str]:
    """Return what to say of streams in use whose file no stage makes and DVC does not know."""
    return [
        f"train.streams.{modality}={name}: no stage makes {path} and DVC does not know it, so that queued experiments "
        f"and whoever pulls lack it: {TRACK.format(file=path)}"
        for modality, name in params.train.streams.in_use().items()
        if name not in params.extract and name not in params.finetune
        if not (path := imported_to(name)).with_name(f"{name}.h5.dvc").exists()
    ]


if __name__ == "__main__":
    parser("evaluate.check", __doc__).parse_args()
    entry(main)
