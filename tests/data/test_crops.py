"""Crops against block means and painted dots; boxes and keypoints go through one mapping."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multibodies.data.crops import Square, crop, from_ndc, square_around, to_ndc
from multibodies.errors import UserError
from row_samples import SIDE


def photo(height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("factor", [2, 3])
def test_shrinking_by_a_whole_factor_averages_blocks(factor: int) -> None:
    image, side = photo(), SIDE * factor
    found = crop(image, Square(7, 5, side), SIDE)
    blocks = image[5 : 5 + side, 7 : 7 + side].astype(float)
    means = blocks.reshape(SIDE, factor, SIDE, factor, 3).mean((1, 3))
    assert np.abs(found - means).max() <= 0.5 + 1e-9


def test_a_square_of_the_networks_side_is_copied() -> None:
    image = photo()
    np.testing.assert_array_equal(crop(image, Square(7, 5, SIDE), SIDE), image[5:21, 7:23])


def test_outside_the_photograph_is_black() -> None:
    image = photo()
    found = crop(image, Square(-4, -6, SIDE), SIDE)
    expected = np.zeros((SIDE, SIDE, 3), np.uint8)
    expected[6:, 4:] = image[:10, :12]
    np.testing.assert_array_equal(found, expected)
    far = crop(image, Square(85, 55, SIDE), SIDE)
    np.testing.assert_array_equal(far[:5, :5], image[55:60, 85:90])
    assert far[5:].max() == 0
    assert far[:, 5:].max() == 0


@pytest.mark.parametrize("square", [Square(10, 4, 40), Square(-9, -3, 48), Square(22, 11, 13)])
def test_a_painted_dot_lands_where_the_mapping_says(square: Square) -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    image[18:21, 27:30] = 255  # three pixels about the centre of pixel (28, 19)
    found = crop(image, square, 4 * SIDE)[..., 0].astype(float)
    centres = np.arange(4 * SIDE) + 0.5
    centroid = np.array([(found.sum(0) * centres).sum(), (found.sum(1) * centres).sum()])
    ndc = 2 * centroid / found.sum() / (4 * SIDE) - 1
    np.testing.assert_allclose(to_ndc(np.array([[28.5, 19.5]]), square)[0], ndc, atol=0.02)


def test_edges_of_the_square_are_minus_one_and_one() -> None:
    square = Square(3, -2, 10)
    x0, y0, x1, y1 = square.corners
    corners = to_ndc(np.array([[x0, y0], [x1, y1]]), square)
    np.testing.assert_array_equal(corners, [[-1, -1], [1, 1]])


@given(
    st.integers(-500, 500),
    st.integers(-500, 500),
    st.integers(1, 900),
    st.lists(st.tuples(st.floats(-999, 999), st.floats(-999, 999)), min_size=1, max_size=5),
)
def test_ndc_and_back_is_the_same_point(left: int, top: int, side: int, points: Any) -> None:
    square, given_points = Square(left, top, side), np.array(points)
    back = from_ndc(to_ndc(given_points, square), square)
    np.testing.assert_allclose(back, given_points, atol=1e-3)


@given(*[st.floats(1, 400) for _ in range(4)])
def test_the_square_holds_the_box_about_its_centre(
    x: float, y: float, width: float, height: float
) -> None:
    square = square_around(x, y, width, height)
    x0, y0, x1, y1 = square.corners
    assert abs((x0 + x1) / 2 - (x + width / 2)) <= 1
    assert abs((y0 + y1) / 2 - (y + height / 2)) <= 1
    assert abs(square.side - 1.2 * max(width, height)) <= 0.5


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-3, 5), (0, 0)])
def test_a_box_without_area_is_refused(width: float, height: float) -> None:
    with pytest.raises(UserError, match="zero area"):
        square_around(1, 2, width, height)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_box_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(UserError, match="finite"):
        square_around(1, bad, 3, 4)


@pytest.mark.parametrize(
    "square", [Square(90, 0, 9), Square(0, 60, 9), Square(-9, 0, 9), Square(0, 0, 10**6)]
)
def test_a_square_off_the_photograph_is_refused(square: Square) -> None:
    with pytest.raises(UserError, match="does not fit the 90x60 photograph"):
        crop(photo(), square, SIDE)
