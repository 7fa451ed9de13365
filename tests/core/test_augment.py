"""Augmentation: labels against a body posed anew, pixels against marks at the joints, inverses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from multibodies.core.augment import Draws, Ranges, augment, draw
from multibodies.core.body import BodyArrays, JointBody, MeshBody, load_body
from multibodies.core.camera import project
from multibodies.core.joints import J24_FLIP, centre_on_mid_hips
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.pixels import central
from multibodies.lookalikes.people import COLOURS, draw_picture, sample_person

SIZE, STORED = 96, 144
SPIN = Ranges(0.5, math.radians(30), 0.6, 0.25, 0.4)
CASES = {  # flip, degrees, scale
    "nothing": (False, 0.0, 1.0),
    "flip": (True, 0.0, 1.0),
    "turn": (False, 35.0, 1.0),
    "turn back": (False, -60.0, 1.0),
    "shrink": (False, 0.0, 1.25),
    "grow": (False, 0.0, 0.75),
    "all": (True, -25.0, 1.15),
}
LABELS = ("keypoints_2d", "openpose", "joints_3d", "h36m17", "theta", "beta")


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body()


def _draws(flip: bool, degrees: float, scale: float, rows: int, gain: float = 1.0) -> Draws:
    return Draws(
        torch.full((rows,), flip),
        torch.full((rows,), math.radians(degrees), dtype=torch.float64),
        torch.full((rows,), scale, dtype=torch.float64),
        torch.full((rows, 3), gain, dtype=torch.float64),
    )


def _spun(rows: int, seed: int = 0) -> Draws:
    return draw(SPIN, rows, torch.Generator().manual_seed(seed))


def _posed(body: BodyArrays, theta: Tensor, beta: Tensor) -> dict[str, Tensor]:
    names = ("j24", "openpose25", "h36m17")
    return JointBody(body, names, dtype=torch.float64)(axis_angle_to_matrix(theta), beta)


def _seen(points: Tensor) -> Tensor:
    inside = (points.abs() <= 1).all(-1, keepdim=True)
    return torch.cat([points, inside.to(points)], -1)


def _labels(body: BodyArrays, rows: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Return float64 labels of people, all from one posed body and camera per row."""
    rng = np.random.default_rng(seed)
    people = [sample_person(body, rng) for _ in range(rows)]
    theta = torch.from_numpy(np.stack([p.theta for p in people]))
    beta = torch.from_numpy(np.stack([p.beta for p in people])) * 0.5
    camera = torch.tensor([0.85, 0.0, 0.25]) + 0.05 * torch.from_numpy(rng.normal(size=(rows, 3)))
    posed = _posed(body, theta, beta)
    j24, h36m = posed["j24"], posed["h36m17"]
    return {
        "theta": theta,
        "beta": beta,
        "camera": camera,
        "keypoints_2d": _seen(project(j24, camera)),
        "openpose": _seen(project(posed["openpose25"], camera)),
        "joints_3d": torch.cat([centre_on_mid_hips(j24), torch.ones(rows, 24, 1)], -1),
        "h36m17": h36m - h36m[:, :1],
    }


def _pelvis(body: BodyArrays, beta: Tensor) -> Tensor:
    """Return the root's place at rest [B, 3], read off the mesh: turning the root leaves it."""
    still = torch.eye(3, dtype=torch.float64).expand(len(beta), 24, 3, 3)
    return MeshBody(body, dtype=torch.float64).joints54(still, beta)[:, 0]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_augmented_labels_are_those_of_the_augmented_body(
    body: BodyArrays, case: tuple[bool, float, float]
) -> None:
    """The new pose, posed and seen through the new camera, gives the new joints and keypoints."""
    rows = _labels(body)
    made = augment(rows, _draws(*case, rows=6), SIZE, _pelvis(body, rows["beta"]))
    posed = _posed(body, made["theta"], rows["beta"])
    near = 1e-7  # regressors add up to 1 in single precision
    joints = centre_on_mid_hips(posed["j24"])
    assert (joints - made["joints_3d"][..., :3]).abs().max() < near
    h36m = posed["h36m17"] - posed["h36m17"][:, :1]
    assert (h36m - made["h36m17"]).abs().max() < near
    # a scaled camera is exact at depth 0 and to first order beside it
    tolerance = 5e-3 if case[2] != 1 else near
    for name, points in (("keypoints_2d", posed["j24"]), ("openpose", posed["openpose25"])):
        seen = project(points, made["camera"])
        assert (seen - made[name][..., :2]).abs().max() < tolerance, name
    assert made["beta"] is rows["beta"]


def test_a_turn_is_the_same_in_space_and_in_the_picture() -> None:
    """By 90 degrees: right becomes down (ndc and camera's y point down), down becomes left."""
    rows = {
        "keypoints_2d": torch.tensor([[[0.5, 0.0, 1.0]] * 24]).double(),
        "joints_3d": torch.tensor([[[0.3, 0.1, 0.2, 1.0]] * 24]).double(),
    }
    made = augment(rows, _draws(False, 90.0, 1.0, rows=1), SIZE)
    assert torch.allclose(made["keypoints_2d"][0, 0], torch.tensor([0.0, 0.5, 1.0]).double())
    assert torch.allclose(made["joints_3d"][0, 0], torch.tensor([-0.1, 0.3, 0.2, 1.0]).double())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pixels_move_with_the_keypoints(case: tuple[bool, float, float]) -> None:
    """Each joint's mark lies where its keypoint is; of a mirrored one, its other side's mark."""
    grid = np.stack(np.meshgrid(np.linspace(-0.48, 0.48, 5), np.linspace(-0.48, 0.48, 5)), -1)
    ndc = grid.reshape(-1, 2)[:24] + np.random.default_rng(3).uniform(-0.03, 0.03, (24, 2))
    pixels = STORED / 2 + SIZE / 2 * ndc
    picture = draw_picture((STORED, STORED), pixels, np.random.default_rng(3), radius=3)
    rows = {
        "image": torch.from_numpy(picture)[None],
        "keypoints_2d": torch.from_numpy(np.column_stack([ndc, np.ones(24)]))[None],
    }
    made = augment(rows, _draws(*case, rows=1), SIZE)
    assert made["image"].shape == (1, SIZE, SIZE, 3)
    points = made["keypoints_2d"][0]
    assert (points[:, 2] == 1).all()
    at = (SIZE / 2 * (points[:, :2] + 1)).floor().long()
    seen = made["image"][0, at[:, 1], at[:, 0]].numpy().astype(int)
    expected = COLOURS[list(J24_FLIP)] if case[0] else COLOURS
    assert np.abs(seen - expected.astype(int)).max() < 30


def _pictures(rows: int, side: int = STORED) -> Tensor:
    return torch.randint(0, 256, (rows, side, side, 3), dtype=torch.uint8)


def test_nothing_drawn_is_the_central_crop_bit_for_bit(body: BodyArrays) -> None:
    rows = {**_labels(body), "image": _pictures(6)}
    del rows["camera"]
    made = augment(rows, _draws(False, 0.0, 1.0, rows=6), SIZE)
    expected = central(rows["image"].numpy(), SIZE)
    assert made["image"].dtype == torch.uint8
    assert np.array_equal(made["image"].numpy(), expected)
    for name in LABELS:
        assert torch.equal(made[name], rows[name]), name


@pytest.mark.parametrize(("stored", "size"), [(336, 224), (300, 224), (64, 64), (17, 17)])
def test_nothing_drawn_is_the_central_crop_at_any_size(stored: int, size: int) -> None:
    if (stored - size) % 2 == 0:
        images = _pictures(2, stored)
        made = augment({"image": images}, _draws(False, 0.0, 1.0, rows=2), size)["image"]
        assert np.array_equal(made.numpy(), central(images.numpy(), size))


def test_a_mirrored_picture_is_mirrored_bit_for_bit() -> None:
    images = _pictures(2)
    made = augment({"image": images}, _draws(True, 0.0, 1.0, rows=2), SIZE)["image"]
    assert np.array_equal(made.numpy(), central(images.numpy(), SIZE)[:, :, ::-1])


def _back(case: tuple[bool, float, float]) -> tuple[bool, float, float]:
    """What undoes a mirror, a turn or a scale."""
    return case[0], -case[1], 1 / case[2]


@pytest.mark.parametrize("name", ["flip", "turn", "turn back", "shrink", "grow"])
def test_there_and_back_is_the_same(body: BodyArrays, name: str) -> None:
    rows, pelvis = _labels(body), None
    rows["keypoints_2d"][..., :2] *= 0.4  # nothing leaves the crop
    rows["openpose"][..., :2] *= 0.4
    camera, pelvis = rows.pop("camera"), _pelvis(body, rows["beta"])
    case = CASES[name]
    there = augment(rows, _draws(*case, rows=6), SIZE)
    again = augment(there, _draws(*_back(case), rows=6), SIZE)
    for label in LABELS:
        if label == "theta":
            turns, true = (axis_angle_to_matrix(x[label]) for x in (again, rows))
            assert (turns - true).abs().max() < 1e-12
        else:
            assert (again[label] - rows[label]).abs().max() < 1e-12, label
    if name == "flip":
        assert all(torch.equal(again[label], rows[label]) for label in LABELS)
    seen = augment({"camera": camera}, _draws(*case, rows=6), SIZE, pelvis)
    seen = augment(seen, _draws(*_back(case), rows=6), SIZE, pelvis)
    assert (seen["camera"] - camera).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["flip", "turn", "shrink", "grow"])
def test_a_picture_comes_back_but_for_interpolation(name: str) -> None:
    """Smooth pictures, and only the middle, which no border reaches."""
    wave = torch.linspace(0, 6, STORED)
    plane = 127 + 60 * torch.sin(wave)[:, None] + 60 * torch.cos(1.3 * wave)[None]
    image = plane.round().to(torch.uint8)[None, :, :, None].repeat(1, 1, 1, 3)
    case = CASES[name]
    there = augment({"image": image}, _draws(*case, rows=1), STORED)
    again = augment(there, _draws(*_back(case), rows=1), SIZE // 2)["image"]
    difference = again.int().numpy() - central(image.numpy(), SIZE // 2).astype(int)
    assert np.abs(difference).max() <= 3


def test_what_leaves_the_crop_is_not_visible_and_what_was_hidden_stays_so() -> None:
    points = torch.zeros(1, 24, 3)
    points[0, 0] = torch.tensor([0.9, 0.0, 1.0])
    points[0, 1] = torch.tensor([0.5, 0.0, 1.0])
    points[0, 2] = torch.tensor([1.1, 0.0, 0.0])
    grown = augment({"keypoints_2d": points}, _draws(False, 0.0, 0.75, rows=1), SIZE)
    assert grown["keypoints_2d"][0, :3, 2].tolist() == [0, 1, 0]
    shrunk = augment({"keypoints_2d": points}, _draws(False, 0.0, 1.25, rows=1), SIZE)
    assert shrunk["keypoints_2d"][0, :3, 2].tolist() == [1, 1, 0]
    assert shrunk["keypoints_2d"][0, 3:].abs().max() == 0  # unknown ones stay 0, 0, 0


def test_channels_are_multiplied_and_clipped() -> None:
    image = torch.tensor([10, 100, 200], dtype=torch.uint8).expand(1, 8, 8, 3)
    draws = _draws(False, 0.0, 1.0, rows=1)._replace(gain=torch.tensor([[0.6, 1.0, 1.4]]).double())
    assert augment({"image": image}, draws, 8)["image"][0, 4, 4].tolist() == [6, 100, 255]


def test_outside_of_the_stored_picture_is_black() -> None:
    image = torch.full((1, 16, 16, 3), 200, dtype=torch.uint8)
    made = augment({"image": image}, _draws(False, 45.0, 1.0, rows=1), 16)["image"][0]
    assert made[0, 0].tolist() == [0, 0, 0]
    assert made[8, 8].tolist() == [200, 200, 200]


def test_a_camera_needs_its_body_s_pelvis() -> None:
    with pytest.raises(ValueError, match="needs the pelvis"):
        augment({"camera": torch.zeros(1, 3)}, _draws(False, 0.0, 1.0, rows=1), SIZE)


def test_draws_follow_spin_s_ranges() -> None:
    count = 40000
    draws = _spun(count)
    degrees = draws.angle.rad2deg()
    turned = degrees[degrees != 0]
    assert draws.flip.double().mean() == pytest.approx(0.5, abs=0.01)
    assert len(turned) / count == pytest.approx(0.4, abs=0.01)
    assert degrees.abs().max() == pytest.approx(60)
    assert (turned.abs() > 59.99).double().mean() == pytest.approx(0.0455, abs=0.006)
    assert (turned.abs() < 30).double().mean() == pytest.approx(0.6827, abs=0.012)
    assert (float(draws.scale.min()), float(draws.scale.max())) == (0.75, 1.25)
    assert (draws.scale == 1.25).double().mean() == pytest.approx(0.1587, abs=0.006)
    assert draws.gain.min() >= 0.6
    assert draws.gain.max() <= 1.4
    assert draws.gain.std() == pytest.approx(0.8 / math.sqrt(12), abs=0.005)
    assert draws.gain.shape == (count, 3)


def test_no_ranges_draw_nothing_and_one_range_does_not_move_another() -> None:
    nothing = draw(Ranges(), 50, torch.Generator().manual_seed(1))
    assert not nothing.flip.any()
    for field, value in ((nothing.angle, 0), (nothing.scale, 1), (nothing.gain, 1)):
        assert (field == value).all()
    only = draw(SPIN._replace(flip=0.0, scale=0.0), 50, torch.Generator().manual_seed(0))
    assert torch.equal(only.angle, _spun(50).angle)
    assert torch.equal(only.gain, _spun(50).gain)


def test_what_is_active() -> None:
    assert not Ranges(upright=0.6).active
    assert not Ranges(rotation=0.5, upright=1.0).active
    assert Ranges(noise=0.1).active
    assert not Ranges(noise=0.1, flip=0.5).moves
    assert Ranges(scale=0.1).moves
    assert Ranges(rotation=0.1).moves
