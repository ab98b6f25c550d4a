"""Score how surely a face speaks: LR-ASD (Liao et al., IJCV 2025, doi 10.1007/s11263-025-02399-4).

The weights come from a file that the user has: `weight/finetuning_TalkSet.model` of the authors' repository.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extract.networks.nets import load_strictly, read_tensors
from extract.networks.pretrained import inference
from extract.networks.weights import Weights

PICTURE = 112
COEFFICIENTS = 13
ROWS_A_PICTURE = 4  # of coefficients, one each 10 ms; pictures come at 25 a second
MEAN, SPREAD = 0.4161, 0.1688
EPS = 1e-3
CHANNELS = (1, 32, 64, 128)
PART = 20  # pictures
REACH = 3  # pictures, of `Convolutions` over time: 2 and 1


class Convolutions(nn.Sequential):
    """Convolve over space by 5 and 3, then over time by 5 and 3: [B, in, time, rows, columns] -> [B, out, …].

    Args:
        inside: channels of the input.
        out: channels of the output.
        columns: the kernel spans columns, too; false for sound, which has one column.
        stride: of the first convolution, over space.
    """

    def __init__(self, inside: int, out: int, columns: bool, stride: int = 1) -> None:
        layers: list[nn.Module] = []
        for size, before, after, step in ((5, inside, out // 2, stride), (3, out // 2, out, 1)):
            kernel = (1, size, size if columns else 1)
            layers += self._layer(before, after, kernel, (1, step, step))
        for size in (5, 3):
            layers += self._layer(out, out, (size, 1, 1), (1, 1, 1))
        super().__init__(*layers)

    @staticmethod
    def _layer(
        inside: int, out: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]
    ) -> list[nn.Module]:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        conv = nn.Conv3d(inside, out, kernel, stride, padding, bias=False)
        return [conv, nn.BatchNorm3d(out, eps=EPS), nn.ReLU()]


class Gate(nn.Module):
    """Weigh each channel by a sigmoid of all: [B, C, T] -> [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm1d(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated channels."""
        weight: Tensor = self.norm(self.mix(x)).sigmoid()
        return x * weight


class LRASD(nn.Module):
    """The network: pictures of one face's track and the sound of the same time, to a logit a picture."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(pairwise(CHANNELS))
        self.pictures = nn.ModuleList(
            Convolutions(a, b, columns=True, stride=2 if i == 0 else 1) for i, (a, b) in enumerate(pairs)
        )
        self.sound = nn.ModuleList(Convolutions(a, b, columns=False) for a, b in pairs)
        self.fuse = Gate(256)
        self.forwards = nn.GRU(256, 64, batch_first=True)
        self.backwards = nn.GRU(256, 64, batch_first=True)
        self.gate = Gate(128)
        self.classify = nn.Linear(128, 2)

    def forward(self, pictures: Tensor, sound: Tensor) -> Tensor:
        """Return logits [B, T]; above 0 the face speaks.

        Args:
            pictures: [B, T, 112, 112] grey, 0 to 255, 25 a second.
            sound: [B, 4T, 13] coefficients (`extract.reading.mfcc`).
        """
        seen = self._seen((pictures / 255 - MEAN) / SPREAD)
        both = self.fuse(torch.cat([self._heard(sound), seen], 1)).mT
        there = self.forwards(both)[0]
        back = self.backwards(both.flip(1))[0].flip(1)
        joint = self.gate(torch.cat([there, back], 2).mT).mT
        logits: Tensor = self.classify(joint)
        return logits[..., 1]

    def _seen(self, pictures: Tensor) -> Tensor:
        """[B, T, 112, 112] -> [B, 128, T]."""
        first, second, third = self.pictures
        x = _in_parts(lambda part: _halved(first(part)), pictures[:, None])
        x = _in_parts(lambda part: _halved(second(part)), x)
        return _in_parts(lambda part: third(part).amax((3, 4)), x)

    def _heard(self, sound: Tensor) -> Tensor:
        """[B, 4T, 13] -> [B, 128, T]."""
        x = sound[:, None, :, :, None]
        for i, block in enumerate(self.sound):
            x = block(x)
            if i < 2:
                x = F.max_pool3d(x, (3, 1, 1), (2, 1, 1), (1, 0, 0))
        return x.mean((3, 4))


def _halved(x: Tensor) -> Tensor:
    """Return the largest values of overlapping 3 × 3 squares: [B, C, T, rows, columns] -> half the rows and columns."""
    return F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))


def _in_parts(layers: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return layers(x) for [B, C, T, …], computed for `PART` pictures at a time, since large pictures fill the memory.

    The layers must read at most `REACH` pictures before and after each.
    """
    length = x.shape[2]
    parts = []
    for i in range(0, length, PART):
        begin = max(0, i - REACH)
        part = layers(x[:, :, begin : min(length, i + PART + REACH)])
        parts.append(part[:, :, i - begin : i - begin + PART])
    return torch.cat(parts, 2)


def speaking_network(
    weights: Weights, device: torch.device
) -> Callable[[np.ndarray, np.ndarray, Sequence[int]], np.ndarray]:
    """Return the network as a function from a track to logits [T] f4.

    The function takes pictures [T, 112, 112] u1, coefficients [4T, 13] f4, and windows in pictures: the track is cut
    into windows of each length, and the logits are their mean.

    Raises:
        UserError: the file is unreadable, or its tensors are not the network's.
    """
    net = load_strictly(LRASD(), _names(read_tensors(weights.path)), weights.path).to(device)

    def logits(pictures: np.ndarray, sound: np.ndarray, windows: Sequence[int]) -> np.ndarray:
        seen, heard = torch.from_numpy(pictures), torch.from_numpy(sound)
        scores = torch.zeros(len(pictures))
        with inference(device, "fp32"):
            for window in windows:
                for i in range(0, len(pictures), window):
                    part = seen[i : i + window].to(device).float()[None]
                    rows = heard[ROWS_A_PICTURE * i : ROWS_A_PICTURE * (i + part.shape[1])].to(device)[None]
                    scores[i : i + window] += net(part, rows)[0].cpu()
        return (scores / len(windows)).numpy()

    return logits


def _names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the file's tensors this module's names; its classifier of pictures alone serves training only."""
    ends = {
        "model.fusion.attention": "fuse.mix",
        "model.fusion.bn": "fuse.norm",
        "model.detector.attention.attention": "gate.mix",
        "model.detector.attention.bn": "gate.norm",
        "model.detector.gru_forward": "forwards",
        "model.detector.gru_backward": "backwards",
        "lossAV.FC": "classify",
    }
    places = {"s_1": 0, "s_2": 3, "m_1": 0, "m_2": 3, "t_1": 6, "t_2": 9}

    found = {}
    for key, value in state.items():
        module, _, tensor = key.rpartition(".")
        if match := re.fullmatch(
            r"model\.(visual|audio)Encoder\.block([1-3])\.([smt])_(norm_)?([12])", module
        ):
            kind, block, axis, norm, number = match.groups()
            place = places[f"{axis}_{number}"] + (1 if norm else 0)
            module = f"{'pictures' if kind == 'visual' else 'sound'}.{int(block) - 1}.{place}"
            if kind == "audio" and value.ndim == 4:
                # [out, in, coefficients, time] -> [out, in, time, coefficients, 1]
                value = value.transpose(2, 3)[..., None]
        elif module == "lossV.FC":
            continue
        found[f"{ends.get(module, module)}.{tensor}"] = value
    return found
