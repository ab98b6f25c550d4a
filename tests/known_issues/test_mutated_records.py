"""567 mutated records of nine kinds: each is one message, or is read as what it is; in bounded memory and time."""

from __future__ import annotations

import json
import pickle
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluate.run.load import load_run
from extract.streams import load_checked
from pipeline.corpora.cues import Cue, read_cues
from pipeline.corpora.pickles.__main__ import convert
from pipeline.errors import UserError
from pipeline.features import FeatureCache
from pipeline.features.importer import About, Source, import_features
from pipeline.messages import Problems
from pipeline.params import load
from pipeline.tables.labels import read_labels
from pipeline.tables.schema import read_utterances
from pipeline.tables.target import Target
from tests.pipeline.published import dialogue_rnn
from tests.train import small
from tests.train.models_on_disk import seal
from train import distance
from train.checkpoint import read_model, sha256
from train.stage import run as train

COUNT = 63
SECONDS, BYTES = 20, 2 << 30
MODEL = Path("models/seed0")
NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, float("nan"), 10**400, "", "../up", "/abs/face", "\ud800", "a\nb", "x" * 5000, [], {},
    [[]], {"a": 1}, [0] * 5, "none", "=HYPERLINK(1)", 1 << 62, "9" * 5000,
)  # fmt: skip
BYTES_IN = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"[" * 3000,
    b"9" * 5000,
    b"-->",
    b'"',
    b"&a [*a]",
    b"\n\n",
    b",,,",
    b"../",
    b"nan",
]
Mutation = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        changed[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(changed)


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.choice(BYTES_IN) + data[at + chance.randrange(3) :]


def head(data: bytes, chance: random.Random) -> bytes:
    """Mutate the first bytes, where headers are."""
    mutate = chance.choice((flip, insert))
    size = min(len(data), 600)
    return mutate(data[:size], chance) + data[size:]


def node(value: Any, chance: random.Random) -> Any:
    """JSON-able `value` with one value somewhere in it replaced by another kind."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: node(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], node(value[at], chance), *value[at + 1 :]]
    return chance.choice(NASTY)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A small project with a trained model, and one file of each other kind."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        small.make(root, dialogues=10)
        extract = {
            name: {"encoder": "opensmile", "feature_set": "eGeMAPSv02"} for name in small.STREAM.values()
        }
        settings = {"train": {"epochs": 1}, "evaluate": {"bootstrap": 10}}
        Path("params.yaml").write_text(small.params(**settings).model_dump_json())
        train()
        params = small.params(**settings, extract=extract)  # an encoder that has no weights
        Path("params.yaml").write_text(json.dumps(params.model_dump(mode="json"), indent=1))
        ids = [u.utterance for u in read_utterances()]
        np.savez("made.npz", utterance=np.array(ids), pooled=np.ones((len(ids), 3)))
        named: dict[str, Any] = {utterance: np.arange(1.0, 4) for utterance in ids}
        np.savez("named.npz", **named)
        Path("made.pkl").write_bytes(pickle.dumps(tuple(dialogue_rnn().values()), 2))
        Path("talk.srt").write_text(
            "".join(f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\nANNA: Hi\n\n" for i in range(1, 7))
        )
    return root


@pytest.fixture
def here(made, tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of it, and a process that may take 2 GB more than it has."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + BYTES, hard))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def survey(path: Path, read: Callable[[], Any], mutate: Mutation, seed: str, sealed: bool) -> None:
    """Mutate `path` COUNT times; with `sealed` whatever is still read must be what was there before."""
    data, good, chance = path.read_bytes(), read(), random.Random(seed)
    refused = 0
    for number in range(COUNT):
        path.write_bytes(mutate(data, chance))
        begin, said = time.process_time(), ""
        try:
            found = read()
            assert not sealed or found == good, f"{number}: read as something else"
        except UserError as error:
            refused, said = refused + 1, str(error)
        assert len(said) < 5000, number
        assert time.process_time() - begin < SECONDS, number
    assert refused > COUNT / 10


def answers() -> list[bytes]:
    found = load_run(load()).predictions
    assert all(np.isfinite(p.probabilities).all() for p in found)
    return [p.probabilities.tobytes() for p in found]


def any_bytes(data: bytes, chance: random.Random) -> bytes:
    return chance.choice((flip, cut, insert, head))(data, chance)


def any_node(data: bytes, chance: random.Random) -> bytes:
    return json.dumps(node(json.loads(data), chance)).encode()


@pytest.mark.slow
def test_records_of_models(here):
    """As damage leaves them: the digest tells."""
    survey(
        MODEL / "model.json",
        answers,
        lambda d, c: c.choice((any_bytes, any_node))(d, c),
        "model.json",
        sealed=True,
    )


@pytest.mark.slow
def test_forged_records_of_models(here):
    """Sealed again after the change: what cannot be is refused, and no answer is empty."""

    def forge(data: bytes, chance: random.Random) -> bytes:
        while True:
            changed = node(json.loads(data), chance)
            try:
                seal(MODEL, changed)
                return (MODEL / "model.json").read_bytes()
            except (ValueError, TypeError, AttributeError):  # what has no digest: another one
                continue

    survey(MODEL / "model.json", answers, forge, "forged", sealed=False)


@pytest.mark.slow
@pytest.mark.parametrize("forged", [False, True])
def test_headers_of_weights(here, forged):
    said = json.loads((MODEL / "model.json").read_text())

    def read() -> list[bytes]:
        if forged:
            seal(MODEL, said)
        return answers()

    survey(MODEL / "model.safetensors", read, head, f"safetensors {forged}", sealed=not forged)


def test_forged_regions(here):
    """Sealed again after the change: what does not fit the record is refused."""
    said, path = json.loads((MODEL / "model.json").read_text()), MODEL / distance.FILE

    def read() -> dict[str, distance.Region]:
        seal(MODEL, {**said, "distance": sha256(path)})
        return distance.read(MODEL, read_model(MODEL)[1])

    survey(path, read, head, "regions", sealed=False)


def test_params(here):
    path = Path("params.yaml")
    survey(
        path, load_checked, lambda d, c: c.choice((any_bytes, any_node))(d, c), "params.yaml", sealed=False
    )


@pytest.mark.parametrize("name", ["utterances", "labels"])
def test_tables(here, name):
    survey(
        Path(f"data/{name}.csv"),
        lambda: read_labels(read_utterances(), Target(small.LABELS)),
        any_bytes,
        name,
        sealed=False,
    )


def test_subtitles(here):
    def read() -> list[Cue]:
        problems = Problems()
        found = read_cues(Path("talk.srt"), problems)
        problems.stop()
        return found

    survey(Path("talk.srt"), read, any_bytes, "srt", sealed=False)


def test_arrays(here):
    table = read_utterances()
    about = About("made", "audio", "small", "none", "made")

    def read() -> bytes:
        import_features(Source(Path("made.npz")), about, table, Path("made.h5"), partial=False)
        with FeatureCache(Path("made.h5")) as cache:
            return cache.pooled().tobytes()

    survey(Path("made.npz"), read, any_bytes, "npz", sealed=True)


def test_arrays_named_by_utterance(here):
    """A damaged array is a status, because the others are whole."""
    table = read_utterances()
    about = About("named", "audio", "small", "none", "made")

    def read() -> None:
        import_features(Source(Path("named.npz")), about, table, Path("named.h5"), partial=False)
        with FeatureCache(Path("named.h5")) as cache:
            assert (cache.pooled()[cache.status == 0] == [1, 2, 3]).all()
            assert set(cache.counts()) <= {"ok", "corrupt"}

    survey(Path("named.npz"), read, any_bytes, "named npz", sealed=True)


def test_pickles(here):
    survey(
        Path("made.pkl"), lambda: convert([Path("made.pkl")], Path("out")), any_bytes, "pickle", sealed=False
    )


def test_feature_files(here):
    path = Path(f"data/features/{small.STREAM['audio']}.h5")

    def read() -> tuple[object, ...]:
        with FeatureCache(path) as cache:
            cache.verify()
            return cache.pooled().tobytes(), cache.utterances, cache.errors, cache.meta

    survey(path, read, any_bytes, "h5", sealed=True)
