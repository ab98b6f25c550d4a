"""Encoders without a model, for the engine's tests: what they do to an utterance is written in its text.

A text is words. `sleep=0.1`, `touch=FILE`, `await=FILE`, `crash`, `die`, `die-once=FILE` (which it makes then), `hang`,
`raise`, `flaky` (raises unless FAKE_MENDED is set), `usererror`, `threads`, `lacks=WHAT` (of LACKS) and
`lacks-once=WHAT,FILE` act when it is encoded, with `read-` before them when it is read; `nan`, `batch-raise`, `fits=2`
(out of memory in a larger batch), `corrupt`, `missing` and `cut` do what they say; all else is content. Every item
encoded is one line in the file that FAKE_LOG names.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from extract.contract import Encoder, Failure, Features, Item
from pipeline.errors import UserError
from pipeline.params import Count, StreamParams
from pipeline.tables.schema import Utterance


class OutOfMemoryError(RuntimeError):
    """As torch has one of that name."""


# What a machine may lack, as what an encoder then raises.
LACKS: dict[str, Exception] = {
    "memory": MemoryError(),
    "gpu-memory": OutOfMemoryError("CUDA out of memory"),
    "gpu": RuntimeError("CUDA error: out of memory"),
    "cpu-memory": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    "library": ImportError("No module named 'opensmile'"),
    "room": OSError(errno.ENOSPC, "No space left on device"),
    "disk": OSError(errno.EIO, "Input/output error"),
    "files": OSError(errno.EMFILE, "Too many open files"),
}


class FakeParams(StreamParams):
    dim: Count = 8
    batch: Count = 4
    past: int = 0
    salt: str = ""


def log(line: str) -> None:
    if path := os.environ.get("FAKE_LOG"):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{line}\n".encode())
        os.close(handle)


def features(text: str, dim: int) -> Features:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    rng = np.random.default_rng(seed)
    length = 1 + len(text) % 5
    return Features(
        rng.standard_normal(dim).astype(np.float32),
        rng.standard_normal((length, 3)).astype(np.float32),
        np.arange(length, dtype=np.float32) / 50,
    )


class FakeEncoder(Encoder[FakeParams]):
    """The text with its `past` turns before is the item, its number of words the length."""

    modality = "text"
    params_model = FakeParams
    pooled_dim = 0
    frames_dim = 3

    def __init__(self, params: FakeParams, media) -> None:
        super().__init__(params, media)
        self.pooled_dim = params.dim
        self.batch_size = params.batch

    def weights(self) -> dict[str, str]:
        return {"name": "", "revision": "", "sha256": ""}

    def packages(self) -> tuple[str, ...]:
        return ("numpy",)

    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        if not dialogue[i].text:
            return Failure("no_text", "the utterance has no text")
        texts = [u.text for u in dialogue[max(0, i - self.params.past) : i + 1]]
        content = {"texts": texts, "media": dialogue[i].media_hash}
        note = "cut to 3 words" if "cut" in texts[-1].split() else ""
        return Item(content, dialogue[i].media, len(" ".join(texts).split()), note)

    def read(self, item: Item) -> Any | Failure:
        text = " | ".join(item.content["texts"])
        words = item.content["texts"][-1].split()
        if "missing" in words:
            return Failure("missing_file", f"{item.source} is not there")
        if "corrupt" in words:
            return Failure("corrupt", "the file\nends early")
        trouble([word.removeprefix("read-") for word in words if word.startswith("read-")])
        return f"{text} {item.content['media']}".rstrip()

    def encode(self, inputs: Sequence[Any]) -> list[Features | Failure]:
        for text in inputs:
            log(text)
        for text in inputs:
            trouble(text.split())
            if "batch-raise" in text.split() and len(inputs) > 1:
                raise ValueError("I want to be alone")
            for word in text.split():
                if word.startswith("fits=") and len(inputs) > int(word.removeprefix("fits=")):
                    raise LACKS["gpu-memory"]
        return [self.one(text) for text in inputs]

    def one(self, text: str) -> Features:
        found = features(text, self.params.dim)
        if "nan" in text.split():
            found.pooled[0] = np.nan
        return found


def trouble(words: Sequence[str]) -> None:
    for word in words:
        if word.startswith("sleep="):
            time.sleep(float(word.removeprefix("sleep=")))
        elif word.startswith("touch="):
            Path(word.removeprefix("touch=")).touch()
        elif word.startswith("await="):
            there = Path(word.removeprefix("await="))
            for _ in range(3000):
                if there.exists():
                    break
                time.sleep(0.01)
            else:
                raise TimeoutError(f"nobody made {there}")
        elif word.startswith("die-once="):
            with suppress(FileExistsError):
                os.close(os.open(word.removeprefix("die-once="), os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)
        elif word.startswith("lacks="):
            raise LACKS[word.removeprefix("lacks=")]
        elif word.startswith("lacks-once="):
            what, _, file = word.removeprefix("lacks-once=").partition(",")
            if not Path(file).exists():
                Path(file).touch()
                raise LACKS[what]
        elif word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif word == "hang":
            time.sleep(1000)
        elif word == "raise" or (word == "flaky" and "FAKE_MENDED" not in os.environ):
            raise RuntimeError("no such\nluck")
        elif word == "threads":
            import cv2
            import torch

            raise ValueError(f"torch {torch.get_num_threads()}, cv2 {cv2.getNumThreads()}")
        elif word == "usererror":
            raise UserError("fake: weights are missing; run `fake download`")
