"""Joint sets against smplx's own names, against SPIN's tables and on the embedded body."""

from __future__ import annotations

import pytest
import torch
from smplx.joint_names import JOINT_NAMES
from smplx.vertex_ids import vertex_ids

from multibodies.core import joints
from multibodies.core.body import JointBody, load_body


def spoken(name: str) -> set[str]:
    """Words of a joint's name, set free of its order."""
    return set(name.lower().replace("_", " ").replace("(", "").replace(")", "").split())


def test_face_vertices_are_smplx_ids_in_smplx_order() -> None:
    ids = vertex_ids["smplh"]
    order = ("nose", "reye", "leye", "rear", "lear")
    assert tuple(ids[name] for name in order) == joints.FACE_VERTICES


def test_j24_picks_have_the_names_they_claim() -> None:
    """Kinematic joints by smplx's SMPL names, with the words LSP and smplx use for one thing."""
    for name, source in zip(joints.J24_NAMES, joints.J24_FROM_54, strict=True):
        if source < joints.FIRST_FACE:
            assert spoken(joints.SMPL_NAMES[source]) == spoken(name)
        elif source < joints.FIRST_EXTRA:
            face = ("nose", "right eye", "left eye", "right ear", "left ear")
            assert spoken(face[source - joints.FIRST_FACE]) == spoken(name)
    extra = [s for s in joints.J24_FROM_54 if s >= joints.FIRST_EXTRA]
    assert sorted(extra) == list(range(45, 54))


def test_smpl_names_are_smplx_names() -> None:
    assert joints.SMPL_NAMES[:22] == tuple(JOINT_NAMES[:22])


def test_parents_are_the_embedded_bodys() -> None:
    assert load_body().parents.tolist() == list(joints.SMPL_PARENTS)


@pytest.mark.parametrize("flip", [joints.J24_FLIP, joints.SMPL_FLIP])
def test_flips_are_involutions(flip: tuple[int, ...]) -> None:
    assert [flip[flip[k]] for k in range(24)] == list(range(24))


@pytest.mark.parametrize(
    ("flip", "names"),
    [(joints.J24_FLIP, joints.J24_NAMES), (joints.SMPL_FLIP, joints.SMPL_NAMES)],
)
def test_flips_swap_left_and_right_by_name(flip: tuple[int, ...], names: tuple[str, ...]) -> None:
    swap = {"left": "right", "right": "left"}
    for k, other in enumerate(flip):
        assert {swap.get(word, word) for word in spoken(names[k])} == spoken(names[other])


def test_the_embedded_body_at_rest_is_symmetric_under_the_flip() -> None:
    rotations = torch.eye(3).expand(1, 24, 3, 3)
    posed = JointBody(load_body(), ("j24", "smpl24"))(rotations, torch.zeros(1, 10))
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    for name, flip in (("j24", joints.J24_FLIP), ("smpl24", joints.SMPL_FLIP)):
        x = posed[name][0]
        torch.testing.assert_close(x[list(flip)] * mirror, x, atol=1e-4, rtol=0)


def test_left_is_positive_x_and_ankles_are_below_the_head() -> None:
    rotations = torch.eye(3).expand(1, 24, 3, 3)
    x = JointBody(load_body())(rotations, torch.zeros(1, 10))["j24"][0]
    for k, name in enumerate(joints.J24_NAMES):
        if name.startswith(("Left", "Right")):
            assert bool(x[k, 0] > 0) == name.startswith("Left"), name
    assert x[0, 1] < x[1, 1] < x[2, 1] < x[12, 1] < x[13, 1]


def test_coco_picks_have_the_names_of_coco() -> None:
    paired = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    coco = ["nose", *(f"{side} {part}" for part in paired for side in ("left", "right"))]
    for name, k in zip(coco, joints.COCO17_TO_J24, strict=True):
        assert spoken(joints.J24_NAMES[k]) == spoken(name)


def test_edges_are_a_tree_over_all_24_joints() -> None:
    reached = {0}
    for _ in joints.J24_EDGES:
        reached |= {b for edge in joints.J24_EDGES for b in edge if reached & set(edge)}
    assert reached == set(range(24))
    assert len(set(joints.J24_EDGES)) == 23


def test_h36m_picks_are_spins() -> None:
    assert joints.H36M_TO_J17 == (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9)
    assert joints.H36M_TO_J14 == joints.H36M_TO_J17[:14]


def test_h36m_picks_are_the_first_fourteen_of_j24_on_the_body() -> None:
    """SPIN compares both sets joint by joint: limbs of the two agree within a few centimetres."""
    rotations = torch.eye(3).expand(1, 24, 3, 3)
    posed = JointBody(load_body(), ("j24", "h36m17"))(rotations, torch.zeros(1, 10))
    j14 = posed["h36m17"][0, list(joints.H36M_TO_J14)]
    assert (j14 - posed["j24"][0, :14]).norm(dim=-1).max() < 0.12


def test_centring_on_the_mid_hips() -> None:
    x = torch.randn(2, 5, 24, 3, dtype=torch.float64)
    centred = joints.centre_on_mid_hips(x)
    hips = centred[..., list(joints.MID_HIPS), :].mean(-2)
    torch.testing.assert_close(hips, torch.zeros_like(hips))
    torch.testing.assert_close(
        centred[..., 1:, :] - centred[..., :1, :], x[..., 1:, :] - x[..., :1, :]
    )
    with pytest.raises(ValueError, match="j24"):
        joints.centre_on_mid_hips(torch.zeros(17, 3))
