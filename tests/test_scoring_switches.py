"""Each switch of evaluation against a naive loop over images, and what a mesh adds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.spatial.transform import Rotation

from multibodies.config import EvaluationConfig
from multibodies.core.body import JointBody, MeshBody, load_body
from multibodies.core.joints import H36M_TO_J14, H36M_TO_J17
from multibodies.core.quantizer import kmeans
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.errors import UserError
from multibodies.hypotheses import StoredHypotheses
from multibodies.outputs import FEATURES
from multibodies.scoring import Cell, Scores, score_hypotheses
from multibodies.truth import truth_from_rows
from stored_samples import random_rows, random_stored

pytestmark = pytest.mark.slow

IMAGES, M, ALPHAS = 3, 6, (0.0, 1.0)
Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def stored() -> StoredHypotheses:
    return random_stored(IMAGES, M, seed=11)


@pytest.fixture(scope="module")
def rows() -> dict[str, Array]:
    rng = np.random.default_rng(12)
    return random_rows(IMAGES, seed=12) | {
        "theta": rng.normal(scale=0.3, size=(IMAGES, 24, 3)).astype(np.float32),
        "beta": rng.normal(size=(IMAGES, 10)).astype(np.float32),
        "has_smpl": np.ones(IMAGES, bool),
    }


def score(
    stored: StoredHypotheses, rows: dict[str, Array], dataset: str = "wild", **settings: Any
) -> Scores:
    evaluation = EvaluationConfig(**{"n": (1, 3), "restarts": 8, **settings})
    truth = truth_from_rows(rows, dataset, 32, "shard")
    return score_hypotheses(stored, truth, evaluation, ALPHAS, Cell(0, 0.0))


def at(scores: Scores, n: int, alpha: float = 1.0, column: str = "mpjpe_mm") -> list[float]:
    lines = scores.records.to_pylist()
    return [r[column] for r in lines if (r["n"], r["flow_weight"]) == (n, alpha)]


def truth14(rows: dict[str, Array], image: int, root: tuple[int, ...] = (0,)) -> Array:
    h36m = rows["h36m17"][image].astype(np.float64)
    centre = sum(h36m[k] for k in root) / len(root)
    return np.array([h36m[k] - centre for k in H36M_TO_J14])


def distance(a: Array, b: Array) -> float:
    return 1000 * float(np.mean([np.linalg.norm(x - y) for x, y in zip(a, b, strict=True)]))


def softmax(density: Array) -> Array:
    powers = np.exp(density.astype(np.float64) - float(density.max()))
    result: Array = powers / powers.sum()
    return result


def test_first_scores_hypothesis_0_alone(stored: StoredHypotheses, rows: dict[str, Array]) -> None:
    scores = score(stored, rows, single="first")
    naive = [distance(stored.joints_h36m14[i, 0], truth14(rows, i)) for i in range(IMAGES)]
    for alpha in ALPHAS:  # no flow weight moves it
        np.testing.assert_allclose(at(scores, 1, alpha), naive, rtol=1e-6)
    usual = score(stored, rows)
    assert at(scores, 3) == at(usual, 3)
    assert at(scores, 1) != at(usual, 1)
    energies = [d["energy_n1_m2"] for d in scores.diagnostics.to_pylist() if d["flow_weight"] == 1]
    for image, energy in enumerate(energies):
        points = stored.joints_j24[image].astype(np.float64)
        spread = ((points - points[0]) ** 2).sum((1, 2))
        assert energy == pytest.approx(float(softmax(stored.log_density[image]) @ spread), rel=1e-5)


@pytest.mark.parametrize("representative", ["centroid", "medoid"])
def test_keep_first_is_hypothesis_0_and_k_means_of_the_others(
    stored: StoredHypotheses, rows: dict[str, Array], representative: str
) -> None:
    scores = score(stored, rows, keep_first=True, representative=representative, n=(2,))
    naive = []
    for image in range(IMAGES):  # K = 1 over the others: their weighted mean
        weights = softmax(stored.log_density[image, 1:])
        others = stored.joints_j24[image, 1:].astype(np.float64)
        centre = np.einsum("m,mkd->kd", weights, others)
        joints = stored.joints_h36m14[image].astype(np.float64)
        nearest = 1 + int(np.argmin(((others - centre) ** 2).sum((1, 2))))
        second = np.einsum("m,mkd->kd", weights, joints[1:])
        if representative == "medoid":
            second = joints[nearest]
        truth = truth14(rows, image)
        naive.append(min(distance(joints[0], truth), distance(second, truth)))
    np.testing.assert_allclose(at(scores, 2), naive, rtol=1e-5)


def test_keep_first_leaves_n_1_to_its_own_switch(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    assert at(score(stored, rows, keep_first=True), 1) == at(score(stored, rows), 1)


def test_keep_first_stands_a_hypothesis_0_that_has_all_the_weight(rows: dict[str, Array]) -> None:
    stored = random_stored(IMAGES, M, seed=13)
    stored.log_density[:, 0] += 5000  # the others' share of eq. 2 is 0 in float64
    scores = score(stored, rows, keep_first=True)
    assert np.isfinite(at(scores, 3)).all()


def test_upright_features_are_joints_posed_without_a_root_rotation() -> None:
    """A second road: pose the body with an identity root."""
    torch.manual_seed(0)
    six = torch.randn(2, 4, 24, 6)
    rotations, beta = rotation_6d_to_matrix(six).flatten(0, 1), torch.randn(8, 10)
    body = JointBody(load_body(), ("j24",))
    seen = body(rotations, beta)["j24"].unflatten(0, (2, 4))
    rotations[:, 0] = torch.eye(3)
    upright = body(rotations, beta)["j24"].unflatten(0, (2, 4))
    upright = upright - upright[:, :, 2:4].mean(2, keepdim=True)
    made = random_stored(2, 4)
    made.rotation_6d[:], made.joints_j24[:] = six.numpy(), seen.numpy()
    found = FEATURES["j24_upright"](made)
    torch.testing.assert_close(found.float(), upright, atol=2e-5, rtol=0)
    assert not torch.allclose(FEATURES["j24"](made), found, atol=0.05)


@pytest.mark.parametrize("features", ["j24_upright", "h36m14"])
def test_k_means_sees_the_features_of_the_setting(
    stored: StoredHypotheses, rows: dict[str, Array], features: str
) -> None:
    points = stored.joints_h36m14.astype(np.float64)
    if features == "j24_upright":
        points = stored.joints_j24.astype(np.float64)
        for image in range(IMAGES):
            for m in range(M):
                a, b = stored.rotation_6d[image, m, 0].reshape(3, 2).T.astype(np.float64)
                x = a / np.linalg.norm(a)
                y = b - (x @ b) * x
                y /= np.linalg.norm(y)
                root = np.stack([x, y, np.cross(x, y)], 1)
                points[image, m] = [root.T @ joint for joint in points[image, m]]
    naive, uniform = [], torch.full((1, M), 1 / M, dtype=torch.float64)
    for image in range(IMAGES):
        flat = torch.from_numpy(points[image].reshape(1, M, -1))
        label = kmeans(flat, uniform, 3, restarts=8).assignment[0].numpy()
        joints = stored.joints_h36m14[image].astype(np.float64)
        means = [joints[label == k].mean(0) for k in range(3)]
        naive.append(min(distance(mean, truth14(rows, image)) for mean in means))
    scores = score(stored, rows, features=features)
    np.testing.assert_allclose(at(scores, 3, 0.0), naive, rtol=1e-6)
    assert at(scores, 3, 0.0) != at(score(stored, rows), 3, 0.0)


def test_rigid_alignment_turns_and_moves_but_does_not_scale(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    scores = score(stored, rows, alignment="rigid", n=(M,), representative="medoid")
    naive = []
    for image in range(IMAGES):
        y = truth14(rows, image)
        errors = []
        for joints in stored.joints_h36m14[image].astype(np.float64):
            x, shift = joints - joints.mean(0), y.mean(0)
            turned = Rotation.align_vectors(y - shift, x)[0].apply(x)
            errors.append(distance(turned + shift, y))
        naive.append(min(errors))
    np.testing.assert_allclose(at(scores, M, column="re_mm"), naive, rtol=1e-6)
    usual = score(stored, rows, n=(M,), representative="medoid")
    assert at(scores, M) == at(usual, M)
    assert np.mean(naive) > np.mean(at(usual, M, column="re_mm"))
    assert set(scores.records["protocol"].to_pylist()) == {"embedded@1+rigid"}


def test_the_truth_may_be_centred_on_the_mid_hips(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    scores = score(stored, rows, truth_centre="mid_hips", n=(M,), representative="medoid")
    naive = [
        min(distance(x, truth14(rows, i, (1, 4))) for x in stored.joints_h36m14[i])
        for i in range(IMAGES)
    ]
    np.testing.assert_allclose(at(scores, M), naive, rtol=1e-6)
    usual = score(stored, rows, n=(M,), representative="medoid")
    re = [at(s, M, column="re_mm") for s in (scores, usual)]
    np.testing.assert_allclose(re[0], re[1], rtol=1e-9)  # alignment forgets the centre
    assert set(scores.records["protocol"].to_pylist()) == {"embedded@1+mid_hips"}


def test_a_protocol_of_17_joints_poses_them_from_the_stored_parameters(
    rows: dict[str, Array],
) -> None:
    stored, body = random_stored(IMAGES, M, seed=14), load_body()
    scores = score(stored, rows, "mpii3d", n=(M,), representative="medoid")
    naive = []
    for image in range(IMAGES):
        rotations = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[image]))
        mesh = MeshBody(body)(rotations, torch.from_numpy(stored.beta[image]))
        joints = (body.J_regressor_h36m @ mesh).double().numpy()
        truth = rows["h36m17"][image].astype(np.float64)
        wanted = np.array([truth[k] - truth[0] for k in H36M_TO_J17])
        errors = [distance(np.array([x[k] - x[0] for k in H36M_TO_J17]), wanted) for x in joints]
        naive.append(min(errors))
    np.testing.assert_allclose(at(scores, M), naive, rtol=1e-4)
    assert set(scores.records["protocol"].to_pylist()) == {"mpii3d@1"}


@pytest.mark.parametrize("representative", ["centroid", "medoid"])
def test_pve_is_that_of_the_medoids_meshes(
    stored: StoredHypotheses, rows: dict[str, Array], representative: str
) -> None:
    scores = score(stored, rows, pve=True, n=(1, M), representative=representative)
    body, every = load_body(), []
    mesh = MeshBody(body)
    for image in range(IMAGES):
        rotations = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[image]))
        posed = mesh(rotations, torch.from_numpy(stored.beta[image])).numpy()
        turns = Rotation.from_rotvec(rows["theta"][image]).as_matrix().astype(np.float32)
        wanted = mesh(torch.from_numpy(turns)[None], torch.from_numpy(rows["beta"][image])[None])
        pelvis = body.J_regressor_h36m[0].numpy()
        bodies = [vertices - pelvis @ vertices for vertices in (wanted[0].numpy(), *posed)]
        every.append([distance(vertices, bodies[0]) for vertices in bodies[1:]])
    points = stored.joints_j24.astype(np.float64)
    nearest = ((points - points.mean(1, keepdims=True)) ** 2).sum((2, 3)).argmin(1)
    single = [errors[m] for errors, m in zip(every, nearest, strict=True)]
    np.testing.assert_allclose(at(scores, 1, 0.0, "pve_mm"), single, rtol=1e-4)
    best = [min(errors) for errors in every]
    np.testing.assert_allclose(at(scores, M, 0.0, "pve_mm"), best, rtol=1e-4)
    oracle = scores.diagnostics["oracle_pve_mm"].to_pylist()[:IMAGES]
    np.testing.assert_allclose(oracle, best, rtol=1e-4)
    assert scores.records.column_names[-2:] == ["protocol", "pve_mm"]


def test_pve_of_an_image_without_a_mesh_is_refused_by_name(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    bare = {**rows, "has_smpl": np.array([True, False, True])}
    with pytest.raises(UserError, match="shard: image 'wild-001' has no true pose and shape"):
        score(stored, bare, pve=True)


def test_an_unknown_protocol_or_dataset_is_refused_before_any_work(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    with pytest.raises(UserError, match="unknown protocol 'h36m_p2'; did you mean 'h36m-p2'"):
        score(stored, rows, protocol="h36m_p2")
    with pytest.raises(UserError, match=r"dataset 'wildd' has no protocol.*did you mean 'wild'"):
        score(stored.rows([0]), rows, "wildd")
