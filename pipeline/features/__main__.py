"""Inspect, verify, compare, export and import feature files.

    python -m pipeline.features info data/features/text.h5
    python -m pipeline.features verify data/features/*.h5
    python -m pipeline.features diff old.h5 new.h5
    python -m pipeline.features export data/features/text.h5 --to npz
    python -m pipeline.features import FOLDER --stream NAME --modality audio --corpus C --licence L --encoder E

Add `--help` to a command to list its options.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from pipeline import names
from pipeline.command import parser
from pipeline.errors import UserError, entry
from pipeline.features import csd, export, parquet, report
from pipeline.features.cache import FeatureCache
from pipeline.features.fitted import fitted
from pipeline.features.importer import About, Source, import_features
from pipeline.params import MODALITIES, PARAMS
from pipeline.settings import read_yaml
from pipeline.tables import schema as tables

EXPORTS = {"npz": export.to_npz, "csv": export.to_csv, "parquet": parquet.to_parquet, "csd": csd.write}


def main() -> None:
    """Run `python -m pipeline.features`."""
    args = _parser().parse_args()
    args.run(args)


def _info(args: argparse.Namespace) -> None:
    with FeatureCache(args.file) as cache:
        print(report.info(cache))


def _verify(args: argparse.Namespace) -> None:
    for path in args.file:
        with FeatureCache(path) as cache:
            cache.verify()
            print(f"{path}: ok; {len(cache)} rows, digest {cache.digest}")


def _diff(args: argparse.Namespace) -> None:
    with FeatureCache(args.a) as a, FeatureCache(args.b) as b:
        text = report.diff(a, b)
    print(text or "no difference")
    sys.exit(1 if text else 0)


def _export(args: argparse.Namespace) -> None:
    to = args.out or args.file.with_suffix(f".{args.to}")
    if to.exists():
        raise UserError(f"{to}: file exists; move it, or choose another file with --out")
    with FeatureCache(args.file) as cache:
        EXPORTS[args.to](cache, to)
        if args.to == "csv" and cache.has_frames:
            print("the csv contains no frames; use --to npz, parquet or csd for frames")
    print(to)


def _import(args: argparse.Namespace) -> None:
    try:
        names.stream(args.stream)
    except ValueError as error:
        raise UserError(f"--stream {args.stream}: {error}; choose another name") from None
    made = read_yaml(PARAMS) if PARAMS.exists() else {}
    if args.out is None and any(args.stream in (made.get(kind) or {}) for kind in ("extract", "finetune")):
        raise UserError(
            f"--stream {args.stream}: {PARAMS} has a stream of that name, which writes the same file; choose another"
        )
    if args.rate is not None and not 0 < args.rate < math.inf:
        raise UserError(f"--rate {args.rate:g}: must be a number of frames per second above 0")
    utterances = tables.read_utterances(args.utterances)
    source = Source(args.source, args.array, args.ids, args.names)
    saw = None if args.saw is None else fitted(args.saw, args.utterances)
    about = About(
        args.stream, args.modality, args.corpus, args.licence, args.encoder, args.frames, args.rate, saw
    )
    to = args.out or Path(f"data/features/{args.stream}.h5")
    for note in import_features(source, about, utterances, to, args.partial):
        print(note)
    with FeatureCache(to) as cache:
        print(report.info(cache))
    print(f"dvc add {to} && git add {to}.dvc    # queued experiments and `dvc push` need this")


def _parser() -> argparse.ArgumentParser:
    line = parser("pipeline.features", __doc__)
    commands = line.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="show content and provenance")
    info.add_argument("file", type=Path)
    info.set_defaults(run=_info)

    verify = commands.add_parser("verify", help="check structure, values, checksums and digest")
    verify.add_argument("file", type=Path, nargs="+")
    verify.set_defaults(run=_verify)

    diff = commands.add_parser(
        "diff", help="list the utterances that differ, and by how much; exit code 1 if any do"
    )
    diff.add_argument("a", type=Path)
    diff.add_argument("b", type=Path)
    diff.set_defaults(run=_diff)

    export_ = commands.add_parser("export", help="write plain arrays, a table or a computational sequence")
    export_.add_argument("file", type=Path)
    export_.add_argument("--to", choices=EXPORTS, required=True)
    export_.add_argument("--out", type=Path, help="default: FILE with the format's suffix")
    export_.set_defaults(run=_export)

    import_ = commands.add_parser(
        "import", help="make a cache from .npy, .npz, .csd, .parquet or MMSA .pkl files"
    )
    import_.add_argument(
        "source",
        type=Path,
        help="a folder with one .npy or .npz per utterance, one .npz with a matrix or an array per utterance, one "
        ".csd, one .parquet or a folder of them, or one .pkl of MMSA",
    )
    import_.add_argument("--stream", required=True, help="the name to use in train.streams")
    import_.add_argument("--modality", required=True, choices=MODALITIES)
    import_.add_argument("--corpus", required=True)
    import_.add_argument("--licence", required=True, help="who may use the features, and for what")
    import_.add_argument(
        "--encoder", required=True, help="how the features were computed: model, layer, pooling, version"
    )
    import_.add_argument(
        "--frames",
        choices=("none", "f2", "f4"),
        default="none",
        help="type to store [T, D] frames in; none: store only their mean",
    )
    import_.add_argument(
        "--rate", type=float, help="frames per second, if frames are stored; a .csd has times"
    )
    import_.add_argument(
        "--array",
        default="",
        help="name of the array in the .npz, the stream in the .parquet, or the field in the .pkl",
    )
    import_.add_argument(
        "--ids", default="utterance", help="name of the array of ids in a single .npz with a matrix"
    )
    import_.add_argument(
        "--names",
        type=Path,
        help="csv with columns file,utterance, if files or arrays are not named by utterance",
    )
    import_.add_argument(
        "--partial", action="store_true", help="accept missing and unknown ids, and list them"
    )
    import_.add_argument(
        "--saw",
        metavar="PART",
        help="what the encoder's weights were fitted to: `train` (the train split of data/labels.csv), a session (the "
        "train split with this session held out, as train.fold, train.val and train.seed draw it), or a file with "
        "one utterance id per line; training refuses the features if its own train split differs",
    )
    import_.add_argument("--utterances", type=Path, default=tables.UTTERANCES)
    import_.add_argument("--out", type=Path, help="default: data/features/STREAM.h5")
    import_.set_defaults(run=_import)
    return line


if __name__ == "__main__":
    entry(main)
