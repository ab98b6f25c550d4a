"""The Ray engine: the local one's contract, on nodes that die; skipped where Ray is not installed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from extract.contract import Item
from extract.engine import crew
from extract.engine import ray as ray_engine
from pipeline.env import ONE_THREAD
from pipeline.errors import UserError
from tests.clone import clone, run
from tests.extract.cluster import Cluster
from tests.extract.fake_encoders import FakeEncoder, FakeParams
from tests.extract.project import PATIENCE, Project, sentences
from tests.extract.test_engine_faults import crew_behind, extract, failures, items

# Not imported here: Ray reads how to be let into a cluster when it is.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")]
COUNT, BATCH, SLEEP = 60, 2, 0.05


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes that no test kills."""
    with Cluster(2) as made:
        yield made


@pytest.fixture
def encoder(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    return FakeEncoder(FakeParams(encoder="fake", batch=4), tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sha256 of the file that one local worker gives."""
    made = Project(tmp_path_factory.mktemp("whole"), sentences(COUNT, SLEEP), batch=BATCH)
    made.done()
    return made.sha256


def on(cluster: Cluster, workers: int = 2) -> dict[str, Any]:
    return {**cluster.environment, "EMOFUSE_ENGINE": "ray", "EMOFUSE_WORKERS": str(workers)}


def test_poisonous_items_cost_themselves(encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "LOADING_SECONDS", 0.5)
    poison = ["crash here", "read-crash", "hang", "read-hang", "raise", "nan", "batch-raise"]
    texts = [*sentences(6), *poison[:2], *sentences(20)[6:], *poison[2:], *sentences(30)[20:]]
    assert failures(extract(encoder, texts, 2, 5, ray_engine.extract)) == {
        "crash here": "failed: the worker died while extracting it",
        "read-crash": "failed: the worker died while extracting it",
        "hang": "failed: took longer than 5 s",
        "read-hang": "failed: took longer than 5 s",
        "raise": "failed: RuntimeError: no such luck",
        "nan": "failed: 1 of 8 values of pooled are not finite",
    }


def test_missing_weights_end_the_run_and_name_the_node(encoder: FakeEncoder) -> None:
    with pytest.raises(UserError, match=r"^node [\d.]+: fake: weights are missing; run `fake download`$"):
        extract(encoder, [*sentences(6), "usererror"], engine=ray_engine.extract)


def test_it_asks_for_no_more_batches_than_it_gives_and_ends_its_actors(encoder: FakeEncoder) -> None:
    asked = done = 0

    def endless() -> Iterator[list[Item]]:
        nonlocal asked
        while True:
            asked += 1
            yield items([f"pid {asked}"])

    outcomes = ray_engine.extract(encoder, endless(), None, 60)
    workers: list[Any] = []
    while done < 30 or len(workers) < 2:
        chunk = len(next(outcomes))
        assert asked <= done + chunk + 2 * crew.AHEAD
        done += chunk
        workers = crew_behind(outcomes).workers
    outcomes.close()
    again = extract(encoder, sentences(4), 2, engine=ray_engine.extract)
    assert len(again) == 4


def test_a_stranger_at_the_door_neither_enters_nor_blocks(encoder: FakeEncoder) -> None:
    import socket

    outcomes = ray_engine.extract(encoder, iter([items([f"sleep=0.2 {i}"]) for i in range(10)]), 1, 60)
    next(outcomes)
    server = crew_behind(outcomes).server
    with (
        socket.create_connection(server.getsockname()[:2]),
        socket.create_connection(server.getsockname()[:2]) as b,
    ):
        b.sendall(b"\0\0\0\4ruin")
        assert sum(len(entries) for entries in outcomes) == 10


def test_a_node_with_other_packages_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other/numpy-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    made = Project(tmp_path, sentences(4))
    with Cluster(1, PYTHONPATH=str(other.parent)) as cluster:
        result = made.run(**on(cluster, 1))
    assert result.returncode == 2
    assert (
        "differs from the machine that started the run: packages.numpy is '0.0.1' on the node"
        in result.stderr
    )
    assert "Traceback" not in result.stderr
    assert not made.extracted()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_node_that_dies_midway_costs_what_it_had_in_hand(tmp_path: Path, whole: str, seed: int) -> None:
    rng = random.Random(seed)
    made = Project(tmp_path, sentences(COUNT, SLEEP), batch=BATCH)
    with Cluster(2, FAKE_LOG=str(made.log)) as cluster:
        process = made.start("fake", **on(cluster))
        moment = rng.randrange(4, COUNT - 15)
        made.until(moment, process)
        cluster.kill(rng.choice(cluster.nodes))
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    lines = made.extracted()
    print(f"a node killed at item {moment} of {COUNT}: {len(lines) - COUNT} done again")
    assert made.sha256 == whole
    assert set(lines) == set(sentences(COUNT, SLEEP))
    assert len(lines) - COUNT <= crew.AHEAD * BATCH


def test_three_nodes_die_and_others_take_their_place(tmp_path: Path, whole: str) -> None:
    rng = random.Random(7)
    made = Project(tmp_path, sentences(COUNT, SLEEP), batch=BATCH)
    with Cluster(1, FAKE_LOG=str(made.log)) as cluster:
        process = made.start("fake", **on(cluster))
        for share in (0.2, 0.4, 0.6):
            made.until(int(share * COUNT) + rng.randrange(5), process)
            # For a moment no node is left at all.
            cluster.kill(cluster.nodes[-1])
            cluster.add()
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert made.sha256 == whole
    assert len(made.extracted()) - COUNT <= 3 * crew.AHEAD * BATCH


def test_an_actor_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    made, other = (
        Project(tmp_path / name, [*sentences(COUNT), "die-once=dead"], batch=BATCH) for name in "ab"
    )
    (other.root / "dead").touch()
    other.done()
    with Cluster(1, FAKE_LOG=str(made.log)) as cluster:
        result = made.run(**on(cluster, 1))
    assert result.returncode == 0, result.stderr
    assert (made.root / "dead").exists()
    assert made.sha256 == other.sha256
    assert len(made.extracted()) - (COUNT + 1) <= crew.AHEAD * BATCH


def test_a_driver_killed_9_resumes(tmp_path: Path, whole: str) -> None:
    made, kept = Project(tmp_path, sentences(COUNT, SLEEP), batch=BATCH), 25
    with Cluster(2, FAKE_LOG=str(made.log)) as cluster:
        killed = made.run(**on(cluster), KILL_AFTER=kept)
        assert killed.returncode == -signal.SIGKILL
        assert len(made.journalled()) == kept
        deadline = time.monotonic() + PATIENCE
        while cluster.actors():  # what they have begun is counted too
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = made.extracted()
        assert len(before) - kept <= 2 * crew.AHEAD * BATCH
        again = made.run(**on(cluster))
        assert again.returncode == 0, again.stderr
    assert len(made.extracted()) == len(before) + COUNT - kept
    assert made.sha256 == whole


def test_a_head_that_dies_ends_the_run_and_the_next_goes_on(tmp_path: Path, whole: str) -> None:
    # Whenever its turn comes, one of the two actors is then busy for good, and the run cannot end by itself.
    made = Project(tmp_path, [*sentences(COUNT, SLEEP), "hang until there is no head"], batch=BATCH)
    soon: dict[str, Any] = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
    with Cluster(2, FAKE_LOG=str(made.log), **soon) as cluster:
        process = made.start("fake", **on(cluster), **soon)
        made.until(COUNT // 2, process)
        cluster.kill(cluster.head)
        # Ray itself ends the driver, after a minute where nobody has set another time.
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "GCS" in err
    assert "Traceback" not in err
    kept, before = len(made.journalled()), len(made.extracted())
    assert COUNT // 2 - 2 * crew.AHEAD * BATCH <= kept <= COUNT
    made.table(sentences(COUNT, SLEEP))
    made.done()
    assert made.sha256 == whole
    assert len(made.extracted()) - before == COUNT - kept


def test_a_ray_of_its_own_ends_with_the_run(tmp_path: Path, whole: str) -> None:
    made = Project(tmp_path, sentences(COUNT, SLEEP), batch=BATCH)
    home = tmp_path / "home"
    home.mkdir()
    alone: dict[str, Any] = {"EMOFUSE_ENGINE": "ray", "RAY_ADDRESS": "", "HOME": home, "EMOFUSE_WORKERS": 2}
    process = made.start("fake", **alone)
    made.until(20, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)  # returns once nobody holds its pipes
    assert made.run(**alone).returncode == 0
    assert made.sha256 == whole
    assert not list(home.iterdir())


@pytest.mark.usefixtures("warm")
def test_ray_local_pool_and_one_process_agree_on_the_built_in_corpus(
    tmp_path: Path, cluster: Cluster
) -> None:
    folder = clone(tmp_path)
    run(folder, "dvc", "repro", "-q", "prepare")
    alone = (
        "import sys; from extract.engine import local, run; from tests.extract.project import inline\n"
        "local.extract = inline\nfor stream in sys.argv[1:]: run.run(stream)"
    )
    streams = ("text", "opensmile", "face")

    def files(**environment: Any) -> dict[str, bytes]:
        if environment:
            for stream in streams:
                run(folder, "extract", stream, **environment)
        else:
            one_thread = {**os.environ, **ONE_THREAD}
            subprocess.run([sys.executable, "-c", alone, *streams], cwd=folder, env=one_thread, check=True)
        subprocess.run([sys.executable, "-m", "extract", "clean", "--all"], cwd=folder, check=True)
        return {stream: (folder / f"data/features/{stream}.h5").read_bytes() for stream in streams}

    one = files()
    assert files(EMOFUSE_WORKERS="2") == one
    assert files(**on(cluster)) == one


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:1", "no server answers"), ("ray://127.0.0.1:10001", "HOST:PORT"), ("cluster", "HOST:PORT")],
)
def test_an_address_without_a_cluster_gives_one_message(tmp_path: Path, address: str, says: str) -> None:
    result = Project(tmp_path, sentences(4)).run(EMOFUSE_ENGINE="ray", RAY_ADDRESS=address)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: RAY_ADDRESS={address}: ")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_gpus_that_are_not_there_give_one_message(tmp_path: Path) -> None:
    environment = {"EMOFUSE_ENGINE": "ray", "RAY_ADDRESS": "", "EMOFUSE_GPUS": "1000"}
    result = Project(tmp_path, sentences(4)).run(**environment)
    assert result.returncode == 2
    assert "EMOFUSE_GPUS=1000: this machine has" in result.stderr
