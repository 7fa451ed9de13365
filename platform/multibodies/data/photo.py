"""Reading photographs that others made: each way to be wrong is one clear error."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from multibodies.errors import UserError

# Named, because Pillow would also start Ghostscript for an EPS file that calls itself .jpg.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 80_000_000
# All of these came out of Pillow on flipped bytes; TypeError from the dpi in an EXIF block.
DAMAGED = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error)


def load_photo(path: str | Path) -> npt.NDArray[np.uint8]:
    """Decode a photograph to RGB [H, W, 3], turned upright by its EXIF orientation.

    Raises UserError naming the file when it is missing, no image, truncated, damaged or a
    decompression bomb (over 80 megapixels).
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such image file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a broken EXIF tag is no reason to refuse the pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _decode(image, path)
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(
            f"{path}: more than {MAX_PIXELS // 10**6} megapixels; shrink the image first"
        ) from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: not an image; expected one of {', '.join(FORMATS)}") from None
    except DAMAGED as error:
        raise UserError(
            f"{path}: truncated or damaged image ({error}); get the file again"
        ) from None


def _decode(image: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(
            f"{path}: {image.width}x{image.height} pixels, more than {MAX_PIXELS // 10**6} "
            "megapixels; shrink the image first"
        )
    upright = ImageOps.exif_transpose(image)
    return np.array(upright.convert("RGB"), dtype=np.uint8)
