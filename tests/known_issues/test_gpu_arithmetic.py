"""Inference once disabled cuDNN on GPUs, and detection and training allowed TF32's ten bits of precision there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.backends import cudnn

from extract.networks.pretrained import inference
from extract.reading.mtcnn import Detector
from train.randomness import seed_everything

CPU = torch.device("cpu")


def test_inference_keeps_cudnn_exact_and_repeatable() -> None:
    with inference(CPU, "fp32"):
        assert (cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic) == (True, False, True)


def test_detection_is_exact() -> None:
    detector, seen = Detector(40, 0.7, CPU), []
    detector.pnet.register_forward_pre_hook(lambda *_: seen.append((cudnn.enabled, cudnn.allow_tf32)))
    detector([np.zeros((90, 160, 3), np.uint8)])
    assert set(seen) == {(True, False)}


def test_training_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    seed_everything(0, 1)
    assert not cudnn.allow_tf32
