"""Job: the paper's whole experiment on look-alikes of its sets; its numbers mean nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from multibodies.cli import main

OUT, PROFILE = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "paper-dry"
SETS = {  # name: what lies where, its splits
    "h36m": ("h36m", "h36m-train", "h36m-test", "h36m-p1-test", "ah36m-test"),
    "mpii3d": ("mpii3d", "mpii3d-train", "mpii3d-test"),
    "3dpw": ("3dpw", "3dpw-val", "a3dpw-val", "3dpw-test", "a3dpw-test"),
    "lsp": ("lsp", "lsp-train"),
    "lspet": ("lspet", "lspet-train"),
    "mpii": ("mpii", "mpii-train"),
    "coco": ("coco/coco_2014_train.npz", "coco-train"),
}
FITS = {"coco": [f"--fits={OUT}/sets/coco/static_fits/coco_2014_train_fits.npy"]}
REGRESSORS = [f"--regressor-{n}={OUT}/sets/smpl/J_regressor_{n}.npy" for n in ("h36m", "extra")]


def run(*words: object) -> None:
    if code := main([str(word) for word in words]):
        sys.exit(code)


if __name__ == "__main__":
    os.environ["MULTIBODIES_BODIES"] = str(OUT.resolve() / "bodies")
    run("lookalikes", "--out", OUT / "sets")
    run("body", "import", *sorted((OUT / "sets/smpl").glob("*.pkl")), *REGRESSORS)
    for name, (root, *splits) in SETS.items():
        places = "--source", name, "--root", OUT / "sets" / root, "--out", OUT / "data" / name
        size = "--profile", PROFILE, "--limit", 12
        run("prepare", *size, *places, *FITS.get(name, ()), "--splits", *splits)
    run("prepare", "verify", *(OUT / "data" / name for name in SETS))
    where = "--data", OUT / "data", "--out", OUT / "table2"
    run("sweep", "sweeps/table2_paper.toml", "--profile", PROFILE, *where)
