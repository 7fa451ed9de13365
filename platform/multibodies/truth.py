"""What the images of a split really show, and how hypotheses are put beside it.

Shapes: B image, K joint (24 of j24, 14 of H36M). Metres; keypoints in [-1, 1] across the crop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multibodies.core.joints import centre_on_mid_hips
from multibodies.errors import UserError
from multibodies.hypotheses import StoredHypotheses, first_twin

KNOWN = ("has_3d", "has_h36m17")  # what scoring needs
TRUTH_COLUMNS = ("image_id", "h36m17", "joints_3d", "keypoints_2d", *KNOWN, "occlusion")
MESH_COLUMNS = ("theta", "beta", "has_smpl")  # for PVE besides
LABELS = ("h36m17", "joints_3d", "keypoints_2d")


@dataclass(frozen=True)
class Truth:
    """What the B images of a split really show; image_size is the crop's side in pixels.

    h36m17 [B, 17, 3], joints24 [B, 24, 3] around the mid-hip, confidence [B, 24], keypoints [B, 24,
    3] as (x, y, visible); theta [B, 24, 3] and beta [B, 10] where the mesh's columns were read.
    """

    dataset: str
    image_size: int
    image_id: tuple[str, ...]
    occlusion: tuple[str, ...]
    h36m17: Tensor
    joints24: Tensor
    confidence: Tensor
    keypoints: Tensor
    theta: Tensor | None = None
    beta: Tensor | None = None

    def joints(self, picks: Sequence[int], root: Sequence[int]) -> Tensor:
        """Return some of H36M's joints about the mean of some others [B, K, 3]."""
        return centred_joints(self.h36m17, picks, root)


def centred_joints(h36m17: Tensor, picks: Sequence[int], root: Sequence[int]) -> Tensor:
    """Pick joints about the mean of the root's: [..., 17, 3] -> [..., K, 3].

    Raises ValueError on another shape.
    """
    if h36m17.shape[-2:] != (17, 3):
        raise ValueError(f"expected H36M joints [..., 17, 3], got {tuple(h36m17.shape)}")
    origin = h36m17[..., list(root), :].mean(-2, keepdim=True)
    return (h36m17 - origin)[..., list(picks), :]


def check_n(n: Sequence[int], num_hypotheses: int, where: str) -> None:
    """Refuse n > M, n < 1 and an empty list before any work. Raises UserError."""
    if not n or min(n) < 1:
        raise UserError(f"evaluation.n must list whole numbers >= 1, got {list(n)}")
    if max(n) > num_hypotheses:
        raise UserError(
            f"{where}: evaluation.n asks for {max(n)} of M = {num_hypotheses} hypotheses; "
            f"choose n <= {num_hypotheses} or train with stage2.num_hypotheses >= {max(n)}"
        )


def truth_from_rows(
    rows: Mapping[str, npt.NDArray[Any]], dataset: str, image_size: int, where: str
) -> Truth:
    """Read a shard's label columns (TRUTH_COLUMNS, perhaps MESH_COLUMNS) as float64.

    Raises UserError naming `where` and the image if a row has no 3D truth or a number that is not
    finite.
    """
    names = tuple(str(name) for name in rows["image_id"])
    if twice := first_twin(names):
        raise UserError(f"{where}: image '{twice}' appears twice; prepare the dataset again")
    for row, name in enumerate(names):
        if not all(rows[column][row] for column in KNOWN):
            raise UserError(f"{where}: image '{name}' has no 3D truth; score a split that has it")
        if not all(np.isfinite(rows[c][row]).all() for c in LABELS):
            raise UserError(
                f"{where}: labels of image '{name}' are not finite; prepare the dataset again"
            )
    h36m, joints, keypoints = (
        torch.from_numpy(np.asarray(rows[c], dtype=np.float64)) for c in LABELS
    )
    return Truth(
        dataset=dataset,
        image_size=image_size,
        image_id=names,
        occlusion=tuple(str(name) for name in rows["occlusion"]),
        h36m17=h36m,
        joints24=centre_on_mid_hips(joints[..., :3]),
        confidence=joints[..., 3],
        keypoints=keypoints,
        **(_mesh(rows, names, where) if "theta" in rows else {}),
    )


def _mesh(
    rows: Mapping[str, npt.NDArray[Any]], names: Sequence[str], where: str
) -> dict[str, Tensor]:
    """Read pose and shape as float32. Raises UserError naming an image without them."""
    for row, name in enumerate(names):
        whole = all(np.isfinite(rows[c][row]).all() for c in ("theta", "beta"))
        if not (rows["has_smpl"][row] and whole):
            raise UserError(
                f"{where}: image '{name}' has no true pose and shape, so no PVE; "
                "set evaluation.pve to false"
            )
    return {c: torch.from_numpy(np.asarray(rows[c], dtype=np.float32)) for c in ("theta", "beta")}


def align(stored: StoredHypotheses, truth: Truth, where: str) -> StoredHypotheses:
    """Return the hypotheses in the order of the truth.

    Raises UserError naming an image that only one of them has.
    """
    place = {name: i for i, name in enumerate(stored.image_id)}
    for name in truth.image_id:
        if name not in place:
            raise UserError(
                f"{where}: no hypotheses for image '{name}'; infer this split of this dataset again"
            )
    extra = set(place) - set(truth.image_id)
    if extra:
        raise UserError(
            f"{where}: image '{min(extra)}' is not in the dataset; infer this split again"
        )
    return stored.rows([place[name] for name in truth.image_id])
