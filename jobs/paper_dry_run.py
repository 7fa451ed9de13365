"""Job: all that the paper's experiment runs, once, on look-alikes of its sets, in some minutes.

SMPL's pickles and every set are made by code, imported, prepared, verified, trained on (two steps
of each stage) and scored by every protocol. The numbers mean nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from multibodies.cli import main

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/paper-dry-run")
SETS = {
    "h36m": ("h36m", "h36m-train", "h36m-test", "h36m-p1-test", "ah36m-test"),
    "mpii3d": ("mpii3d", "mpii3d-train", "mpii3d-test"),
    "3dpw": ("3dpw", "3dpw-val", "a3dpw-val", "3dpw-test", "a3dpw-test"),
    "lsp": ("lsp", "lsp-train"),
    "lspet": ("lspet", "lspet-train"),
    "mpii": ("mpii", "mpii-train"),
    "coco": ("coco/coco_2014_train.npz", "coco-train"),
}
REGRESSORS = [f"--regressor-{n}={OUT}/sets/smpl/J_regressor_{n}.npy" for n in ("h36m", "extra")]
PREPARE = ("prepare", "--profile=paper-dry", "--limit=12")


def commands() -> list[list[str]]:
    """Return the lines that a researcher would type, with paths of look-alikes."""
    models = sorted(map(str, (OUT / "sets/smpl").glob("*.pkl")))
    yield_sets = [
        [*PREPARE, f"--source={name}", f"--root={OUT}/sets/{root}", f"--out={OUT}/data/{name}"]
        for name, (root, *_) in SETS.items()
    ]
    return yield_sets
