"""scale.md's figures follow from the settings and files they are said to follow from."""

from __future__ import annotations

import math
import re

from kustomized import ROOT
from multibodies.config import load_config
from multibodies.core.memory import parameters
from multibodies.hypotheses import SHAPES
from multibodies.recorder import WINDOW
from multibodies.training import regressor_spec

TEXT = (ROOT / "k8s/scale.md").read_text()
ROWS = {
    line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
    for line in TEXT.splitlines()
    if line.startswith("| ")
}
GPUS = (8, 64, 512)
IMAGES = (3200.0, 6400.0)  # of one GPU and second, at 10 and 20 % of the bound
PICTURE = 20e3 * 1.5**2
PAPER = load_config("paper")
CHECKPOINT = 12 * parameters(regressor_spec(PAPER.model, PAPER.stage2.num_hypotheses))
UNITS = {"k": 1e3, "M": 1e6, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "min": 60.0, "h": 3600.0}


def _numbers(cell: str) -> list[float]:
    """The numbers of a cell such as '1.2 to 2.3 GB/s', in plain units."""
    unit = re.search(r"[\d.]\s*(kB|MB|GB|TB|min|h|k|M)\b", cell)
    factor = UNITS[unit[1]] if unit else 1.0
    return [float(n.replace(",", "")) * factor for n in re.findall(r"[\d,]*\.?\d+", cell)]


def _agree(row: str, expected: list[float], column: int = -1) -> None:
    found = _numbers(ROWS[row][column])
    assert len(found) == len(expected), row
    for a, b in zip(found, expected, strict=True):
        assert math.isclose(a, b, rel_tol=0.06), (row, a, b)


def test_one_gpu() -> None:
    stage = PAPER.stage2
    steps = [rate / stage.batch_size for rate in IMAGES]
    _agree("steps", steps)
    _agree("stage 2", [stage.steps / s for s in steps])
    _agree("stage 1, once a sweep", [PAPER.stage1.steps / s for s in steps])
    _agree("reading", [rate * PICTURE for rate in IMAGES])
    _agree("decoding, by area", [rate * 1.5**2 / 1966 for rate in IMAGES])
    _agree("network", [CHECKPOINT / 3])
    _agree("checkpoint", [CHECKPOINT])
    _agree("checkpoints", [s / stage.checkpoint_every * CHECKPOINT for s in steps])
    _agree("metrics", [s / WINDOW * 8 * 2 for s in steps])
    floats = sum(math.prod(shape) for shape in SHAPES.values())
    assert _numbers(ROWS["hypotheses"][-1])[0] == 4 * floats * stage.num_hypotheses


def test_many_gpus() -> None:
    stage = PAPER.stage2
    per_gpu = {
        "images/s": list(IMAGES),
        "reading, nothing cached": [r * PICTURE for r in IMAGES],
        "checkpoints, every 500 steps": [r / stage.batch_size / 500 * CHECKPOINT for r in IMAGES],
        "checkpoints, every 10,000 steps": [
            r / stage.batch_size / 1e4 * CHECKPOINT for r in IMAGES
        ],
        "decoding": [r * 1.5**2 / 1966 for r in IMAGES],
        "metrics/s (MLflow took 5,000 *m*)": [r / stage.batch_size / WINDOW * 16 for r in IMAGES],
    }
    for row, values in per_gpu.items():
        for column, gpus in enumerate(GPUS):
            _agree(row, [gpus * value for value in values], column)


def test_a_thousand_cells() -> None:
    stage = PAPER.stage2
    saves = stage.steps / stage.checkpoint_every
    _agree("weights kept", [500 * CHECKPOINT / 3])
    _agree("checkpoints written, every 500 steps", [500 * saves * CHECKPOINT])
    _agree("metrics kept", [500 * stage.steps / WINDOW * 16])
    hours = [500 * stage.steps * stage.batch_size / rate for rate in IMAGES]
    for column, gpus in enumerate(GPUS):
        _agree("1,000 cells = 500 trainings", [h / gpus for h in hours], column)
