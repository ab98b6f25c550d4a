"""The worker of every engine: it receives items and returns journal entries.

A worker has three or more threads. One receives tasks, so that the engine never waits for a busy worker. One or more
decode media ahead, so that the GPU never waits for a single decoder. The main thread encodes. The worker reports each
item before it reads or encodes it. If the worker then hangs or crashes, the engine knows which item was the cause.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Literal, NoReturn

import numpy as np
import safetensors.numpy

from extract.contract import Encoder, Failure, Features, Item
from extract.engine.journal import Entry
from pipeline.env import ONE_THREAD
from pipeline.errors import UserError, of_the_machine
from pipeline.features.schema import one_line

# Of a worker's process. By default glibc keeps the memory of freed 4K pictures for smaller arrays, 100 MB or more. With
# this limit, 64 times the one it starts with, it returns arrays above 8 MiB to the system when they are freed.
ENVIRONMENT = ONE_THREAD | {"MALLOC_MMAP_THRESHOLD_": str(8 << 20)}
# SQLite limits a row to slightly less than 1 GB.
MAX_PAYLOAD = 900_000_000
MAX_REASON = 200
DTYPES = {"f2": np.float16, "f4": np.float32}

# (task number, items), and the same with what `read` returned for each item.
Batch = tuple[int, list[Item]]
Decoded = tuple[int, list[Item], list[Any]]
Message = (
    tuple[Literal["started"]]
    | tuple[Literal["reading"], int, int]
    | tuple[Literal["read"], int]
    | tuple[Literal["encoding"], int]
    | tuple[Literal["done"], int, list[Entry]]
    | tuple[Literal["error"], str]
    | tuple[Literal["dying"], str]
    | tuple[Literal["short"], str]
)
Send = Callable[[Message], None]


def serve(conn: Connection, encoder: Encoder[Any], decoders: int = 1) -> None:
    """Process tasks `(number, items)` until the engine closes the connection. This is a worker process's main function.

    The worker sends the messages of `Message`:

    - `("started",)` once, before the first task
    - `("reading", number, i)` before item `i` of a task is decoded, `("read", number)` after its last item
    - `("encoding", number)` before and `("done", number, entries)` after a task is encoded
    - `("error", message)` for a user's mistake
    - `("dying", reason)` before the process ends because its state is unreliable
    - `("short", reason)` before the process ends because the machine lacks memory, disk space or a library

    Args:
        conn: connection to the engine.
        encoder: computes the features.
        decoders: number of threads that decode ahead.
    """
    # torchvision imports torch._dynamo, which loads Triton if it is installed: 70 MB that no encoder uses.
    sys.modules["triton"] = None  # type: ignore[assignment]
    send = _locked(conn.send)
    tasks: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    ahead: queue.SimpleQueue[Decoded] = queue.SimpleQueue()
    # Each thread decodes one batch and waits until it is taken, so that no more media are in memory.
    room = threading.Semaphore(decoders)
    send(("started",))
    threading.Thread(target=_receive, args=(conn, tasks), daemon=True).start()
    threading.Thread(
        target=_read, args=(send, encoder, tasks, ahead, room, decoders - 1), daemon=True
    ).start()
    while True:
        number, items, inputs = ahead.get()
        room.release()
        send(("encoding", number))
        try:
            outcomes = encode(encoder, inputs)
        except UserError as error:
            send(("error", str(error)))
            return
        except Exception as error:
            _give_up(send, error, encoder)
        send(("done", number, [entry(item, out, encoder) for item, out in zip(items, outcomes, strict=True)]))
        del items, inputs, outcomes


def encode(encoder: Encoder[Any], inputs: Sequence[Any]) -> list[Features | Failure]:
    """Encode the results of `read`; return one outcome each, in order. A failed read is its own outcome.

    If encoding raises an exception, each half of the batch is tried again, down to single items. So only the item that
    causes the exception fails.

    Raises:
        UserError: the encoder's weights or packages are missing.
        Exception: the machine, not the item, is the cause (`of_the_machine`), or the GPU is in an invalid state.
    """
    good = [value for value in inputs if not isinstance(value, Failure)]
    encoded = iter(_encode(encoder, good) if good else [])
    return [value if isinstance(value, Failure) else next(encoded) for value in inputs]


def entry(item: Item, outcome: Features | Failure, encoder: Encoder[Any]) -> Entry:
    """Return an item's outcome as a row of the journal.

    Checks that features have the expected shapes and are finite. Stores frames as the param `frames` says.
    """
    if isinstance(outcome, Features):
        packed = _pack(outcome, encoder)
        if isinstance(packed, bytes):
            return Entry(item.key, "ok", one_line(outcome.note), packed)
        outcome = packed
    return Entry(item.key, outcome.status, one_line(outcome.reason), b"")


def explain(error: BaseException, encoder: Encoder[Any]) -> str:
    """Return an exception as one line of at most `MAX_REASON` characters.

    The path of the media folder is removed, so that the line is the same on every machine.
    """
    text = str(error).replace(f"{encoder.media}{os.sep}", "")
    line = one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"


def _encode(encoder: Encoder[Any], inputs: Sequence[Any]) -> list[Features | Failure]:
    try:
        outcomes = encoder.encode(inputs)
        if len(outcomes) != len(inputs):
            raise ValueError(f"the encoder gave {len(outcomes)} features for {len(inputs)} items")
        return outcomes
    except UserError:
        raise
    except Exception as error:
        if type(error).__name__ == "AcceleratorError":
            raise  # after a CUDA error every later CUDA call in this process fails
        if len(inputs) == 1:
            if of_the_machine(error):
                raise
            return [Failure("failed", explain(error, encoder))]
    # Outside of `except`, because the exception's traceback keeps the batch's tensors in memory.
    half = len(inputs) // 2
    return _encode(encoder, inputs[:half]) + _encode(encoder, inputs[half:])


def _give_up(send: Send, error: Exception, encoder: Encoder[Any]) -> NoReturn:
    reason = explain(error, encoder)
    send(("short", reason) if of_the_machine(error) else ("dying", reason))
    os._exit(1)


def _pack(features: Features, encoder: Encoder[Any]) -> bytes | Failure:
    kind = encoder.params.frames
    arrays = {"pooled": _array(features.pooled, np.float32)}
    shapes: dict[str, tuple[int, ...]] = {"pooled": (encoder.pooled_dim,)}
    if kind != "none":
        count = 0 if features.frames is None else len(features.frames)
        if not count:
            return Failure("too_short", "too short for a single frame")
        arrays |= {
            "frames": _array(features.frames, DTYPES[kind]),
            "times": _array(features.times, np.float32),
        }
        shapes |= {"frames": (count, encoder.frames_dim), "times": (count,)}
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            return Failure("failed", f"the encoder gave {name} of shape {array.shape}, not {shapes[name]}")
        if not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            hint = "; frames: f4 holds larger ones" if name == "frames" and kind == "f2" else ""
            return Failure("failed", f"{bad} of {array.size} values of {name} are not finite{hint}")
    size = sum(array.nbytes for array in arrays.values())
    if size > MAX_PAYLOAD:
        return Failure(
            "too_long", f"its features take {size / 1e6:.0f} MB, more than {MAX_PAYLOAD / 1e6:.0f}"
        )
    return safetensors.numpy.save(arrays)


def _array(values: Any, dtype: type) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=dtype)


def _receive(conn: Connection, tasks: queue.SimpleQueue[Batch]) -> None:
    try:
        while True:
            tasks.put(conn.recv())
    except (EOFError, OSError):
        os._exit(0)  # the engine has ended or no longer needs this worker


def _read(
    send: Send,
    encoder: Encoder[Any],
    tasks: queue.SimpleQueue[Batch],
    ahead: queue.SimpleQueue[Decoded],
    room: threading.Semaphore,
    more: int = 0,
) -> None:
    """Decode the items of each task.

    Args:
        send: sends a message to the engine.
        encoder: reads the items.
        tasks: tasks to decode.
        ahead: receives (task number, items, decoded items).
        room: acquired before a task is decoded; the receiver of `ahead` releases it.
        more: number of decoding threads to start after the first task. That task loads whatever reading needs, which
            several threads must not do at once.
    """
    while True:
        room.acquire()
        number, items = tasks.get()
        inputs: list[Any] = []
        for i, item in enumerate(items):
            send(("reading", number, i))
            try:
                inputs.append(encoder.read(item))
            except UserError as error:
                send(("error", str(error)))
                return
            except Exception as error:
                if of_the_machine(error):
                    _give_up(send, error, encoder)
                inputs.append(Failure("failed", explain(error, encoder)))
        send(("read", number))
        for _ in range(more):
            threading.Thread(target=_read, args=(send, encoder, tasks, ahead, room), daemon=True).start()
        more = 0
        ahead.put((number, items, inputs))
        del items, inputs


def _locked(send: Send) -> Send:
    lock = threading.Lock()

    def locked(message: Message) -> None:
        with lock:
            send(message)

    return locked
