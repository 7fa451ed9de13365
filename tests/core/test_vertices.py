"""Per-vertex errors of many hypotheses, from smplx's own meshes."""

from __future__ import annotations

import numpy as np
import torch

from multibodies.core.body import MeshBody, load_body
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.core.vertices import vertex_errors


def test_errors_are_mean_distances_of_vertices_about_the_roots() -> None:
    torch.manual_seed(0)
    body = load_body()
    rotations = axis_angle_to_matrix(0.3 * torch.randn(2, 3, 24, 3))
    true = axis_angle_to_matrix(0.3 * torch.randn(2, 24, 3))
    beta, true_beta = torch.randn(2, 3, 10), torch.randn(2, 10)
    found = vertex_errors(body, (rotations, beta), (true, true_beta), (0,), (1, 4))
    mesh, regressor = MeshBody(body), body.J_regressor_h36m.numpy()
    for image in range(2):
        wanted = mesh(true[image : image + 1], true_beta[image : image + 1])[0].numpy()
        wanted = wanted - (regressor[[1, 4]] @ wanted).mean(0)
        for m in range(3):
            posed = mesh(rotations[image, m : m + 1], beta[image, m : m + 1])[0].numpy()
            posed = posed - regressor[0] @ posed
            error = np.linalg.norm(posed - wanted, axis=1).mean()
            np.testing.assert_allclose(float(found[image, m]), error, rtol=1e-4)


def test_a_body_against_itself_has_no_error() -> None:
    rotations, beta = axis_angle_to_matrix(torch.zeros(1, 1, 24, 3)), torch.zeros(1, 1, 10)
    found = vertex_errors(load_body(), (rotations, beta), (rotations[:, 0], beta[:, 0]))
    assert found.tolist() == [[0.0]]
