"""Joints that follow from gendered bodies, for the set whose metric is taken from them (3DPW)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

import numpy as np

from multibodies.bodies.loading import load_body
from multibodies.core.body import BodyArrays
from multibodies.data.sources.importer import require_file
from multibodies.data.sources.labels import body_joints
from multibodies.data.sources.npz.rows import gender_of
from multibodies.data.sources.npz.table import Table
from multibodies.data.sources.record import GENDERS, Floats, Item, Record
from multibodies.errors import UserError

GENDER_BLOCK = 4096


def check_bodies(table: Table, bodies: Mapping[str, str]) -> list[str]:
    """Return the genders of a table's persons. Raises UserError naming a body that is not given."""
    found: set[str] = set()
    for start in range(0, table.count, GENDER_BLOCK):
        count = min(GENDER_BLOCK, table.count - start)
        block = table.block(start, count, ("gender",))
        for k in range(count):
            with suppress(UserError):  # a row's fault, said with the row
                found.add(gender_of(block, k))
    genders = sorted(found)
    for gender in genders:
        require_file(_given(bodies, gender), f"the {gender} body")
    return genders


def with_truth(items: Sequence[Item], bodies: Mapping[str, str]) -> list[Item]:
    """Give records with a body its joints: `joints_3d` and `h36m17` of the body of their gender."""
    done = list(items)
    for gender in GENDERS:
        members = [k for k, item in enumerate(items) if _is_body(item, gender)]
        if members:
            body = _body(_given(bodies, gender))
            for k, record in zip(members, _posed([items[k] for k in members], body), strict=True):
                done[k] = record
    return done


def _is_body(item: Item, gender: str) -> bool:
    return isinstance(item, Record) and item.theta is not None and item.gender == gender


def _posed(items: Sequence[Item], body: BodyArrays) -> list[Record]:
    records = [item for item in items if isinstance(item, Record)]
    theta, beta = (np.stack([getattr(r, name) for r in records]) for name in ("theta", "beta"))
    joints = body_joints(body, theta, beta)
    return [
        replace(record, joints_3d=_certain(j24), h36m17=h36m17)
        for record, j24, h36m17 in zip(records, joints.j24, joints.h36m17, strict=True)
    ]


def _certain(points: Floats) -> Floats:
    return np.column_stack([points, np.ones(len(points))])


def _given(bodies: Mapping[str, str], gender: str) -> str:
    if gender not in bodies:
        raise UserError(
            f"3DPW's truth is the {gender} body's joints, and no such body was given; set "
            f"body.{gender} to SMPL's {gender} model (needed: body.male and body.female)"
        )
    return bodies[gender]


@lru_cache(maxsize=3)
def _body(path: str) -> BodyArrays:
    return load_body(path)
