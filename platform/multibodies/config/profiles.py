"""Profiles: full sets of values for a laptop, a quick look, the paper, and its released code."""

from __future__ import annotations

from typing import Any

from multibodies.config.switches import SWITCHES

EMBEDDED: dict[str, Any] = {
    "model": {
        "width": 32,
        "pooling": "keypoints",
        "hidden": 512,
        "dropout": 0.1,
        "feedback": "mean",
        "activation": "relu",
        "trains": "head",
    },
    "graphcmr": {"vertices": 108, "channels": 64},
    "data": {"clutter": 0.35},
    "loss": {"heatmap": 8.0, "vertices_sampled": 256},
    "hmr": {"critic_hidden": 256, "critic_rate": 1.0},
    "stage1": {
        "steps": 10000,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "warmup_steps": 300,
        "cosine": True,
        "fresh_rows": 4096,
    },
    "stage2": {
        "num_hypotheses": 50,
        "steps": 1500,
        "batch_size": 32,
        "learning_rate": 3e-4,
        "warmup_steps": 100,
        "cosine": True,
    },
    "spin": {"labels": "fits", "camera_iterations": 10, "body_iterations": 20},
    "prior": {"couplings": 8, "hidden": 128, "steps": 1500},
    "cvae": {"kl": 0.1},  # by short trials on wild-val: at .01 the code tells 28 nats of the truth
}
SMOKE: dict[str, Any] = {
    **EMBEDDED,
    "data": {
        "clutter": 0.35,
        "train_rows": 256,
        "val_rows": 32,
        "test_rows": 32,
        "rows_per_shard": 64,
    },
    "stage1": {**EMBEDDED["stage1"], "steps": 8, "checkpoint_every": 4, "fresh_rows": 64},
    "stage2": {
        **EMBEDDED["stage2"],
        "num_hypotheses": 25,
        "steps": 8,
        "batch_size": 16,
        "checkpoint_every": 4,
    },
    "prior": {"couplings": 4, "hidden": 64, "steps": 60},
    "evaluation": {"bootstrap_samples": 200},
}
BODIES, GENDERS = ("path", "male", "female"), ("neutral", "male", "female")
PAPER: dict[str, Any] = {
    "splits": {"train": "mix-train", "val": "3dpw-val"},
    "body": {f: f"smpl-{g}-1.0.0" for f, g in zip(BODIES, GENDERS, strict=True)},
    "data": {"source": "files", "image_size": 224, "image_format": "jpeg", "context": 1.5},
    "augment": {"flip": 0.5, "rotation_deg": 30.0, "scale": 0.25, "noise": 0.4},
    "model": {"trunk": "resnet50"},
    "stage1": {"steps": 500000, "learning_rate": 5e-5},
    "stage2": {"num_hypotheses": 100, "steps": 200000, "learning_rate": 1e-5},
    "evaluation": {"splits": ["h36m-test", "3dpw-test", "ah36m-test", "a3dpw-test"]},
}


def released() -> dict[str, Any]:
    """Return the paper's profile with every switch at the released code's value."""
    tree: dict[str, Any] = {section: dict(values) for section, values in PAPER.items()}
    for switch in SWITCHES:
        if switch.key:
            section, _, leaf = switch.key.partition(".")
            tree.setdefault(section, {})[leaf] = switch.values[1]
    return tree


RELEASED = released()
# The paper's profile at the least size at which all of its code runs: for `make paper-dry-run`.
PAPER_DRY: dict[str, Any] = {
    **PAPER,
    "data": {**PAPER["data"], "rows_per_shard": 8},
    "stage1": {**PAPER["stage1"], "steps": 2, "batch_size": 4, "checkpoint_every": 1},
    "stage2": {**PAPER["stage2"], "steps": 2, "batch_size": 4, "checkpoint_every": 1},
    "prior": {"couplings": 4, "hidden": 64, "steps": 20, "batch_size": 8},
    "evaluation": {**PAPER["evaluation"], "bootstrap_samples": 100},
}
# The same for tests: a smaller network on smaller crops.
PAPER_SMOKE: dict[str, Any] = {
    **PAPER_DRY,
    "data": {**PAPER_DRY["data"], "image_size": 64},
    "model": {"width": 16, "hidden": 64},
    "stage2": {**PAPER_DRY["stage2"], "num_hypotheses": 25},
}
PROFILES = {
    "embedded": EMBEDDED,
    "smoke": SMOKE,
    "paper": PAPER,
    "paper-dry": PAPER_DRY,
    "paper-smoke": PAPER_SMOKE,
    "released": RELEASED,
}
