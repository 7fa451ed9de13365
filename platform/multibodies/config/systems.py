"""The systems of Table 1: which there are, and the settings of each. Defaults are their papers'.

A system is a module `systems/<name>.py` and a line of SYSTEMS; one with settings has a section too.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, field_validator

from multibodies.config.section import Section
from multibodies.errors import nearest


class About(NamedTuple):
    """title: as in the paper's Table 1; single: gives one hypothesis, whatever M."""

    title: str
    single: bool = False


SYSTEMS = {
    "ours": About("Ours"),
    "graphcmr": About("GraphCMR", single=True),
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


class GraphCMRConfig(Section):
    """GraphCMR: a graph network on a coarse mesh, SMPL's parameters regressed from that mesh.

    Losses of the graph's mesh are GraphCMR's means, over coordinates; it weighs them all by 1
    beside means, eq. 8 is a sum of norms.
    """

    vertices: int = Field(1723, ge=16)  # of the coarse mesh
    channels: int = Field(256, ge=8, multiple_of=8)
    blocks: int = Field(5, ge=1)  # residual blocks after the first
    mesh: float = Field(100.0, ge=0)  # weight of the mean |x - x^| of the coarse mesh's vertices
    joints: float = Field(100.0, ge=0)  # weight of the mean squared error of its joints
    keypoints: float = Field(10.0, ge=0)  # weight of the same of their projections
