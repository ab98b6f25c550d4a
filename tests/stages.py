"""What each stage of dvc.yaml imports and depends on; `python -m tests.stages` writes docs/architecture.md from it.

A stage runs with a choice of params: the encoder of a stream, the layout of a corpus, a model. CHOICES has all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from extract.encoders import REGISTRY as ENCODERS
from pipeline.closure import NEUTRAL, PACKAGES, ROOT, closure, path_of
from pipeline.corpora import REGISTRY as CORPORA
from train.models import MODELS

TRAINABLE = ("speech", "text")
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- python -m tests.stages -->\n", "<!-- end -->\n"


class Choice(NamedTuple):
    """A stage with its params: what they put into a dep's name, and the modules that they name."""

    stage: str
    entry: str
    names: dict[str, str]
    modules: list[str]

    def imports(self) -> set[Path]:
        """Return the files whose source may change a byte of what the stage writes."""
        return {path_of(module) for module in closure(self.entry, *self.modules, without=NEUTRAL)}

    def deps(self) -> set[Path]:
        """Return the stage's deps that are source of this project: files, and folders as a whole."""
        found = _stages()[self.stage]
        names = found.get("do", found)["deps"]
        for key, value in self.names.items():
            names = [name.replace(f"${{{key}}}", value) for name in names]
        return {Path(name) for name in names if name.split("/")[0] in PACKAGES}


@cache
def _stages() -> dict[str, dict[str, Any]]:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    stages: dict[str, dict[str, Any]] = YAML(typ="safe").load(text)["stages"]
    return stages


def _choices() -> Iterator[Choice]:
    yield Choice("corpus", "pipeline.demo.__main__", {"item": "demo"}, [])
    for name, module in CORPORA.items():
        yield Choice("prepare", "pipeline.prepare", {"corpus.name": name}, [module])
    for name in ENCODERS:
        named = {"item.encoder": name}, [f"extract.encoders.{name}"]
        yield Choice("extract", "extract.__main__", *named)
        if name in TRAINABLE:
            yield Choice("extract_finetuned", "extract.__main__", *named)
            yield Choice("finetune", "train.finetune.__main__", *named)
    for name, module in MODELS.items():
        for stage in ("train", "evaluate"):
            yield Choice(stage, f"{stage}.__main__", {"model.name": name}, [module])


CHOICES = tuple(_choices())


def covers(deps: set[Path], file: Path) -> bool:
    """Return whether one of the deps is a file, or a folder that holds it."""
    return file in deps or not deps.isdisjoint(file.parents)


def sources() -> list[Path]:
    """Return every source file of the project that holds more than a docstring, relative to its folder."""
    files = sorted(f.relative_to(ROOT) for package in PACKAGES for f in (ROOT / package).rglob("*.py"))
    return [f for f in files if (module := module_of(f)) in closure(module)]


def module_of(file: Path) -> str:
    """Return a file's dotted name."""
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


@cache
def demo() -> dict[str, Choice]:
    """Return the stages of the built-in params.yaml with their choices."""
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    streams = {
        f"extract@{name}": ("extract", {"item.encoder": raw["encoder"]})
        for name, raw in params["extract"].items()
    }
    wanted = {
        "corpus@demo": ("corpus", {"item": "demo"}),
        "prepare": ("prepare", {"corpus.name": params["corpus"]["name"]}),
        **streams,
        "train": ("train", {"model.name": params["model"]["name"]}),
        "evaluate": ("evaluate", {"model.name": params["model"]["name"]}),
    }
    return {
        stage: next(c for c in CHOICES if (c.stage, c.names) == (kind, names))
        for stage, (kind, names) in wanted.items()
    }


def table() -> str:
    """Return the table of docs/architecture.md: each file, and the stages that a change in it runs."""
    lines = ["| file | runs | of these without need |\n| --- | --- | --- |\n"]
    stages = [(stage, choice.deps(), choice.imports()) for stage, choice in demo().items()]
    for file in sources():
        runs = [stage for stage, deps, _ in stages if covers(deps, file)]
        idle = [stage for stage, _, imports in stages if stage in runs and file not in imports]
        lines.append(f"| `{file.as_posix()}` | {', '.join(runs) or 'nothing'} | {', '.join(idle)} |\n")
    return "".join(lines)


def page(old: str) -> str:
    """Return the page with its table made anew."""
    before, _, rest = old.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
