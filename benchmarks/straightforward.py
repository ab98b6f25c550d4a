"""What one would write first: one utterance after the other, every library used as its own examples do.

`benchmarks/extract.py` compares with these. PyTorch may use every core here, as it does by default. Sound is
decoded by the project's own reader, which is not what is compared.
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
    """Clip -> vector [1000], step by step as published.

    All frames into memory, MTCNN with its defaults on all of them, up to 20 frames with faces evenly, all their
    faces through ResNet-101 at once, the mean. `detections`: the wall and CPU seconds that decoding and
    detection took in each call.
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
            return self.net(torch.cat(faces)).mean(0).numpy()


def text(folder: Path) -> Callable[[Sequences], np.ndarray]:
    """Token sequences, each with the span of its own tokens -> means over these [N, D], as one padded batch."""
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
    """Clip -> mean last hidden state [D]."""
    from transformers import AutoFeatureExtractor, AutoModel

    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def vector(path: Path) -> np.ndarray:
        values = extractor(read_audio(path, None, None), sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            return model(**values).last_hidden_state[0].mean(0).numpy()

    return vector


def egemaps() -> Callable[[Path], np.ndarray]:
    """Clip -> eGeMAPSv02 functionals [88]; the low-level descriptors are computed too, as the stream does."""
    from opensmile import FeatureLevel, FeatureSet, Smile

    functionals = Smile(FeatureSet.eGeMAPSv02, FeatureLevel.Functionals)
    descriptors = Smile(FeatureSet.eGeMAPSv02, FeatureLevel.LowLevelDescriptors)

    def vector(path: Path) -> np.ndarray:
        samples = read_audio(path, None, None)
        descriptors.process_signal(samples, 16000)
        return functionals.process_signal(samples, 16000).to_numpy(np.float32)[0]

    return vector
