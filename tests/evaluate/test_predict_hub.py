"""A model of the hub: found in the hub's cache without a network, as `hf download` leaves it there."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from evaluate.package.__main__ import package
from evaluate.predict.hub import FILES, model_folder
from pipeline.errors import UserError
from tests.evaluate.recording import make_model, video
from tests.extract.test_weights import in_hub_cache

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_pushed_model_predicts_in_another_clone(talk, monkeypatch):
    video(monkeypatch)
    before = (talk / "out/predictions.csv").read_bytes()
    package(Path("models/seed0"), Path("share"), "research only", Path("none.json"), False)
    cache = talk / "cache"
    in_hub_cache(cache, talk / "share", "someone/moods", COMMIT)
    elsewhere = talk / "clone"
    elsewhere.mkdir()
    for name in ("talk.mp4", "talk.srt"):
        shutil.move(talk / name, elsewhere / name)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    for name in ("someone/moods", f"someone/moods@{COMMIT}"):
        video(monkeypatch, "--model", name)
        assert (elsewhere / "out/predictions.csv").read_bytes() == before
        shutil.rmtree(elsewhere / "out")


def test_without_a_network_the_message_says_what_to_do(here, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(here / "cache"))
    with pytest.raises(UserError, match=r"run `hf download someone/moods --revision v1` with a network"):
        model_folder("someone/moods@v1")


def test_a_folder_is_not_looked_up(here):
    make_model(here / "mine/seed0")
    for given in ("mine/seed0", "./mine/seed0", str(here / "mine/seed0"), "mine"):
        assert model_folder(given) == Path(given)


@pytest.mark.parametrize(
    "given", ["models/seed0", "models", "./some/seed0", "../seed0", "/no/seed0", "a/b/c", "x"]
)
def test_a_missing_folder_is_not_looked_up_at_the_hub(here, monkeypatch, given):
    """In a folder without models/, `models/seed0` was taken for a model of the hub."""

    def refuse(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(
        UserError, match=rf"--model {given}: no such folder in {Path.cwd()}; correct the path"
    ):
        model_folder(given)


def test_a_missing_seed_of_a_run_is_a_folder(here):
    make_model(here / "models/seed0")
    with pytest.raises(UserError, match=r"--model models/seed7: no such folder in "):
        model_folder("models/seed7")


@pytest.mark.parametrize("error", [OfflineModeIsEnabled("offline"), OSError("no such model")])
def test_what_the_hub_says_is_told(here, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match=f"the hub does not provide it: {error}"):
        model_folder("someone/moods")


def test_no_pickle_is_downloaded(here, monkeypatch):
    asked = {}

    def note(name, **options):
        asked.update(options, name=name)
        raise LocalEntryNotFoundError("x")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", note)
    with pytest.raises(UserError):
        model_folder("someone/moods")
    assert (asked["name"], asked["revision"]) == ("someone/moods", None)
    assert asked["allow_patterns"] == list(FILES)
    suffixes = {Path(pattern).suffix for pattern in FILES}
    assert suffixes == {".safetensors", ".json", ".md", ".txt", ".model"}
