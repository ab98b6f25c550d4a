"""Programs `python` and `dvc` for PATH, whose commands run in forks of one process that has imported large libraries.

DVC's stages and the commands of the pages are short, so the imports take most of their time. `python` sends its words,
folder, environment and files to the server, which forks, and passes signals on. So do the workers of an extraction. A
fork imports every module of the project anew. All forks have one hash seed, so tests that compare bytes compare with
those of a new interpreter. If the program is killed, the command and all that it started are.
"""

from __future__ import annotations

import atexit
import gc
import json
import multiprocessing
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from typing import NoReturn

ROOT = Path(__file__).parents[1]
LIMIT = 300.0  # seconds
PACKAGES = ["benchmarks", "dvc", "evaluate", "extract", "pipeline", "train"]
LIBRARIES = [
    "av", "cv2", "dvc.cli.parser", "dvc.repo.experiments.queue.celery", "facenet_pytorch", "h5py", "jinja2",
    "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.figure", "numpy", "pandas",
    "pydantic", "ruamel.yaml", "safetensors.torch", "scipy.optimize", "sklearn.linear_model", "sklearn.metrics",
    "torch", "torch._dynamo", "torch._inductor.config", "torchvision", "tqdm",
    "transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert",
]  # fmt: skip
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys

words = [*{before}, *sys.argv[1:]]
ours = len(words) > 1 and words[0] == "-m" and words[1].split(".")[0] in {packages}
worker = words[-1:] == ["--multiprocessing-fork"]  # it reads files with the numbers that it inherits
if not ours and not worker:
    os.execv({python!r}, [{python!r}, *words])
files = [n for n in range(256 if worker else 3) if os.path.exists(f"/proc/self/fd/{{n}}")]
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
told = json.dumps([words[-2:] if worker else words[1:], os.getcwd(), dict(os.environ), files]).encode()
socket.send_fds(server, [len(told).to_bytes(4, "big")], files)
for number in signal.SIGHUP, signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda number, _: server.send(bytes([number])))
server.sendall(told)
code = int.from_bytes(server.recv(4), "big", signed=True)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """Start the server, and give the folder that has `python`; both end with the block."""
    from pipeline.env import ONE_THREAD  # here, because the server imports no module of the project

    address, client = str(folder / "socket"), folder / "python"
    for path, before in (client, []), (folder / "dvc", ["-m", "dvc"]):
        path.write_text(
            CLIENT.format(python=sys.executable, before=before, packages=PACKAGES, address=address)
        )
        path.chmod(0o755)
    # The server ends when its standard input does, so it does not outlive a killed test run.
    with subprocess.Popen(
        [sys.executable, __file__, address, str(client)],
        env={**os.environ, **ONE_THREAD},  # as every command sets it before it imports torch
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout
        assert server.stdout.read(1) == b"+"
        yield folder


def run(python: Path, folder: Path, *words: str, **variables: str) -> CompletedProcess[str]:
    """Run `python -m WORDS` of this project by the folder that `serving` gives; return its code and output."""
    return subprocess.run(
        [python / "python", "-m", *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip


def serve(address: str, client: str) -> None:
    """Accept commands until standard input ends."""
    for name in LIBRARIES:
        import_module(name)
    assert threading.active_count() == 1, "a fork would lack the other threads of this process"
    gc.freeze()  # a collection in a fork would copy what it looks at
    multiprocessing.set_executable(client)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    os.write(1, b"+")
    while listener.fileno() in select.select([listener.fileno(), 0], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _attend(connection)
        connection.close()


def _attend(connection: socket.socket) -> NoReturn:
    """Run one command in a fork; pass signals on to it, and its exit code back."""
    head, files, *_ = socket.recv_fds(connection, 4, 256)
    told = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
    words, folder, environment, numbers = json.loads(told)
    child = os.fork()
    if child == 0:
        connection.close()
        os.setsid()
        _take(files, numbers)
        _become(words, folder, environment)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    while ended not in select.select([connection.fileno(), ended], [], [])[0]:
        signals = connection.recv(16)
        for number in signals or [signal.SIGKILL]:
            os.killpg(child, number)
        if not signals:  # the client was killed, so nobody waits for the code
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(code.to_bytes(4, "big", signed=True))
    os._exit(0)


def _take(files: list[int], numbers: list[int]) -> None:
    """Give files the numbers that they have in the client."""
    above = 1 + max([*files, *numbers])
    for place, file in enumerate(files):
        os.dup2(file, above + place)
        os.close(file)
    for place, number in enumerate(numbers):
        os.dup2(above + place, number)
        os.close(above + place)


def _become(words: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # As a new interpreter does.
    sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = list(words)
    code: object = 0
    try:
        if words[-1] == "--multiprocessing-fork":
            exec(words[0], {"__name__": "__main__"})  # the line that multiprocessing gives a new interpreter
        else:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    # The interpreter's own end would touch, and so copy, all memory that the fork shares.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    del sys.path[0]  # the folder of the tests
    serve(*sys.argv[1:])
