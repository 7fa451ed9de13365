"""The systems of Table 1: which there are, and the settings of each. Defaults are their papers'.

A system is a module `systems/<name>.py` and a line of SYSTEMS; one with settings has a section too.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from multibodies.config.section import Section
from multibodies.errors import nearest


class About(NamedTuple):
    """title: as in the paper's Table 1; single: gives one hypothesis, whatever M."""

    title: str
    single: bool = False


SYSTEMS = {
    "ours": About("Ours"),
    "spin": About("SPIN", single=True),
}


class SystemConfig(Section):
    """Which system stage 2 trains. Stage 1 is the same for all: the plain one-hypothesis HMR."""

    name: str = "ours"

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SYSTEMS:
            raise ValueError(f"unknown system '{name}'{nearest(name, SYSTEMS)}")
        return name

    @property
    def about(self) -> About:
        """The system's line of the registry."""
        return SYSTEMS[self.name]


class SpinConfig(Section):
    """SPIN: SMPLify in the loop, as nkolot/SPIN runs it; pixels are those of a crop of 224."""

    labels: Literal["fits", "static_fits", "truth_where_known"] = (
        "truth_where_known"  # a row's theta and beta: never used, its first fit, or its teacher
    )
    every: int = Field(1, ge=1)  # a row is fitted each so many times that it is seen
    camera_iterations: int = Field(100, ge=0)  # phase 1: root and camera
    body_iterations: int = Field(100, ge=0)  # phase 2: theta and beta
    rate: float = Field(1e-2, gt=0)  # Adam's
    sigma: float = Field(100.0, gt=0)  # pixels; Geman-McClure
    pose: float = Field(4.78, ge=0)  # weights, squared: the Gaussian on theta, which has ...
    shape: float = Field(5.0, ge=0)  # ... replaced a mixture, ||beta||^2,
    angle: float = Field(15.2, ge=0)  # elbows and knees that bend the wrong way,
    depth: float = Field(100.0, ge=0)  # metres that phase 1 moves the camera along its axis
    threshold: float = Field(100.0, gt=0)  # square pixels per keypoint; a worse fit teaches nothing
    largest_beta: float = Field(3.0, gt=0)  # a fit with a larger one teaches no shape
    poses: str | None = None  # .npz with `poses`, as AMASS; None: the embedded training poses
