"""The two layouts of npz that stand for any set: SPIN's and ProHMR's, as tables of keys.

Legend: N row (person in a picture). `datasets/base_dataset.py` of nkolot/SPIN and
`prohmr/datasets/image_dataset.py` of nkolot/ProHMR read these files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from multibodies.data.sources.npz.safe_npz import NUMBERS, TEXT
from multibodies.errors import UserError


class Field(NamedTuple):
    """A key of the file, the shapes that its rows may have, the kinds of its dtype."""

    key: str
    shapes: tuple[tuple[int, ...], ...]
    kinds: str = NUMBERS


@dataclass(frozen=True)
class Layout:
    """Our name of a field -> how the file has it; which fields come only together.

    box_px: pixels of the box's side to one of `scale`.
    """

    name: str
    fields: Mapping[str, Field]
    together: Mapping[str, tuple[str, ...]]
    box_px: float


# `scale` is one number in SPIN's files; ProHMR's loader takes the larger of two.
COMMON: Final = {
    "imgname": Field("imgname", ((),), TEXT),
    "center": Field("center", ((2,),)),
    "scale": Field("scale", ((), (1,), (2,))),
    "gender": Field("gender", ((),), TEXT),
}
TEXTS: Final = ("imgname", "gender")
REQUIRED: Final = ("imgname", "center", "scale")

SPIN: Final = Layout(
    "spin",
    COMMON
    | {
        "keypoints": Field("part", ((24, 3),)),
        "openpose": Field("openpose", ((25, 3),)),
        "joints_3d": Field("S", ((24, 4),)),
        "theta": Field("pose", ((72,),)),
        "beta": Field("shape", ((10,),)),
        "has_theta": Field("has_smpl", ((),)),  # where it is absent, every row has its body
    },
    {"theta": ("beta",), "beta": ("theta",)},
    200.0,
)

# OpenPose's 25 joints and 19 "extra" ones, which are J24 without its 5 joints of the face: 0..18.
# `body_pose` has the root first. Of `body_keypoints_3d` ProHMR itself uses next to nothing.
PROHMR: Final = Layout(
    "prohmr",
    COMMON
    | {
        "keypoints": Field("extra_keypoints_2d", ((19, 3),)),
        "openpose": Field("body_keypoints_2d", ((25, 3),)),
        "joints_3d": Field("extra_keypoints_3d", ((19, 4),)),
        "theta": Field("body_pose", ((72,),)),
        "beta": Field("betas", ((10,),)),
        "has_theta": Field("has_body_pose", ((),)),
        "has_beta": Field("has_betas", ((),)),
    },
    # Without a flag ProHMR's loader drops the bodies silently; here that is said.
    {"theta": ("beta", "has_theta", "has_beta"), "beta": ("theta",)},
    1.0,
)


def find_layout(names: Collection[str], where: str) -> Layout:
    """Return the layout that an npz's keys are of. Raises UserError naming what is missing."""
    of = {layout.name: _labels(layout, names) for layout in (SPIN, PROHMR)}
    if all(of.values()) or not any(of.values()):
        found = [key for keys in of.values() for key in keys]
        what = f"labels of both ({', '.join(found)})" if found else "no labels of either"
        raise UserError(
            f"{where}: expected SPIN's or ProHMR's keys, found {what}; SPIN has part, openpose, S, "
            "pose and shape, ProHMR body_keypoints_2d, extra_keypoints_2d/3d, body_pose and betas"
        )
    layout = SPIN if of["spin"] else PROHMR
    present = {name for name, field in layout.fields.items() if field.key in names}
    for cause, needed in [("", REQUIRED), *layout.together.items()]:
        for name in needed if not cause or cause in present else ():
            if name not in present:
                beside = f", which '{layout.fields[cause].key}' needs" if cause else ""
                raise UserError(f"{where}: no array '{layout.fields[name].key}'{beside}")
    return layout


def _labels(layout: Layout, names: Collection[str]) -> list[str]:
    own = [field.key for name, field in layout.fields.items() if name not in COMMON]
    return [key for key in own if key in names]
