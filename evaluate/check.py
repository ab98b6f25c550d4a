"""Check params.yaml before any other stage runs: the `check` stage.

    python -m evaluate.check

It checks every section, every stream by its encoder's rules, and settings that two sections share. Each stage checks
the sections that it reads again, because `dvc repro train` skips this stage. The exit code is 2 if a check fails.
"""

from __future__ import annotations

from pathlib import Path

from extract.encoders import finetune_params
from extract.streams import load_checked
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.params import PARAMS, TRACK, Params, imported_to
from pipeline.prepare import module
from pipeline.strict import validate
from pipeline.transcribe.params import TranscribeParams
from train.fusion.params import fusion, unread


def main() -> None:
    """Check params.yaml and print notes about imported streams and unused settings."""
    params = load_checked()
    module(params.corpus)
    validate(TranscribeParams, params.corpus.transcribe, PARAMS, "corpus.transcribe")
    same_split(params)
    fusion(params)
    for note in [*strays(params), *filter(None, [unread(params)])]:
        print(note)
    print(f"{PARAMS}: ok")


def same_split(params: Params, path: Path = PARAMS) -> None:
    """Check that fine-tuned encoders and the fusion model have the same training data.

    Training checks this too, but only after fine-tuning and extraction, which can take hours.

    Raises:
        UserError: the fusion model would be tested, or its epoch chosen, on data that an encoder was trained on.
    """
    fusion = params.train
    for name in fusion.streams.in_use().values():
        if name not in params.finetune:
            continue
        training = finetune_params(name, params.finetune[name], path)[2]
        field = f"{path}: finetune.{name}.training"
        if str(training.fold) != str(fusion.fold):
            raise UserError(
                f"{field}.fold={training.fold}, but train.fold={fusion.fold}: the encoder would be trained on "
                "data that the fusion model tests on; make them equal"
            )
        if training.val != fusion.val:
            raise UserError(
                f"{field}.val={training.val}, but train.val={fusion.val}: the epoch would be chosen on dialogues "
                "that the encoder was trained on; make them equal"
            )
        drawn = str(fusion.fold) != "none" or fusion.val == "speaker"
        if drawn and training.seed != fusion.seed:
            raise UserError(
                f"{field}.seed={training.seed}, but train.seed={fusion.seed}: the seed draws val, so the epoch would "
                "be chosen on dialogues that the encoder was trained on; make them equal"
            )


def tracked(params: Params) -> None:
    """Check that DVC tracks every imported stream, because experiments in other folders would lack it.

    Raises:
        UserError: DVC does not track a stream.
    """
    if lacking := strays(params):
        raise UserError("\n".join(lacking))


def strays(params: Params) -> list[str]:
    """Return a note for each stream in use whose file is neither written by a stage nor tracked by DVC."""
    return [
        f"train.streams.{modality}={name}: no stage writes {path} and DVC does not track it, so it is missing in "
        f"queued experiments and after `dvc pull`: {TRACK.format(file=path)}"
        for modality, name in params.train.streams.in_use().items()
        if name not in params.extract and name not in params.finetune
        if not (path := imported_to(name)).with_name(f"{name}.h5.dvc").exists()
    ]


if __name__ == "__main__":
    parser("evaluate.check", __doc__).parse_args()
    entry(main)
