"""Joints without meshes: the exact joints-only path of an SMPL-format body.

Shapes: B body, K joint, V vertex, J = 24 kinematic joints, P pairs (regressed joint k, kinematic
joint j). Metres.

With regressor H, skinning weights W, pose feature phi = vec(R_1..23 - I), and the global rotation
and posed position (R_j, G_j) of joint j:

    X_k = sum_j R_j (C0_kj + CS_kj beta + CP_kj phi) + cw_kj G_j
    cw_kj = sum_v H_kv W_vj;  [C0|CS|CP]_kj = sum_v H_kv W_vj [t|S|P]_v - cw_kj [J0|JS|0]_j

Only pairs with H_kv W_vj != 0 somewhere are kept: 57 (h36m17) and 47 (j24) for the embedded body.
Prior art that poses points without the mesh: `forward_points` of the package body-models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from multibodies.core.body_arrays import NUM_BETAS, NUM_JOINTS, BodyArrays
from multibodies.core.joints import (
    FACE_VERTICES,
    FEET_VERTICES,
    FIRST_EXTRA,
    FIRST_FACE,
    J24_FROM_54,
    OPENPOSE25_FROM_54,
)
from multibodies.core.posing import pose_points
from multibodies.errors import UserError

VERTEX_JOINTS: Final = FACE_VERTICES + FEET_VERTICES
FROM_54: Final = {"j24": J24_FROM_54, "openpose25": OPENPOSE25_FROM_54}
SETS: Final = ("smpl24", "h36m17", *FROM_54)


class PosedPoints(nn.Module):
    """Points that a linear regressor reads off the mesh, posed without the mesh.

    picks [K, 24] and regressor [K, V], float64: point = picks G + regressor vertices. Tables are
    built in float64 and kept in ``dtype``; they are not part of the state dict.
    """

    def __init__(
        self,
        arrays: BodyArrays,
        picks: Tensor,
        regressor: Tensor,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.parents: tuple[int, ...] = tuple(arrays.parents.tolist())
        for name, table in _tables(arrays, picks, regressor).items():
            self.register_buffer(name, table.to(dtype), persistent=False)
        self.pairs_of: tuple[int, ...] = tuple(self._pair_counts.long().tolist())

    offsets: Tensor  # [3 J, 11] bone offsets: [constant | beta]
    shape: Tensor  # [3 P, 11] C0 - CP vec(I) and CS
    pose: Tensor  # [3 P, 207] CP
    mix: Tensor  # [K, P + J] sums pairs into joints and adds cw G
    _pair_counts: Tensor  # [J]

    def forward(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Rotations [B, 24, 3, 3] relative to the parent, beta [B, 10] -> points [B, K, 3].

        Raises ValueError on other shapes.
        """
        if rotations.shape != (len(beta), NUM_JOINTS, 3, 3) or beta.shape[1:] != (NUM_BETAS,):
            shapes = tuple(rotations.shape), tuple(beta.shape)
            raise ValueError(f"need rotations [B, 24, 3, 3] and beta [B, 10], got {shapes}")
        b = len(beta)
        # The batch comes last: every small product is then one long vector operation.
        local = rotations.reshape(b, 9 * NUM_JOINTS).t().contiguous()
        ones_beta = torch.cat([beta.new_ones(1, b), beta.t()])
        points = torch.addmm(self.shape @ ones_beta, self.pose, local[9:])
        posed = pose_points(
            local.view(NUM_JOINTS, 3, 3, b),
            (self.offsets @ ones_beta).view(NUM_JOINTS, 3, b),
            points.view(len(points) // 3, 3, b),
            self.parents,
            self.pairs_of,
        )
        joints = (self.mix @ posed.reshape(len(posed), 3 * b)).view(len(self.mix), 3, b)
        return joints.permute(2, 0, 1).contiguous()


class JointBody(nn.Module):
    """Posed joint sets, equal to meshing and regressing up to rounding, some 100 times cheaper."""

    def __init__(
        self,
        arrays: BodyArrays,
        sets: Sequence[str] = ("j24",),
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        unknown = [name for name in sets if name not in SETS]
        if unknown or len(set(sets)) != len(sets):
            raise ValueError(f"sets must be distinct names among {SETS}, got {tuple(sets)}")
        self.sets = tuple(sets)
        rows = [_rows(arrays, name) for name in self.sets]
        self.sizes = tuple(len(picks) for picks, _ in rows)
        picks, regressor = (torch.cat(parts) for parts in zip(*rows, strict=True))
        self.points = PosedPoints(arrays, picks, regressor, dtype=dtype)

    def forward(self, rotations: Tensor, beta: Tensor) -> dict[str, Tensor]:
        """Rotations [B, 24, 3, 3] relative to the parent, beta [B, 10] -> {set: [B, K, 3]}.

        Raises ValueError on other shapes.
        """
        parts = self.points(rotations, beta).split(self.sizes, 1)
        return dict(zip(self.sets, parts, strict=True))


def mesh_regressor(arrays: BodyArrays, name: str) -> Tensor:
    """Return the rows [K, V], float64, that read a set off a posed mesh.

    Kinematic joints are read by J_regressor, as HMR and GraphCMR do: of a posed mesh some
    millimetres away from where the kinematic tree has them.
    """
    picks, regressor = _rows(arrays, name)
    return picks @ arrays.J_regressor.double() + regressor


def _rows(arrays: BodyArrays, name: str) -> tuple[Tensor, Tensor]:
    """Rows of a set, float64: picks of kinematic joints [K, 24] and a vertex regressor [K, V]."""
    eye = torch.eye(NUM_JOINTS, dtype=torch.float64)
    vertices = len(arrays.v_template)
    if name == "smpl24":
        return eye, eye.new_zeros(NUM_JOINTS, vertices)
    if name == "h36m17":
        regressor = arrays.J_regressor_h36m.double()
        return regressor.new_zeros(len(regressor), NUM_JOINTS), regressor
    if vertices <= max(VERTEX_JOINTS):
        raise UserError(
            f"{arrays.name}: {name} needs SMPL's 6890 vertices, the body has {vertices}"
        )
    sources = FROM_54[name]
    picks, regressor = (
        eye.new_zeros(len(sources), NUM_JOINTS),
        eye.new_zeros(len(sources), vertices),
    )
    for row, source in enumerate(sources):
        if source < FIRST_FACE:
            picks[row, source] = 1
        elif source < FIRST_EXTRA:
            regressor[row, VERTEX_JOINTS[source - FIRST_FACE]] = 1
        else:
            regressor[row] = arrays.J_regressor_extra[source - FIRST_EXTRA].double()
    return picks, regressor


def _tables(arrays: BodyArrays, picks: Tensor, regressor: Tensor) -> dict[str, Tensor]:
    """Contract the regressor with the body once, in float64 (formulas: the module's docstring)."""
    weights = arrays.weights.double()
    template, shapes = arrays.v_template.double(), arrays.shapedirs.double()
    rest = torch.cat([template[..., None], shapes], -1)  # [V, 3, 11]
    joints = torch.einsum("jv,vcf->jcf", arrays.J_regressor.double(), rest)  # [J, 3, 11]
    offsets = joints.clone()
    offsets[1:] -= joints[arrays.parents[1:]]
    cw = regressor @ weights  # [K, J]
    touched = (regressor != 0).double() @ (weights != 0).double()  # cw may cancel to zero
    j, k = touched.t().nonzero(as_tuple=True)  # sorted by j, as pose_points wants the pairs
    share = regressor[k] * weights.t()[j]  # [P, V]
    support = share.any(0).nonzero().squeeze(1)
    share = share[:, support]
    shape = torch.einsum("pv,vcf->pcf", share, rest[support]) - cw[k, j, None, None] * joints[j]
    pose = torch.einsum("pv,vcf->pcf", share, arrays.posedirs[support].double())
    identity = torch.eye(3, dtype=torch.float64).repeat(NUM_JOINTS - 1, 1, 1).flatten()
    shape[..., 0] -= pose @ identity  # phi = vec(R - I)
    gather = cw.new_zeros(len(cw), len(k))
    gather[k, torch.arange(len(k))] = 1
    return {
        "offsets": offsets.flatten(0, 1),
        "shape": shape.flatten(0, 1),
        "pose": pose.flatten(0, 1),
        "mix": torch.cat([gather, cw + picks], 1),
        "_pair_counts": torch.bincount(j, minlength=NUM_JOINTS),
    }
