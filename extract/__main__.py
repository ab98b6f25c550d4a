"""Extract features, and look after what was extracted.

    python -m extract STREAM            extract a stream of params.yaml (the stage extract@STREAM or, for one
                                        under `finetune`, extract_finetuned@STREAM)
    python -m extract status [STREAM]   what failed, and why
    python -m extract retry STREAM      have failed utterances tried again
    python -m extract clean [--all]     delete journals that no stream of params.yaml needs

`python -m extract COMMAND --help` says more.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable

from pipeline.errors import UserError, entry
from pipeline.locks import alone
from pipeline.params import PARAMS

LISTED = 20
INTERRUPTED = "interrupted; what is done is in the journal, and the next run goes on from there"


def extract(stream: str) -> None:
    """Extract what is missing of a stream and write data/features/STREAM.h5.

    EMOFUSE_ENGINE (local, or ray for a cluster: docs/scale.md), EMOFUSE_WORKERS (processes; default: one a GPU or core
    here, or as many as fit on the cluster), EMOFUSE_DEVICE (cpu, cuda, cuda:1) and EMOFUSE_MEDIA
    (the folder of the media) say where and how; they change no value. Interrupt it at will: what is done is
    in the journal, and the next run goes on from there.
    """
    from extract.engine.run import run

    with alone(f"extract {stream}"):
        run(stream)


def status(stream: str | None) -> None:
    """Count utterances by status in each stream's feature file and list those without features.

    With STREAM: all of them, one a line (utterance, status, reason); without: the first 20 of each stream.
    """
    from extract.streams import stage_of
    from pipeline.params import load

    params = load()
    names = [*params.extract, *params.finetune]
    if stream and stream not in names:
        raise UserError(
            f"{PARAMS}: no stream `{stream}` under extract (there are {', '.join(names) or 'none'})"
        )
    for name in [stream] if stream else names:
        _report(name, stage_of(name, params), None if stream else LISTED)


def retry(stream: str) -> None:
    """Try the failed utterances of a stream again and write data/features/STREAM.h5 anew.

    Every row of the stream's journal whose status is not ok is dropped, and what is missing then extracted.
    DVC must be told to keep the new file (`dvc commit --force extract@STREAM`): none of the stage's inputs has
    changed, so that `dvc repro` alone would fetch the old file back from its cache.
    """
    from extract.engine.journal import Journal, journal_path
    from extract.engine.run import repairing, run
    from extract.streams import encoder_of, load_checked, stage_of

    with alone(f"extract {stream}"):
        params = load_checked()
        path = journal_path(encoder_of(stream, params).fingerprint())
        print(f"{stream}: {repairing(path, Journal.forget_failures)} failed items forgotten", flush=True)
        run(stream)
    print(f"to keep the new file: dvc commit --force {stage_of(stream, params)} && dvc repro")


def clean(everything: bool) -> None:
    """Delete the journals that no stream of params.yaml needs.

    Of a stream whose model is not on this machine the journal behind data/features/STREAM.h5 is kept.
    With --all those in use by params.yaml go too: what they hold must be extracted anew if ever asked for
    again (feature files are not touched). Journals that a process has open are left alone.
    """
    from extract.engine.journal import delete, folder, journal_path
    from extract.streams import encoder_of, has_weights, load_checked

    params = load_checked()
    needed = [] if everything else [*params.extract, *filter(has_weights, params.finetune)]
    keep: set[str] = set()
    for name in needed:
        try:
            keep.add(encoder_of(name, params).fingerprint())
        except UserError as error:
            # A model that is not here: what its stream's file was made by is the journal to keep.
            print(f"{name}: {error}")
            keep |= _made_by(name)
    found = {path.name.partition(".")[0] for path in folder().glob("*.sqlite")}
    count = total = 0
    for fingerprint in sorted(found - keep):
        freed = delete(journal_path(fingerprint))
        if freed is None:
            print(f"{fingerprint}: in use, left alone")
        else:
            count, total = count + 1, total + freed
    print(f"{folder()}: deleted {count} journals, freed {total / 1e6:.1f} MB; {len(found) - count} left")


def main() -> None:
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(inspect.getdoc(sys.modules[__name__]))
        return
    name, command = args[0], COMMANDS.get(args[0])
    if command is None and name.startswith("-"):
        raise UserError(f"{name}: no such option; `python -m extract --help` lists the commands")
    parser = argparse.ArgumentParser(
        prog=f"python -m extract{' ' + name if command else ''}",
        description=inspect.getdoc(command or extract),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if command is None or command is retry:
        parser.add_argument("stream", metavar="STREAM", help="a stream's name, from params.yaml")
    elif command is status:
        parser.add_argument("stream", metavar="STREAM", nargs="?", help="list all of this one")
    elif command is clean:
        parser.add_argument("--all", dest="everything", action="store_true", help="every journal")
    (command or extract)(**vars(parser.parse_args(args[1:] if command else args)))


COMMANDS: dict[str, Callable[..., None]] = {"status": status, "retry": retry, "clean": clean}


def _made_by(name: str) -> set[str]:
    from pipeline.features import FeatureCache
    from pipeline.params import FEATURES

    path = FEATURES / f"{name}.h5"
    if not path.exists():
        return set()
    with FeatureCache(path) as cache:
        return {cache.meta.fingerprint}


def _report(name: str, stage: str, limit: int | None) -> None:
    from extract.engine.run import FEATURES
    from pipeline.features import STATUSES, FeatureCache

    path = FEATURES / f"{name}.h5"
    if not path.exists():
        print(f"{name}: not extracted yet (`dvc repro {stage}`)")
        return
    with FeatureCache(path) as cache:
        print(f"{name}: {len(cache)} utterances: " + ", ".join(f"{n} {s}" for s, n in cache.counts().items()))
        failed = [i for i, code in enumerate(cache.status) if code]
        for i in failed[:limit]:
            print(f"  {cache.utterances[i]}  {STATUSES[cache.status[i]]}  {cache.errors[i]}")
        if limit and len(failed) > limit:
            print(f"  and {len(failed) - limit} more; `python -m extract status {name}` lists all")


if __name__ == "__main__":
    entry(main, INTERRUPTED)
