"""Prediction on a photograph: files, geometry and every kind of bad input."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from model_samples import save_prior, save_regressor
from multibodies.checkpoints import save_module
from multibodies.core.body import load_body
from multibodies.data.crops import Square
from multibodies.errors import UserError
from multibodies.overlay import Painter, common_extent, from_the_side
from multibodies.persons import person_square, trained_size
from multibodies.predict import NOTE, predict

pytestmark = pytest.mark.slow

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_regressor(folder / "model", hypotheses=6)
    save_prior(folder / "prior")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph of 90 x 60 with the colours of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.v1.png")
    return tmp_path / "photo.v1.png"


def run(
    models: Path, image: Path, out: Path, n: int = 5, box: object = (20, 5, 30, 50)
) -> tuple[Path, Path]:
    return predict(image, box, n, models / "model", models / "prior", out)  # type: ignore[arg-type]


def test_picture_and_numbers_are_written(models: Path, photo: Path, tmp_path: Path) -> None:
    png, js = run(models, photo, tmp_path / "out")
    assert [p.name for p in (png, js)] == ["photo.v1.png", "photo.v1.json"]
    assert sorted((tmp_path / "out").iterdir()) == sorted([png, js])
    content = json.loads(js.read_text())
    assert content["note"] == NOTE
    assert content["n"] == len(content["hypotheses"]) == 5
    assert len({row["hypothesis"] for row in content["hypotheses"]}) == 5
    np.testing.assert_allclose(sum(row["weight"] for row in content["hypotheses"]), 1, rtol=1e-6)
    assert np.shape(content["hypotheses"][0]["theta"]) == (24, 3)
    with Image.open(png) as picture:
        assert picture.info["Description"] == NOTE
        assert np.asarray(picture).std() > 10


def test_random_modes_are_drawn_by_the_photographs_name_and_weigh_the_same(
    models: Path, photo: Path, tmp_path: Path
) -> None:
    """Waiting times of rate p^alpha, one by one; at alpha = 0 the densities do not count."""
    seed = int.from_bytes(hashlib.sha256(photo.name.encode()).digest()[:4])
    for alpha in (0.0, 0.5):
        parts = models / "model", models / "prior", tmp_path / "out"
        told = [
            json.loads(
                predict(photo, None, n, *parts, flow_weight=alpha, quantizer=q)[1].read_text()
            )
            for n, q in ((6, "kmeans"), (4, "random"))
        ]
        density = {row["hypothesis"]: row["log_density"] for row in told[0]["hypotheses"]}
        waits = torch.empty(6, dtype=torch.float64)
        waits.exponential_(generator=torch.Generator().manual_seed(seed))
        rings = {m: math.log(waits[m]) - alpha * density[m] for m in range(6)}
        first = sorted(rings, key=lambda m: rings[m])[:4]
        assert [row["hypothesis"] for row in told[1]["hypotheses"]] == first
        assert [row["weight"] for row in told[1]["hypotheses"]] == [0.25] * 4
        assert told[1]["quantizer"] == "random"


def test_keypoints_lie_where_the_camera_puts_them_in_the_photograph(
    models: Path, photo: Path, tmp_path: Path
) -> None:
    content = json.loads(run(models, photo, tmp_path / "out", n=2)[1].read_text())
    x0, _, x1, _ = content["crop"]
    assert (x0 + x1) / 2 == 35  # the box's centre
    for row in content["hypotheses"]:
        # Joints are stored about the mid-hip, so only differences compare: to first order in depth
        # they are s * (X - X0) half sides.
        joints, points = np.array(row["joints_j24"]), np.array(row["keypoints_px"])
        scale = row["camera"][0] * (x1 - x0) / 2
        flat = scale * (joints[:, :2] - joints[0, :2])
        np.testing.assert_allclose(points - points[0], flat, atol=0.06 * np.abs(flat).max() + 0.1)


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared photographs are not here")
@pytest.mark.parametrize(
    ("name", "box"), [("astronaut.png", None), ("coco/000000000785.jpg", (280, 44, 220, 346))]
)
def test_real_photographs(models: Path, tmp_path: Path, name: str, box: object) -> None:
    png, js = run(models, REAL / name, tmp_path, n=2, box=box)
    assert png.stat().st_size > 10_000
    assert len(json.loads(js.read_text())["hypotheses"]) == 2


@pytest.mark.parametrize(
    ("n", "box", "message"),
    [
        (7, (20, 5, 30, 50), "asks for 7 of M = 6 hypotheses"),
        (0, (20, 5, 30, 50), "whole numbers >= 1"),
        (1, (20, 5, 0, 50), "zero area"),
        (1, (500, 500, 30, 50), "does not fit the 90x60 photograph"),
        (1, (20, 5, float("nan"), 50), "four finite numbers"),
    ],
)
def test_bad_requests_write_nothing(
    models: Path, photo: Path, tmp_path: Path, n: int, box: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(models, photo, tmp_path / "out", n, box)
    assert not (tmp_path / "out").exists()


def test_bad_files_are_named(models: Path, photo: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "half.png"
    truncated.write_bytes(photo.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"half\.png"):
        run(models, truncated, tmp_path / "out")
    with pytest.raises(UserError, match=r"none\.png: no such image"):
        run(models, tmp_path / "none.png", tmp_path / "out")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(UserError, match=r"text\.png: not an image"):
        run(models, tmp_path / "text.png", tmp_path / "out")


def test_the_side_comes_from_the_checkpoint_or_must_be_given(tmp_path: Path) -> None:
    assert trained_size({"image_size": 48}, "x") == 48
    assert trained_size({"recipe": {"data": {"image_size": 64}}}, "x") == 64
    with pytest.raises(UserError, match="x: its meta has no image_size"):
        trained_size({"recipe": {"data": "1a2b"}}, "x")


def test_without_a_box_the_whole_photograph_is_seen() -> None:
    assert person_square(np.zeros((60, 90, 3), np.uint8), None) == Square(0, -15, 90)


def test_a_damaged_checkpoint_is_named(models: Path, photo: Path, tmp_path: Path) -> None:
    save_module(
        tmp_path / "model",
        {},
        {"spec": {"num_hypotheses": 5, "width": 8, "hidden": 16}, "image_size": 32},
    )
    with pytest.raises(UserError, match=r"weights\.safetensors: no tensor 'mean'"):
        predict(photo, None, 1, tmp_path / "model", models / "prior", tmp_path / "out")


def upright(painter: Painter) -> npt.NDArray[np.float32]:
    import torch

    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    rotations[0, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    body: npt.NDArray[np.float32] = painter.pose(rotations, torch.zeros(1, 10))[0]
    return body


def test_a_body_is_drawn_where_its_vertices_project_and_nowhere_else() -> None:
    painter = Painter(load_body())
    body = upright(painter)
    white = np.full((96, 96, 3), 255, np.uint8)
    camera = np.array([0.9, 0.1, 0.2], np.float32)
    touched = (painter.over(white, body, camera) != 255).any(-1)
    depth = body[:, 2] + 2 * 5000 / (224 * 0.9)
    points = 5000 / 224 * (body[:, :2] + camera[1:]) / depth[:, None] * 96 + 48
    hull = np.zeros((96, 96), np.uint8)
    for triangle in points[painter.faces].round().astype(np.int32):
        cv2.fillConvexPoly(hull, triangle, 1)
    assert (touched & ~cv2.dilate(hull, np.ones((3, 3))).astype(bool)).sum() == 0
    assert (~touched & cv2.erode(hull, np.ones((5, 5))).astype(bool)).sum() == 0


def test_the_side_view_shows_every_body_whole_at_one_scale() -> None:
    painter = Painter(load_body())
    body = upright(painter)
    bodies = [body, body * np.float32(0.5)]
    extent = common_extent(bodies)
    heights = []
    for scaled in bodies:
        picture = painter.beside(scaled, extent, 64)
        drawn = (picture != picture[0, 0]).any(-1)
        assert not drawn[[0, -1]].any()
        assert not drawn[:, [0, -1]].any()
        heights.append(drawn.any(1).sum())
    assert abs(heights[0] - 2 * heights[1]) <= 2


def test_from_the_side_turns_depth_into_width_and_mirrors_nothing() -> None:
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    turned = from_the_side(points)
    np.testing.assert_array_equal(turned[:, 0], points[:, 2])
    turn = np.linalg.lstsq(points, turned, rcond=None)[0]
    np.testing.assert_allclose(np.linalg.det(turn), 1, rtol=1e-4)
