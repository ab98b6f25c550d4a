"""YAML files of settings, read as plain data of a bounded size.

A few lines of YAML can stand for more than any memory holds (aliases of aliases), nest deeper than Python can follow,
or hold numbers and characters that nothing can print; none of that is ever a setting.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import UserError

MAX_BYTES = 1 << 18
MAX_VALUES = 20_000
MAX_NUMBER = 1 << 63


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML 1.2 mapping as plain dicts and lists (DVC's dialect: `1e-4` is a number, `off` a string).

    Raises:
        UserError: the file is missing, is no YAML, is no mapping, or unfolds to what no settings are.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is no file; the settings are one YAML file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES:,} bytes; settings are not")
        data = YAML(typ="safe", pure=True).load(io.StringIO(raw.decode("utf-8")))
        _bounded(data)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; run from the project's folder, or copy one from presets/"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deep to be settings") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())[:500]}") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # Ours, and what ruamel raises over a value that its own tag does not fit.
        raise UserError(
            f"{path}: holds a value that no setting has: {' '.join(str(error).split())[:200]}"
        ) from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping of sections (corpus, extract, train, …)")
    return data


def _bounded(data: Any) -> None:
    """Raise ValueError where `data` unfolds without bound, or has a value that cannot be written down again."""
    waiting = [data]
    count = 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values, aliases counted each time")
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
        elif isinstance(value, int) and abs(value) >= MAX_NUMBER:
            raise ValueError("a whole number of more than 64 bits")
        elif isinstance(value, str):
            value.encode()  # raises over half a character pair
