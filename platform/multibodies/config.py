"""Every knob of an experiment: frozen, closed, typed. A misspelt key is refused with the nearest
right one.

A *profile* (`embedded`, `smoke`, `paper`) is a full set of values; a sweep changes some of them by
dotted name
(`loss.ri`, `stage2.seed`). Where the paper and its released code differ, the default is the paper's
value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from multibodies.errors import UserError, nearest

SPLITS = ("lab-train", "lab-val", "lab-test", "wild-val", "wild-test")
AMBIGUOUS = ("alab-val", "alab-test", "awild-val", "awild-test")


class Section(BaseModel):
    """Base of all sections: unknown keys refused, no mutation, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """The dataset that `prepare` writes and everything later reads."""

    source: Literal["embedded", "coco"] = "embedded"
    image_size: int = Field(64, ge=16, le=512)  # pixels, square crop
    heading_std_deg: float = Field(
        20.0, ge=0
    )  # spread of the body's heading about the camera; 180 = any
    lying_share: float = Field(0.0, ge=0, le=1)  # share of lying and floor poses that is kept
    occlusion_share: float = Field(
        0.5, ge=0, le=1
    )  # share of lab-train images hidden by the paper's strategies
    clutter: float = Field(0.5, ge=0, le=1)  # strength of background texture and of drawn occluders
    crop_padding: float = Field(
        0.15, ge=0
    )  # padding of the re-computed crop, share of the visible box's side
    train_rows: int = Field(24000, ge=8)
    val_rows: int = Field(512, ge=8)  # rows of each val split
    test_rows: int = Field(512, ge=8)  # rows of each test split
    rows_per_shard: int = Field(1024, ge=1)
    seed: int = 0


class BodyConfig(Section):
    """The body model; None is the embedded, licence-free SMPL-format body."""

    path: str | None = None


class ModelConfig(Section):
    """The regressor G: trunk, pooling, HMR's iterative head made M times larger."""

    trunk: Literal["resnet18", "resnet50"] = "resnet18"
    width: int = Field(64, ge=8)  # channels of the first stage; 64 is torchvision's
    pooling: Literal["average", "keypoints"] = (
        "average"  # keypoints: soft-argmax keypoints beside the average
    )
    hidden: int = Field(1024, ge=16)
    dropout: float = Field(0.5, ge=0, lt=1)
    iterations: int = Field(3, ge=1)
    feedback: Literal["all", "mean"] = (
        "all"  # what the head reads back: every hypothesis' state, or their mean
    )
    activation: Literal["none", "relu"] = "none"  # between fc1, fc2 and the decoders; SPIN has none
    freeze_trunk: bool = False  # stage 2 trains the head on cached features


class LossConfig(Section):
    """Weights of eq. 8 as the paper gives them; rb has no value in the paper, 1.0 in the released
    code."""

    ri: float = Field(1.0, ge=0)
    best: float = Field(25.0, ge=0)
    theta: float = Field(1.0, ge=0)
    beta: float = Field(0.001, ge=0)
    vertices: float = Field(1.0, ge=0)
    rb: float = Field(1.0, ge=0)
    ri_reduction: Literal["sum", "mean"] = (
        "sum"  # eq. 5 sums over hypotheses; the released code takes their mean
    )
    vertices_sampled: int = Field(
        0, ge=0
    )  # vertices in L_V, scaled to all of them; 0 = all (paper)
    heatmap: float = Field(0.0, ge=0)  # ours: cross-entropy of the keypoint pooling's heat maps


class StageConfig(Section):
    """One training: stage 1 (M = 1) or stage 2 (best-of-M)."""

    num_hypotheses: int = Field(1, ge=1)
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-5, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(0, ge=0)
    cosine: bool = False  # decay the learning rate to zero by a cosine
    spread: float = Field(
        0.02, ge=0
    )  # stage 2: noise that tells the M copies of stage 1's decoder apart
    checkpoint_every: int = Field(500, ge=1)
    fresh_rows: int = Field(
        0, ge=0
    )  # stage 1: rows of each chunk of images rendered while it trains; 0 = the dataset's images
    seed: int = 0


class PriorConfig(Section):
    """RealNVP on skeletons, eq. 4."""

    couplings: int = Field(20, ge=2)
    hidden: int = Field(512, ge=8)
    noise_mm: float = Field(
        20.0, ge=0
    )  # Gaussian noise on the joints while fitting (dequantisation)
    std_floor_mm: float = Field(10.0, gt=0)  # bounded whitening
    steps: int = Field(2000, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    seed: int = 0


class EvaluationConfig(Section):
    """From M hypotheses to n, and from n to numbers."""

    flow_weight: float = Field(
        1.0, ge=0
    )  # alpha: weights proportional to p^alpha; 0 uniform, 1 eq. 2
    n: tuple[int, ...] = (1, 5, 10, 25)
    representative: Literal["centroid", "medoid"] = "centroid"
    selection: Literal["strict", "official"] = "strict"
    restarts: int = Field(4, ge=1)
    splits: tuple[str, ...] = ("wild-test", "awild-test")
    bootstrap_samples: int = Field(2000, ge=100)


class Config(Section):
    """A whole experiment. `name` identifies it; execution (workers, GPUs, folders) is not part of
    it."""

    profile: str
    data: DataConfig = DataConfig()
    body: BodyConfig = BodyConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    stage1: StageConfig = StageConfig()
    stage2: StageConfig = StageConfig(num_hypotheses=100)
    prior: PriorConfig = PriorConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def fresh(self) -> bool:
        """Whether stage 1 trains on images rendered as it goes, and not on the dataset's."""
        return self.stage1.fresh_rows > 0 and self.data.source == "embedded"

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.stage1.num_hypotheses != 1:
            raise ValueError(
                "stage1.num_hypotheses must be 1: stage 1 is the one-hypothesis HMR model"
            )
        if self.stage2.fresh_rows:
            raise ValueError("stage2.fresh_rows must be 0: only stage 1 trains on fresh images")
        m, n = self.stage2.num_hypotheses, max(self.evaluation.n)
        if n > m:
            raise ValueError(
                f"evaluation.n asks for {n} hypotheses, stage2.num_hypotheses is {m}; need n <= M"
            )
        known = SPLITS + AMBIGUOUS
        for split in self.evaluation.splits:
            if split not in known:
                raise ValueError(
                    f"evaluation.splits: unknown split '{split}'{nearest(split, known)}"
                )
        return self


EMBEDDED: dict[str, Any] = {
    "model": {
        "width": 32,
        "pooling": "keypoints",
        "hidden": 512,
        "dropout": 0.1,
        "feedback": "mean",
        "activation": "relu",
        "freeze_trunk": True,
    },
    "data": {"clutter": 0.35},
    "loss": {"heatmap": 8.0, "vertices_sampled": 256},
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
    "prior": {"couplings": 8, "hidden": 128, "steps": 1500},
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
    "stage2": {**EMBEDDED["stage2"], "steps": 8, "batch_size": 16, "checkpoint_every": 4},
    "prior": {"couplings": 4, "hidden": 64, "steps": 60},
    "evaluation": {"bootstrap_samples": 200},
}
PAPER: dict[str, Any] = {
    "data": {"image_size": 224},
    "model": {"trunk": "resnet50"},
    "stage1": {"steps": 500000, "learning_rate": 5e-5},
    "stage2": {"num_hypotheses": 100, "steps": 200000, "learning_rate": 1e-5},
}
PROFILES = {"embedded": EMBEDDED, "smoke": SMOKE, "paper": PAPER}


def load_config(profile: str = "embedded", overrides: Mapping[str, Any] | None = None) -> Config:
    """Build a profile's config with dotted overrides such as ``{"loss.ri": 0.0}``.

    Raises UserError on an unknown profile, an unknown key (with the nearest right one) or a bad
    value.
    """
    if profile not in PROFILES:
        raise UserError(f"unknown profile '{profile}'{nearest(profile, PROFILES)}")
    tree: dict[str, Any] = json.loads(json.dumps(PROFILES[profile]))
    for key, value in (overrides or {}).items():
        section, _, leaf = key.partition(".")
        check_key(key)
        tree.setdefault(section, {})[leaf] = value
    try:
        return Config(profile=profile, **tree)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "config"
        raise UserError(f"{where}: {problem['msg'].removeprefix('Value error, ')}") from None


def known_keys() -> tuple[str, ...]:
    """Return every dotted key that a sweep may set."""
    default = Config(profile="")
    sections = [name for name in Config.model_fields if name != "profile"]
    return tuple(
        f"{name}.{leaf}" for name in sections for leaf in getattr(default, name).model_dump()
    )


def check_key(key: str) -> None:
    """Refuse a dotted key that no section has. Raises UserError naming the nearest right key."""
    if key not in known_keys():
        raise UserError(f"unknown setting '{key}'{nearest(key, known_keys())}")


def fingerprint(*parts: Any) -> str:
    """Return 16 hex digits that identify a recipe: sections, numbers or strings, by their JSON."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
