"""A training looks at itself on val splits at a rung, and learns whether to go on.

What is looked at is what cells are scored by: MPJPE-n or RE-n, at the best of the flow weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from torch import nn

from multibodies import checkpoints, rungs
from multibodies.bodies.loading import load_body
from multibodies.config import Config
from multibodies.core.regressor import Regressor
from multibodies.data.manifest import read_manifest
from multibodies.data.shards import read_first
from multibodies.inference import Inference, infer_images
from multibodies.protocols import dataset_of
from multibodies.scoring import Cell, score_hypotheses
from multibodies.sweep import Stopping, best_of
from multibodies.training import TrainingState
from multibodies.truth import TRUTH_COLUMNS, truth_from_rows


@dataclass(frozen=True)
class Halving:
    """What a training needs to ask whether to go on; paths are absolute.

    path: the sweep's rungs; out: the training's folder; images: the dataset that has the splits.
    """

    rule: Stopping
    training: str
    config: Config
    path: str
    out: str
    images: str
    prior: str
    flow_weights: tuple[float, ...]

    def is_rung(self, state: TrainingState) -> bool:
        """Whether the training is at a step where it may be stopped."""
        return state.step in self.rule.rungs(self.config.stage2.steps)

    def goes_on(self, state: TrainingState) -> bool:
        """Whether to go on; where not, the training's folder says so. Asked once for a rung."""
        if not self.is_rung(state):
            return True
        path, step = Path(self.path), state.step
        line = rungs.decision(path, self.training, step)
        if line is None:
            error = self.error(state.model)
            line = rungs.decide(path, self.training, step, error, self.rule.reduction)
        if not line["goes_on"]:
            rungs.stop(Path(self.out), step=step, metric=self.rule.metric, value=line["value"])
        return bool(line["goes_on"])

    def error(self, regressor: Regressor) -> float:
        """Return the metric in mm on the first rows of the val splits, the mean over splits."""
        with evaluating(regressor):
            body = load_body(self.config.body.path)
            model = Inference(regressor, checkpoints.load_prior(Path(self.prior)), body)
            model = model.to(next(regressor.parameters()).device)
            records = pa.concat_tables([self._records(model, name) for name in self.rule.splits])
        val = records.to_pandas().assign(point=self.training)
        return best_of(val, self.rule.metric)[1][self.training]

    def _records(self, model: Inference, split: str) -> pa.Table:
        columns = dict.fromkeys(("image_id", "image", *TRUTH_COLUMNS))
        read = read_first(self.images, split, tuple(columns))
        rows = {name: column[: self.rule.images] for name, column in read.items()}
        stored = infer_images(model, [str(name) for name in rows["image_id"]], rows["image"])
        size = read_manifest(self.images).image_size
        truth = truth_from_rows(rows, dataset_of(split), size, f"{self.images}, {split}")
        cell = Cell(self.config.stage2.seed, self.config.loss.ri)
        settings = self.config.evaluation.model_copy(update={"pve": False})
        return score_hypotheses(
            stored, truth, settings, self.flow_weights, cell, body=self.config.body.path
        ).records


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a block, each of its parts back as it was."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
