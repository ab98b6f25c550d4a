"""Resources from the environment: what is misspelt is one message, and told first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from extract.engine import ray as ray_engine
from extract.engine import run
from pipeline import env
from pipeline.errors import UserError
from tests.extract.project import REPOSITORY


@pytest.mark.parametrize("name", ["Ray", "rya", "dask", "local "])
def test_an_unknown_engine_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)  # nothing is here: params.yaml would be the next complaint
    monkeypatch.setenv("EMOFUSE_ENGINE", name)
    with pytest.raises(UserError, match=f"EMOFUSE_ENGINE='{name}': must be one of local, ray"):
        run.run("text")


@pytest.mark.parametrize("value", ["1.5", "-1", "half", "nan", "inf"])
def test_gpus_are_a_share_or_a_whole_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EMOFUSE_GPUS", value)
    with pytest.raises(UserError, match="EMOFUSE_GPUS="):
        env.gpus()


@pytest.mark.parametrize(("value", "gpus"), [("", None), ("0", 0.0), ("0.25", 0.25), ("2", 2.0)])
def test_gpus(monkeypatch: pytest.MonkeyPatch, value: str, gpus: float | None) -> None:
    monkeypatch.setenv("EMOFUSE_GPUS", value)
    assert env.gpus() == gpus


def test_ray_is_imported_by_the_ray_engine_alone() -> None:
    program = "import sys, extract.engine.run, extract.engine.ray; print('ray' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert told.stdout == "False\n", told.stderr


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_workers_are_a_whole_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EMOFUSE_WORKERS", value)
    with pytest.raises(UserError, match="EMOFUSE_WORKERS="):
        env.workers()


def test_where_ray_is_not_installed_one_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.extract.fake_encoders import FakeEncoder, FakeParams

    monkeypatch.setitem(sys.modules, "ray", None)
    encoder = FakeEncoder(FakeParams(encoder="fake"), tmp_path)
    with pytest.raises(
        UserError, match=r"Ray is not installed here; run `pip install -r requirements-ray\.txt`"
    ):
        next(ray_engine.extract(encoder, iter([]), 1, 60))


@pytest.mark.parametrize(("value", "root"), [("", "data/demo"), ("/srv/media", "/srv/media")])
def test_the_media_folder(monkeypatch: pytest.MonkeyPatch, value: str, root: str) -> None:
    monkeypatch.setenv("EMOFUSE_MEDIA", value)
    assert env.media_root("data/demo") == Path(root)


def test_one_place_decides_the_media_folder() -> None:
    packages = (REPOSITORY / name for name in ("pipeline", "extract", "train", "evaluate", "benchmarks"))
    reading = [
        path.relative_to(REPOSITORY)
        for package in packages
        for path in package.rglob("*.py")
        if '("EMOFUSE_MEDIA"' in path.read_text(encoding="utf-8")
    ]
    assert reading == [Path("pipeline/env.py")]
