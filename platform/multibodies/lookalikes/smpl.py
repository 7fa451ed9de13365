"""SMPL's model files as they are downloaded, with the embedded body in them.

Python-2 pickles, protocol 2, of chumpy arrays and a sparse joint regressor, under the names of
v1.0.0 and of v1.1.0; SPIN's two joint regressors beside them. Metres, float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from multibodies.core.body_arrays import BodyArrays
from multibodies.lookalikes.python2 import named, write_python2

Floats = npt.NDArray[np.float64]
FILES: Final = {
    "1.0.0": {
        "neutral": "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl",
        "male": "basicmodel_m_lbs_10_207_0_v1.0.0.pkl",
        "female": "basicModel_f_lbs_10_207_0_v1.0.0.pkl",
    },
    "1.1.0": {
        "neutral": "SMPL_NEUTRAL.pkl",
        "male": "SMPL_MALE.pkl",
        "female": "SMPL_FEMALE.pkl",
    },
}
COMPONENTS: Final = {"1.0.0": 10, "1.1.0": 300}
SPARSE: Final = {"1.0.0": "scipy.sparse.csc", "1.1.0": "scipy.sparse._csc"}
HEIGHT: Final = {"neutral": 1.0, "male": 1.03, "female": 0.96}  # the template's scale


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A file, and the plain arrays in it by SMPL's names; shapedirs [6890, 3, 10 | 300]."""

    path: Path
    gender: str
    version: str
    arrays: dict[str, npt.NDArray[Any]] = field(repr=False)


def write_smpl(
    root: Path,
    body: BodyArrays,
    *,
    version: str = "1.0.0",
    genders: tuple[str, ...] = ("neutral", "male", "female"),
) -> list[ModelFile]:
    """Write models and SPIN's regressors into a folder."""
    root.mkdir(parents=True, exist_ok=True)
    write_regressors(root, body)
    files = []
    for gender in genders:
        arrays = model_arrays(body, HEIGHT[gender], COMPONENTS[version])
        path = root / FILES[version][gender]
        write_python2(path, pickled(arrays, SPARSE[version], select=gender == "neutral"))
        files.append(ModelFile(path, gender, version, arrays))
    return files


def write_regressors(root: Path, body: BodyArrays) -> None:
    """Write J_regressor_h36m.npy [17, 6890] and J_regressor_extra.npy [9, 6890]."""
    for name in ("J_regressor_h36m", "J_regressor_extra"):
        np.save(root / f"{name}.npy", getattr(body, name).double().numpy())


def model_arrays(
    body: BodyArrays, height: float, components: int = 10
) -> dict[str, npt.NDArray[Any]]:
    """Return SMPL's plain arrays; components beyond the body's own are small ones."""
    own = body.shapedirs.double().numpy()
    rng = np.random.default_rng(components)
    more = 1e-4 * rng.normal(size=(len(own), 3, components - own.shape[2]))
    parents = body.parents.numpy() % 2**32
    return {
        "v_template": height * body.v_template.double().numpy(),
        "shapedirs": np.concatenate([own, more], axis=2),
        "posedirs": body.posedirs.double().numpy(),
        "J_regressor": body.J_regressor.double().numpy(),
        "weights": body.weights.double().numpy(),
        "kintree_table": np.stack([parents, np.arange(len(parents))]).astype(np.uint32),
        "f": body.faces.numpy().astype(np.uint32),
    }


def pickled(
    arrays: dict[str, npt.NDArray[Any]], sparse: str, *, select: bool = False
) -> dict[str, Any]:
    """Return SMPL's dict with stand-ins for chumpy's and SciPy's objects.

    select: shapedirs is a selection of an array of twice as many components.
    """
    shapes = arrays["shapedirs"]
    return {
        **arrays,
        "J_regressor": sparse_matrix(arrays["J_regressor"], sparse),
        "J_regressor_prior": sparse_matrix(arrays["J_regressor"], sparse),
        "J": arrays["J_regressor"] @ arrays["v_template"],
        "v_template": ch(arrays["v_template"]),
        "shapedirs": selection(shapes) if select else ch(shapes),
        "weights": ch(arrays["weights"]),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "vert_sym_idxs": np.arange(len(shapes)),
    }


def ch(value: Floats) -> Any:
    """chumpy's array as pickled, with what else its state holds."""
    return named("chumpy.ch", "Ch", {"x": value, "_dirty_vars": set(), "_itr": None})


def selection(value: Floats) -> Any:
    """The first half of twice as many shape components, as chumpy pickles a slice."""
    whole = np.concatenate([value, value[..., ::-1]], axis=-1)
    index = np.arange(whole.size).reshape(whole.shape)[..., : value.shape[-1]]
    state = {"a": ch(whole), "idxs": index.ravel(), "preferred_shape": value.shape}
    return named("chumpy.reordering", "Select", state)


def sparse_matrix(value: Floats, module: str) -> Any:
    """SciPy's csc_matrix as pickled: entries column by column."""
    columns, rows = np.nonzero(value.T)
    starts = np.searchsorted(columns, np.arange(value.shape[1] + 1)).astype(np.int32)
    state = {"data": value[rows, columns], "indices": rows.astype(np.int32), "indptr": starts}
    return named(module, "csc_matrix", {**state, "_shape": value.shape, "maxprint": 50})
