"""The prior p(X) on skeletons: RealNVP (eq. 4, supplement F), built on nflows.

Legend: N skeleton, K joint, D = 3 K dimension. Skeletons are j24 in the body's own frame (root
rotation identity, true betas), centred on the mid-hip, in metres; densities in nats of metres^-D.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from nflows.transforms.base import CompositeTransform
from nflows.transforms.coupling import AffineCouplingTransform
from nflows.transforms.permutations import Permutation
from torch import Tensor, nn

from multibodies.core.joints import centre_on_mid_hips
from multibodies.core.whitening import Whitening
from multibodies.errors import UserError

LOG_SCALE_LIMIT = 2.0  # a coupling scales a coordinate by e^-2 to e^2 at most


@dataclass(frozen=True)
class PriorSpec:
    """What a prior is made of; the defaults are those of the released code, and our noise."""

    couplings: int = 20
    hidden: int = 512
    noise: float = 0.02  # metres, Gaussian noise on every coordinate while fitting
    std_floor: float = 0.01  # metres, least standard deviation that whitening divides by
    joints: int = 24

    def __post_init__(self) -> None:
        """Refuse numbers that no prior can have. Raises UserError naming the field."""
        for name, least in (("couplings", 1), ("hidden", 1), ("joints", 1), ("noise", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise UserError(f"prior: {name} = {getattr(self, name)}; expected at least {least}")
        if not 0 < self.std_floor < math.inf:
            raise UserError(f"prior: std_floor = {self.std_floor} m; expected more than 0")

    def to_json(self) -> dict[str, Any]:
        """Return plain values: ``PriorSpec(**spec.to_json()) == spec``."""
        return asdict(self)


class Conditioner(nn.Sequential):
    """The net of a coupling: half the coordinates [N, I] -> shift and log-scale of the rest [N, O].

    Linear, LeakyReLU, Linear, LeakyReLU, Linear as in the released code (less its dropout). The
    last layer starts at zero: an untrained coupling is the identity.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        last = nn.Linear(hidden, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        super().__init__(first, nn.LeakyReLU(), second, nn.LeakyReLU(), last)

    def forward(self, inputs: Tensor, context: None = None) -> Tensor:
        """Map [N, I] -> [N, O]; nflows passes a context, which must be None."""
        assert context is None
        for layer in self:
            inputs = layer(inputs)
        return inputs


class FreeAffineCoupling(AffineCouplingTransform):  # type: ignore[misc]  # nflows has no types
    """An affine coupling whose scale is exp(a tanh(s / a)), a = 2: free to stretch and to shrink.

    nflows' own scale, sigmoid(s + 2) + 1e-3, can only shrink (bayesiains/nflows issue 49).
    """

    def _scale_and_shift(self, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = transform_params.chunk(2, dim=1)
        return torch.exp(LOG_SCALE_LIMIT * torch.tanh(raw / LOG_SCALE_LIMIT)), shift


class RealNVP(nn.Module):
    """A density on R^D, base N(0, I): couplings after random permutations, each with its mirror.

    Every second coupling sees the coordinates reversed, so each pair transforms all of them. The
    permutations come from torch's global generator and are part of the state.
    """

    def __init__(self, dimension: int, couplings: int, hidden: int) -> None:
        super().__init__()
        half = torch.arange(dimension) >= dimension // 2  # these are transformed, given the others

        def net(inputs: int, outputs: int) -> Conditioner:
            return Conditioner(inputs, outputs, hidden)

        layers: list[nn.Module] = []
        for k in range(couplings):
            reverse = torch.arange(dimension - 1, -1, -1)
            order = reverse if k % 2 else torch.randperm(dimension)
            layers += [Permutation(order), FreeAffineCoupling(half, net)]
        self.transform = CompositeTransform(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x) [N, D] and log |det df / dx| [N]."""
        z, log_det = self.transform(x)
        return z, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z) [N, D]."""
        x: Tensor = self.transform.inverse(z)[0]
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(f(x); 0, I) + log |det df / dx| [N] (eq. 4)."""
        z, log_det = self.forward(x)
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1) + log_det


class SkeletonPrior(nn.Module):
    """RealNVP on whitened skeletons; the whitening is part of the state and of the density."""

    def __init__(self, spec: PriorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.whitening = Whitening(3 * spec.joints)
        self.flow = RealNVP(3 * spec.joints, spec.couplings, spec.hidden)

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
    body: Callable[[Tensor, Tensor], dict[str, Tensor]], rotations: Tensor, beta: Tensor
) -> Tensor:
    """Pose j24 with the root rotation replaced by the identity, centred on the mid-hip.

    body: a JointBody with j24; rotations [N, 24, 3, 3], beta [N, 10] -> [N, 24, 3] metres.
    """
    root = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    upright = torch.cat([root.expand(len(rotations), 1, 3, 3), rotations[:, 1:]], dim=1)
    return centre_on_mid_hips(body(upright, beta)["j24"])
