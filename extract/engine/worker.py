"""What a worker does, whichever engine runs it: items in, journal entries out.

Three threads or more: one receives (so that the engine never waits for a busy worker), one decodes ahead, or several
where a GPU would wait for one, and the main one encodes. Before anything that may hang or crash the worker says what it
is about to touch, so that the engine knows whom to blame.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import numpy as np
import safetensors.numpy

from extract.contract import Encoder, Failure, Features, Item
from extract.engine.journal import Entry
from pipeline.errors import UserError, of_the_machine
from pipeline.features.schema import one_line

# SQLite takes a little less than 1 GB a row.
MAX_PAYLOAD = 900_000_000
MAX_REASON = 200
DTYPES = {"f2": np.float16, "f4": np.float32}


def serve(conn: Connection, encoder: Encoder, decoders: int = 1) -> None:
    """Answer tasks `(number, items)` until the other side closes; runs as a process of its own.

    Args:
        decoders: threads that decode ahead.

    Sends, as tuples: `("started",)`; `("reading", number, i)` before and `("read", number)` after decoding;
    `("encoding", number)`; `("done", number, entries)`; `("error", message)` for a user's mistake;
    `("dying", reason)` where the process can no longer be trusted; and `("short", reason)` where the machine lacks
    memory, disk or a library, and the process ends so that what it has is tried again.
    """
    send = _locked(conn.send)
    tasks: queue.SimpleQueue[tuple[int, list[Item]]] = queue.SimpleQueue()
    # One batch decoded ahead, one being decoded by each thread: what else waits is not in memory yet.
    ahead: queue.Queue[tuple[int, list[Item], list[Any]]] = queue.Queue(maxsize=1)
    send(("started",))
    threading.Thread(target=_receive, args=(conn, tasks), daemon=True).start()
    threading.Thread(target=_read, args=(send, encoder, tasks, ahead, decoders - 1), daemon=True).start()
    while True:
        number, items, inputs = ahead.get()
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


def encode(encoder: Encoder, inputs: Sequence[Any]) -> list[Features | Failure]:
    """The outcomes of what `read` gave, in order; failed reads keep their place.

    An exception costs the item it belongs to: the batch is tried again in halves, down to single items.

    Raises:
        UserError: the encoder's weights or packages are missing.
        Exception: what is of the machine (`of_the_machine`) and not of the one item that is left.
    """
    good = [value for value in inputs if not isinstance(value, Failure)]
    encoded = iter(_encode(encoder, good) if good else [])
    return [value if isinstance(value, Failure) else next(encoded) for value in inputs]


def entry(item: Item, outcome: Features | Failure, encoder: Encoder) -> Entry:
    """An item's outcome as a row of the journal, its features checked and rounded as `frames:` asks."""
    packed = _pack(outcome, encoder) if isinstance(outcome, Features) else outcome
    if isinstance(packed, Failure):
        return Entry(item.key, packed.status, one_line(packed.reason), b"")
    return Entry(item.key, "ok", "", packed)


def explain(error: BaseException, encoder: Encoder) -> str:
    """An exception as one short line that is the same on every machine."""
    text = str(error).replace(f"{encoder.media}{os.sep}", "")
    line = one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"


def _encode(encoder: Encoder, inputs: Sequence[Any]) -> list[Features | Failure]:
    try:
        outcomes = encoder.encode(inputs)
        if len(outcomes) != len(inputs):
            raise ValueError(f"the encoder gave {len(outcomes)} features for {len(inputs)} items")
        return outcomes
    except UserError:
        raise
    except Exception as error:
        if type(error).__name__ == "AcceleratorError":
            raise  # after a CUDA error every later call of the process fails as well
        if len(inputs) == 1:
            if of_the_machine(error):
                raise
            return [Failure("failed", explain(error, encoder))]
    # Outside of `except`, whose traceback holds on to what the large batch has taken of the memory.
    half = len(inputs) // 2
    return _encode(encoder, inputs[:half]) + _encode(encoder, inputs[half:])


def _give_up(send: Callable[[Any], None], error: Exception, encoder: Encoder) -> NoReturn:
    send(("short" if of_the_machine(error) else "dying", explain(error, encoder)))
    os._exit(1)


def _pack(features: Features, encoder: Encoder) -> bytes | Failure:
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


def _receive(conn: Connection, tasks: queue.SimpleQueue) -> None:
    try:
        while True:
            tasks.put(conn.recv())
    except (EOFError, OSError):
        os._exit(0)  # the engine is gone, or done with this worker; nothing here is worth keeping


def _read(
    send: Callable[[Any], None], encoder: Encoder, tasks: queue.SimpleQueue, ahead: queue.Queue, more: int = 0
) -> None:
    """Decode what is asked for; `more` threads do so too once the first batch has loaded all that reading needs."""
    while True:
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
            threading.Thread(target=_read, args=(send, encoder, tasks, ahead), daemon=True).start()
        more = 0
        ahead.put((number, items, inputs))
        del items, inputs


def _locked(send: Callable[[Any], None]) -> Callable[[Any], None]:
    lock = threading.Lock()

    def locked(message: Any) -> None:
        with lock:
            send(message)

    return locked
