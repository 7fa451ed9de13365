"""Noise, backdrops, occluders and clothes: functions of their place, bounded, and dressed."""

from __future__ import annotations

import numpy as np
import pytest

from multibodies.core.body import load_body
from multibodies.data.clothes import (
    ARM,
    EYE,
    FOOT,
    HAIR,
    LEG,
    SKIN,
    TORSO,
    body_regions,
    draw_outfits,
    paint,
)
from multibodies.data.draws import draw_rows
from multibodies.data.noise import hashed, ten_bits, value_noise
from multibodies.data.picture import compose, develop, new_sheets
from multibodies.data.renderer import FAR, new_canvas
from multibodies.data.scene import LOOKS, draw_scene
from multibodies.data.subjects import POOL_SIZES, subject_pool


def axis(centre: float, half: float, size: int) -> np.ndarray:
    return (centre + half * ((2 * np.arange(size) + 1) / size - 1)).astype(np.float32)


def noise(xs: np.ndarray, ys: np.ndarray, cells: float, bits: int = 12345) -> np.ndarray:
    out = np.empty((len(ys), len(xs), 3), np.float32)
    value_noise(np.uint64(bits), 1, xs, ys, cells, out)
    return out


def test_hash_against_python_integers() -> None:
    mask = 2**64 - 1
    z = (987654321 + 2 * 0x9E3779B97F4A7C15) & mask
    z = (z + (-5 + 65536) * 0xD1B54A32D192ED03 + (7 + 65536) * 0xABC98388FB8FAC03) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    z ^= z >> 31
    assert int(hashed(np.uint64(987654321), 2, -5, 7)) == z
    assert int(ten_bits(np.uint64(z), 3)) == (z >> 30) & 1023


def test_noise_is_a_function_of_the_place() -> None:
    """A crop of the texture equals the texture, also beyond the frame."""
    whole = noise(axis(0, 2, 64), axis(0, 2, 64), 5)
    part = noise(axis(0, 2, 64)[40:50], axis(0, 2, 64)[3:9], 5)
    np.testing.assert_allclose(part, whole[3:9, 40:50], atol=1e-5)
    assert 0 <= whole.min() < 0.2
    assert 0.8 < whole.max() <= 1


def test_noise_interpolates_the_lattice() -> None:
    """At cell corners the noise is the hash, halfway the corners' mean: smoothstep(1/2) = 1/2."""
    xs = np.array(
        [-1.0, -0.5, 0.0], np.float32
    )  # lattice coordinates 0, 1/2, 1 at 2 cells per frame
    got = noise(xs, np.array([0.0], np.float32), 2)[0]
    for place, column in ((0, 0), (1, 2)):
        h = int(hashed(np.uint64(12345), 1, place, 1))
        assert got[column] == pytest.approx(
            [((h >> 21 * c) & 0x1FFFFF) / 2097151 for c in range(3)], abs=1e-5
        )
    assert got[1] == pytest.approx((got[0] + got[2]) / 2, abs=1e-5)


def picture(
    clutter: float, view: tuple[float, float, float], row: int, size: int = 32
) -> np.ndarray:
    """The scene without a body."""
    scene = draw_scene(draw_rows(3, 0, range(40)), LOOKS["wild"], clutter)
    canvas, sheets = new_canvas(size, 1, 1, 1), new_sheets(size)
    canvas.depth[:] = FAR
    compose(canvas, 1, scene, row, np.array(view, np.float32), sheets)
    return sheets.body.copy()


def test_a_view_shows_the_same_scene() -> None:
    """The middle of a 64 px picture is the picture of the middle, occluders included."""
    for row in range(12):
        whole = picture(1.0, (0, 0, 1), row, 64)
        part = picture(1.0, (0.0, 0.0, 0.5), row, 32)
        assert np.mean(np.abs(whole[16:48, 16:48] - part).max(-1) < 1e-3) > 0.99


def test_clutter_adds_texture_and_occluders() -> None:
    flat = [np.ptp(picture(0.0, (0, 0, 1), row)[0], axis=0).max() for row in range(40)]
    assert max(flat) < 1e-6
    rough = [picture(1.0, (0, 0, 1), row).std(axis=(0, 1)).mean() for row in range(40)]
    smooth = [picture(0.0, (0, 0, 1), row).std(axis=(0, 1)).mean() for row in range(40)]
    assert np.mean(rough) > 1.2 * np.mean(smooth)
    draws = draw_rows(3, 0, range(1000))
    for clutter in (0.0, 0.5, 1.0):
        share = (draw_scene(draws, LOOKS["lab"], clutter).occluders.number > 0).mean()
        assert share == pytest.approx(clutter**2 / 2, abs=0.05)


def test_develop_rounds_and_adds_grain_of_the_asked_deviation() -> None:
    grey = np.full((64, 64, 3), 0.5, np.float32)
    image = np.empty((64, 64, 3), np.uint8)
    develop(grey, np.float32(0), np.uint64(9), image)
    assert (image == 128).all()
    develop(grey, np.float32(0.05), np.uint64(9), image)
    assert image.std() / 255 == pytest.approx(0.05, rel=0.03)
    assert image.mean() == pytest.approx(127.5, abs=0.5)
    develop(3 * grey, np.float32(0.05), np.uint64(9), image)
    assert (image == 255).all()


def test_everybody_is_dressed() -> None:
    body = load_body()
    regions = body_regions(body)
    for region in (SKIN, TORSO, ARM, LEG, FOOT, HAIR, EYE):
        assert (regions == region).sum() > 10
    people = subject_pool(0, "lab-val", 1)
    rows = draw_rows(0, 1, range(24))
    who = (rows.u("subject")[:, 0] * len(people.beta)).astype(int)
    dress = draw_outfits(people, who, rows)
    out = np.empty((len(regions), 3), np.float32)
    for row in range(24):
        paint(regions, body.v_template.numpy(), *dress.outfit(row), out)
        skin = dress.colours[row, 0]
        covered = np.abs(out - skin).max(1) > 0.05
        assert covered[regions == TORSO].all()
        hips = (regions == LEG) & (body.v_template.numpy()[:, 1] > -0.4)
        assert covered[hips].all()
        assert not covered[regions == SKIN].any()
        assert (out >= 0).all()


def test_subjects_belong_to_their_split() -> None:
    pools = {split: subject_pool(0, split, k) for k, split in enumerate(POOL_SIZES)}
    for split, people in pools.items():
        assert people.beta.shape == (POOL_SIZES[split], 10)
        assert np.abs(people.beta).max() <= 2.5
    everybody = np.concatenate([people.beta for people in pools.values()])
    assert len(np.unique(everybody, axis=0)) == len(everybody)
    assert not np.array_equal(subject_pool(1, "lab-val", 1).beta, pools["lab-val"].beta)
