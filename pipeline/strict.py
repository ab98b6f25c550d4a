"""Validate the content of files as typed records: no value is coerced, and an unknown key is an error."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import UserError
from pipeline.messages import nearest

LISTED = 20
M = TypeVar("M", bound=BaseModel)
# Messages show only the beginning of a value, because a file may contain any.
_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxstring, _SHOWN.maxother = 2, 80, 80


class Strict(BaseModel):
    """The base of every typed record: unknown keys are errors, and values are never coerced to another type."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


def validate(model: type[M], data: Any, path: Path, prefix: str = "") -> M:
    """Return `data` as a `model`.

    Args:
        model: the type of the record.
        data: the content to validate.
        path: the file, for messages.
        prefix: the position of `data` in the file, such as `extract.text`.

    Raises:
        UserError: if `data` is invalid; lists the first 20 problems, one per line, with field and value.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [_explain(model, problem, prefix) for problem in problems[:LISTED]]
        lines += [f"and {len(problems) - LISTED} more"] * (len(problems) > LISTED)
        raise UserError(f"{path}: " + "\n  ".join(lines)) from None


def _explain(model: type[BaseModel], problem: Any, prefix: str) -> str:
    loc = [part for part in problem["loc"] if part != "[key]"]
    where = ".".join([prefix] * bool(prefix) + [str(part)[:80] for part in loc])
    if problem["type"] == "extra_forbidden":
        names = _field_names(model, loc[:-1])
        return f"{where}: unknown key{nearest(str(loc[-1])[:80], names)}; known here: {', '.join(names)}"
    if problem["type"] == "missing":
        return f"{where}: missing"
    if problem["type"] == "value_error":
        # The project's own validators name field and value themselves.
        return str(problem["ctx"]["error"])
    shown = "" if len(loc) < len(problem["loc"]) else f"={_SHOWN.repr(problem['input'])}"
    return f"{where}{shown}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _field_names(model: type[BaseModel], loc: list[Any]) -> list[str]:
    for part in loc:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
