"""Pictures of strangers: each way to be wrong is a row refused by name, and costs no other row."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multibodies.config import DataConfig
from multibodies.data.photo import load_photo
from multibodies.data.sources.pictures import pixels_of
from multibodies.data.sources.record import Box, Picture, Record
from multibodies.data.sources.rows import RowMaker
from multibodies.errors import UserError

DATA = DataConfig(image_size=32, occlusion_share=0.0)


def photograph(path: Path, mode: str = "RGB") -> Path:
    y, x = np.mgrid[:60, :80]
    pixels = np.stack([3 * x, 4 * y, x + y], 2).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, quality=95)
    return path


def record(path: Path) -> Record:
    points = np.zeros((24, 3))
    points[:4] = [[30, 20, 1], [50, 20, 1], [30, 40, 1], [50, 40, 1]]
    return Record(
        path.name, Picture(path), f"images/{path.name}", Box(40, 30, 40), "s", "q", keypoints=points
    )


def reason(path: Path) -> str:
    rows, refused = RowMaker(DATA, "lsp-train").rows([record(path)])
    assert (rows["image_id"], len(refused)) == ([], 1)
    return refused[0].reason


def resized(path: Path, width: int, height: int) -> Path:
    """Claim another size in the frame header (SOF0) of a JPEG."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    path.write_bytes(data)
    return path


def test_what_is_no_picture_is_refused_by_its_name_within_the_set(tmp_path: Path) -> None:
    cut = photograph(tmp_path / "cut.jpg")
    cut.write_bytes(cut.read_bytes()[:600])
    page = tmp_path / "page.jpg"
    page.write_text("<html>log in</html>")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    large = tmp_path / "large.png"
    Image.new("1", (20_000, 20_000)).save(large)
    cases = {
        tmp_path / "gone.jpg": "images/gone.jpg: no such image file",
        cut: "images/cut.jpg: truncated or damaged image",
        page: "images/page.jpg: not an image",
        empty: "images/empty.jpg: not an image",
        large: "images/large.png: more than 80 megapixels; shrink the image first",
        resized(photograph(tmp_path / "bomb.jpg"), 20_000, 20_000): (
            "images/bomb.jpg: more than 80 megapixels"
        ),
        tmp_path: f"images/{tmp_path.name}: no such image file",
    }
    for path, expected in cases.items():
        assert reason(path).startswith(expected), reason(path)


def test_one_bad_picture_costs_no_other_row(tmp_path: Path) -> None:
    good = record(photograph(tmp_path / "good.jpg"))
    rows, refused = RowMaker(DATA, "lsp-train").rows([good, record(tmp_path / "gone.jpg"), good])
    assert rows["image_id"] == ["good.jpg", "good.jpg"]
    assert [r.row for r in refused] == [1]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg_reads_as_pillow_reads_it(tmp_path: Path, mode: str) -> None:
    path = photograph(tmp_path / f"{mode}.jpg", mode)
    found = pixels_of(Picture(path)).astype(int)
    assert found.shape == (60, 80, 3)
    assert abs(found - load_photo(path)).max() <= 4


def test_orientation_is_obeyed(tmp_path: Path) -> None:
    path = photograph(tmp_path / "turned.jpg")
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # turned by a quarter
        image.save(path, exif=exif, quality=95)
    assert pixels_of(Picture(path)).shape == (80, 60, 3)


def test_a_png_is_read_and_a_crop_far_outside_is_refused(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels_of(Picture(path)), load_photo(path))
    with pytest.raises(UserError, match="no such image file"):
        pixels_of(Picture(tmp_path / "b.png"))
