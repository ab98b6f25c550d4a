"""Straightforward extraction scripts: one utterance at a time, with each library used as in its own examples.

`benchmarks.extract` compares the project's encoders with these scripts. PyTorch uses every core, which is its
default. The project's own reader decodes the sound, because the comparison excludes sound decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import torch

from extract.reading.sound import read_audio

Sequences = Sequence[tuple[list[int], list[int]]]


class VisExtNet:
    """Compute the vector of a clip in the steps of the published VisExtNet (Shi and Huang, ACL 2023).

    It reads all frames into memory, runs MTCNN with its default settings on each, and takes every n-th of the frames
    with faces, at most 20. ResNet-101 processes all their faces in one pass. The vector is the mean of the outputs.

    Args:
        weights: a `state_dict` of torchvision's ResNet-101.

    Attributes:
        detections: for each call, the wall-clock and CPU seconds `[2]` of decoding and detection.
    """

    def __init__(self, weights: Path) -> None:
        from facenet_pytorch import MTCNN
        from torchvision.models import resnet101

        self.mtcnn = MTCNN(image_size=224, keep_all=True)
        self.net = resnet101(num_classes=1000)
        self.net.load_state_dict(torch.load(weights, weights_only=True))
        self.net.eval()
        self.detections: list[np.ndarray] = []

    def __call__(self, path: Path) -> np.ndarray:
        """Return the vector `[1000]` of a clip."""
        began = np.array([time.perf_counter(), time.process_time()])
        with av.open(str(path)) as container:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        faces = [found for found in self.mtcnn(torch.from_numpy(frames)) if found is not None]
        self.detections.append(np.array([time.perf_counter(), time.process_time()]) - began)
        if len(faces) > 20:
            faces = faces[:: len(faces) // 20][:20]
        with torch.no_grad():
            vector: np.ndarray = self.net(torch.cat(faces)).mean(0).numpy()
        return vector


def text(folder: Path) -> Callable[[Sequences], np.ndarray]:
    """Return a function from N token sequences to vectors `[N, D]`.

    Each sequence has the token ids and the span of the utterance's own tokens. The function pads the sequences to
    one batch and returns the means of the last hidden states over the spans.

    Args:
        folder: a transformers text model.
    """
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def vectors(batch: Sequences) -> np.ndarray:
        longest = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch])
        with torch.no_grad():
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        return np.stack([row[a:b].mean(0).numpy() for row, (_, (a, b)) in zip(hidden, batch, strict=True)])

    return vectors


def wav2vec2(folder: Path) -> Callable[[Path], np.ndarray]:
    """Return a function from a clip to the mean of its last hidden states `[D]`; `folder` has a wav2vec2 model."""
    from transformers import AutoFeatureExtractor, AutoModel

    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def vector(path: Path) -> np.ndarray:
        values = extractor(read_audio(path, None, None), sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            mean: np.ndarray = model(**values).last_hidden_state[0].mean(0).numpy()
        return mean

    return vector


def egemaps() -> Callable[[Path], np.ndarray]:
    """Return a function from a clip to its eGeMAPSv02 functionals `[88]`.

    The function also computes the low-level descriptors, because the project's stream does.
    """
    from opensmile import FeatureLevel, FeatureSet, Smile

    functionals = Smile(FeatureSet.eGeMAPSv02, FeatureLevel.Functionals)
    descriptors = Smile(FeatureSet.eGeMAPSv02, FeatureLevel.LowLevelDescriptors)

    def vector(path: Path) -> np.ndarray:
        samples = read_audio(path, None, None)
        descriptors.process_signal(samples, 16000)
        found: np.ndarray = functionals.process_signal(samples, 16000).to_numpy(np.float32)[0]
        return found

    return vector
