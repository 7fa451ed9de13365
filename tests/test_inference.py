"""Inference: what is stored equals what other roads give from the same parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model_samples import SIZE, save_prior, save_regressor
from multibodies.checkpoints import load_prior
from multibodies.core.body import MeshBody, load_body
from multibodies.core.joint_body import JointBody
from multibodies.core.joints import H36M_TO_J14, J24_FROM_54
from multibodies.core.prior import SkeletonPrior
from multibodies.core.regressor import Regressor
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.hypotheses import StoredHypotheses, check_hypotheses
from multibodies.inference import Inference, infer_images, j14, log_density, rescore

M, B = 3, 4


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Regressor, SkeletonPrior]:
    folder = tmp_path_factory.mktemp("models")
    return save_regressor(folder / "model", M), save_prior(folder / "prior")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (B, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def stored(parts: tuple[Regressor, SkeletonPrior], images: np.ndarray) -> StoredHypotheses:
    names = [f"image-{i}" for i in range(B)]
    return infer_images(Inference(*parts, load_body()), names, images)


def test_every_stored_number_is_well_formed(stored: StoredHypotheses) -> None:
    check_hypotheses(stored, "memory")
    assert stored.image_id == tuple(f"image-{i}" for i in range(B))
    assert stored.num_hypotheses == M


def test_parameters_are_the_networks(
    stored: StoredHypotheses, parts: tuple[Regressor, SkeletonPrior], images: np.ndarray
) -> None:
    for i in range(B):  # one image at a time: no image may see its neighbours
        pixels = torch.tensor(images[i].astype(np.float32) / 255).permute(2, 0, 1)[None]
        with torch.no_grad():
            alone = parts[0](pixels)
        for name in ("rotation_6d", "beta", "camera"):
            torch.testing.assert_close(
                torch.from_numpy(stored.arrays()[name][i]), getattr(alone, name)[0]
            )


def test_joints_and_keypoints_are_those_of_the_mesh(stored: StoredHypotheses) -> None:
    arrays = load_body()
    body = MeshBody(arrays, dtype=torch.float64)
    for i in range(B):
        rotations = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[i]).double())
        beta = torch.from_numpy(stored.beta[i]).double()
        j24 = body.joints54(rotations, beta)[:, list(J24_FROM_54)].numpy()
        h36m = (arrays.J_regressor_h36m.double() @ body(rotations, beta)).numpy()
        hips = (j24[:, 2:3] + j24[:, 3:4]) / 2
        np.testing.assert_allclose(stored.joints_j24[i], j24 - hips, atol=1e-5)
        pelvis = h36m[:, :1]
        np.testing.assert_allclose(
            stored.joints_h36m14[i], (h36m - pelvis)[:, list(H36M_TO_J14)], atol=1e-5
        )
        for m in range(M):
            s, tx, ty = stored.camera[i, m].astype(np.float64)
            depth = j24[m, :, 2] + 2 * 5000 / (224 * s + 1e-9)
            expected = 5000 * (j24[m, :, :2] + [tx, ty]) / depth[:, None] / 112
            np.testing.assert_allclose(
                stored.keypoints_2d_pred[i, m], expected, rtol=1e-4, atol=1e-5
            )


def test_log_density_does_not_see_the_root_rotation(
    stored: StoredHypotheses, parts: tuple[Regressor, SkeletonPrior]
) -> None:
    prior = parts[1]
    body = MeshBody(load_body())
    for i in range(B):
        rotations = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[i]))
        rotations[:, 0] = torch.eye(3)
        j24 = body.joints54(rotations, torch.from_numpy(stored.beta[i]))[:, list(J24_FROM_54)]
        with torch.no_grad():
            expected = prior.log_prob(j24 - (j24[:, 2:3] + j24[:, 3:4]) / 2)
        np.testing.assert_allclose(stored.log_density[i], expected.numpy(), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("frame", ["body", "camera"])
def test_only_the_cameras_frame_tells_turned_bodies_apart(tmp_path: Path, frame: str) -> None:
    prior = save_prior(tmp_path, frame=frame)
    body = JointBody(load_body(), ("j24",))
    rotations = rotation_6d_to_matrix(torch.randn(2, M, 24, 6))
    beta = torch.randn(2, M, 10)
    turned = rotations.clone()
    turned[:, :, 0] = rotation_6d_to_matrix(torch.randn(2, M, 6))
    with torch.no_grad():
        first, second = (log_density(r, beta, prior, body) for r in (rotations, turned))
    assert torch.equal(first, second) is (frame == "body")
    assert torch.isclose(first, second).all() == (frame == "body")
    again = load_prior(tmp_path)  # the frame travels with the checkpoint
    with torch.no_grad():
        assert torch.equal(log_density(turned, beta, again, body), second)


def test_rescoring_in_the_cameras_frame_sees_the_root(
    stored: StoredHypotheses, tmp_path: Path
) -> None:
    prior, body = save_prior(tmp_path, frame="camera"), MeshBody(load_body())
    found = rescore(stored, prior, JointBody(load_body(), ("j24",)))
    for i in range(B):
        rotations = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[i]))
        j24 = body.joints54(rotations, torch.from_numpy(stored.beta[i]))[:, list(J24_FROM_54)]
        with torch.no_grad():
            expected = prior.log_prob(j24 - (j24[:, 2:3] + j24[:, 3:4]) / 2)
        np.testing.assert_allclose(found.log_density[i], expected.numpy(), rtol=1e-4, atol=1e-2)


def test_rescoring_under_the_same_prior_gives_the_same_density(
    stored: StoredHypotheses, parts: tuple[Regressor, SkeletonPrior]
) -> None:
    body = JointBody(load_body(), ("j24",))
    forgotten = stored.with_log_density(np.zeros_like(stored.log_density))
    again = rescore(forgotten, parts[1], body)
    np.testing.assert_allclose(again.log_density, stored.log_density, rtol=1e-5, atol=1e-3)
    assert again.rotation_6d is stored.rotation_6d


def test_more_images_than_a_batch_keep_their_order(
    parts: tuple[Regressor, SkeletonPrior], images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"image-{i}" for i in range(B)]
    model = Inference(*parts, load_body())
    whole = infer_images(model, names, images)
    monkeypatch.setattr("multibodies.inference.BATCH", 3)
    split = infer_images(model, names, images)
    for name, array in whole.arrays().items():
        np.testing.assert_allclose(split.arrays()[name], array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(1, 32, 32, 3),
        torch.zeros(32, 32, 3, dtype=torch.uint8),
    ],
)
def test_anything_but_byte_images_is_refused(
    parts: tuple[Regressor, SkeletonPrior], wrong: Tensor
) -> None:
    with pytest.raises(ValueError, match="expected uint8 images"):
        Inference(*parts, load_body())(wrong)


def test_h36m_pick_refuses_other_joint_sets() -> None:
    with pytest.raises(ValueError, match="expected H36M joints"):
        j14(torch.zeros(2, 24, 3))


def test_a_broken_network_is_caught_before_it_is_stored(
    parts: tuple[Regressor, SkeletonPrior], stored: StoredHypotheses
) -> None:
    broken = replace(stored, beta=np.full_like(stored.beta, np.nan))
    with pytest.raises(ValueError, match="'beta' of image 'image-0' is not finite"):
        check_hypotheses(broken, "memory")
