"""Runs of tiny sweeps whose shared stages are done."""

from __future__ import annotations

from pathlib import Path

from model_samples import save_dataset, save_prior
from multibodies.sweep import Plan, mark_done
from training_samples import save_stage1, tiny_config


def shared_done(folder: Path, plan: Plan, scored: str = "wild-val") -> Path:
    """Make a plan's run folder with random data, prior and stage 1; return it."""
    run_dir = folder / plan.name
    save_dataset(run_dir / "data", {"lab-train": [8, 8], "lab-val": [4], scored: [4]})
    save_prior(run_dir / "prior" / "weights")
    save_stage1(run_dir / "stage1" / "weights", tiny_config())
    for stage in plan.shared:
        mark_done(run_dir, stage, 0.0)
    return run_dir
