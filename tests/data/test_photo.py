"""Photographs: decoded upright as RGB, and every broken file is one sentence that names it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multibodies.data.photo import load_photo
from multibodies.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
ORIENTATION = 274  # EXIF tag
# EXIF 2.32, table 6: what a viewer does to the stored rows to show them upright.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", list(UPRIGHT))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "photo.png"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif)
    np.testing.assert_array_equal(load_photo(path), UPRIGHT[orientation](PIXELS))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "photo.tiff"
    Image.fromarray(PIXELS).convert(mode).save(path)
    found = load_photo(path)
    assert found.shape == (6, 9, 3)
    assert found.dtype == np.uint8


def jpeg(path: Path, side: int = 64) -> Path:
    Image.effect_noise((side, side), 60).convert("RGB").save(path, "JPEG")
    return path


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9])
def test_a_truncated_jpeg_is_refused(tmp_path: Path, share: float) -> None:
    path = jpeg(tmp_path / "photo.jpg")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"photo\.jpg: (truncated or damaged|not an) image"):
        load_photo(path)


def test_a_damaged_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"photo\.png: truncated or damaged"):
        load_photo(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"photo\.jpg: not an image; expected one of JPEG"):
        load_photo(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(UserError, match="no such image file"):
            load_photo(path)


@pytest.mark.parametrize("side", [9_100, 12_000, 20_000])
def test_a_decompression_bomb_is_refused_without_decoding(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    head = Image.new("1", (8, 8))
    head.save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2  # the size in PNG's first chunk
    checked = zlib.crc32(bytes(content[12:29]))
    content[29:33] = checked.to_bytes(4, "big")
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"bomb\.png: .*megapixels; shrink"):
        load_photo(path)
