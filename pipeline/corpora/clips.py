"""Find an acted corpus's clips, whose files' names are its annotation."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline import folders
from pipeline.corpora import raw
from pipeline.messages import Problems


def clips(
    root: Path,
    suffixes: tuple[str, ...],
    form: re.Pattern[str],
    example: str,
    problems: Problems,
    ignored: re.Pattern[str] | None = None,
) -> dict[Path, re.Match[str]]:
    """Return the clips at any depth under `root`, each with the match of its name without suffix.

    Args:
        root: the corpus's folder.
        suffixes: the files' suffixes, in lower case.
        form: the form of a clip's name.
        example: a clip's path, for messages.
        problems: receives names of another form, and names that two files have.
        ignored: the form of names that are skipped.

    Raises:
        raw.NoAnnotation: if there is no file that is a clip or should be one.
    """
    found: dict[str, tuple[Path, re.Match[str]]] = {}
    for path in folders.files(root, *suffixes):
        name = form.fullmatch(path.stem)
        if name is None:
            if ignored is None or not ignored.fullmatch(path.stem):
                problems.add(
                    str(path), "name", path.name, f"must have a form such as {example.rpartition('/')[2]}"
                )
            continue
        first = found.setdefault(path.stem, (path, name))[0]
        if first != path:
            problems.add(str(path), "name", path.name, f"duplicate of {first}; keep one of the two")
    if not found and not problems.count:
        raise raw.NoAnnotation(f"{root}: no clips here, such as {example}")
    return dict(found.values())
