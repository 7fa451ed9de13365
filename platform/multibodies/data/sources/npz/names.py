"""What `imgname` tells: the picture's path; subject, sequence and frame where its form is known.

The forms are those that SPIN's preprocessing writes (ProHMR leaves out leading folders).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import numpy.typing as npt

from multibodies.errors import UserError

MAX_NAME_BYTES: Final = 255  # of one folder or file


class Form(NamedTuple):
    """Groups are subject, further parts of the sequence, frame; `first` is the first frame's."""

    pattern: re.Pattern[str]
    first: int


class Origin(NamedTuple):
    """Who and when; frames count from 0."""

    subject: str
    sequence: str
    frame: int


FORMS: Final = {
    # images/S9_Walking_1.60457274_000101.jpg
    "h36m": (Form(re.compile(r"(?:.*/)?(S\d+)_([^/]+\.\d{8})_(\d{1,9})\.\w+"), 1),),
    # S1/Seq2/imageFrames/video_4/frame_000011.jpg; .../TS3/imageSequence/img_000123.jpg
    "mpii3d": (
        Form(re.compile(r"(?:.*/)?(S\d+)/(Seq\d+)/[^/]+/(video_\d+)/frame_(\d{1,9})\.\w+"), 1),
        Form(re.compile(r"(?:.*/)?(TS\d+)/imageSequence/img_(\d{1,9})\.\w+"), 1),
    ),
    # imageFiles/downtown_walking_00/image_00012.jpg; the file does not tell who it is
    "3dpw": (Form(re.compile(r"(?:.*/)?([^/]+)/image_(\d{1,9})\.\w+"), 0),),
}


def text_at(column: npt.NDArray[Any], row: int, key: str) -> str:
    """Return a row of an array of text or of bytes. Raises UserError if it is no text."""
    # Decoded by hand: NumPy raises a SystemError at code points that do not exist.
    codec = {"<U": "utf-32-le", ">U": "utf-32-be"}.get(column.dtype.str[:2], "utf-8")
    try:
        return column[row : row + 1].tobytes().decode(codec).rstrip("\0")
    except ValueError:
        raise UserError(f"{key}: not readable as text") from None


def picture_name(column: npt.NDArray[Any], row: int) -> str:
    """Return a row of `imgname`. Raises UserError unless it is a path inside the folder."""
    name = text_at(column, row, "imgname")
    path = PurePosixPath(name)
    if not name.isprintable() or not path.name:
        raise UserError(f"imgname: {name[:80]!r} names no picture")
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"imgname: '{name}' leads out of the folder of pictures")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in path.parts):
        raise UserError(f"imgname: '{name[:80]}...' is too long for a file's name")
    return name


def image_id(dataset: str, name: str, row: int) -> str:
    """Return ``lsp-images_im0001-0``: the set, the picture, the row of the file."""
    stem = str(PurePosixPath(name).with_suffix("")).replace("/", "_")
    return f"{dataset}-{stem}-{row}"


def find_origin(dataset: str, name: str, row: int) -> Origin:
    """Return who and when; where the name does not tell, its folder is the sequence."""
    for form in FORMS.get(dataset, ()):
        if found := form.pattern.fullmatch(name):
            *parts, frame = found.groups()
            return Origin(parts[0], "_".join(parts), max(int(frame) - form.first, 0))
    folder = str(PurePosixPath(name).parent)
    return Origin(f"{dataset}-{row}", dataset if folder == "." else folder, row)
