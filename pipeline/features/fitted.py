"""State which utterances the weights behind imported features were fitted to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.messages import listed
from pipeline.params import sections
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.splits import ids_hash, splits
from pipeline.tables.target import target_of


def fitted(part: str, table: Path) -> dict[str, Any]:
    """Return the `weights_saw` of a cache.

    Args:
        part: `train` for the train split of the labels' table, a session for the train split with that session held
            out, with `train.seed` and `train.val` of params.yaml, or a file with one utterance id per line.
        table: the table of utterances.

    Raises:
        UserError: a table or params.yaml is wrong, the session is unknown, or the file has an unknown id or none.
    """
    utterances = read_utterances(table)
    if Path(part).is_file():
        try:
            lines = Path(part).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"--saw {part}: cannot be read as UTF-8 text: {error}; convert the file"
            ) from None
        ids = {line.strip() for line in lines if line.strip()}
        unknown = sorted(ids - {u.utterance for u in utterances})
        if unknown or not ids:
            raise UserError(
                f"--saw {part}: {len(unknown)} of {len(ids)} ids are not in {table}: "
                f"{listed(unknown) or 'no id in the file'}; list the ids of this corpus that the weights were "
                "fitted to, one per line"
            )
        return {"fold": f"listed in {Path(part).name}", "ids": {"train": ids_hash(ids)}}
    params = sections()
    fold = "none" if part == "train" else part
    split = splits(
        read_labels(utterances, target_of(params.corpus)),
        utterances,
        fold,
        params.train.seed,
        params.train.val,
        "--saw",
    )
    train = (u.utterance for u, where in zip(utterances, split, strict=True) if where == "train")
    return {"fold": fold, "ids": {"train": ids_hash(train)}}
