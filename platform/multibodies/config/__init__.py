"""Every knob of an experiment: frozen, closed, typed. A misspelt key is refused with the nearest
right one.

A *profile* (`embedded`, `smoke`, `paper`, `released`) is a full set of values; a sweep changes some
of them by dotted name (`loss.ri`, `stage2.seed`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator

from multibodies.config.profiles import EMBEDDED, PAPER, PROFILES, RELEASED, SMOKE
from multibodies.config.section import Section
from multibodies.config.sections import (
    AugmentConfig,
    BodyConfig,
    DataConfig,
    EvaluationConfig,
    LossConfig,
    MixConfig,
    ModelConfig,
    PriorConfig,
    SplitsConfig,
    StageConfig,
)
from multibodies.config.systems import (
    SYSTEMS,
    CvaeConfig,
    GraphCmrConfig,
    HmrConfig,
    MdnConfig,
    SpinConfig,
    SystemConfig,
)
from multibodies.errors import UserError, nearest

__all__ = [
    "AMBIGUOUS",
    "EMBEDDED",
    "FILE_SPLITS",
    "PAPER",
    "PROFILES",
    "RELEASED",
    "SETS",
    "SMOKE",
    "SPLITS",
    "SYSTEMS",
    "AugmentConfig",
    "BodyConfig",
    "Config",
    "CvaeConfig",
    "DataConfig",
    "EvaluationConfig",
    "GraphCmrConfig",
    "HmrConfig",
    "LossConfig",
    "MdnConfig",
    "MixConfig",
    "ModelConfig",
    "PriorConfig",
    "Section",
    "SpinConfig",
    "SplitsConfig",
    "StageConfig",
    "SystemConfig",
    "check_key",
    "fingerprint",
    "known_keys",
    "load_config",
]

SPLITS = ("lab-train", "lab-val", "lab-test", "wild-val", "wild-test")
SETS = ("h36m", "h36m-p1", "mpii3d", "3dpw", "coco", "lsp", "lspet", "mpii")  # of files
AMBIGUOUS = ("alab-val", "alab-test", "awild-val", "awild-test")
FILE_SPLITS = tuple(
    f"{hidden}{name}-{end}" for name in SETS for hidden in ("", "a") for end in ("val", "test")
)


class Config(Section):
    """A whole experiment. `name` identifies it; execution (workers, GPUs, folders) is not part of
    it."""

    profile: str
    data: DataConfig = DataConfig()
    splits: SplitsConfig = SplitsConfig()
    body: BodyConfig = BodyConfig()
    model: ModelConfig = ModelConfig()
    system: SystemConfig = SystemConfig()
    hmr: HmrConfig = HmrConfig()
    graphcmr: GraphCmrConfig = GraphCmrConfig()
    spin: SpinConfig = SpinConfig()
    mdn: MdnConfig = MdnConfig()
    cvae: CvaeConfig = CvaeConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    mix: MixConfig = MixConfig()
    stage1: StageConfig = StageConfig()
    stage2: StageConfig = StageConfig(num_hypotheses=100)
    prior: PriorConfig = PriorConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def fresh(self) -> bool:
        """Whether stage 1 trains on images rendered as it goes, and not on the dataset's."""
        return self.stage1.fresh_rows > 0 and self.data.source == "embedded"

    @property
    def of_system(self) -> dict[str, Any]:
        """What a training's recipe says of its system, if that is not ours: name and settings."""
        if self.system == SystemConfig():
            return {}
        section = getattr(self, self.system.name, None)
        settings = section.model_dump(mode="json") if isinstance(section, Section) else {}
        return {"system": {**self.system.model_dump(mode="json"), **settings}}

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
        _check_head(self.model)
        _check_system(self)
        known = SPLITS + AMBIGUOUS + FILE_SPLITS
        for split in self.evaluation.splits:
            if split not in known:
                raise ValueError(
                    f"evaluation.splits: unknown split '{split}'{nearest(split, known)}"
                )
        return self


def _check_head(model: ModelConfig) -> None:
    """Refuse settings that a head does not have. Raises ValueError."""
    if model.head == "layer5" and model.pooling != "average":
        raise ValueError(
            f"model.pooling is '{model.pooling}'; model.head = 'layer5' makes its features itself, "
            "set model.pooling to 'average'"
        )
    if model.head == "layer5" and model.rank:
        raise ValueError("model.rank must be 0: only model.head = 'stacked' has a rank")


def _check_system(config: Config) -> None:
    """Refuse settings that a system does not have. Raises ValueError."""
    name, m = config.system.name, config.stage2.num_hypotheses
    if config.system.about.single and m != 1:
        raise ValueError(
            f"stage2.num_hypotheses is {m}; system '{name}' gives one hypothesis, set it to 1 and "
            "evaluation.n to [1]"
        )
    if config.system != SystemConfig() and config.model.trains == "widened":
        raise ValueError(f"model.trains is 'widened'; of system '{name}' all or the head trains")


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
        f"{name}.{leaf}" for name in sections for leaf in type(getattr(default, name)).model_fields
    )


def check_key(key: str) -> None:
    """Refuse a dotted key that no section has. Raises UserError naming the nearest right key."""
    if key not in known_keys():
        raise UserError(f"unknown setting '{key}'{nearest(key, known_keys())}")


def fingerprint(*parts: Any) -> str:
    """Return 16 hex digits that identify a recipe: sections, numbers or strings, by their JSON."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
