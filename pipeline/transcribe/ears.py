"""Load the networks of transcription on first use; a finished transcription loads none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from pipeline.closure import NEUTRAL, closure, source_hash
from pipeline.locks import say
from pipeline.transcribe.listener import MODEL, Listener, folder, versions
from pipeline.transcribe.params import TranscribeParams
from pipeline.transcribe.voices import Voices


@dataclass(frozen=True)
class Ears:
    """A recogniser of speech, and a network of speaker vectors.

    Attributes:
        params: how to transcribe.
    """

    params: TranscribeParams

    @cached_property
    def listener(self) -> Listener:
        """The recogniser of speech and words."""
        say(f"transcribe: loading {self.params.weights}")
        return Listener(self.params.weights, self.params.language)

    @cached_property
    def voices(self) -> Voices | None:
        """The network of speaker vectors; None if speakers are not told apart."""
        return None if self.params.speakers == 1 else Voices()

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash, in hex, of everything that determines the transcript of a sound.

        Raises:
            UserError: the weights or the packages are missing.
        """
        with (folder(self.params.weights) / MODEL).open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        code = source_hash(closure("pipeline.transcribe.hear", without=(*NEUTRAL, "pipeline.params")))
        said = [weights, self.params.language, self.params.speakers == 1, versions(), code]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()
