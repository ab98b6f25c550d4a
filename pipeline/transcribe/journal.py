"""Store the transcript of each block of a recording, so that a killed transcription resumes.

A journal is one text file per recording: a line per block, its checksum first. Lines are only appended. A line that
was cut by a kill or damaged later is dropped together with all lines after it, and these blocks are heard again.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.errors import writing
from pipeline.locks import lock
from pipeline.transcribe.listener import Span, Word


@dataclass(frozen=True, slots=True)
class Block:
    """What was heard in a block of a recording; seconds count from the recording's start.

    Attributes:
        end: the number of samples up to the block's end.
        last: whether the recording ends here.
        speech: the spans of speech.
        words: the recognised words.
        windows: spans of speech whose speaker's voice is known.
        voices: [len(windows), D] f2, their vectors.
    """

    end: int
    last: bool
    speech: list[Span]
    words: list[Word]
    windows: list[Span] = field(default_factory=list)
    voices: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float16))


class Journal:
    """The blocks of one recording, open for reading and appending by one process at a time.

    Attributes:
        blocks: the blocks so far.
    """

    def __init__(self, path: Path) -> None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = lock(path, fcntl.LOCK_EX, f"{path}: waiting for another process that transcribes it")
            self.blocks: list[Block] = []
            whole = 0
            for line in path.read_bytes().splitlines(keepends=True):
                block = _read(line)
                if block is None:
                    break
                self.blocks.append(block)
                whole += len(line)
            self._file.truncate(whole)
        self._path = path

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._file.close()

    def add(self, block: Block) -> None:
        """Append a block; when this returns, it survives a power cut.

        Raises:
            UserError: the disk is full or unwritable.
        """
        with writing(self._path):
            self._file.write(_line(block))
            self._file.flush()
            os.fsync(self._file.fileno())
        self.blocks.append(block)


def _line(block: Block) -> str:
    text = json.dumps(
        {
            "end": block.end,
            "last": block.last,
            "speech": block.speech,
            "words": [(word.start, word.end, word.text) for word in block.words],
            "windows": block.windows,
            "voices": base64.b64encode(block.voices.astype("<f2").tobytes()).decode(),
        }
    )
    return f"{_checksum(text.encode())} {text}\n"


def _read(line: bytes) -> Block | None:
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != _checksum(text).encode():
        return None
    found = json.loads(text)
    windows = [tuple(span) for span in found["windows"]]
    vectors = np.frombuffer(base64.b64decode(found["voices"]), "<f2")
    return Block(
        end=found["end"],
        last=found["last"],
        speech=[tuple(span) for span in found["speech"]],
        words=[Word(*word) for word in found["words"]],
        windows=windows,
        voices=vectors.reshape(len(windows), -1) if windows else vectors.reshape(0, 0),
    )


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
