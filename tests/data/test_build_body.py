"""The body builder's stages, each by another road, without Anny."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from multibodies.core.body import MeshBody, load_body
from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.build_body import common, correctives, ordering, regressors, shape, symmetrise
from multibodies.data.build_body.__main__ import main
from multibodies.data.build_body.decimation import decimate
from multibodies.data.build_body.sampling import draw_phenotypes, y_up
from multibodies.data.build_body.skeleton import joints24, owners, shift_to_smpl


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3))


def ellipsoid(rings: int, around: int) -> tuple[np.ndarray, np.ndarray]:
    """A closed surface that is symmetric in x, with a midline of vertices: points, faces."""
    assert around % 2 == 0
    heights = np.linspace(0, np.pi, rings + 2)[1:-1]
    angles = np.arange(around) * 2 * np.pi / around + np.pi / 2
    points = [(0.0, 1.0, 0.0)]
    for h in heights:
        points += [
            (0.3 * np.sin(h) * np.cos(a), np.cos(h), 0.2 * np.sin(h) * np.sin(a)) for a in angles
        ]
    points.append((0.0, -1.0, 0.0))
    faces = []
    last = len(points) - 1
    for i in range(around):
        j = (i + 1) % around
        faces += [(0, 1 + j, 1 + i), (last, last - around + i, last - around + j)]
        for r in range(rings - 1):
            a, b, c, d = (1 + (r + s) * around + k for s in (0, 1) for k in (i, j))
            left_half = i < around // 2  # the same diagonal on both sides
            faces += [(a, b, d), (a, d, c)] if left_half else [(a, b, c), (b, d, c)]
    out = np.array(points)
    out[np.abs(out[:, 0]) < 1e-9, 0] = 0
    return out, np.array(faces)


def edge_counts(faces: np.ndarray) -> np.ndarray:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    return np.asarray(np.unique(edges, axis=0, return_counts=True)[1])


def mirror_map(points: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(points[:, None] * common.ACROSS - points[None], axis=-1)
    assert distance.min(1).max() < 1e-9
    return np.asarray(distance.argmin(1))


@pytest.mark.parametrize("target", [200, 121])
def test_decimation_keeps_a_closed_symmetric_surface_of_the_wanted_size(target: int) -> None:
    points, faces = ellipsoid(15, 20)
    assert (edge_counts(faces) == 2).all()
    mirror = mirror_map(points)
    thinned = decimate(points, faces, points[:, 0], mirror, np.ones(len(points)), target)
    kept = np.concatenate([thinned.left, thinned.middle, thinned.right])
    assert len(set(kept.tolist())) == len(kept) == target
    assert set(thinned.faces.ravel().tolist()) == set(kept.tolist())
    counts = edge_counts(thinned.faces)
    assert (counts == 2).all()
    assert target - len(counts) + len(thinned.faces) == 2  # Euler: still one sphere
    turned = {tuple(sorted(mirror[list(face)].tolist())) for face in thinned.faces}
    assert turned == {tuple(sorted(face.tolist())) for face in thinned.faces}


def test_decimation_stays_near_the_surface_and_keeps_its_orientation() -> None:
    points, faces = ellipsoid(15, 20)

    def volume(of: np.ndarray) -> float:
        a, b, c = points[of].transpose(1, 0, 2)
        return float((a * np.cross(b, c)).sum() / 6)

    thinned = decimate(points, faces, points[:, 0], mirror_map(points), np.ones(len(points)), 150)
    assert volume(thinned.faces) == pytest.approx(volume(faces), rel=0.08)


def test_shortest_rotation_is_scipys() -> None:
    a, b = vectors(30), -vectors(30)[::-1]
    got = common.shortest_rotation(a, b)
    axis = np.cross(a, b)
    angle = np.arctan2(np.linalg.norm(axis, axis=1), (a * b).sum(1))
    expected = Rotation.from_rotvec(common.unit(axis) * angle[:, None]).as_matrix()
    np.testing.assert_allclose(got, expected, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_turn_is_scipys(axis: int) -> None:
    angles = np.linspace(-3, 3, 7)
    expected = Rotation.from_rotvec(angles[:, None] * np.eye(3)[axis]).as_matrix()
    np.testing.assert_allclose(common.turn(axis, angles), expected, atol=1e-12)


def test_frame_is_orthonormal_and_holds_its_axis() -> None:
    x, normal = vectors(20), vectors(20)[::-1]
    frames = common.frame(x, normal)
    np.testing.assert_allclose(
        frames @ frames.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-12
    )
    np.testing.assert_allclose(frames[..., 0], common.unit(x))
    np.testing.assert_allclose(np.linalg.det(frames), 1)


def test_y_up_is_a_rotation_that_keeps_left() -> None:
    matrix = y_up(np.eye(3)).T
    assert np.linalg.det(matrix) == pytest.approx(1)
    np.testing.assert_array_equal(y_up(np.array([1.0, 0, 0])), [1, 0, 0])
    np.testing.assert_array_equal(y_up(np.array([0, -1.0, 0])), [0, 0, 1])  # facing


def test_phenotypes_are_adults_in_range() -> None:
    drawn = draw_phenotypes(500, np.random.default_rng(0))
    assert all(((v >= 0) & (v <= 1)).all() for v in drawn.values())
    assert drawn["age"].min() >= 0.6
    assert 0.3 < (drawn["gender"] > 0.5).mean() < 0.7


MIDDLE = (
    "root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03",
    "head",
)  # fmt: skip
SIDED = (
    "pelvis", "eye", "upperleg01", "lowerleg01", "foot", "toe1-1", "toe2-1", "toe3-1", "toe4-1",
    "clavicle", "shoulder01", "upperarm01", "lowerarm01", "wrist", "metacarpal1", "finger1-1",
    "finger1-2", "finger2-1", "finger3-1", "finger4-1", "finger5-1",
)  # fmt: skip
LABELS = (*MIDDLE, *(f"{bone}.{side}" for side in "LR" for bone in SIDED))


def test_every_bone_has_owners_that_mirror() -> None:
    table = owners(LABELS)
    np.testing.assert_allclose(table.sum(1), 1)
    for label, row in zip(LABELS, table, strict=True):
        other = label.replace(".L", ".X").replace(".R", ".L").replace(".X", ".R")
        np.testing.assert_array_equal(table[LABELS.index(other)], row[common.FLIP])
    assert table[LABELS.index("lowerarm01.R"), 19] == 1
    assert table[LABELS.index("finger1-1.L"), 20] == 1
    assert table[LABELS.index("finger1-2.L"), 22] == 1
    assert table.any(0).all()


def test_joints_of_symmetric_heads_are_symmetric_and_stand_where_smpl_does() -> None:
    heads = np.random.default_rng(0).normal(size=(3, len(LABELS), 3))
    for i, label in enumerate(LABELS):
        if label.endswith(".R"):
            heads[:, i] = heads[:, LABELS.index(label[:-1] + "L")] * common.ACROSS
        elif "." not in label:
            heads[:, i, 0] = 0
    nothing = np.zeros((0, 3))
    samples = common.Samples(nothing, heads, nothing, np.zeros((0, 3), int), nothing, LABELS, ())
    joints = joints24(samples, heads)
    np.testing.assert_allclose(joints[:, common.FLIP] * common.ACROSS, joints, atol=1e-12)
    pelvis = (joints - shift_to_smpl(joints))[:, 0]
    np.testing.assert_allclose(pelvis, np.broadcast_to([0, -0.22, 0], (3, 3)), atol=1e-12)


def paired_mirror(count: int) -> np.ndarray:
    return np.arange(count) ^ 1


def test_shape_space_is_scaled_pca_by_svd() -> None:
    rng, mirror = np.random.default_rng(0), paired_mirror(30)
    latent = rng.normal(size=(80, 12)) * np.geomspace(1, 0.05, 12)
    basis = rng.normal(size=(12, 30, 3))
    vertices = np.einsum("sc,cvd->svd", latent, basis + basis[:, mirror] * common.ACROSS)
    template, directions, variance = shape.shape_space(vertices, mirror)
    np.testing.assert_allclose(template, vertices.mean(0), atol=1e-12)
    flat = (vertices - template).reshape(80, -1)
    _, singular, rows = np.linalg.svd(flat, full_matrices=False)
    np.testing.assert_allclose(variance, singular[:10] ** 2 / 80)
    expected = rows[:10].T * singular[:10] / np.sqrt(80)
    got = directions.reshape(-1, 10)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-9)
    betas = flat @ got / variance
    np.testing.assert_allclose(betas.T @ betas / 80, np.eye(10), atol=1e-9)
    for c in range(10):
        taller, shorter = template + directions[..., c], template - directions[..., c]
        assert np.ptp(taller[:, 1]) >= np.ptp(shorter[:, 1])


def test_joint_regressor_finds_joints_that_vertices_make() -> None:
    rng, mirror = np.random.default_rng(0), paired_mirror(200)
    template = rng.normal(size=(200, 3)) * 0.1
    template[1::2] = template[::2] * common.ACROSS
    moved = template + 0.05 * rng.normal(size=(200, 200, 3))
    vertices = symmetrise.symmetric_points(moved, mirror)
    truth = np.zeros((24, 200))
    for j in range(24):
        truth[j, rng.choice(200, 6, replace=False)] = 1 / 6
    truth = 0.5 * (truth + truth[common.FLIP][:, mirror])
    joints = np.einsum("jv,svd->sjd", truth, vertices)
    got = regressors.joint_regressor(vertices, joints, template, np.full((200, 24), 1 / 24), mirror)
    np.testing.assert_allclose(got.sum(1), 1)
    assert (got >= 0).all()
    np.testing.assert_allclose(got[common.FLIP][:, mirror], got, atol=1e-12)
    found = np.einsum("jv,svd->sjd", got, vertices)
    assert np.linalg.norm(found - joints, axis=-1).mean() < 0.01


def test_evaluation_regressors_are_the_embedded_bodys() -> None:
    """The shipped rows follow from the shipped joints, template and mirror map."""
    with np.load(EMBEDDED_BODY) as body:
        joints, template = body["J_regressor"].astype(float), body["v_template"].astype(float)
        h36m = regressors.h36m_regressor(joints, template, body["mirror"])
        np.testing.assert_allclose(h36m, body["J_regressor_h36m"], atol=1e-6)
        extra = regressors.extra_regressor(joints, h36m)
        np.testing.assert_allclose(extra, body["J_regressor_extra"], atol=1e-6)


def test_skin24_is_mirrored_and_has_four_influences() -> None:
    weights = np.random.default_rng(0).dirichlet(np.full(24, 0.3), 40)
    order = ordering.Order(np.arange(40), np.zeros((0, 3), int), paired_mirror(40))
    skin = ordering.skin24(weights, order)
    np.testing.assert_allclose(skin.sum(1), 1)
    assert ((skin > 0).sum(1) <= 4).all()
    np.testing.assert_allclose(skin[order.mirror][:, common.FLIP], skin)


def random_rest(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 3)), rng.normal(size=(24, 3)), rng.dirichlet(np.ones(24), count)


def test_dual_quaternions_of_one_joint_are_its_rigid_motion() -> None:
    template, joints, _ = random_rest(24)
    rotations = Rotation.from_rotvec(0.5 * vectors(24)).as_matrix()
    world = correctives._chain(rotations, joints)
    got = correctives._dual_quaternions(world, template, np.eye(24))
    expected = np.einsum("vab,vb->va", world[:, :3, :3], template) + world[:, :3, 3]
    np.testing.assert_allclose(got, expected, atol=1e-12)
    offsets = correctives._offsets(rotations, template, joints, np.eye(24))
    np.testing.assert_allclose(offsets, 0, atol=1e-9)


def test_quaternion_product_is_scipys() -> None:
    a, b = Rotation.from_rotvec(vectors(10)), Rotation.from_rotvec(vectors(10)[::-1])
    got = correctives._times(a.as_quat(scalar_first=True), b.as_quat(scalar_first=True))
    expected = (a * b).as_matrix()
    np.testing.assert_allclose(
        Rotation.from_quat(got, scalar_first=True).as_matrix(), expected, atol=1e-12
    )


def test_chain_is_smplx() -> None:
    arrays = load_body()
    rotations = Rotation.from_rotvec(0.4 * vectors(24)).as_matrix()
    rest = (arrays.J_regressor @ arrays.v_template).double().numpy()
    world = correctives._chain(rotations, rest)
    posed = np.einsum("jab,jb->ja", world[:, :3, :3], rest) + world[:, :3, 3]
    body = MeshBody(arrays, dtype=torch.float64)
    zeros = torch.zeros(1, 10, dtype=torch.float64)
    expected = body.joints54(torch.from_numpy(rotations)[None], zeros)[0, :24].numpy()
    np.testing.assert_allclose(posed, expected, atol=1e-6)


def test_groups_leave_out_the_joint_highest_up() -> None:
    skin = np.zeros((3, 24))
    skin[0, 4] = 1
    skin[1, [1, 4]] = 0.5
    skin[2, [4, 1, 7]] = (0.5, 0.2, 0.3)
    assert correctives._groups(skin) == {(4,): [1], (4, 7): [2]}


def test_the_embedded_body_is_equivariant_under_the_mirror() -> None:
    """A mirrored pose gives the mirrored mesh: what stage 9 is for."""
    with np.load(EMBEDDED_BODY) as file:
        mirror = file["mirror"].astype(int)
        np.testing.assert_allclose(
            symmetrise.symmetric_correctives(file["posedirs"], mirror), file["posedirs"], atol=1e-8
        )
    body = MeshBody(load_body(), dtype=torch.float64)
    pose, beta = 0.5 * torch.from_numpy(vectors(24))[None], torch.randn(1, 10, dtype=torch.float64)
    flipped = pose[:, list(common.FLIP)] * torch.tensor([1.0, -1.0, -1.0])
    one = body(axis_angle_to_matrix(pose), beta)[0]
    other = body(axis_angle_to_matrix(flipped), beta)[0]
    across = torch.from_numpy(common.ACROSS)
    torch.testing.assert_close(other, one[mirror] * across, atol=1e-4, rtol=0)


def test_without_anny_the_builder_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "anny", None)
    assert main([str(tmp_path / "body.npz")]) == 2
    said = capsys.readouterr().err
    assert "pip install 'multibodies[build]'" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["body.npy"], ["body.npz", "--bodies", "10"]])
def test_bad_arguments_are_refused_before_any_work(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
