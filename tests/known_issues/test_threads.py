"""How many threads compute is decided by params and by what this process may use, never by what the machine has."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from extract.engine import local
from pipeline import env
from pipeline.errors import UserError
from pipeline.transcribe.sound import RATE
from pipeline.transcribe.voices import Voices
from tests.extract.fake_encoders import FakeEncoder, FakeParams
from tests.train import small
from train import stage

ROOT = Path(__file__).parents[2]


def python(*words: str, cwd: Path = ROOT, core: int | None = None, **environment: str) -> str:
    """Standard output of a fresh interpreter that knows no setting of threads but those given."""
    clean = {k: v for k, v in os.environ.items() if k not in env.ONE_THREAD}
    one_core = None if core is None else lambda: os.sched_setaffinity(0, {core})
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, preexec_fn=one_core,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def corpus(folder: Path, threads: int) -> Path:
    """A folder to train in."""
    folder.mkdir()
    small.make(folder)
    params = small.params(
        train={"epochs": 3, "batch_size": 20, "threads": threads}, model={"name": "multiemo", "dim": 64}
    )
    (folder / "params.yaml").write_text(params.model_dump_json(), encoding="utf-8")
    return folder


def models(folder: Path) -> str:
    """The sha256 of all that training leaves in models/."""
    digest = hashlib.sha256()
    for path in sorted(p for p in (folder / "models").rglob("*") if p.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_models_bytes_do_not_depend_on_the_threads_there_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    found = set()
    for before in (1, 2, 4):
        folder = corpus(tmp_path / str(before), threads)
        monkeypatch.chdir(folder)
        torch.set_num_threads(before)
        stage.run()
        found.add(models(folder))
    torch.set_num_threads(1)
    assert len(found) == 1


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_a_models_bytes_do_not_depend_on_the_cores_there_are(tmp_path: Path, threads: int) -> None:
    [core, *_] = os.sched_getaffinity(0)
    found = []
    # Nor on the number that somebody's shell names.
    for count in ("", "1", "2", "4"):
        asked = {name: count for name in ("EMOFUSE_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS") if count}
        folder = corpus(tmp_path / f"of{count}", threads)
        python("-m", "train", cwd=folder, core=core if count == "1" else None, EMOFUSE_DEVICE="cpu", **asked)
        found.append(models(folder))
    assert len(set(found)) == 1


def test_a_command_decides_before_torch_is_loaded() -> None:
    program = (
        "from pipeline.errors import entry\n"
        "def main():\n"
        "    import os, torch, cv2\n"
        "    print(torch.get_num_threads(), cv2.getNumThreads(), os.environ['GOMP_SPINCOUNT'])\n"
        "entry(main)"
    )
    assert python("-c", program, OMP_NUM_THREADS="4") == "1 1 1000\n"


@pytest.mark.parametrize(
    "module",
    [
        "extract.__main__",
        "train.__main__",
        "train.finetune.__main__",
        "evaluate.__main__",
        "evaluate.predict.__main__",
    ],
)
def test_a_command_starts_without_what_computes(module: str) -> None:
    heavy = "sorted({'torch', 'numpy', 'pandas', 'sklearn'} & set(sys.modules))"
    assert python("-c", f"import sys, {module}; print({heavy})") == "[]\n"


def group(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, **files: str) -> None:
    """A control group as Linux shows it below `folder`."""
    monkeypatch.setattr(env, "CGROUPS", folder)
    monkeypatch.setattr(env, "CGROUP", folder / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    (folder / "self").write_text(f"{line}\n")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/", {}, 8),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "250000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "6400000 100000"}, 8),
        ("0::/jobs/7", {"jobs/cpu.max": "200000 100000", "jobs/7/cpu.max": "max 100000"}, 2),
        # In a container the path is the host's, and its limit stands at the top.
        ("0::/docker/f00", {"cpu.max": "400000 100000"}, 4),
        (
            "4:cpu,cpuacct:/jobs",
            {"cpu/jobs/cpu.cfs_quota_us": "150000", "cpu/jobs/cpu.cfs_period_us": "50000"},
            3,
        ),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("7:memory:/jobs", {"memory/jobs/cpu.max": "100000 100000"}, 8),
    ],
)
def test_a_quota_counts_as_the_whole_cores_it_pays_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, files: dict[str, str], cores: int
) -> None:
    group(tmp_path, monkeypatch, line, **files)
    assert env.cores() == cores


@pytest.mark.parametrize("asked", [1, 3])
def test_extraction_starts_no_more_workers_than_it_was_given_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    monkeypatch.setenv("EMOFUSE_THREADS", str(asked))
    monkeypatch.setenv("EMOFUSE_DEVICE", "cpu")
    crew = local._Pool(FakeEncoder(FakeParams(encoder="fake"), tmp_path), iter([]), None, 60)
    assert crew.count == asked


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_threads_are_a_whole_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EMOFUSE_THREADS", value)
    with pytest.raises(UserError, match=f"EMOFUSE_THREADS='{value}': must be a whole number, 1 or more"):
        env.cores()


def test_speaker_vectors_are_computed_with_one_thread_whatever_other_libraries_set() -> None:
    # Whisper's library sets torch's number of threads to the number of cores.
    sound = np.random.default_rng(0).normal(scale=0.1, size=2 * RATE).astype(np.float32)
    voices = Voices()
    used: list[int] = []
    voices._network.register_forward_pre_hook(lambda *given: used.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(voices.vectors(sound, [(0.0, 1.5), (0.5, 2.0)]))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert used == [1] * 4
    assert found[0].tobytes() == found[1].tobytes()
