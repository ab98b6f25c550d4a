"""Decide whether frames are held in memory or stay on disk."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from pipeline.errors import UserError
from train.data.frames import Frames

SHARE = 0.5
# A container or a batch job may use less memory than the machine has.
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def hold_what_fits(streams: Collection[Frames]) -> None:
    """Read all streams into memory if they fit into a share of it; otherwise print that they stay on disk.

    The environment variable EMOFUSE_FRAMES_SHARE sets the share, 0.5 by default.

    Raises:
        UserError: EMOFUSE_FRAMES_SHARE is not a number from 0 to 1.
    """
    total, most = sum(stream.nbytes for stream in streams), _share() * _memory()
    if total <= most:
        for stream in streams:
            stream.hold()
    else:
        print(
            f"{total / 1e9:.1f} GB of frames stay on disk (EMOFUSE_FRAMES_SHARE allows {most / 1e9:.1f} GB in memory)"
        )


def _share() -> float:
    text = os.environ.get("EMOFUSE_FRAMES_SHARE", str(SHARE))
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(f"EMOFUSE_FRAMES_SHARE={text}: not a share of the memory; set a number from 0 to 1")
    return share


def _memory() -> int:
    """Return the memory available to this process, in bytes."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    texts = [path.read_text().strip() for path in map(Path, CGROUP_LIMITS) if path.exists()]
    return min([physical, *(int(text) for text in texts if text.isdigit())])
