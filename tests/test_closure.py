"""What dvc.yaml says a stage depends on is what the stage imports: nothing is missing, nothing is idle."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.encoders import REGISTRY, encoder_class
from pipeline.closure import NEUTRAL, closure
from tests.clone import ROOT, clone
from tests.stages import CHOICES, PAGE, covers, demo, page, sources

STAGES = sorted({choice.stage for choice in CHOICES})
# What lies in a model's folder beside the model, for people and tests.
BESIDE = {
    Path("train/models/multiemo/reference.py"),
    Path("train/models/multiemo/published.py"),
    Path("train/models/foalnet/published.py"),
}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: "-".join([c.stage, *c.names.values()]))
def test_a_stage_depends_on_all_that_it_imports(choice) -> None:
    deps = choice.deps()
    assert not [str(file) for file in sorted(choice.imports()) if not covers(deps, file)]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_nothing_that_no_choice_imports(stage: str) -> None:
    imported = set().union(*(c.imports() for c in CHOICES if c.stage == stage))
    deps = set().union(*(c.deps() for c in CHOICES if c.stage == stage))
    inside = {file for file in sources() if covers(deps, file)}
    assert not [str(file) for file in sorted(inside - imported - BESIDE)]


def test_the_page_has_the_table_of_today() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run `python -m tests.stages`"


@pytest.mark.parametrize("name", REGISTRY)
def test_a_fingerprint_holds_what_the_encoder_imports(name: str) -> None:
    kind = encoder_class(name)
    hashed = kind.__new__(kind).sources()
    assert kind.__module__ in hashed
    left_out = closure(kind.__module__, without=NEUTRAL) - hashed
    # Values that these decide are in the params or in the item, which are hashed besides.
    assert left_out <= {"extract.contract", "extract.encoders", "pipeline.params", "pipeline.tables.schema"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a clone whose stages DVC takes for done, without anything having run."""
    from dvc.repo import Repo

    folder = clone(tmp_path_factory.mktemp("clone"))
    before = Path.cwd()
    os.chdir(folder)
    try:
        for stage in Repo(str(folder)).index.stages:
            for out in stage.outs:
                place = Path(out.fs_path)
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.exists():
                    place.mkdir() if not place.suffix else place.touch()
        with Repo(str(folder)) as repo, contextlib.redirect_stderr(io.StringIO()):
            repo.commit(force=True)
        assert changed(folder) == {}
        yield folder
    finally:
        os.chdir(before)


def changed(folder: Path) -> dict[str, set[Path]]:
    """Return the stages that DVC would run for what has changed in the source, with the deps that have changed."""
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        status = repo.status()
    deps = {
        stage: {
            Path(path)
            for change in changes
            if isinstance(change, dict)
            for path in change.get("changed deps", {})
        }
        for stage, changes in json.loads(json.dumps(status)).items()
    }
    return {stage: paths for stage, paths in deps.items() if paths}


def rounds(files: list[Path]) -> list[list[Path]]:
    """Return the files in groups; no two of a group lie below the same dep of any stage."""
    deps = set().union(*(choice.deps() for choice in demo().values()))
    found: list[tuple[list[Path], set[Path]]] = []
    for file in files:
        covering = {dep for dep in deps if covers({dep}, file)}
        group, taken = next((one for one in found if one[1].isdisjoint(covering)), ([], set()))
        if not group:
            found.append((group, taken))
        group.append(file)
        taken |= covering
    return [group for group, _ in found]


@pytest.fixture(scope="module")
def mutated(project: Path) -> dict[Path, set[str]]:
    """Return, for each file, the stages that DVC would run after a changed constant in it."""
    found: dict[Path, set[str]] = {}
    for group in rounds(sources()):
        before = {file: (project / file).read_bytes() for file in group}
        for file, text in before.items():
            (project / file).write_bytes(text + b"\nMUTATED = 1\n")
        ran = changed(project)
        for file, text in before.items():
            (project / file).write_bytes(text)
            found[file] = {stage for stage, deps in ran.items() if covers(deps, file)}
        # Each changed dep is one of the group's files, or a folder that holds one.
        for deps in ran.values():
            assert all(any(covers({dep}, file) for file in group) for dep in deps)
    return found


def test_a_group_changes_no_dep_twice() -> None:
    groups = rounds(sources())
    assert sorted(file for group in groups for file in group) == sources()
    for stage in demo().values():
        for group in groups:
            assert all(sum(covers({dep}, file) for file in group) <= 1 for dep in stage.deps())


@pytest.mark.parametrize("file", sources(), ids=str)
def test_a_changed_constant_in_any_file_runs_the_stages_that_import_it(
    mutated: dict[Path, set[str]], file: Path
) -> None:
    ran = mutated[file]
    assert ran == {stage for stage, choice in demo().items() if covers(choice.deps(), file)}
    importing = {stage for stage, choice in demo().items() if file in choice.imports()}
    assert importing <= ran
    # One list of deps serves every encoder and layout, and train/layers every model: such a run changes no byte.
    shared = file in BESIDE or file.parent == Path("train/layers")
    needless = {"train", "evaluate"} if shared else {"extract", "prepare"}
    assert {stage.partition("@")[0] for stage in ran - importing} <= needless


def test_dvc_yaml_names_no_file_that_is_not_there() -> None:
    for choice in CHOICES:
        assert not [str(dep) for dep in choice.deps() if not (ROOT / dep).exists()]
