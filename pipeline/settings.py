"""Read YAML settings as plain data of bounded size.

A few lines of YAML can expand to more than the memory (aliases of aliases), nest too deeply for Python, or contain
numbers and characters that cannot be printed. Settings never need any of this.
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
        UserError: if the file is missing, is not YAML, is not a mapping, or exceeds the limits.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a regular file; name a YAML file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES:,} bytes; check that this is the right file")
        data = YAML(typ="safe", pure=True).load(io.StringIO(raw.decode("utf-8")))
        _bounded(data)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; run from the project's folder, or copy a file from presets/"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply; check that this is the right file") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not readable as YAML; correct it: {' '.join(str(error).split())[:500]}"
        ) from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # From `_bounded`, and from ruamel if a value does not fit its tag.
        raise UserError(
            f"{path}: unsupported value; correct it: {' '.join(str(error).split())[:200]}"
        ) from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping of sections (corpus, extract, train, …)")
    return data


def _bounded(data: Any) -> None:
    """Raise ValueError if `data` has too many values, or a value that cannot be written again."""
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
            value.encode()  # raises ValueError for a lone surrogate
