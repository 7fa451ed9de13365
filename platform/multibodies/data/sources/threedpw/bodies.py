"""The user's gendered bodies for 3DPW, and whether they are those that the set was made with.

Legend: K = 24 joints of SMPL. Metres.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multibodies.bodies.loading import load_body
from multibodies.core.body import BodyArrays
from multibodies.data.sources.labels import body_joints
from multibodies.data.sources.record import Floats
from multibodies.data.sources.threedpw.file import Sequence, plausible
from multibodies.errors import UserError

# SMPL's male and female templates differ by more over the whole body, rounding by much less.
TOLERANCE = 0.05


class Sample(NamedTuple):
    """A person in one frame: theta [24, 3], beta [10], the file's jointPositions [24, 3]."""

    person: int
    gender: str
    theta: Floats
    beta: Floats
    joints: Floats


def body_of(gender: str, bodies: Mapping[str, str]) -> BodyArrays:
    """Load the body of a gender. Raises UserError where it is not among `bodies`."""
    if gender not in bodies:
        raise UserError(
            f"3DPW's truth is posed with gendered bodies and needs the {gender} one; convert your "
            f"own SMPL file with `multibodies body import` and pass body.{gender}=<its npz or name>"
        )
    return _load(bodies[gender])


def samples_of(sequence: Sequence) -> tuple[Sample, ...]:
    """Take the first kept frame of each person whose numbers are sound."""
    samples = []
    for person, actor in enumerate(sequence.actors):
        for i in actor.kept:
            joints, theta = actor.joints[i], actor.poses[i]
            if all(map(plausible, (joints, theta, actor.beta))):
                # Copies: a view would keep the whole sequence in memory.
                own = theta.copy(), actor.beta.copy(), joints.copy()
                samples.append(Sample(person, actor.gender, *own))
                break
    return tuple(samples)


def check_bodies(path: Path, samples: Iterable[Sample], bodies: Mapping[str, str]) -> None:
    """Raise UserError where a body's joints are not as far from each other as the file's.

    Distances between joints, because they hold in whatever frame the joints are given.
    """
    for sample in samples:
        body = body_of(sample.gender, bodies)
        own = _distances(body_joints(body, sample.theta[None], sample.beta[None]).smpl24[0])
        given = _distances(sample.joints)
        worst = np.abs(own - given).max()
        if worst < TOLERANCE:
            continue
        where = f"{path}: jointPositions of person {sample.person}"
        if given.max() > 100 * own.max():
            raise UserError(f"{where} span {given.max():.0f} m; expected metres, not millimetres")
        raise UserError(
            f"{where} differ by {100 * worst:.0f} cm from the {sample.gender} body "
            f"({bodies[sample.gender]}); wrong body or gender? Pass SMPL's own as body.male and "
            "body.female"
        )


@lru_cache(maxsize=4)
def _load(path: str) -> BodyArrays:
    return load_body(path)


def _distances(joints: Floats) -> Floats:
    """Distances between all pairs: [24, 3] -> [24, 24]."""
    return np.asarray(np.linalg.norm(joints[:, None] - joints[None], axis=-1))
