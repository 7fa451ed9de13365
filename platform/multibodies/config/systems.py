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
    "hmr": About("HMR", single=True),
    "graphcmr": About("GraphCMR", single=True),
    "spin": About("SPIN", single=True),
    "mdn": About("SMPL-MDN"),
    "cvae": About("SMPL-CVAE"),
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


class HmrConfig(Section):
    """HMR's adversarial prior (Kanazawa et al., CVPR 2018) beside eq. 8 at M = 1."""

    adversarial: float = Field(1.0, ge=0)  # weight of the prior; 2D and 3D have eq. 8's
    critic_rate: float = Field(
        10.0, gt=0
    )  # the discriminators' learning rate over the regressor's; HMR's code: 1e-4 over 1e-5
    critic_hidden: int = Field(1024, ge=1)  # width of the discriminator of the whole pose
    motions: str | None = None  # AMASS-like .npz, or a folder of them; None: the embedded ones
    bodies: int = Field(8192, ge=1)  # most real bodies that are drawn from the motions


class GraphCmrConfig(Section):
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
    motions: str | None = None  # of the Gaussian on theta: as hmr.motions


class MdnConfig(Section):
    """SMPL-MDN: a Gaussian mixture over the body's log-rotations (supplement C)."""

    learns: Literal["means", "mixture"] = (
        "means"  # mixture: also weights and variances; the paper found the means alone best
    )
    variance: float = Field(
        0.001, ge=1e-5
    )  # sigma_m of eq. 9, radians^2: a standard deviation of 1.8 degrees
    nll: float = Field(0.01, ge=0)  # weight of the negative log-likelihood beside eq. 8; ours


class CvaeConfig(Section):
    """SMPL-CVAE: a Gaussian code of the true mesh beside the image (supplement C)."""

    code: int = Field(16, ge=1)  # size of z; ours
    hidden: int = Field(512, ge=8)  # of the encoder's two hidden layers; ours
    kl: float = Field(
        1.0, ge=0
    )  # weight of the KL divergence beside eq. 8; too little lets the code tell all ("cheats")
