"""The released code's side of every switch, together: trained, inferred and scored at tiny size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model_samples import save_dataset
from multibodies.checkpoints import load_regressor, save_module
from multibodies.config.switches import SWITCHES
from multibodies.core.layer5 import Layer5
from multibodies.core.prior import PriorSpec
from multibodies.core.prior_fit import fit_prior
from multibodies.evaluation import collect_scores, infer_tasks, score_tasks
from multibodies.hypotheses import read_hypotheses
from multibodies.local import fit_local
from training_samples import tiny_config

pytestmark = pytest.mark.slow

SIZES = ("stage2.num_hypotheses", "stage2.batch_size", "prior.couplings", "prior.hidden")
RELEASED = {switch.key: switch.values[1] for switch in SWITCHES if switch.key not in SIZES}
OURS = {"model.pooling": "average", "loss.heatmap": 0.0, "stage1.fresh_rows": 0}


def test_the_released_codes_side_of_every_switch_runs(tmp_path: Path) -> None:
    config = tiny_config({**RELEASED, **OURS, "stage2.learning_rate": 1e-3})
    data = tmp_path / "data"
    rows = save_dataset(data, {"lab-train": [8, 8], "wild-val": [4]})["wild-val"]
    skeletons = 0.3 * torch.randn(32, 24, 3)
    spec = PriorSpec(2, 8, 0.0, architecture="bernoulli", dropout=config.prior.dropout)
    prior = fit_prior(skeletons, skeletons[:8], spec, steps=3, batch=8, lr=1e-3).prior
    save_module(tmp_path / "prior", prior.state_dict(), {"spec": spec.to_json()})

    first = fit_local(config, "stage1", data, tmp_path / "one", progress=False)
    last = fit_local(config, "stage2", data, tmp_path / "two", start_from=first, progress=False)
    assert isinstance(load_regressor(last).pooling, Layer5)
    split, stored = "wild-val", tmp_path / "hypotheses"
    for task in infer_tasks(config, data, last, split, stored, prior=tmp_path / "prior"):
        task.run()
    tasks = score_tasks(config, data, stored, split, tmp_path / "scores", flow_weights=[1.0])
    for scoring in tasks:
        scoring.run()
    records = collect_scores(tasks).records.to_pandas()
    assert np.isfinite(records[["mpjpe_mm", "re_mm"]]).all(axis=None)

    bodies = read_hypotheses(stored / split / "part-00000.parquet")
    single = records[records["n"] == 1].set_index("image_id")["mpjpe_mm"]
    hips = rows["h36m17"].astype(np.float64)[:, [1, 4]].mean(1, keepdims=True)
    truth = (rows["h36m17"] - hips)[:, [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]]
    place = {str(name): i for i, name in enumerate(rows["image_id"])}
    for image, body in zip(bodies.image_id, bodies.joints_h36m14, strict=True):
        error = np.linalg.norm(body[0] - truth[place[image]], axis=-1).mean()  # hypothesis 0
        assert single[image] == pytest.approx(1000 * error, rel=1e-5)
