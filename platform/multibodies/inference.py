"""From images to all M hypotheses: parameters, joints, 2D keypoints, the prior's log-density. No
Ray, no files.

Shapes: B image, M hypothesis, K joint (24 of j24, 14 of H36M), S side in pixels. Metres; [-1, 1]
across the crop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.camera import project
from multibodies.core.joints import H36M_TO_J14, centre_on_mid_hips
from multibodies.core.regressor import Hypotheses, Regressor
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.hypotheses import StoredHypotheses

if TYPE_CHECKING:
    from multibodies.core.prior import SkeletonPrior

BATCH = 64


class Inference(nn.Module):
    """A regressor, a body and a prior, in evaluation mode: images in, every quantity of
    `StoredHypotheses` out.
    """

    def __init__(self, regressor: Regressor, prior: SkeletonPrior, arrays: BodyArrays) -> None:
        super().__init__()
        self.regressor, self.prior = regressor, prior
        self.body = JointBody(arrays, ("j24", "h36m17"))
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.regressor.parameters()).device

    @torch.inference_mode()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map uint8 RGB images [B, S, S, 3] to the arrays of `StoredHypotheses` [B, M, ...]."""
        check_images(images)
        pixels = images.to(self.device).permute(0, 3, 1, 2).float() / 255
        return self.describe(self.regressor(pixels))

    def describe(self, hypotheses: Hypotheses) -> dict[str, Tensor]:
        """Pose and project M hypotheses. Joints are not moved by a camera's translation: they stay
        centred.
        """
        shape = hypotheses.beta.shape[:2]
        posed = self.body(hypotheses.rotations.flatten(0, 1), hypotheses.beta.flatten(0, 1))
        j24, h36m = (posed[name].unflatten(0, shape) for name in ("j24", "h36m17"))
        return {
            "rotation_6d": hypotheses.rotation_6d,
            "beta": hypotheses.beta,
            "camera": hypotheses.camera,
            "joints_j24": centre_on_mid_hips(j24),
            "joints_h36m14": j14(h36m),
            "keypoints_2d_pred": project(j24, hypotheses.camera),
            "log_density": self.weighed(hypotheses),
        }

    def weighed(self, hypotheses: Hypotheses) -> Tensor:
        """Return what weighs hypotheses [B, M]: the prior's log-density, or what the system itself
        says of their probability."""
        if hypotheses.log_weights is not None:
            return hypotheses.log_weights
        return log_density(hypotheses.rotations, hypotheses.beta, self.prior, self.body)


def infer_images(
    model: Inference, image_ids: list[str], images: npt.NDArray[np.uint8]
) -> StoredHypotheses:
    """Infer all hypotheses of images [B, S, S, 3], BATCH at a time."""
    if len(image_ids) != len(images):
        raise ValueError(f"{len(image_ids)} image ids for {len(images)} images")
    parts = [model(torch.from_numpy(images[rows])) for rows in batches(len(images))]
    names = parts[0].keys()
    arrays = {
        name: torch.cat([part[name] for part in parts]).cpu().float().numpy() for name in names
    }
    return StoredHypotheses(tuple(image_ids), **arrays)


@torch.inference_mode()
def rescore(stored: StoredHypotheses, prior: SkeletonPrior, body: JointBody) -> StoredHypotheses:
    """Return the same hypotheses under another prior, from their stored parameters."""
    parts = []
    for rows in batches(len(stored)):
        rotations = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[rows]))
        parts.append(log_density(rotations, torch.from_numpy(stored.beta[rows]), prior, body))
    return stored.with_log_density(torch.cat(parts).float().numpy())


def log_density(rotations: Tensor, beta: Tensor, prior: SkeletonPrior, body: JointBody) -> Tensor:
    """log p(X) of eq. 4 at j24 in the prior's frame, centred on the mid-hip.

    rotations [B, M, 24, 3, 3], beta [B, M, 10] -> [B, M], nats.
    """
    from multibodies.core.prior import prior_skeletons  # nflows is slow to import

    flat = rotations.flatten(0, 1), beta.flatten(0, 1)
    skeletons = prior_skeletons(body, *flat, prior.spec.frame)
    return prior.log_prob(skeletons).reshape(beta.shape[:2])


def j14(h36m17: Tensor) -> Tensor:
    """Return SPIN's 14 evaluation joints around the H36M pelvis: [..., 17, 3] -> [..., 14, 3]."""
    if h36m17.shape[-2:] != (17, 3):
        raise ValueError(f"expected H36M joints [..., 17, 3], got {tuple(h36m17.shape)}")
    return (h36m17 - h36m17[..., :1, :])[..., list(H36M_TO_J14), :]


def check_images(images: Tensor) -> None:
    """Refuse anything but uint8 [B, S, S, 3]. Raises ValueError."""
    square = images.ndim == 4 and images.shape[1] == images.shape[2] and images.shape[3] == 3
    if not square or images.dtype != torch.uint8:
        raise ValueError(
            f"expected uint8 images [B, S, S, 3], got {images.dtype} {tuple(images.shape)}"
        )


def batches(rows: int) -> Iterator[slice]:
    """Yield slices of at most BATCH rows."""
    for start in range(0, rows, BATCH):
        yield slice(start, min(start + BATCH, rows))
