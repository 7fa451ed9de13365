"""The joints-only body by levels is the joints-only body, gradients included."""

from __future__ import annotations

import torch

from multibodies.core.body import JointBody, load_body
from multibodies.core.level_body import LevelBody, levels_of
from multibodies.core.rotations import axis_angle_to_matrix


def test_it_equals_the_joints_only_body_and_so_do_its_gradients() -> None:
    torch.manual_seed(0)
    body = JointBody(load_body(), ("j24",), dtype=torch.float64)
    levels = LevelBody(body.points)
    theta = torch.randn(5, 24, 3, dtype=torch.float64)
    beta = torch.randn(5, 10, dtype=torch.float64)
    made = []
    for whole in (True, False):
        a, b = theta.clone().requires_grad_(), beta.clone().requires_grad_()
        rotations = axis_angle_to_matrix(a)
        joints = body(rotations, b)["j24"] if whole else levels(rotations, b)
        made.append((joints, *torch.autograd.grad(joints.square().sum(), (a, b))))
    for one, other in zip(*made, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_turning_the_root_turns_everything_about_its_place() -> None:
    torch.manual_seed(1)
    body = LevelBody(JointBody(load_body(), ("j24",), dtype=torch.float64).points)
    theta = torch.randn(4, 24, 3, dtype=torch.float64)
    beta = torch.randn(4, 10, dtype=torch.float64)
    turn = axis_angle_to_matrix(torch.randn(4, 3, dtype=torch.float64))
    rotations = axis_angle_to_matrix(theta)
    turned = torch.cat([(turn @ rotations[:, 0])[:, None], rotations[:, 1:]], 1)
    root = body.root(beta)[:, None]
    expected = (body(rotations, beta) - root) @ turn.mT + root
    torch.testing.assert_close(body(turned, beta), expected, atol=1e-7, rtol=0)  # float32 tables


def test_levels_of_a_tree() -> None:
    assert levels_of((-1, 0, 0, 1, 3)) == [[0], [1, 2], [3], [4]]
