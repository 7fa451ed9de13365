"""Does the prior tell true skeletons from corrupted ones? Corruptions and the area under the ROC.

Legend: N skeleton, K joint. Metres, radians; densities in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from multibodies.core.joints import centre_on_mid_hips

LEFT_ARM = (9, 10, 11)  # of j24: shoulder, elbow, wrist


def jitter(skeletons: Tensor, metres: float, generator: torch.Generator) -> Tensor:
    """Add N(0, metres^2) to every coordinate of j24 [N, 24, 3] and centre on the mid-hip again."""
    drawn = torch.randn(skeletons.shape, generator=generator, dtype=skeletons.dtype)
    return centre_on_mid_hips(skeletons + metres * drawn.to(skeletons.device))


def swap_limb(skeletons: Tensor, limb: Sequence[int], generator: torch.Generator) -> Tensor:
    """Give each skeleton [N, K, 3] the joints `limb` of another one, where they stand.

    Every skeleton gives its limb once. Raises ValueError on fewer than 2 skeletons.
    """
    if len(skeletons) < 2:
        raise ValueError(f"a limb needs another body: expected 2 skeletons, got {len(skeletons)}")
    order = torch.randperm(len(skeletons), generator=generator).to(skeletons.device)
    swapped = skeletons.clone()
    joints = torch.as_tensor(limb, device=skeletons.device)
    swapped[order[:, None], joints] = skeletons[order.roll(1)[:, None], joints]
    return swapped


def random_turns(shape: tuple[int, ...], radians: float, generator: torch.Generator) -> Tensor:
    """Draw axis-angle vectors [*shape, 3]: uniform axes, angles N(0, radians^2)."""
    axes = torch.randn((*shape, 3), generator=generator)
    angles = radians * torch.randn((*shape, 1), generator=generator)
    turns: Tensor = angles * axes / axes.norm(dim=-1, keepdim=True)
    return turns


def auc(higher: Tensor, lower: Tensor) -> float:
    """Area under the ROC curve, P(a > b) + P(a = b) / 2 for a in higher [N], b in lower [M].

    Exact: the rank statistic of Mann and Whitney (1947). 1/2 means that nothing is told apart.
    Raises ValueError on empty, wrongly shaped or NaN input.
    """
    if higher.ndim != 1 or lower.ndim != 1 or not (len(higher) and len(lower)):
        shapes = f"{tuple(higher.shape)}, {tuple(lower.shape)}"
        raise ValueError(f"need two lists [N], [M], at least one each, got {shapes}")
    if higher.isnan().any() or lower.isnan().any():
        raise ValueError("need numbers that can be ordered, got NaN")
    ordered, asked = lower.sort().values, higher.contiguous()
    below = torch.searchsorted(ordered, asked)
    at_most = torch.searchsorted(ordered, asked, right=True)
    return int((below + at_most).sum()) / (2 * len(higher) * len(lower))


@torch.no_grad()
def calibration(
    log_prob: Callable[[Tensor], Tensor], true: Tensor, corrupt: Tensor
) -> dict[str, float]:
    """Compare log-densities of true and corrupted skeletons [N, K, 3] without joint noise.

    So does eq. 2 ask the prior. `auc` is that of true over corrupted; the means are in nats. Raises
    FloatingPointError where a mean is not finite.
    """
    densities = [log_prob(skeletons).double().cpu() for skeletons in (true, corrupt)]
    means = [float(density.mean()) for density in densities]
    if not all(map(math.isfinite, means)):
        raise FloatingPointError(f"prior: mean log-densities {means} are not finite")
    return {"auc": auc(*densities), "mean_true": means[0], "mean_corrupt": means[1]}
