"""What dvc.yaml says a stage depends on is what the stage imports: nothing is missing, nothing is idle."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from extract.encoders import REGISTRY as ENCODERS
from pipeline.closure import NEUTRAL, ROOT, closure, path_of
from pipeline.corpora import REGISTRY as CORPORA
from train.fusion.build import MODELS

TRAINABLE = ("speech", "text")
# stage → (entry, what params put into a dep's name, the modules that this choice adds)
CHOICES = {
    "corpus": [("pipeline.demo.__main__", {"item": "demo"}, [])],
    "prepare": [("pipeline.prepare", {"corpus.name": n}, [module]) for n, module in CORPORA.items()],
    "extract": [("extract.__main__", {"item.encoder": n}, [f"extract.encoders.{n}"]) for n in ENCODERS],
    "extract_finetuned": [
        ("extract.__main__", {"item.encoder": n}, [f"extract.encoders.{n}"]) for n in TRAINABLE
    ],
    "finetune": [
        ("train.finetune.__main__", {"item.encoder": n}, [f"extract.encoders.{n}"]) for n in TRAINABLE
    ],
    "train": [],
    "evaluate": [],
}
for _name, _parts in MODELS.items():
    _added = [f"train.models.{part.partition(':')[0]}" for part in _parts]
    CHOICES["train"].append(("train.__main__", {"model.name": _name}, _added))
    CHOICES["evaluate"].append(("evaluate.__main__", {"model.name": _name}, _added))


def deps(stage: str, chosen: dict[str, str]) -> set[Path]:
    """Return the deps of a stage that are source of this project."""
    found = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    names = found.get("do", found)["deps"]
    for key, value in chosen.items():
        names = [name.replace(f"${{{key}}}", value) for name in names]
    return {Path(n) for n in names if n.split("/")[0] in ("pipeline", "extract", "train", "evaluate")}


def imports(entry: str, added: list[str]) -> set[Path]:
    """Return the files whose source may change a byte of what the entry writes."""
    return {path_of(module) for module in closure(entry, *added, without=NEUTRAL)}


def covers(dep: Path, file: Path) -> bool:
    """Return whether a dep, a file or a folder, holds a file."""
    return dep == file or dep in file.parents


@pytest.mark.parametrize("stage", CHOICES)
def test_a_stage_depends_on_all_that_it_imports(stage: str) -> None:
    for entry, chosen, added in CHOICES[stage]:
        known = deps(stage, chosen)
        missing = [str(f) for f in sorted(imports(entry, added)) if not any(covers(d, f) for d in known)]
        assert not missing, f"{stage} ({chosen}) imports these and does not depend on them"


@pytest.mark.parametrize("stage", CHOICES)
def test_a_stage_depends_on_nothing_that_it_does_not_import(stage: str) -> None:
    imported: set[Path] = set()
    known: set[Path] = set()
    for entry, chosen, added in CHOICES[stage]:
        imported |= imports(entry, added)
        known |= deps(stage, chosen)
    assert not [str(d) for d in sorted(known) if not any(covers(d, f) for f in imported)]
    # A folder is a dep as a whole: a module in it that the stage does not import would run it for nothing.
    inside = {f.relative_to(ROOT) for d in known if (ROOT / d).is_dir() for f in (ROOT / d).rglob("*.py")}
    assert not [str(f) for f in sorted(inside - imported) if closure_has_code(f)]


def closure_has_code(file: Path) -> bool:
    """Return whether a file holds more than a docstring."""
    module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    return bool(closure(module) & {module})
