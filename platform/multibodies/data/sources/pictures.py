"""Pixels of a picture: an image file, the last two kept, or a video's frame."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg

from multibodies.data.photo import MAX_PIXELS, load_photo
from multibodies.data.sources.record import Picture
from multibodies.data.sources.video.reader import frame_of
from multibodies.errors import UserError

Image = npt.NDArray[np.uint8]

JPEG_START = b"\xff\xd8"
EXIF_WITHIN = 1 << 16  # bytes; an APP1 segment is no longer


def pixels_of(picture: Picture) -> Image:
    """Return the RGB pixels [H, W, 3].

    Raises UserError naming a file that is missing, damaged, too large or no picture, and a frame
    that a video lacks.
    """
    path, frame = picture
    return _image(path) if frame is None else frame_of(path, frame)


@lru_cache(maxsize=2)
def _image(path: Path) -> Image:
    """Decode once for the several people of a photograph: they are neighbours in a list.

    Plain JPEGs go the fast way. All else, and what that way refuses, goes through `load_photo`,
    which knows orientations and names faults.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such image file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read this image ({error.strerror})") from None
    if data.startswith(JPEG_START) and b"Exif" not in data[:EXIF_WITHIN]:
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
            if height * width <= MAX_PIXELS:
                return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"))
        except ValueError:
            pass  # CMYK, truncated, damaged
    return load_photo(path)
