"""The systems of Table 1: which there are, and the settings of each. Defaults are their papers'.

A system is a module `systems/<name>.py` and a line of SYSTEMS; one with settings has a section too.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import field_validator

from multibodies.config.section import Section
from multibodies.errors import nearest


class About(NamedTuple):
    """title: as in the paper's Table 1; single: gives one hypothesis, whatever M."""

    title: str
    single: bool = False


SYSTEMS = {
    "ours": About("Ours"),
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
