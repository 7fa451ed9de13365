"""The body against smplx: vertices, joints, and the same joints and gradients without a mesh."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from multibodies.core.body import BodyArrays, JointBody, MeshBody, body_from_arrays, load_body
from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.core.joints import J24_FROM_54, OPENPOSE25_FROM_54, SMPL_PARENTS
from multibodies.core.posing import pose_points
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.errors import UserError

SETS = ("smpl24", "j24", "h36m17", "openpose25")
SIZES = {"smpl24": 24, "j24": 24, "h36m17": 17, "openpose25": 25}


def worst_case(seed: int) -> BodyArrays:
    """Random arrays of SMPL's sizes: 4 far joints a vertex, dense correctives, all pairs."""
    rng = np.random.default_rng(seed)
    v = 6890
    weights = np.zeros((v, 24))
    for joint in range(4):
        weights[np.arange(v), rng.integers(0, 24, v)] += rng.random(v) + 0.1 * joint
    weights /= weights.sum(1, keepdims=True)

    def regressor(rows: int) -> np.ndarray:
        dense = rng.random((rows, v)) * (rng.random((rows, v)) < 0.02)
        return np.asarray(dense / dense.sum(1, keepdims=True))

    arrays = {
        "v_template": rng.normal(size=(v, 3)) * 0.4,
        "shapedirs": rng.normal(size=(v, 3, 10)) * 0.02,
        "posedirs": rng.normal(size=(v, 3, 207)) * 0.005,
        "J_regressor": regressor(24),
        "weights": weights,
        "kintree_table": np.array([(2**32 - 1, *SMPL_PARENTS[1:]), range(24)], dtype=np.uint32),
        "f": rng.integers(0, v, (13776, 3)).astype(np.uint32),
        "J_regressor_h36m": regressor(17),
        "J_regressor_extra": regressor(9),
    }
    return body_from_arrays(arrays, name="random")


BODIES: dict[str, Callable[[], BodyArrays]] = {
    "embedded": load_body,
    "random 1": lambda: worst_case(1),
    "random 2": lambda: worst_case(2),
}


@pytest.fixture(scope="module", params=list(BODIES))
def arrays(request: pytest.FixtureRequest) -> BodyArrays:
    return BODIES[request.param]()


def poses(count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    vectors = torch.randn(count, 24, 3, generator=generator, dtype=torch.float64)
    beta = torch.randn(count, 10, generator=generator, dtype=torch.float64)
    return axis_angle_to_matrix(vectors).to(dtype), 1.5 * beta.to(dtype)


def by_mesh(
    mesh: MeshBody, arrays: BodyArrays, rotations: Tensor, beta: Tensor
) -> dict[str, Tensor]:
    """The other road: smplx's vertices, then the regressors."""
    all54 = mesh.joints54(rotations, beta)
    regressor = arrays.J_regressor_h36m.to(beta.dtype)
    h36m = torch.einsum("kv,bvd->bkd", regressor, mesh(rotations, beta))
    return {
        "smpl24": all54[:, :24],
        "j24": all54[:, list(J24_FROM_54)],
        "h36m17": h36m,
        "openpose25": all54[:, list(OPENPOSE25_FROM_54)],
    }


def gradients(
    road: Callable[[Tensor, Tensor], dict[str, Tensor]], rotations: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    rotations, beta = rotations.clone().requires_grad_(), beta.clone().requires_grad_()
    generator = torch.Generator().manual_seed(7)
    total = torch.zeros((), dtype=beta.dtype)
    for joints in road(rotations, beta).values():
        pull = torch.randn(joints.shape, generator=generator, dtype=torch.float64)
        total = total + (joints * pull.to(joints.dtype)).sum()
    first, second = torch.autograd.grad(total, (rotations, beta))
    return first, second


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_joints_without_a_mesh_are_smplx(
    arrays: BodyArrays, dtype: torch.dtype, bound: float
) -> None:
    rotations, beta = poses(3, dtype)
    got = JointBody(arrays, SETS, dtype=dtype)(rotations, beta)
    expected = by_mesh(MeshBody(arrays, dtype=dtype), arrays, rotations, beta)
    for name in SETS:
        assert got[name].shape == (3, SIZES[name], 3)
        assert (got[name] - expected[name]).abs().max() < bound, name


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_gradients_without_a_mesh_are_smplx(
    arrays: BodyArrays, dtype: torch.dtype, bound: float
) -> None:
    rotations, beta = poses(2, dtype)
    mesh = MeshBody(arrays, dtype=dtype)
    got = gradients(JointBody(arrays, SETS, dtype=dtype), rotations, beta)
    expected = gradients(lambda r, b: by_mesh(mesh, arrays, r, b), rotations, beta)
    for a, b in zip(got, expected, strict=True):
        assert relative(a, b) < bound


def test_one_set_is_the_same_as_all_of_them() -> None:
    arrays = load_body()
    rotations, beta = poses(3, torch.float32)
    together = JointBody(arrays, SETS)(rotations, beta)
    for name in SETS:
        alone = JointBody(arrays, (name,))(rotations, beta)
        assert list(alone) == [name]
        torch.testing.assert_close(alone[name], together[name])


def test_strides_and_batch_order_do_not_matter() -> None:
    body = JointBody(load_body())
    rotations, beta = poses(6, torch.float32)
    expected = body(rotations, beta)["j24"]
    last = rotations.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    torch.testing.assert_close(body(last, beta)["j24"], expected)
    torch.testing.assert_close(body(rotations.flip(0), beta.flip(0))["j24"], expected.flip(0))
    assert body(rotations[:0], beta[:0])["j24"].shape == (0, 24, 3)


def test_a_turned_root_turns_the_joints_about_the_root() -> None:
    body = JointBody(load_body(), ("smpl24", "j24"))
    rotations, beta = poses(4, torch.float32)
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.2, 0.5]))
    turned = rotations.clone()
    turned[:, 0] = turn @ rotations[:, 0]
    before, after = body(rotations, beta), body(turned, beta)
    root = before["smpl24"][:, :1]
    for name in ("smpl24", "j24"):
        torch.testing.assert_close(
            after[name], (before[name] - root) @ turn.T + root, atol=1e-5, rtol=0
        )


def test_posing_has_the_gradient_of_its_finite_differences() -> None:
    parents, counts = (-1, 0, 1, 1), (2, 0, 1, 3)
    local, offsets, points = (
        torch.randn(*shape, 2, dtype=torch.float64, requires_grad=True)
        for shape in ((4, 3, 3), (4, 3), (6, 3))
    )
    assert torch.autograd.gradcheck(
        lambda a, b, c: pose_points(a, b, c, parents, counts), (local, offsets, points)
    )


def test_mesh_body_leaves_nothing_to_save_or_train() -> None:
    mesh, joints = MeshBody(load_body()), JointBody(load_body())
    for module in (mesh, joints):
        assert module.state_dict() == {}
        assert list(module.parameters()) == []
    assert any(buffer.dtype == torch.float32 for buffer in mesh.buffers())


def test_mesh_body_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    MeshBody(load_body())
    assert capsys.readouterr().out == ""


def test_the_embedded_body_is_a_standing_person() -> None:
    arrays = load_body()
    rest = arrays.v_template
    height = rest[:, 1].max() - rest[:, 1].min()
    assert 1.5 < height < 1.9
    assert len(rest) == 6890
    assert arrays.faces.shape == (13776, 3)
    edges = torch.cat([arrays.faces[:, [0, 1]], arrays.faces[:, [1, 2]], arrays.faces[:, [2, 0]]])
    _, counts = np.unique(edges.sort(1).values.numpy(), axis=0, return_counts=True)
    assert (counts == 2).all()  # a closed surface
    assert arrays.name == "SMPL_FORMAT_NEUTRAL"
    assert arrays.sha256 in (EMBEDDED_BODY.parent / "PROVENANCE.md").read_text()


@pytest.mark.parametrize("module", [MeshBody, JointBody])
@pytest.mark.parametrize(
    "shapes", [((2, 23, 3, 3), (2, 10)), ((2, 24, 3, 3), (1, 10)), ((2, 24, 3, 3), (2, 11))]
)
def test_unequal_shapes_are_refused(
    module: type[torch.nn.Module], shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    with pytest.raises(ValueError, match=r"need rotations \[B, 24, 3, 3\]"):
        module(load_body())(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_unknown_and_repeated_sets_are_refused() -> None:
    for sets in (("j25",), ("j24", "j24")):
        with pytest.raises(ValueError, match="distinct names"):
            JointBody(load_body(), sets)


def small_arrays(vertices: int = 60) -> dict[str, np.ndarray]:
    """A file's arrays, small enough to write often."""
    rng = np.random.default_rng(0)
    rows = {"J_regressor": 24, "J_regressor_h36m": 17, "J_regressor_extra": 9}
    return {
        "v_template": rng.normal(size=(vertices, 3)),
        "shapedirs": rng.normal(size=(vertices, 3, 300)),
        "posedirs": rng.normal(size=(vertices, 3, 207)),
        "weights": np.full((vertices, 24), 1 / 24),
        "kintree_table": np.array([(2**32 - 1, *SMPL_PARENTS[1:]), range(24)], dtype=np.uint32),
        "f": rng.integers(0, vertices, (80, 3)).astype(np.uint32),
        **{key: np.full((count, vertices), 1 / vertices) for key, count in rows.items()},
    }


def saved(tmp_path: Path, changes: dict[str, np.ndarray | None]) -> str:
    arrays = {**small_arrays(), **changes}
    path = tmp_path / "body.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})  # type: ignore[arg-type]
    return str(path)


def test_load_body_reads_a_users_file_of_300_components(tmp_path: Path) -> None:
    body = load_body(saved(tmp_path, {"more": np.zeros(3)}))
    expected = torch.from_numpy(small_arrays()["shapedirs"][..., :10]).float()
    assert torch.equal(body.shapedirs, expected)
    assert body.name == "body"
    assert body.parents.tolist() == list(SMPL_PARENTS)
    with pytest.raises(UserError, match="needs SMPL's 6890 vertices"):
        JointBody(body)


def bad_tree() -> np.ndarray:
    table = small_arrays()["kintree_table"]
    table[0, 1] = 2
    return table


def with_nan() -> np.ndarray:
    template = small_arrays()["v_template"]
    template[5] = np.nan
    return template


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": None}, "no array 'weights'"),
        ({"J_regressor_h36m": None}, "add SPIN's"),
        ({"weights": np.zeros((60, 52), np.float32)}, r"'weights' has shape \(60, 52\)"),
        ({"shapedirs": np.zeros((60, 3))}, "'shapedirs' has shape"),
        ({"shapedirs": np.zeros((60, 3, 4))}, "at least 10 components"),
        ({"f": np.zeros((), np.uint32)}, "'f' has shape"),
        ({"f": np.zeros((5, 4), np.uint32)}, "'f' has shape"),
        ({"f": np.full((5, 3), 60, np.uint32)}, "'f' names vertices"),
        ({"v_template": with_nan()}, "NaN"),
        ({"J_regressor_extra": np.full((9, 60), np.inf)}, "NaN"),
        ({"weights": np.zeros((60, 24), np.float32)}, "does not sum to one"),
        ({"kintree_table": bad_tree()}, "every parent before"),
        ({"v_template": np.array(["a"])}, "'v_template' has shape"),
        ({"posedirs": np.full((60, 3, 207), "a")}, "'posedirs' holds <U1"),
    ],
)
def test_a_bad_body_file_is_one_clear_error(
    tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    path = saved(tmp_path, change)
    with pytest.raises(UserError, match=message) as error:
        load_body(path)
    assert path in str(error.value)


def test_what_is_no_npz_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, v_template=np.array([{"a": 1}], dtype=object))
    contents = {
        "SMPL.pkl": b"\x80\x02}.",
        "torn.npz": b"PK\x03\x04 torn",
        "objects.npz": buffer.getvalue(),
        "empty.npz": b"",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"not an \.npz of plain arrays"):
            load_body(str(path))
    array = tmp_path / "array.npy"
    np.save(array, np.zeros(3))
    with pytest.raises(UserError, match=r"not an \.npz"):
        load_body(str(array))
    with pytest.raises(UserError, match="cannot read"):
        load_body(str(tmp_path / "absent.npz"))


def test_vertices_are_skinned_by_hand() -> None:
    """smplx itself against linear blend skinning as written, one vertex at a time."""
    arrays = load_body()
    rotations, beta = poses(1, torch.float64)
    vertices = MeshBody(arrays, dtype=torch.float64)(rotations, beta)[0]
    shaped = arrays.v_template.double() + arrays.shapedirs.double() @ beta[0]
    rest = arrays.J_regressor.double() @ shaped
    feature = (rotations[0, 1:] - torch.eye(3, dtype=torch.float64)).flatten()
    world: list[tuple[Tensor, Tensor]] = []
    for j, parent in enumerate(SMPL_PARENTS):
        turn, place = world[parent] if j else (torch.eye(3, dtype=torch.float64), torch.zeros(3))
        offset = rest[j] - rest[parent] if j else rest[0]
        world.append((turn @ rotations[0, j], place + turn @ offset))
    for v in (0, 332, 2746, 6889):
        corrected = shaped[v] + arrays.posedirs[v].double() @ feature
        parts = [
            w * (turn @ (corrected - rest[j]) + place)
            for j, (w, (turn, place)) in enumerate(
                zip(arrays.weights[v].double(), world, strict=True)
            )
        ]
        torch.testing.assert_close(vertices[v], torch.stack(parts).sum(0), atol=1e-9, rtol=0)


def test_bones_keep_their_length() -> None:
    """Posing turns bones and never stretches them."""
    body = JointBody(load_body(), ("smpl24",))
    rotations, beta = poses(3, torch.float32)
    rest = body(torch.eye(3).expand_as(rotations), beta)["smpl24"]
    posed = body(rotations, beta)["smpl24"]
    parents = list(SMPL_PARENTS[1:])
    length = functional.pairwise_distance(posed[:, 1:], posed[:, parents])
    expected = functional.pairwise_distance(rest[:, 1:], rest[:, parents])
    torch.testing.assert_close(length, expected, atol=1e-5, rtol=0)
