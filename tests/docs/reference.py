"""Write docs/reference/params.md from the params' models and docs/reference/commands.md from every `--help`.

python -m tests.docs.reference
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from extract.encoders import REGISTRY, encoder_class
from pipeline.closure import ROOT
from pipeline.params import FinetuneParams, Params, StreamParams
from pipeline.transcribe.params import TranscribeParams
from tests.test_help import COMMANDS, ENTRIES
from tests.warm_python import run, serving
from train.models import MODELS

FOLDER = ROOT / "docs/reference"
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
          "minItems": "at least {} items"}  # fmt: skip
WORDS = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}
HEAD = "| parameter | values | default | a change runs | meaning |\n| --- | --- | --- | --- | --- |\n"


def params_page() -> str:
    """Return docs/reference/params.md."""
    parts = [
        "# Parameters\n\nAll parameters of `params.yaml`, by section. A parameter without a default is required. "
        "The column `a change runs` names the stages that DVC runs because they depend on the parameter; the stages "
        "after them run too. An unknown key is an error that names the nearest known one.\n\n"
        "This page is generated: `python -m tests.docs.reference`.\n"
    ]
    parts += [
        _section(f"`{name}`", _fields(model, name))
        for name, model in (
            (name, field.annotation)
            for name, field in Params.model_fields.items()
            if name in ("corpus", "train", "evaluate")
        )
    ]
    transcribe = _fields(TranscribeParams, "corpus.transcribe")
    parts.append(_section("`corpus.transcribe` with `corpus.name: recordings`", transcribe))
    shared = _fields(StreamParams, "extract.NAME")
    parts.append(_section("`extract.NAME`: every stream", shared))
    for name in REGISTRY:
        fields = _fields(encoder_class(name).params_model, "extract.NAME")
        own = [row for row in fields if row not in shared]
        parts.append(_section(f"`extract.NAME` with `encoder: {name}`", own))
    parts.append(
        _section("`finetune.NAME.training`", _fields(FinetuneParams, "finetune.NAME.training"))
        + "\nThe other keys of `finetune.NAME` are those of `extract.NAME` for the same encoder.\n"
    )
    for name, module in MODELS.items():
        model = importlib.import_module(module).Model
        rows = [*_fields(model.params, "model"), *_fields(model.loss_params, "loss")]
        parts.append(_section(f"`model` and `loss` with `model.name: {name}`", rows))
    return "\n".join(parts)


def commands_page() -> str:
    """Return docs/reference/commands.md."""
    parts = [
        "# Commands\n\nEvery command has `--help`. Stages are run by `dvc repro`; the other commands are for you. "
        "Exit codes: 0 for success, 2 for a mistake in settings, data or usage, 130 after Ctrl-C; "
        "`pipeline.features diff` ends with 1 if it finds a difference.\n\n"
        "This page is generated: `python -m tests.docs.reference`.\n"
    ]
    inner = [command for command in COMMANDS if " " in command]
    with TemporaryDirectory() as folder, serving(Path(folder)) as python:
        for entry in ENTRIES:
            for command in (entry, *(c for c in inner if c.split()[0] == entry)):
                level = "##" if command == entry else "###"
                done = run(python, ROOT, *command.split(), "--help", COLUMNS="110")
                assert done.returncode == 0, done.stderr
                parts.append(f"{level} python -m {command}\n```text\n{done.stdout.rstrip()}\n```\n")
    return "\n".join(parts)


def _section(title: str, rows: list[str]) -> str:
    return f"## {title}\n" + (HEAD + "".join(rows) if rows else "It has no parameters of its own.\n")


def _fields(model: Any, prefix: str) -> list[str]:
    """Return a table's rows for the fields of a model, nested models included."""
    schema = model.model_json_schema()
    meanings = _meanings(model)
    rows = []
    for name, field in model.model_fields.items():
        path, kind = f"{prefix}.{name}", field.annotation
        if path == "model.name":
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += _fields(kind, path)
            continue
        default = field.get_default(call_default_factory=True)
        cells = (
            f"`{path}`",
            _values(schema["properties"][name], schema.get("$defs", {})),
            "required" if field.is_required() else f"`{_yaml(default)}`",
            ", ".join(_runs(path)) or "nothing",
            meanings.get(name, ""),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return rows


def _values(known: dict[str, Any], inner: dict[str, Any]) -> str:
    """Return what a field takes, from its JSON schema and the schemas that it refers to."""
    if "enum" in known or "const" in known:
        return ", ".join(f"`{_yaml(value)}`" for value in known.get("enum", [known.get("const")]))
    if "anyOf" in known:
        return " or ".join(_values(one, inner) for one in known["anyOf"])
    if "$ref" in known:
        keys = inner[known["$ref"].rpartition("/")[2]]["properties"].items()
        return (
            "`{"
            + ", ".join(f"{key}: …" for key, _ in keys)
            + "}`: "
            + "; ".join(_values(v, inner) for _, v in keys)
        )
    bounds = [words.format(f"{known[key]:,}") for key, words in BOUNDS.items() if key in known]
    kind = WORDS[known["type"]]
    if kind == "list":
        kind += f" of {_values(known['items'], inner)}"
    return ", ".join([kind, *bounds])


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else str(value)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return {field: sentence} of the `Attributes:` in the docstrings of a model and its bases."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        text = inspect.cleandoc(kind.__doc__ or "") if issubclass(kind, BaseModel) else ""
        block = text.partition("Attributes:\n")[2]
        for names, meaning in re.findall(r"^    ([\w, ]+): (.*(?:\n {8,}.*)*)", block, re.MULTILINE):
            found |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return found


def _runs(path: str) -> Iterator[str]:
    """Yield the stages of dvc.yaml that depend on a parameter: by `params`, in a dep's name, or as their list."""
    for stage, told in (
        YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items()
    ):
        inner = told.get("do", told)
        keys = [str(key).replace("${key}", "NAME") for key in inner.get("params", ())]
        named = f"${{{path}}}" in f"{told.get('foreach')} {inner.get('deps')}"
        if named or any(f"{path}.".startswith(f"{key}.") for key in keys):
            yield f"`{stage}`"


PAGES = {"params.md": params_page, "commands.md": commands_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (FOLDER / page).write_text(make(), encoding="utf-8")
