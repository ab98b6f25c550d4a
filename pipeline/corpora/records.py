"""Read a corpus's JSON files as typed records.

A record lists the keys that its importer needs; other keys are ignored. No value is converted to another type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, RootModel

from pipeline.corpora import raw
from pipeline.errors import UserError
from pipeline.strict import Strict, validate


class Record(Strict):
    """The base of a record in a corpus's JSON file."""

    model_config = ConfigDict(extra="ignore")


R = TypeVar("R", bound=Record)
V = TypeVar("V")


def read_json(path: Path, record: type[R]) -> R:
    """Return a file that holds one record.

    Raises:
        UserError: if the file is not JSON or not such a record; the message lists the first 20 wrong fields.
    """
    return validate(record, _parsed(raw.read_text(path), path, 1), path)


def read_mapping(path: Path, mapping: type[RootModel[dict[str, V]]]) -> dict[str, V]:
    """Return a file that holds one JSON object whose keys are names.

    Raises:
        UserError: if the file is not JSON or a value is invalid; the message lists the first 20 wrong fields.
    """
    return validate(mapping, _parsed(raw.read_text(path), path, 1), path).root


def read_lines(path: Path, record: type[R]) -> Iterator[tuple[str, R]]:
    """Yield (place, record) of a file that holds one record per line (JSON Lines); empty lines are skipped.

    Raises:
        UserError: if a line is not JSON or not such a record.
    """
    for number, (place, line) in enumerate(raw.text_lines(path), 1):
        if line.strip():
            yield place, validate(record, _parsed(line, path, number), Path(place))


def _parsed(text: str, path: Path, first: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{first + error.lineno - 1}: not valid JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise UserError(f"{path}:{first}: not readable as JSON: {str(error)[:200]}") from None
