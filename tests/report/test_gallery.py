"""The gallery on embedded rows, with hypotheses of which one is the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from multibodies.config import DataConfig
from multibodies.core.body import BodyArrays, JointBody, load_body
from multibodies.core.joints import centre_on_mid_hips
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from multibodies.data.embedded import embedded_rows
from multibodies.data.manifest import Counts, build_manifest, write_manifest
from multibodies.data.schema import SCHEMA_VERSION, table_from_rows
from multibodies.data.shards import shard_name, write_shard
from multibodies.hypotheses import StoredHypotheses, write_hypotheses
from multibodies.inference import j14
from multibodies.overlay import Painter
from multibodies.report.gallery import (
    CLOSEST,
    OTHER,
    TRUTH,
    Case,
    camera_of,
    draw_gallery,
    first_rows,
    make_case,
    write_gallery,
)

pytestmark = pytest.mark.slow

SPLIT, ROWS, M, RIGHT = "awild-test", 4, 7, 3
DATA = DataConfig(image_size=64)


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body()


@pytest.fixture(scope="module")
def rows(arrays: BodyArrays) -> dict[str, Any]:
    return embedded_rows(SPLIT, 0, ROWS, DATA, arrays)


@pytest.fixture(scope="module")
def stored(arrays: BodyArrays, rows: dict[str, Any]) -> StoredHypotheses:
    """M hypotheses per image: the truth at RIGHT, else the truth with joints bent far off."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.from_numpy(rows["theta"])[:, None].repeat(1, M, 1, 1)
    bent = 0.5 * torch.randn(theta.shape, generator=generator)
    bent[:, RIGHT] = bent[:, :, 0] = 0
    rotations = axis_angle_to_matrix(theta + bent)
    beta = torch.from_numpy(rows["beta"])[:, None].repeat(1, M, 1)
    posed = JointBody(arrays, ("j24", "h36m17"))(rotations.flatten(0, 1), beta.flatten(0, 1))
    j24, h36m = (posed[name].unflatten(0, (ROWS, M)) for name in ("j24", "h36m17"))
    return StoredHypotheses(
        tuple(rows["image_id"]),
        matrix_to_rotation_6d(rotations).numpy(),
        beta.numpy(),
        np.repeat(rows["camera"][:, None], M, axis=1),
        centre_on_mid_hips(j24).numpy(),
        j14(h36m).numpy(),
        np.zeros((ROWS, M, 24, 2), np.float32),
        np.zeros((ROWS, M), np.float32),
    )


@pytest.fixture(scope="module")
def painter(arrays: BodyArrays) -> Painter:
    return Painter(arrays)


@pytest.fixture(scope="module")
def case(rows: dict[str, Any], stored: StoredHypotheses, painter: Painter) -> Case:
    return make_case(rows, 1, stored, M, 0.0, painter)


def test_the_closest_hypothesis_is_the_one_that_is_the_truth(case: Case) -> None:
    assert case.errors_mm[case.closest] < 0.01
    assert sorted(case.errors_mm)[1] > 20
    np.testing.assert_allclose(case.bodies[case.closest], case.truth, atol=1e-5)


def test_the_truth_stands_on_its_visible_keypoints(
    rows: dict[str, Any], case: Case, painter: Painter
) -> None:
    plain = np.full((192, 192, 3), 255, np.uint8)
    drawn = painter.over(plain, case.truth, case.truth_camera, TRUTH)
    body = (drawn != 255).any(-1)
    keypoints = rows["keypoints_2d"][1]
    seen = keypoints[keypoints[:, 2] > 0]
    x, y = ((seen[:, :2] + 1) * 96).astype(int).clip(0, 191).T
    assert len(seen) > 3
    assert body[y, x].mean() > 0.85


def test_bodies_are_drawn_and_the_shirts_tell_them_apart(case: Case, painter: Painter) -> None:
    figure = draw_gallery([case], painter)
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(pictures) == 1 + 2 * (M + 1)
    sides = pictures[2 + M :]
    expected = [CLOSEST if i == case.closest else OTHER for i in range(M)] + [TRUTH]
    for picture, shirt in zip(sides, expected, strict=True):
        colours = np.asarray(picture).reshape(-1, 3) / 255
        directions = colours / np.linalg.norm(colours, axis=1, keepdims=True)
        wanted = np.array(shirt) / np.linalg.norm(shirt)
        assert ((directions @ wanted) > 0.998).mean() > 0.02, "share of pixels in the shirt's hue"


def test_images_are_picked_by_their_occlusion_and_order_only() -> None:
    assert first_rows(["none", "legs", "none", "head", "head"], 2) == [1, 3]
    assert first_rows(["none", "none", "none"], 2) == [0, 1]


def test_a_camera_that_no_row_has_is_found_from_its_keypoints(
    rows: dict[str, Any], painter: Painter
) -> None:
    bare = {**rows, "camera": np.zeros_like(rows["camera"])}
    for row in range(ROWS):
        bare["keypoints_2d"][row, :, 2] = 1
        found = camera_of(bare, row, painter)
        np.testing.assert_allclose(found, rows["camera"][row], rtol=0.05, atol=0.02)
        np.testing.assert_array_equal(camera_of(rows, row, painter), rows["camera"][row])


def test_no_case_is_refused(painter: Painter) -> None:
    with pytest.raises(ValueError, match="at least one case"):
        draw_gallery([], painter)


def test_a_gallery_is_written_from_a_runs_folder(
    tmp_path: Path, rows: dict[str, Any], stored: StoredHypotheses
) -> None:
    shard = write_shard(tmp_path / "data", shard_name(SPLIT, 0), table_from_rows(rows, 64))
    recipe = {"schema_version": SCHEMA_VERSION, "data": DATA.model_dump(mode="json")}
    counts = {SPLIT: Counts(rows=ROWS, strategies={})}
    write_manifest(tmp_path / "data", build_manifest(recipe, {SPLIT: [shard]}, counts))
    write_hypotheses(tmp_path / "hypotheses" / "seed0-ri1" / SPLIT / "part-00000.parquet", stored)
    figure = write_gallery(tmp_path, "seed0-ri1", SPLIT, flow_weight=0.0, count=2)
    assert figure is not None
    assert figure.path == tmp_path / "figures" / f"gallery-{SPLIT}.png"
    assert "closest to the truth in blue" in figure.caption
    with Image.open(figure.path) as image:
        assert image.size[0] > 800
