"""A person's JPEG crop out of a photograph: read, cut, resized, written, as `prepare` does it.

The other road is Pillow alone. Without simplejpeg, OpenCV and Pillow the row says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from multibodies.bench.harness import Row, Setting, absent, alternate, faster

NAME = "JPEG crops: Pillow / simplejpeg + OpenCV"
TARGET = 1.0
QUALITY = 95


def measure(setting: Setting) -> Iterator[Row]:
    """Yield one row, with the rows a second of one core."""
    (width, height), size = ((160, 120), 32) if setting.quick else ((640, 480), 224)
    try:
        photograph = by_ours_encoded(scene(width, height))
        roads = {
            "pillow": partial(by_pillow, photograph, size),
            "ours": partial(by_ours, photograph, size),
        }
        times = alternate("pictures", roads, setting)
    except ImportError as error:
        yield absent(NAME, TARGET, f"{error.name} is not installed")
        return
    note = f"{width}x{height} px to {size}, {1 / times['ours'].median:.0f} rows/s per core"
    yield faster(NAME, times["pillow"], times["ours"], TARGET, note=note)


def scene(width: int, height: int) -> Tensor:
    """Return an RGB picture [H, W, 3] with the detail of a photograph, by smoothed noise."""
    noise = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")
    return (255 * large[0]).to(torch.uint8).permute(1, 2, 0).contiguous()


def by_ours_encoded(image: Tensor) -> bytes:
    """Return a picture as JPEG."""
    from multibodies.data.pixels import encode_jpeg

    return encode_jpeg(image.numpy(), 90)


def box_of(width: int, height: int) -> tuple[int, int, int]:
    """Return left, top and side of a person's square that is over half as high as the picture."""
    side = int(0.6 * height)
    return (width - side) // 2, (height - side) // 2, side


def by_ours(photograph: bytes, size: int) -> bytes:
    """Return the crop as JPEG, by the functions of `prepare`."""
    from multibodies.data.crops import Square, crop
    from multibodies.data.pixels import decode_jpeg, encode_jpeg

    image = decode_jpeg(photograph)
    square = Square(*box_of(image.shape[1], image.shape[0]))
    return encode_jpeg(crop(image, square, size), QUALITY)


def by_pillow(photograph: bytes, size: int) -> bytes:
    """Return the crop as JPEG, by Pillow's own decoder, area filter and encoder."""
    from PIL import Image

    image = Image.open(io.BytesIO(photograph)).convert("RGB")
    left, top, side = box_of(image.width, image.height)
    cut = image.crop((left, top, left + side, top + side))
    written = io.BytesIO()
    cut.resize((size, size), Image.Resampling.BOX).save(
        written, "JPEG", quality=QUALITY, subsampling=0
    )
    return written.getvalue()
