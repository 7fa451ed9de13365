"""The row-by-row poser against smplx, and on a body whose correctives are dense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from multibodies.core.body import BodyArrays, MeshBody, load_body
from multibodies.core.joints import J24_FROM_54
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.body_tables import build_poser
from multibodies.data.posing import pose_bodies


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body()


@pytest.mark.parametrize("dense", [False, True])
def test_poser_equals_smplx(dense: bool, body: BodyArrays) -> None:
    rng = np.random.default_rng(0)
    if dense:
        noise = torch.from_numpy(
            rng.normal(scale=1e-3, size=body.posedirs.shape).astype(np.float32)
        )
        body = replace(body, posedirs=noise)
    theta = rng.normal(scale=0.6, size=(5, 24, 3)).astype(np.float32)
    theta[0] = 0
    beta = rng.normal(size=(5, 10)).astype(np.float32)
    got = pose_bodies(build_poser(body), theta, beta)
    mesh, rotations = MeshBody(body), axis_angle_to_matrix(torch.from_numpy(theta))
    vertices = mesh(rotations, torch.from_numpy(beta))
    np.testing.assert_allclose(got.vertices, vertices, atol=1e-5)
    j24 = mesh.joints54(rotations, torch.from_numpy(beta))[:, list(J24_FROM_54)]
    np.testing.assert_allclose(got.j24, j24, atol=1e-5)
    h36m = torch.einsum("kv,bvd->bkd", body.J_regressor_h36m, vertices)
    np.testing.assert_allclose(got.h36m17, h36m, atol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours(body: BodyArrays) -> None:
    rng = np.random.default_rng(1)
    theta, beta = (
        rng.normal(size=(7, 24, 3)).astype(np.float32),
        rng.normal(size=(7, 10)).astype(np.float32),
    )
    poser = build_poser(body)
    whole = pose_bodies(poser, theta, beta).vertices
    for k in range(7):
        assert (
            pose_bodies(poser, theta[k : k + 1], beta[k : k + 1]).vertices.tobytes()
            == whole[k].tobytes()
        )
