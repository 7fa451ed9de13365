"""The prior p(X) on skeletons (eq. 4): a RealNVP, the skeletons it sees, its recipe.

Legend: N skeleton, K joint, D = 3 K dimension. Skeletons are j24 with true betas, centred on the
mid-hip, in metres, in the body's own frame or in the camera's; densities in nats of metres^-D.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from multibodies.core.flow import ARCHITECTURES, RealNVP
from multibodies.core.joints import centre_on_mid_hips
from multibodies.core.whitening import Whitening
from multibodies.errors import UserError

FRAMES = ("body", "camera")


@dataclass(frozen=True)
class PriorSpec:
    """What a prior is made of; the defaults are those of the released code, and our noise."""

    couplings: int = 20
    hidden: int = 512
    noise: float = 0.02  # metres, Gaussian noise on every coordinate while fitting
    std_floor: float = 0.01  # metres, least standard deviation that whitening divides by
    joints: int = 24
    architecture: str = "permutations"  # of flow.ARCHITECTURES
    dropout: float = 0.0  # in the couplings' nets, while fitting
    frame: str = "body"  # of FRAMES: root rotation identity, or as the camera sees it

    def __post_init__(self) -> None:
        """Refuse numbers that no prior can have. Raises UserError naming the field."""
        for name, least in (("couplings", 1), ("hidden", 1), ("joints", 1), ("noise", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise UserError(f"prior: {name} = {getattr(self, name)}; expected at least {least}")
        if not 0 < self.std_floor < math.inf:
            raise UserError(f"prior: std_floor = {self.std_floor} m; expected more than 0")
        if not 0 <= self.dropout < 1:
            raise UserError(f"prior: dropout = {self.dropout}; expected 0 or more, less than 1")
        for name, known in (("architecture", tuple(ARCHITECTURES)), ("frame", FRAMES)):
            if getattr(self, name) not in known:
                found = f"{name} = '{getattr(self, name)}'"
                raise UserError(f"prior: {found}; expected {' or '.join(known)}")

    def to_json(self) -> dict[str, Any]:
        """Return plain values: ``PriorSpec(**spec.to_json()) == spec``."""
        return asdict(self)


class SkeletonPrior(nn.Module):
    """RealNVP on whitened skeletons; the whitening is part of the state and of the density."""

    def __init__(self, spec: PriorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.whitening = Whitening(3 * spec.joints)
        self.flow = RealNVP(
            3 * spec.joints, spec.couplings, spec.hidden, spec.architecture, spec.dropout
        )

    def fit_whitening(self, skeletons: Tensor) -> None:
        """Take mean and bounded standard deviations, noise included, from skeletons [N, K, 3]."""
        self.whitening.fit(self._flat(skeletons), self.spec.noise, self.spec.std_floor)

    def log_prob(self, skeletons: Tensor) -> Tensor:
        """Log-density in nats of skeletons [..., K, 3] -> [...]. Raises UserError."""
        flat = self._flat(skeletons)
        z, log_det = self.whitening.forward(flat)
        density = self.flow.log_prob(z) + log_det
        return density.reshape(skeletons.shape[:-2])

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n skeletons [n, K, 3], joint noise included."""
        where = self.whitening.mean
        shape = (n, len(where))
        z = torch.randn(shape, generator=generator, dtype=where.dtype, device=where.device)
        return self.whitening.inverse(self.flow.inverse(z)).reshape(n, self.spec.joints, 3)

    def _flat(self, skeletons: Tensor) -> Tensor:
        if skeletons.ndim < 2 or skeletons.shape[-2:] != (self.spec.joints, 3):
            expected = f"[..., {self.spec.joints}, 3]"
            raise UserError(f"the prior takes skeletons {expected}, got {list(skeletons.shape)}")
        return skeletons.reshape(-1, 3 * self.spec.joints)


def prior_skeletons(
    body: Callable[[Tensor, Tensor], dict[str, Tensor]],
    rotations: Tensor,
    beta: Tensor,
    frame: str = "body",
) -> Tensor:
    """Pose j24 in a prior's frame, centred on the mid-hip.

    body: a JointBody with j24; rotations [N, 24, 3, 3], beta [N, 10] -> [N, 24, 3] metres. In the
    frame "body" the root rotation is replaced by the identity.
    """
    if frame == "body":
        root = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        rotations = torch.cat([root.expand(len(rotations), 1, 3, 3), rotations[:, 1:]], dim=1)
    return centre_on_mid_hips(body(rotations, beta)["j24"])
