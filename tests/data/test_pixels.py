"""JPEG pictures: what comes back, against Pillow's own decoder, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from multibodies.data.pixels import central, check_jpeg, decode_jpeg, decode_jpegs, encode_jpeg
from multibodies.data.schema import check_schema, rows_from_table, table_from_rows
from multibodies.errors import UserError
from row_samples import SIDE, sample_rows


def smooth(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.stack([x * 255 // side, y * 255 // side, (x + y) * 127 // side], 2).astype(np.uint8)


def test_a_picture_comes_back_nearly_and_as_pillow_reads_it() -> None:
    image = smooth(96)
    data = encode_jpeg(image, 95)
    assert encode_jpeg(image, 95) == data
    found = decode_jpeg(data).astype(int)
    assert abs(found - image).max() <= 6
    assert abs(found - np.asarray(Image.open(io.BytesIO(data)))).max() <= 2


def test_the_middle_is_cut_without_resampling() -> None:
    images = np.stack([smooth(20), 255 - smooth(20)])
    np.testing.assert_array_equal(central(images, 12), images[:, 4:16, 4:16])
    np.testing.assert_array_equal(central(images, 20), images)
    for size in (21, 13):
        with pytest.raises(UserError, match=f"20 px do not hold crops of {size} px"):
            central(images, size)


def test_jpeg_rows_are_cut_to_the_crop_unless_asked_for_whole() -> None:
    rows = sample_rows(3)
    rows["image"] = [encode_jpeg(smooth(SIDE + 8), 95)] * 3
    table = table_from_rows(rows, SIDE, "jpeg")
    check_schema(table.schema, SIDE, "x", "jpeg")
    with pytest.raises(UserError, match="column 'image' is binary"):
        check_schema(table.schema, SIDE, "x")
    whole, crops = rows_from_table(table, whole=True)["image"], rows_from_table(table)["image"]
    assert whole.shape == (3, SIDE + 8, SIDE + 8, 3)
    np.testing.assert_array_equal(crops, whole[:, 4:-4, 4:-4])
    assert rows_from_table(table.slice(0, 0))["image"].shape[0] == 0


def test_damaged_and_unequal_pictures_are_refused() -> None:
    data = encode_jpeg(smooth(16), 90)
    for bad in (b"", b"<html>", data[:40]):
        with pytest.raises(UserError, match="a damaged JPEG"):
            decode_jpeg(bad)
        with pytest.raises(UserError, match=r"here: a damaged JPEG"):
            check_jpeg(bad, 16, "here")
    with pytest.raises(UserError, match="several sizes"):
        decode_jpegs([data, encode_jpeg(smooth(18), 90)])
    check_jpeg(data, 12, "here")
    for size in (20, 15):
        with pytest.raises(UserError, match="here: a JPEG of 16x16 px, expected a square"):
            check_jpeg(data, size, "here")
