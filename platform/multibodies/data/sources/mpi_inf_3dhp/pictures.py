"""Where the pictures of an MPI-INF-3DHP camera lie: a video, or numbered frames. None is opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from multibodies.data.sources.record import Picture
from multibodies.errors import UserError

Pictures = Callable[[int], Picture]


def training_pictures(images: Path, camera: int) -> Pictures | None:
    """Return where frame i (from 0) of a camera is, or None where it has no pictures.

    The video as distributed goes before frames taken out of it, which may be
    `imageFrames/video_k/frame_%06d.jpg` (SPIN's) or `imageSequence/img_k_%06d.jpg` (as the set's
    README advises).
    """
    video = images / "imageSequence" / f"video_{camera}.avi"
    if video.is_file():
        return lambda frame: Picture(video, frame)
    for folder, stem in (
        (images / "imageFrames" / f"video_{camera}", "frame"),
        (images / "imageSequence", f"img_{camera}"),
    ):
        if folder.is_dir() and _numbered(folder, stem):
            return numbered_pictures(folder, stem)
    return None


def numbered_pictures(folder: Path, stem: str) -> Pictures:
    """Return where frame i (from 0) is among `<stem>_<i + 1>.jpg`, however the number is padded.

    By number, not by place in a sorted listing: a missing frame moves no other. A frame that is
    not there gets the path where it should be, for whoever opens it to report.
    """

    def picture(frame: int) -> Picture:
        name = _numbered(folder, stem).get(frame + 1, f"{stem}_{frame + 1:06d}.jpg")
        return Picture(folder / name)

    return picture


@lru_cache(maxsize=32)
def _numbered(folder: Path, stem: str) -> Mapping[int, str]:
    """Return number -> file name. Raises UserError where numbers start at 0 or one comes twice."""
    pattern = re.compile(rf"{re.escape(stem)}_(\d{{1,9}})\.(?:jpg|jpeg|png)", re.IGNORECASE)
    found: dict[int, str] = {}
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in names:
        if (match := pattern.fullmatch(name)) is None:
            continue
        number = int(match[1])
        if number == 0 or number in found:
            other = "expected numbers from 1" if number == 0 else f"{found[number]} has its number"
            raise UserError(f"{folder / name}: {other}; take the frames out of the video again")
        found[number] = name
    return found
