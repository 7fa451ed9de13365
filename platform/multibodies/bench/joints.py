"""Joints without meshes against smplx and a regressor: forward and backward of 64 x 25 bodies.

The joints are the 17 that the H36M regressor reads off the mesh.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multibodies.bench import samples
from multibodies.bench.harness import Road, Row, Setting, absent, alternate, faster, say
from multibodies.bench.memory import leaner
from multibodies.core.body import BodyArrays, JointBody, MeshBody, load_body

Pose = Callable[[Tensor, Tensor], Tensor]
BODIES, QUICK_BODIES = 1600, 4
AGREE = 1e-4  # metres: a road that differs by more poses other joints


def by_mesh(arrays: BodyArrays, device: torch.device) -> Pose:
    """All vertices by smplx, then the regressor: what the paper's code does."""
    mesh, regressor = MeshBody(arrays).to(device), arrays.J_regressor_h36m.to(device)
    return lambda rotations, beta: torch.matmul(regressor, mesh(rotations, beta))


def by_joints(arrays: BodyArrays, device: torch.device) -> Pose:
    """Ours."""
    body = JointBody(arrays, ("h36m17",)).to(device)
    return lambda rotations, beta: body(rotations, beta)["h36m17"]


def by_compiled(arrays: BodyArrays, device: torch.device) -> Pose:
    """Ours by torch.compile: an object of its own, used with gradients and one batch size only.

    Shared with no-grad calls, or of a dynamic batch size, it would silently stop compiling.
    """
    compiled: Pose = torch.compile(by_joints(arrays, device), dynamic=False)
    return compiled


def by_body_models(arrays: BodyArrays, device: torch.device) -> Pose:
    """`forward_points` of the package body-models. Raises ImportError where it is missing."""
    from body_models.smpl.torch import SMPL

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.npz"
        np.savez(path, **_smpl_file(arrays))
        model = SMPL(model_path=path, rotation_type="rotmat").to(device)
    regressor = model.prepare_point_regressor(arrays.J_regressor_h36m.to(device))

    def pose(rotations: Tensor, beta: Tensor) -> Tensor:
        return model.forward_points(
            rotations[:, 1:], pelvis_rotation=rotations[:, 0], shape=beta, point_regressor=regressor
        )

    return pose


def road(make: Callable[[BodyArrays, torch.device], Pose], setting: Setting) -> Road:
    """Forward and backward of one batch through the embedded body."""
    return _both_ways(make(load_body(), setting.device), setting)


ROADS: dict[str, Callable[[Setting], Road]] = {
    "smplx": partial(road, by_mesh),
    "joints": partial(road, by_joints),
}


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the rows of the embedded body, then those of the worst one."""
    poses = {"smplx": by_mesh, "joints": by_joints}
    uncompiled = _why_uncompiled(setting)
    poses |= {} if uncompiled else {"compiled": by_compiled}
    made = {name: make(load_body(), setting.device) for name, make in poses.items()}
    why = ""
    try:
        made["body-models"] = by_body_models(load_body(), setting.device)
    except ImportError as error:
        why = f"body-models is not installed ({error.name})"
    _check_agreement(made, setting)
    if not uncompiled:
        say("joints: compiling, a minute or two")
    times = alternate("joints", _roads(made, setting), setting)
    yield faster("joints: smplx / ours", times["smplx"], times["joints"], 60)
    name = "joints: smplx / ours compiled"
    if uncompiled:
        yield absent(name, 120, uncompiled)
    else:
        yield faster(name, times["smplx"], times["compiled"], 120)
    name = "joints: body-models / ours"
    yield absent(name, 2, why) if why else faster(name, times["body-models"], times["joints"], 2)
    yield leaner("joints: peak memory", __name__, ("smplx", "joints"), 60, setting)
    yield worst_case(setting)


def worst_case(setting: Setting) -> Row:
    """Return the row of a body whose regressor touches all 408 pairs of joint and bone."""
    arrays = samples.worst_body()
    made = {"smplx": by_mesh(arrays, setting.device), "joints": by_joints(arrays, setting.device)}
    _check_agreement(made, setting)
    times = alternate("joints, 408 pairs", _roads(made, setting), setting)
    return faster("joints: smplx / ours, 408 pairs", times["smplx"], times["joints"], 30)


def _roads(poses: dict[str, Pose], setting: Setting) -> dict[str, Road]:
    return {name: _both_ways(pose, setting) for name, pose in poses.items()}


def _both_ways(pose: Pose, setting: Setting) -> Road:
    inputs = samples.bodies(QUICK_BODIES if setting.quick else BODIES, setting.device)
    for tensor in inputs:
        tensor.requires_grad_()
    pull = torch.randn(len(inputs[0]), 17, 3, generator=samples.generator()).to(setting.device)
    return lambda: torch.autograd.grad(pose(*inputs), inputs, pull)


def _check_agreement(poses: dict[str, Pose], setting: Setting) -> None:
    """Refuse to time roads that lead elsewhere; the compiled one is the eager one's code."""
    inputs = samples.bodies(3, setting.device)
    expected = poses["smplx"](*inputs)
    for name, pose in poses.items():
        if name != "compiled":
            error = float((pose(*inputs) - expected).abs().max())
            assert error < AGREE, f"{name} differs from smplx by {error} m"


def _why_uncompiled(setting: Setting) -> str:
    """Say why torch.compile is left out, or nothing."""
    if setting.quick:
        return "not compiled in a smoke test"
    found = any(map(shutil.which, ("g++", "c++", "clang++")))
    return "" if found else "torch.compile finds no C++ compiler"


def _smpl_file(arrays: BodyArrays) -> dict[str, Any]:
    parents = arrays.parents.numpy()
    return {
        "v_template": arrays.v_template.numpy(),
        "shapedirs": arrays.shapedirs.numpy(),
        "posedirs": arrays.posedirs.numpy(),
        "J_regressor": arrays.J_regressor.numpy(),
        "weights": arrays.weights.numpy(),
        "kintree_table": np.stack([parents, np.arange(len(parents))]),
        "f": arrays.faces.numpy(),
    }
