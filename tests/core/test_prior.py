"""The prior's density against autograd, integration and closed forms; float64."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from multibodies.core.body import JointBody, load_body
from multibodies.core.couplings import FreeAffineCoupling, MaskedAffineCoupling
from multibodies.core.flow import RealNVP
from multibodies.core.gaussian import GaussianPrior
from multibodies.core.prior import (
    PriorSpec,
    SkeletonPrior,
    prior_skeletons,
)
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.core.whitening import Whitening
from multibodies.errors import UserError

SMALL = PriorSpec(couplings=4, hidden=8, joints=3)
both = pytest.mark.parametrize("architecture", ["permutations", "bernoulli"])


def shake(module: nn.Module, size: float = 0.4) -> None:
    """Give every weight a random value: an untrained flow is the identity."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, size)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken_prior(spec: PriorSpec = SMALL) -> SkeletonPrior:
    prior = SkeletonPrior(spec).double().eval()
    shake(prior)
    prior.fit_whitening(0.3 * torch.randn(50, spec.joints, 3, dtype=torch.float64) + 0.1)
    return prior


@both
def test_log_density_is_that_of_the_change_of_variables(architecture: str) -> None:
    prior = shaken_prior(replace(SMALL, architecture=architecture))

    def to_base(flat: Tensor) -> Tensor:
        whitened, _ = prior.whitening(flat[None])
        base: Tensor = prior.flow(whitened)[0][0]
        return base

    for skeleton in 0.3 * torch.randn(5, 3, 3, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(to_base, skeleton.flatten())
        log_det = torch.linalg.slogdet(jacobian).logabsdet
        base = Normal(0.0, 1.0).log_prob(to_base(skeleton.flatten())).sum()
        torch.testing.assert_close(prior.log_prob(skeleton), base + log_det, rtol=1e-10, atol=1e-9)
        assert abs(float(log_det)) > 0.1


@both
def test_the_flow_is_invertible(architecture: str) -> None:
    flow = RealNVP(12, 6, 16, architecture).double()
    shake(flow)
    x = torch.randn(40, 12, dtype=torch.float64)
    z, _ = flow(x)
    torch.testing.assert_close(flow.inverse(z), x, rtol=1e-8, atol=1e-8)
    assert float((z - x).detach().abs().min(1).values.max()) > 1e-3


def test_a_plane_density_integrates_to_one() -> None:
    flow = RealNVP(2, couplings=4, hidden=8).double()
    shake(flow)
    axis = torch.linspace(-25, 25, 501, dtype=torch.float64)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert float(density.sum()) * float(axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)
    assert float(density.max()) > 1.2 / (2 * math.pi)  # sharper somewhere than its base


def test_a_skeleton_density_integrates_to_one() -> None:
    prior = shaken_prior(PriorSpec(couplings=2, hidden=4, joints=1))
    axis = torch.linspace(-4, 4, 81, dtype=torch.float64)
    with torch.no_grad():
        density = prior.log_prob(torch.cartesian_prod(axis, axis, axis)[:, None]).exp()
    assert float(density.sum()) * float(axis[1] - axis[0]) ** 3 == pytest.approx(1, abs=1e-2)


def test_a_coupling_stretches_and_shrinks() -> None:
    flow = RealNVP(2, couplings=1, hidden=4)
    (coupling,) = [m for m in flow.modules() if isinstance(m, FreeAffineCoupling)]
    for raw, scale in ((-50.0, math.exp(-2)), (0.0, 1.0), (1.0, 2.51994), (50.0, math.exp(2))):
        nn.init.constant_(coupling.transform_net[-1].bias, raw)
        log_det = flow(torch.randn(1, 2))[1].detach()
        assert math.exp(float(log_det)) == pytest.approx(scale, rel=1e-4)


def test_two_couplings_transform_every_coordinate() -> None:
    for dimension in (3, 8):
        flow = RealNVP(dimension, couplings=2, hidden=8).double()
        shake(flow)
        x = torch.randn(dimension, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda y: flow(y[None])[0][0], x)  # noqa: B023
        for row in jacobian:  # an untouched coordinate has a single one
            assert int((row != 0).sum()) > 1


def naive_masked_log_prob(state: dict[str, Tensor], couplings: int, x: Tensor) -> Tensor:
    """The released code's formulas on the whole vector: masks multiply, nothing is left out."""

    def net(k: int, name: str, seen: Tensor) -> Tensor:
        for layer in ("first", "second", "last"):
            at = f"transform._transforms.{k}.{name}.{layer}"
            seen = state[f"{at}.weight"] @ seen + state[f"{at}.bias"]
            if layer != "last":
                seen = torch.where(seen > 0, seen, 0.01 * seen)
        return seen

    log_det = torch.zeros(())
    for k in range(couplings):
        mask = state[f"transform._transforms.{k}.mask"].to(x.dtype)
        s = torch.tanh(net(k, "scale_net", mask * x)) * (1 - mask)
        t = net(k, "shift_net", mask * x) * (1 - mask)
        x = mask * x + (1 - mask) * (x - t) * torch.exp(-s)
        log_det = log_det - s.sum()
    return MultivariateNormal(torch.zeros_like(x), torch.eye(len(x)).to(x)).log_prob(x) + log_det


def test_masked_couplings_are_the_released_codes() -> None:
    flow = RealNVP(12, 5, 16, "bernoulli", dropout=0.2).double().eval()
    shake(flow)
    masks = [c.mask for c in flow.modules() if isinstance(c, MaskedAffineCoupling)]
    assert len({tuple(mask.tolist()) for mask in masks}) == 5
    x = torch.randn(6, 12, dtype=torch.float64, requires_grad=True)
    found = flow.log_prob(x)
    expected = torch.stack([naive_masked_log_prob(flow.state_dict(), 5, row) for row in x])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    slopes = [torch.autograd.grad(density.sum(), x)[0] for density in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-10)


def test_masks_are_drawn_with_probability_one_half() -> None:
    flow = RealNVP(200, 40, 1, "bernoulli")
    masks = [c.mask for c in flow.modules() if isinstance(c, MaskedAffineCoupling)]
    kept = torch.stack(masks).float().mean()
    assert float(kept) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(200 * 40))


@pytest.mark.parametrize("keep", [True, False])
def test_a_mask_may_keep_everything_or_nothing(keep: bool) -> None:
    coupling = MaskedAffineCoupling(torch.full((5,), keep), 8, 0.0).double()
    x = torch.randn(3, 5, dtype=torch.float64)
    z, log_det = coupling(x)
    torch.testing.assert_close(coupling.inverse(z)[0], x)
    jacobian = torch.autograd.functional.jacobian(lambda y: coupling(y[None])[0][0], x[0])
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian).logabsdet)
    assert torch.equal(z, x) is keep
    (z.sum() + log_det.sum()).backward()


@both
def test_dropout_is_off_in_evaluation(architecture: str) -> None:
    spec = replace(SMALL, architecture=architecture, dropout=0.5)
    dropping, steady = shaken_prior(spec), SkeletonPrior(replace(spec, dropout=0.0)).double()
    steady.load_state_dict(dropping.state_dict())  # dropout has no state
    skeletons = 0.3 * torch.randn(6, 3, 3, dtype=torch.float64)
    expected = steady.train().log_prob(skeletons)
    assert torch.equal(dropping.eval().log_prob(skeletons), expected)
    dropped = dropping.train().log_prob(skeletons)
    assert not torch.isclose(dropped, expected).any()


def test_an_unfitted_prior_is_a_standard_normal() -> None:
    skeletons = torch.randn(2, 5, 24, 3)
    density = SkeletonPrior(PriorSpec(couplings=2, hidden=4)).log_prob(skeletons)
    expected = Normal(0.0, 1.0).log_prob(skeletons).sum((-1, -2))
    torch.testing.assert_close(density, expected, rtol=1e-5, atol=1e-4)


def test_an_untrained_prior_is_the_whitenings_normal() -> None:
    skeletons = torch.randn(30, 3, 3, dtype=torch.float64) * torch.tensor([0.5, 0.02, 0.0]) + 0.3
    prior = SkeletonPrior(PriorSpec(couplings=2, hidden=4, joints=3, noise=0.03)).double()
    prior.fit_whitening(skeletons)
    std = (skeletons.var(0) + 0.03**2).sqrt()
    expected = Normal(skeletons.mean(0), std).log_prob(skeletons).sum((-1, -2))
    torch.testing.assert_close(prior.log_prob(skeletons), expected)


def test_coordinates_that_never_vary_are_bounded() -> None:
    whitening = Whitening(3).double()
    x = torch.randn(20, 3, dtype=torch.float64) * torch.tensor([1.0, 1e-4, 0.0])
    whitening.fit(x, noise=0.0, floor=0.01)
    torch.testing.assert_close(whitening.std[0], x[:, 0].std())
    assert whitening.std[1:].tolist() == [0.01, 0.01]
    z, log_det = whitening(x)
    torch.testing.assert_close(whitening.inverse(z), x)
    assert float(log_det) == pytest.approx(-sum(math.log(s) for s in whitening.std.tolist()))


def test_samples_follow_the_density() -> None:
    prior = shaken_prior(PriorSpec(couplings=2, hidden=4, joints=1))
    with torch.no_grad():
        drawn = prior.sample(4000, torch.Generator().manual_seed(1))
        again = prior.sample(4000, torch.Generator().manual_seed(1))
        axis = torch.linspace(-4, 4, 61, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis, axis)
        mass = prior.log_prob(grid[:, None]).softmax(0)
    assert drawn.shape == (4000, 1, 3)
    assert torch.equal(drawn, again)
    mean = mass @ grid
    spread = (mass @ (grid - mean).square()).sqrt()
    torch.testing.assert_close(drawn[:, 0].mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(drawn[:, 0].std(0), spread, rtol=0.1, atol=0)


@both
def test_the_state_is_all_there_is(architecture: str) -> None:
    spec = replace(SMALL, architecture=architecture)
    prior = SkeletonPrior(spec)
    shake(prior)
    prior.fit_whitening(torch.randn(20, 3, 3))
    torch.manual_seed(99)  # other permutations, other masks
    other = SkeletonPrior(PriorSpec(**spec.to_json()))
    assert not torch.equal(prior.sample(1, seeded(0)), other.sample(1, seeded(0)))
    other.load_state_dict(load(save(prior.state_dict())))
    skeletons = torch.randn(6, 3, 3)
    assert torch.equal(prior.log_prob(skeletons), other.log_prob(skeletons))
    draws = [p.sample(4, seeded(0)) for p in (prior, other)]
    assert torch.equal(*draws)
    assert all(tensor.is_contiguous() for tensor in prior.state_dict().values())


def test_the_spec_is_plain() -> None:
    assert SMALL.to_json() == asdict(SMALL)
    assert PriorSpec(**SMALL.to_json()) == SMALL


def test_leading_shapes_are_kept() -> None:
    prior = shaken_prior()
    skeletons = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    one_by_one = [[prior.log_prob(s) for s in row] for row in skeletons]
    expected = torch.stack([torch.stack(row) for row in one_by_one])
    torch.testing.assert_close(prior.log_prob(skeletons), expected)


@pytest.mark.parametrize("shape", [(24, 3), (3,), (5, 3, 2)])
def test_other_skeletons_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"\[\.\.\., 3, 3\]"):
        shaken_prior().log_prob(torch.zeros(shape, dtype=torch.float64))


def test_skeletons_that_cannot_be_fitted_are_refused() -> None:
    prior = SkeletonPrior(SMALL)
    with pytest.raises(UserError, match="at least 2"):
        prior.fit_whitening(torch.zeros(1, 3, 3))
    bad = torch.zeros(4, 3, 3)
    bad[2, 0, 0] = torch.nan
    with pytest.raises(UserError, match="skeleton 2 is not finite"):
        prior.fit_whitening(bad)
    with pytest.raises(UserError, match="skeleton 2 is not finite"):
        GaussianPrior(bad, 0.02, 0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"couplings": 0},
        {"noise": -0.1},
        {"std_floor": 0.0},
        {"noise": math.nan},
        {"dropout": 1.0},
        {"dropout": math.nan},
        {"architecture": "glow"},
        {"frame": "world"},
    ],
)
def test_impossible_specs_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        PriorSpec(**wrong)


def test_specs_of_before_architectures_are_todays() -> None:
    old: dict[str, Any] = {
        "couplings": 2,
        "hidden": 8,
        "noise": 0.02,
        "std_floor": 0.01,
        "joints": 24,
    }
    spec = PriorSpec(**old)
    assert (spec.architecture, spec.dropout, spec.frame) == ("permutations", 0.0, "body")
    names = set(SkeletonPrior(spec).state_dict())
    assert {"flow.transform._transforms.1.transform_net.2.weight", "whitening.mean"} <= names


def test_the_gaussian_has_the_full_covariance() -> None:
    mix = torch.randn(6, 6, dtype=torch.float64)
    skeletons = (torch.randn(200, 6, dtype=torch.float64) @ mix + 1).unflatten(1, (2, 3))
    flat = skeletons.flatten(1)
    covariance = flat.T.cov() + 0.2**2 * torch.eye(6)
    expected = MultivariateNormal(flat.mean(0), covariance).log_prob(flat)
    gaussian = GaussianPrior(skeletons, noise=0.2, std_floor=0.01)
    torch.testing.assert_close(gaussian.log_prob(skeletons), expected)


def test_the_gaussian_bounds_flat_directions() -> None:
    flat = torch.randn(50, 1, dtype=torch.float64) * torch.tensor([[3.0, 4.0, 0.0]])
    gaussian = GaussianPrior(flat[:, None], noise=0.0, std_floor=0.5)
    along = torch.tensor([[0.6, 0.8, 0.0]], dtype=torch.float64)
    variance = (flat @ along[0]).var()
    covariance = 0.25 * torch.eye(3) + (variance - 0.25) * along.T @ along
    expected = MultivariateNormal(flat.mean(0), covariance).log_prob(flat + 0.1)
    torch.testing.assert_close(gaussian.log_prob(flat[:, None] + 0.1), expected)
    with pytest.raises(UserError, match="takes skeletons"):
        gaussian.log_prob(torch.zeros(2, 3))


def test_skeletons_do_not_see_the_root() -> None:
    body = JointBody(load_body())
    rotations = axis_angle_to_matrix(0.5 * torch.randn(3, 24, 3))
    turned = rotations.clone()
    turned[:, 0] = axis_angle_to_matrix(torch.randn(3, 3))
    beta = torch.randn(3, 10)
    skeletons = prior_skeletons(body, rotations, beta)
    torch.testing.assert_close(prior_skeletons(body, turned, beta), skeletons)
    rotations[:, 0] = torch.eye(3)
    joints = body(rotations, beta)["j24"]
    torch.testing.assert_close(skeletons, joints - (joints[:, 2:3] + joints[:, 3:4]) / 2)


def test_the_cameras_frame_keeps_the_root() -> None:
    body = JointBody(load_body())
    rotations = axis_angle_to_matrix(0.5 * torch.randn(3, 24, 3))
    beta = torch.randn(3, 10)
    joints = body(rotations, beta)["j24"]
    expected = joints - joints[:, 2:4].mean(1, keepdim=True)
    torch.testing.assert_close(prior_skeletons(body, rotations, beta, "camera"), expected)
