"""The rasteriser against a naive one, and numba without a place for its cache."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from multibodies.data.jit import jit
from multibodies.data.renderer import FAR, FOCAL, Canvas, Lamp, new_canvas, rasterise, resolve

FRONT = Lamp(np.array([0, 0, -1], np.float32), np.float32(1), np.float32(0))  # no shading


def draw(
    vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray, size: int, samples: int
) -> Canvas:
    canvas = new_canvas(size, samples, len(vertices), len(faces))
    shift = np.array([0, 0, 50], np.float32)
    as32 = vertices.astype(np.float32), faces.astype(np.uint32), colours.astype(np.float32)
    rasterise(*as32, shift, FRONT, canvas)
    return canvas


def naive_depth(vertices: np.ndarray, faces: np.ndarray, side: int) -> np.ndarray:
    """Cast rays through the sample centres, in double precision; backs do not count."""
    depth = np.full((side, side), float(FAR))
    moved = vertices + np.array([0, 0, 50.0])
    for y in range(side):
        for x in range(side):
            ray = np.array([(x + 0.5) / side - 0.5, (y + 0.5) / side - 0.5, float(FOCAL)])
            for a, b, c in moved[faces]:
                if np.dot(np.cross(b - a, c - a), a) >= 0:
                    continue
                u, v, t = np.linalg.solve(np.stack([b - a, c - a, -ray], axis=1), -a)
                if u >= 0 and v >= 0 and u + v <= 1:
                    depth[y, x] = min(depth[y, x], t * ray[2])
    return depth


def test_depth_against_ray_casting() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.uniform(-1, 1, (30, 3)) * [1, 1, 0.5]
    faces = rng.permutation(30).reshape(10, 3)
    faces = np.concatenate([faces, faces[:, ::-1]])  # one of the two faces us
    got = draw(vertices, faces, np.ones((30, 3)), 24, 1).depth
    want = naive_depth(vertices, faces, 24)
    agree = (got < FAR) == (want < float(FAR))
    assert agree.mean() > 0.99  # samples on an edge may fall on either side
    both = (got < FAR) & (want < float(FAR))
    assert both.sum() > 100
    close = np.abs(got[both] - want[both]) < 1e-2  # depth is interpolated linearly on the screen
    assert close.mean() > 0.99


def square(z: float, half: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    return corners, np.array([[0, 2, 1], [0, 3, 2]])


def test_nearer_square_wins_in_any_order_and_coverage_is_its_area() -> None:
    near, faces = square(-1.0, 0.5)
    far, _ = square(1.0, 0.8)
    for vertices, first in ((np.concatenate([near, far]), 0), (np.concatenate([far, near]), 4)):
        colours = np.zeros((8, 3))
        colours[first : first + 4, 0] = 1
        colours[4 - first : 8 - first, 1] = 1
        canvas = draw(vertices, np.concatenate([faces, faces + 4]), colours, 64, 2)
        image, cover = np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.float32)
        resolve(canvas, 2, image, cover)
        assert image[32, 32] == pytest.approx(
            [0.8 + 0.0, 0, 0], abs=0.01
        )  # the sky term of a front-facing surface
        side = 2 * float(FOCAL) * 0.8 / 51
        assert cover.sum() / 64**2 == pytest.approx(side**2, rel=0.03)
        assert cover.max() == 1


def test_faces_from_behind_or_too_near_are_not_drawn() -> None:
    corners, faces = square(0.0)
    assert (draw(corners, faces[:, ::-1], np.ones((4, 3)), 16, 1).depth == FAR).all()
    behind, _ = square(-50.0)
    assert (draw(behind, faces, np.ones((4, 3)), 16, 1).depth == FAR).all()


def test_light_shades_by_the_cosine() -> None:
    corners, faces = square(0.0)
    lamp = Lamp(np.array([0.6, 0, -0.8], np.float32), np.float32(0), np.float32(0))
    canvas = new_canvas(8, 1, 4, 2)
    grey, shift = np.full((4, 3), 0.5, np.float32), np.array([0, 0, 50], np.float32)
    rasterise(corners.astype(np.float32), faces.astype(np.uint32), grey, shift, lamp, canvas)
    assert canvas.colour[4, 4] == pytest.approx([0.4] * 3, abs=1e-6)


def test_kernels_compile_without_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def njit(**options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)

    def double(x: int) -> int:
        return 2 * x

    assert jit(double)(21) == 42
