"""Face detection: MTCNN (Zhang et al. 2016, doi 10.1109/LSP.2016.2603342) with the networks of facenet-pytorch.

The boxes equal those of facenet-pytorch's `MTCNN.detect`. On a CPU this version takes half the time, and it returns
an empty result for frames on which the other raises (tiny or blank frames, a list without any face).

facenet-pytorch spends most of its time on resizing: it averages the whole frame for each pyramid level and crops each
candidate in a Python loop. Here one summed-area table per frame gives every resized pixel by four look-ups at any
scale. The values equal those of `interpolate(mode="area")` bit for bit, because sums of bytes are exact. A table has
four channels, of which the fourth is unused, so that one look-up reads one number of 16 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import nn
from torchvision.ops import batched_nms

from extract.networks.pretrained import inference

CELL, STRIDE = 12, 2
PYRAMID = 0.709
THRESHOLDS = (0.6, 0.7)
# The most candidates in a pass of RNet and ONet on a CPU. The layers of a larger pass do not fit into a core's cache.
PASS = 48


class Detector:
    """Detector of faces of at least `min_face` pixels that ONet rates above the probability `threshold`."""

    def __init__(self, min_face: int, threshold: float, device: torch.device) -> None:
        self.min_face, self.thresholds, self.device = min_face, (*THRESHOLDS, threshold), device
        # Channels last halves PNet's time on a CPU.
        self.pnet, self.rnet, self.onet = (
            net().eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
            for net in (PNet, RNet, ONet)
        )

    def __call__(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the boxes of N frames, RGB [H, W, 3] u1 of one size: N arrays [F, 5] f4, largest box first.

        A row holds x0, y0, x1, y1 in pixels and the probability. A box may extend slightly beyond the frame.
        """
        with inference(self.device, "fp32"):
            table = torch.from_numpy(np.stack([summed_area(frame) for frame in frames])).to(self.device)
            boxes, image = self._propose(table)
            boxes, image = self._refine(table, boxes, image)
            boxes, image = self._output(table, boxes, image)
            found, owner = boxes.cpu().numpy(), image.cpu().numpy()
        return [_by_size(_drop_nested(found[owner == i])) for i in range(len(frames))]

    def follow(self, frame: np.ndarray, boxes: np.ndarray) -> np.ndarray | None:
        """Return the boxes [F, 5] of the faces of a similar frame in this one, largest first; None if one is lost.

        ONet looks at the places of `boxes` [F, 5] alone, so a face that is new in this frame is not found.
        """
        with inference(self.device, "fp32"):
            table = torch.from_numpy(summed_area(frame)[None]).to(self.device)
            start = torch.from_numpy(boxes).to(self.device)
            moved, _ = self._output(table, _square(start), torch.zeros_like(start[:, 0], dtype=torch.int64))
        found = _by_size(_drop_nested(moved.cpu().numpy()))
        return found if len(found) == len(boxes) else None

    def _propose(self, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run PNet on an image pyramid; return squares [K, 5] and the index of each square's frame [K]."""
        height, width = table.shape[1] - 1, table.shape[2] - 1
        found = [(table.new_zeros((0, 9), dtype=torch.float32), *table.new_zeros((2, 0), dtype=torch.int64))]
        scale = CELL / self.min_face
        side = min(height, width) * scale
        while side >= CELL:
            small = area_resize(table, int(height * scale + 1), int(width * scale + 1))
            shift, probability = self.pnet(_normalise(small))
            image, y, x = (probability[:, 1] >= self.thresholds[0]).nonzero(as_tuple=True)
            start = torch.stack([x, y], 1).float() * STRIDE + 1
            corners = (torch.cat([start, start + CELL - 1], 1) / scale).floor()
            boxes = torch.cat([corners, probability[image, 1, y, x][:, None], shift[image, :, y, x]], 1)
            found.append((boxes, image, torch.full_like(image, len(found))))
            scale, side = scale * PYRAMID, side * PYRAMID
        boxes, image, level = (torch.cat(parts) for parts in zip(*found, strict=True))
        keep = batched_nms(boxes[:, :4], boxes[:, 4], image * len(found) + level, 0.5)
        boxes, image = boxes[keep], image[keep]
        keep = batched_nms(boxes[:, :4], boxes[:, 4], image, 0.7)
        boxes, image = boxes[keep], image[keep]
        size = boxes[:, 2:4] - boxes[:, :2]
        moved = boxes[:, :4] + boxes[:, 5:9] * size.repeat(1, 2)
        return _square(torch.cat([moved, boxes[:, 4:5]], 1)), image

    def _refine(
        self, table: torch.Tensor, boxes: torch.Tensor, image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run RNet on 24 x 24 crops; return the accepted squares [K, 5], moved, and their frames [K]."""
        boxes, image, cuts = _cut(table, boxes, image, 24)
        if not len(boxes):
            return boxes, image
        shift, probability = self._in_passes(self.rnet, cuts)
        boxes, image, shift = _above(self.thresholds[1], probability, boxes, image, shift)
        keep = batched_nms(boxes[:, :4], boxes[:, 4], image, 0.7)
        return _square(_move(boxes[keep], shift[keep])), image[keep]

    def _output(
        self, table: torch.Tensor, boxes: torch.Tensor, image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run ONet on 48 x 48 crops; return the boxes of faces [K, 5] and their frames [K]."""
        boxes, image, cuts = _cut(table, boxes, image, 48)
        if not len(boxes):
            return boxes, image
        shift, _, probability = self._in_passes(self.onet, cuts)
        boxes, image, shift = _above(self.thresholds[2], probability, boxes, image, shift)
        return _move(boxes, shift), image

    def _in_passes(self, net: nn.Module, cuts: torch.Tensor) -> list[torch.Tensor]:
        """Return a network's outputs for K > 0 inputs; on a CPU in equal passes, with the bits of a single one."""
        count = -(-len(cuts) // PASS) if self.device.type == "cpu" else 1
        passes = cuts.tensor_split(count)
        return [torch.cat(parts) for parts in zip(*map(net, passes), strict=True)]


def summed_area(frame: np.ndarray) -> np.ndarray:
    """Return the sums [H + 1, W + 1, 4] i4 of all pixels above and to the left, for a frame [H, W, 3] u1."""
    return cv2.integral(cv2.cvtColor(frame, cv2.COLOR_RGB2RGBA))


def area_resize(table: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return whole frames resized by area [N, 3, height, width] f4, from their tables [N, H + 1, W + 1, 4]."""
    ends = torch.tensor([table.shape[1] - 1, table.shape[2] - 1], device=table.device)
    y0, y1 = (edge[0] for edge in _cells(0 * ends[:1], ends[:1], height))
    x0, x1 = (edge[0] for edge in _cells(0 * ends[1:], ends[1:], width))
    rows = table.index_select(1, y1) - table.index_select(1, y0)
    sums = (rows.index_select(2, x1) - rows.index_select(2, x0))[..., :3]
    return (sums / (y1 - y0)[:, None, None] / (x1 - x0)[:, None]).permute(0, 3, 1, 2)


def area_crops(table: torch.Tensor, image: torch.Tensor, boxes: torch.Tensor, size: int) -> torch.Tensor:
    """Return crops of frames, resized by area to squares [K, 3, size, size] f4.

    Args:
        table: [N, H + 1, W + 1, 4] the frames' summed-area tables.
        image: [K] the index of each crop's frame.
        boxes: [K, 4] i8, x0, y0, x1, y1 inside the frame, ends exclusive.
        size: the side of the crops in pixels.
    """
    x0, x1 = _cells(boxes[:, 0], boxes[:, 2], size)
    y0, y1 = _cells(boxes[:, 1], boxes[:, 3], size)
    height, width = table.shape[1:3]
    rows = (image[:, None] * height + torch.stack([y0, y1])) * width
    at = rows[:, None, :, :, None] + torch.stack([x0, x1])[None, :, :, None]
    # A number of 16 bytes holds the four channels of a place.
    found = table.view(torch.complex128).flatten().index_select(0, at.flatten())
    corners = found.view(torch.int32).view(*at.shape, 4)[..., :3]
    sums = corners[1, 1] - corners[0, 1] - corners[1, 0] + corners[0, 0]
    return (sums / (y1 - y0)[:, :, None, None] / (x1 - x0)[:, None, :, None]).permute(0, 3, 1, 2)


def _cells(start: torch.Tensor, stop: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first and the end source pixel [K, count] of each output pixel; neighbours may share one."""
    i = torch.arange(count, device=start.device)
    length = (stop - start)[:, None]
    return start[:, None] + i * length // count, start[:, None] - (-(i + 1) * length // count)


def _normalise(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels - 127.5) * 0.0078125


def _cut(
    table: torch.Tensor, boxes: torch.Tensor, image: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the candidates that overlap the frame, their frames, and the next network's inputs.

    The coordinates of boxes start at 1.
    """
    limit = torch.tensor([table.shape[2] - 1, table.shape[1] - 1], device=table.device)
    corners = boxes[:, :4].trunc().long()
    inside = torch.cat([corners[:, :2].clamp(min=1) - 1, corners[:, 2:].minimum(limit)], 1)
    real = (inside[:, 2:] > inside[:, :2]).all(1)
    boxes, image, inside = boxes[real], image[real], inside[real]
    return boxes, image, _normalise(area_crops(table, image, inside, size))


def _above(
    threshold: float, probability: torch.Tensor, boxes: torch.Tensor, image: torch.Tensor, shift: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    keep = probability[:, 1] > threshold
    return torch.cat([boxes[keep, :4], probability[keep, 1:]], 1), image[keep], shift[keep]


def _move(boxes: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    size = boxes[:, 2:4] - boxes[:, :2] + 1
    return torch.cat([boxes[:, :4] + shift * size.repeat(1, 2), boxes[:, 4:]], 1)


def _square(boxes: torch.Tensor) -> torch.Tensor:
    """Return squares with the longer side of each box and the same centre."""
    size = boxes[:, 2:4] - boxes[:, :2]
    side = size.max(1, keepdim=True).values
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return torch.cat([corner, corner + side, boxes[:, 4:]], 1)


def _drop_nested(boxes: np.ndarray) -> np.ndarray:
    """Return the boxes without those that share more than 70% of the smaller area with a more probable box."""
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    size = boxes[:, 2:4] - boxes[:, :2] + 1
    keep: list[int] = []
    for i, box in enumerate(boxes):
        common = np.minimum(box[2:4], boxes[keep, 2:4]) - np.maximum(box[:2], boxes[keep, :2]) + 1
        overlap = common.clip(min=0).prod(1) / np.minimum(size[i].prod(), size[keep].prod(1))
        if (overlap <= 0.7).all():
            keep.append(i)
    return boxes[keep]


def _by_size(boxes: np.ndarray) -> np.ndarray:
    return boxes[np.argsort(-(boxes[:, 2:4] - boxes[:, :2]).prod(1), kind="stable")]
