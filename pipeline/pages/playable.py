"""Make media that browsers can play: copies in H.264 and AAC, or a still of each utterance.

Browsers play few formats. A file in another one (DivX in .avi, HEVC, MPEG-4 part 2, Matroska with AC-3) is copied into
the folder `playable` beside the page. A copy's name contains the hash of its file, so an existing copy is used again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from av.error import FFmpegError

from pipeline import fragments
from pipeline.disk import replacing
from pipeline.packets import open_media
from pipeline.pages.convert import convert, stills, tracks
from pipeline.tables.schema import Utterance

FOLDER = "playable"
# By the name of FFmpeg's demuxer: the codecs that Chromium, Firefox and Safari play in it.
PLAYED = {
    "mov,mp4,m4a,3gp,3g2,mj2": {"h264", "av1", "aac", "mp3", "opus", "flac"},
    "matroska,webm": {"vp8", "vp9", "av1", "opus", "vorbis"},
    "wav": {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"},
    "mp3": {"mp3"},
    "ogg": {"opus", "vorbis", "flac"},
    "flac": {"flac"},
    "aac": {"aac"},
}
PIXELS = {"yuv420p", "yuvj420p"}


@dataclass(frozen=True)
class Shown:
    """What a page shows of the recordings.

    Attributes:
        files: {file of a cell: the file that the page plays}.
        stills: {utterance: data address of a picture} for files without a playable form.
        notes: files that could not be converted.
    """

    files: dict[str, Path]
    stills: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def shown(
    utterances: Iterable[Utterance], files: Iterable[str], media: Path, folder: Path, as_stills: bool
) -> Shown:
    """Return what a page in `folder` can play, and write copies of the files that browsers cannot play.

    Args:
        utterances: the utterances of the page.
        files: the files that exist and can be decoded, relative to `media`.
        media: the folder of the recordings.
        folder: where the page will be.
        as_stills: whether to make a still of each utterance instead of copies.
    """
    found = Shown({name: media / name for name in files})
    for name, path in list(found.files.items()):
        try:
            if is_playable(path):
                continue
            if as_stills:
                del found.files[name]
                spans = {u.utterance: u.played.start or 0.0 for u in utterances if _file(u) == name}
                found.stills.update(stills(path, spans))
            else:
                found.files[name] = copied(name, path, folder / FOLDER)
        except FFmpegError as error:
            found.notes.append(f"{name}: browsers cannot play it, and no copy was made: {error.strerror}")
    return found


def link(path: Path | None, folder: Path) -> str:
    """Return a file's URL relative to a page in `folder`; empty for None."""
    if path is None:
        return ""
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())


def is_playable(path: Path) -> bool:
    """Return whether current browsers play a media file.

    Raises:
        FFmpegError: the file cannot be read.
    """
    with open_media(path) as container:
        codecs = PLAYED.get(container.format.name, set())
        found = {kind: track.codec_context for kind, track in tracks(container).items()}
        if any(one.codec.canonical_name not in codecs for one in found.values()):
            return False
        return "video" not in found or found["video"].pix_fmt in PIXELS


def copied(name: str, path: Path, folder: Path) -> Path:
    """Return the copy of a media file in `folder`; write it with a progress bar if it is not there yet.

    Raises:
        FFmpegError: the file cannot be decoded.
        UserError: the disk is full or read-only.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    to = folder / f"{'_'.join(Path(name).with_suffix('').parts)}-{digest[:12]}.mp4"
    if not to.exists():
        with replacing(to) as part:
            convert(path, part, name)
    return to


def _file(utterance: Utterance) -> str:
    return fragments.split(utterance.played.cell).file
