"""Look-alikes of all that the paper's experiment reads: SMPL and every dataset, in one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from multibodies.core.body import BodyArrays, body_from_arrays
from multibodies.lookalikes.h36m import write_h36m
from multibodies.lookalikes.lsp import write_lsp, write_lspet
from multibodies.lookalikes.mpi_inf_3dhp import write_mpi_inf_3dhp
from multibodies.lookalikes.mpii import write_mpii
from multibodies.lookalikes.npz import write_fits, write_spin_npz
from multibodies.lookalikes.people import sample_person
from multibodies.lookalikes.smpl import ModelFile, write_smpl
from multibodies.lookalikes.threedpw import write_threedpw

COCO = "coco_2014_train"
PEOPLE = 12  # of COCO, and of each half of LSP


def write_everything(root: Path, body: BodyArrays) -> list[Path]:
    """Write `smpl/` and a folder per set; return the folders.

    LSP's labels are whole, its pictures only the first 12 of each half: prepare it with that limit.
    """
    bodies = models(write_smpl(root / "smpl", body), body)
    writers: Mapping[str, Callable[[Path], object]] = {
        "h36m": lambda folder: write_h36m(folder, body),
        "mpii3d": lambda folder: write_mpi_inf_3dhp(folder, body),
        "3dpw": lambda folder: write_threedpw(folder, bodies),
        "lsp": lambda folder: write_lsp(folder, body, PEOPLE),
        "lspet": lambda folder: write_lspet(folder, body),
        "mpii": lambda folder: write_mpii(folder, body),
        "coco": lambda folder: write_coco_fits(folder, body),
    }
    for name, write in writers.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        write(root / name)
    return [root / "smpl", *(root / name for name in writers)]


def models(files: list[ModelFile], body: BodyArrays) -> dict[str, BodyArrays]:
    """Return the bodies that importing the male and the female model gives."""
    names = ("J_regressor_h36m", "J_regressor_extra")
    regressors = {name: getattr(body, name).double().numpy() for name in names}
    return {
        file.gender: body_from_arrays({**file.arrays, **regressors}, name=file.path.stem)
        for file in files
        if file.gender != "neutral"
    }


def write_coco_fits(root: Path, body: BodyArrays) -> None:
    """Write SPIN's npz of COCO, its pictures, and static fits for those without a body."""
    rng = np.random.default_rng(7)
    people = [sample_person(body, rng) for _ in range(PEOPLE)]
    write_spin_npz(root, COCO, people)
    write_fits(root / "static_fits" / f"{COCO}_fits.npy", people)
