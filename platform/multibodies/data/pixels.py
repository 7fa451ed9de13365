"""Pictures of the shards as JPEG, and their central part. Legend: B row, S side of the crop,
L side of the stored picture, L >= S and even apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

from multibodies.errors import UserError

Pictures = npt.NDArray[np.uint8]


class PictureFormat(NamedTuple):
    """How a dataset keeps its pictures: side of the crop, "raw" or "jpeg", JPEG's quality."""

    size: int
    encoding: str = "raw"
    quality: int = 95


def encode_jpeg(image: Pictures, quality: int) -> bytes:
    """Encode one RGB picture [L, L, 3] without subsampling its colours."""
    return bytes(
        simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="444")
    )


def encode_jpegs(images: Sequence[Pictures | bytes], quality: int) -> list[bytes]:
    """Encode RGB pictures [L, L, 3]; what is JPEG already stays as it is."""
    return [i if isinstance(i, bytes) else encode_jpeg(i, quality) for i in images]


def decode_jpegs(pictures: Sequence[bytes]) -> Pictures:
    """Decode equally large pictures to [B, L, L, 3]; none give [0, 0, 0, 3].

    Raises UserError on a damaged one, or on one of another size.
    """
    images = [decode_jpeg(picture) for picture in pictures]
    if len({image.shape for image in images}) > 1:
        raise UserError(f"pictures of several sizes: {sorted({i.shape for i in images})}")
    return np.stack(images) if images else np.zeros((0, 0, 0, 3), np.uint8)


def decode_jpeg(picture: bytes) -> Pictures:
    """Decode one picture to RGB [L, L, 3]. Raises UserError on a damaged one."""
    try:
        image: Pictures = simplejpeg.decode_jpeg(picture, colorspace="RGB")
    except ValueError as error:
        raise UserError(f"a damaged JPEG in a shard ({error}); prepare the dataset again") from None
    return image


def check_jpeg(picture: bytes, size: int, where: str) -> None:
    """Raise UserError naming `where` unless it is a square JPEG that holds a crop of `size` px."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(picture)
    except ValueError as error:
        raise UserError(f"{where}: a damaged JPEG ({error}); prepare the dataset again") from None
    if height != width or height < size or (height - size) % 2:
        raise UserError(
            f"{where}: a JPEG of {width}x{height} px, expected a square of {size} px or an even "
            "number more; prepare the dataset again"
        )


def central(images: Pictures, size: int) -> Pictures:
    """Return the crops [B, S, S, 3] that are the middle of pictures [B, L, L, 3].

    Raises UserError unless L >= S and L - S is even.
    """
    margin, odd = divmod(images.shape[1] - size, 2)
    if margin < 0 or odd:
        raise UserError(
            f"stored pictures of {images.shape[1]} px do not hold crops of {size} px in their "
            "middle; prepare the dataset again"
        )
    return images[:, margin : margin + size, margin : margin + size]
