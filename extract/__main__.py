"""Extract features and manage extracted ones.

    python -m extract STREAM            extract a stream of params.yaml (run by the stages extract@STREAM and
                                        extract_finetuned@STREAM)
    python -m extract status [STREAM]   list utterances without features, with the reason
    python -m extract retry STREAM      try failed utterances again
    python -m extract clean [--all]     delete journals that no stream of params.yaml needs

For details of a command: python -m extract COMMAND --help
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.locks import alone

LISTED = 20
INTERRUPTED = "interrupted; finished items are in the journal; run again to continue"


def extract(stream: str) -> None:
    """Extract the features that a stream lacks and write data/features/STREAM.h5.

        python -m extract face
        EMOFUSE_WORKERS=4 python -m extract face

    An interrupted run keeps its finished items in the journal; run it again to continue.

    Environment variables choose the resources and change no feature:
        EMOFUSE_ENGINE    local (default), or ray for a cluster (docs/scale.md)
        EMOFUSE_WORKERS   number of processes (default: one per GPU or core; with ray as many as fit on the cluster)
        EMOFUSE_DEVICE    cpu, cuda or cuda:1 (default: a GPU if there is one)
        EMOFUSE_MEDIA     folder of the media (default: corpus.root)
    """
    from extract.engine.run import run

    with alone(f"extract {stream}"):
        run(stream)


def status(stream: str | None) -> None:
    """Count the utterances of each stream by status, and list those without features.

        python -m extract status
        python -m extract status face | grep corrupt

    Each line has utterance, status and reason. With STREAM the list is complete; otherwise it has the first 20
    utterances per stream. For a stream of faces the examined frames with several faces are counted, from the boxes in
    .cache/kept, and with `faces: speaker` the utterances in which no face in view speaks.
    """
    from extract.engine.status import report
    from extract.streams import unknown
    from pipeline.params import load

    params = load()
    names = [*params.extract, *params.finetune]
    if stream and stream not in names:
        raise unknown(stream, params)
    for name in [stream] if stream else names:
        for line in report(name, params, None if stream else LISTED):
            print(line)


def retry(stream: str) -> None:
    """Try the failed utterances of a stream again and write data/features/STREAM.h5.

        python -m extract retry face
        dvc commit --force extract@face && dvc repro

    This deletes every item whose status is not ok from the stream's journal, then extracts the missing items. Commit
    the new file with `dvc commit --force`. The inputs of the stage have not changed, so without the commit `dvc repro`
    restores the old file from its cache.
    """
    from extract.engine.journal import Journal, journal_path
    from extract.engine.run import repairing, run
    from extract.streams import encoder_of, load_checked, stage_of

    with alone(f"extract {stream}"):
        params = load_checked()
        path = journal_path(encoder_of(stream, params).fingerprint())
        print(
            f"{stream}: {repairing(path, Journal.forget_failures)} failed items deleted from the journal",
            flush=True,
        )
        run(stream)
    print(f"to keep the new file: dvc commit --force {stage_of(stream, params)} && dvc repro")


def clean(everything: bool) -> None:
    """Delete the journals that no stream of params.yaml needs.

        python -m extract clean
        python -m extract clean --all

    Feature files are kept, and so are journals that a process has open. If a stream's model is not on this machine, the
    journal of data/features/STREAM.h5 is kept. With --all the journals that params.yaml needs are deleted too. A later
    change of params.yaml, data or code then extracts all items again.
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
            # The model is not on this machine, but the stream's file names its journal.
            print(f"{name}: {error}")
            keep |= _fingerprints_in_file(name)
    found = {path.name.partition(".")[0] for path in folder().glob("*.sqlite")}
    count = total = 0
    for fingerprint in sorted(found - keep):
        freed = delete(journal_path(fingerprint))
        if freed is None:
            print(f"{fingerprint}: kept, because a process uses it")
        else:
            count, total = count + 1, total + freed
    print(f"{folder()}: deleted {count} journals, freed {total / 1e6:.1f} MB; {len(found) - count} remain")


def main() -> None:
    """Run the command of the command line."""
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(inspect.getdoc(sys.modules[__name__]))
        return
    name, command = args[0], COMMANDS.get(args[0])
    if command is None and name.startswith("-"):
        raise UserError(f"{name}: no such option; run `python -m extract --help` for the commands")
    options = parser(f"extract {name}" if command else "extract", inspect.getdoc(command or extract))
    if command is None or command is retry:
        options.add_argument("stream", metavar="STREAM", help="name of a stream in params.yaml")
    elif command is status:
        options.add_argument("stream", metavar="STREAM", nargs="?", help="name of a stream in params.yaml")
    elif command is clean:
        options.add_argument("--all", dest="everything", action="store_true", help="delete every journal")
    (command or extract)(**vars(options.parse_args(args[1:] if command else args)))


COMMANDS: dict[str, Callable[..., None]] = {"status": status, "retry": retry, "clean": clean}


def _fingerprints_in_file(name: str) -> set[str]:
    """Return the fingerprint in a stream's feature file; empty if there is no file."""
    from pipeline.features import FeatureCache
    from pipeline.params import FEATURES

    path = FEATURES / f"{name}.h5"
    if not path.exists():
        return set()
    with FeatureCache(path) as cache:
        return {cache.meta.fingerprint}


if __name__ == "__main__":
    entry(main, INTERRUPTED)
