"""Where Human3.6M keeps what: subjects, cameras, sequences, splits, and the names of its files.

<root>/S9/MyPoseFeatures/D3_Positions_mono/Walking 1.60457274.cdf   `Pose`, mm, camera's frame
<root>/S9/MyPoseFeatures/D2_Positions/Walking 1.60457274.cdf        `Pose`, px
<root>/S9/Videos/Walking 1.60457274.mp4
<root>/S9/MySegmentsMat/ground_truth_bb/Walking 1.60457274.mat      masks, may be missing
<root>/S9/mosh/Walking 1_cam3_aligned.pkl                           MoSh fits, may be missing
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from multibodies.data.sources.importer import require_folder
from multibodies.errors import UserError

# Widths and heights in pixels, in the order in which MoSh's files number the cameras, from 0.
CAMERAS: Final[Mapping[str, tuple[int, int]]] = {
    "54138969": (1000, 1002),
    "55011271": (1000, 1000),
    "58860488": (1000, 1000),
    "60457274": (1000, 1002),
}
FRONTAL: Final = "60457274"
GENDERS: Final[Mapping[str, str]] = {
    "S1": "female",
    "S5": "female",
    "S6": "male",
    "S7": "female",
    "S8": "male",
    "S9": "male",
    "S11": "male",
}
TRAINING: Final = ("S1", "S5", "S6", "S7", "S8")
HELD_OUT: Final = ("S9", "S11")
NAME = re.compile(r"(?P<action>.+)\.(?P<camera>\d+)\.cdf")
ALL = "_ALL"  # every action of a subject in one file: each frame would be there twice


class Split(NamedTuple):
    """Whose sequences, and from which cameras."""

    subjects: tuple[str, ...]
    cameras: tuple[str, ...] = tuple(CAMERAS)


SPLITS: Final[Mapping[str, Split]] = {
    "h36m-train": Split(TRAINING),
    "h36m-val": Split(("S8",)),  # one of the five that SPIN trains on
    "h36m-test": Split(HELD_OUT, (FRONTAL,)),  # protocol 2
    "h36m-p1-test": Split(HELD_OUT),  # protocol 1
}


@dataclass(frozen=True)
class Sequence:
    """One action of one subject as one camera saw it."""

    root: Path
    subject: str
    action: str
    camera: str

    @property
    def stem(self) -> str:
        """The name of its files: ``Walking 1.60457274``."""
        return f"{self.action}.{self.camera}"

    @property
    def name(self) -> str:
        """Its name within the set: ``S9/Walking 1.60457274``."""
        return f"{self.subject}/{self.stem}"

    @property
    def folder(self) -> Path:
        """The subject's folder."""
        return self.root / self.subject

    @property
    def joints_3d(self) -> Path:
        """32 joints in millimetres, in the camera's frame."""
        return self.folder / "MyPoseFeatures" / "D3_Positions_mono" / f"{self.stem}.cdf"

    @property
    def joints_2d(self) -> Path:
        """32 joints in pixels."""
        return self.folder / "MyPoseFeatures" / "D2_Positions" / f"{self.stem}.cdf"

    @property
    def video(self) -> Path:
        """Its frames."""
        return self.folder / "Videos" / f"{self.stem}.mp4"

    @property
    def masks(self) -> Path:
        """One mask a frame."""
        return self.folder / "MySegmentsMat" / "ground_truth_bb" / f"{self.stem}.mat"

    @property
    def fits(self) -> Path:
        """MoSh's fits of the body, turned into this camera's frame."""
        number = list(CAMERAS).index(self.camera)
        return self.folder / "mosh" / f"{self.action}_cam{number}_aligned.pkl"

    def image_id(self, frame: int) -> str:
        """``h36m-S9-Walking_1-60457274-000100``; frames of the video count from 0."""
        return f"h36m-{self.subject}-{self.action.replace(' ', '_')}-{self.camera}-{frame:06d}"


class Found(NamedTuple):
    """Sequences in a fixed order, the subjects that are there, and what was left out."""

    sequences: tuple[Sequence, ...]
    subjects: tuple[str, ...]
    skipped: dict[str, int]


def find_sequences(root: Path, split: str) -> Found:
    """List a split's sequences by subject, action and camera, numbers in numerical order.

    A missing subject is counted as left out. Raises UserError when all of them are missing, or one
    has no sequence.
    """
    require_folder(root, "Human3.6M with a folder for each subject (S1, S5, ...)")
    subjects, cameras = SPLITS[split]
    here = tuple(name for name in subjects if (root / name).is_dir())
    if not here:
        raise UserError(f"{root}: has no folder {' or '.join(subjects)}; {split} needs them")
    skipped = {f"missing_subject:{name}": 1 for name in subjects if name not in here}
    skipped |= {"all_actions_file": 0, "other_file": 0}
    found: list[Sequence] = []
    for subject in here:
        found += _sequences_of(root, subject, cameras, skipped)
    return Found(tuple(found), here, skipped)


def find_sequence(root: Path, split: str, unit: str) -> Sequence:
    """Return the sequence of that name. Raises UserError when it is not one of the split's."""
    match = NAME.fullmatch(f"{unit.partition('/')[2]}.cdf")
    if match is not None:
        sequence = Sequence(root, unit.partition("/")[0], match["action"], match["camera"])
        if sequence.subject in SPLITS[split].subjects and sequence.camera in SPLITS[split].cameras:
            return sequence
    example = f"{SPLITS[split].subjects[0]}/Walking 1.{FRONTAL}"
    raise UserError(f"{root}: no sequence '{unit}' in {split}; expected such as '{example}'")


def _sequences_of(
    root: Path, subject: str, cameras: tuple[str, ...], skipped: dict[str, int]
) -> list[Sequence]:
    folder = require_folder(
        root / subject / "MyPoseFeatures" / "D3_Positions_mono", "Human3.6M's 3D poses by camera"
    )
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
        match = NAME.fullmatch(path.name)
        if path.name.startswith(ALL):
            skipped["all_actions_file"] += 1
        elif match is None or path.name.startswith(".") or match["camera"] not in CAMERAS:
            skipped["other_file"] += 1
        elif match["camera"] in cameras:
            found.append(Sequence(root, subject, match["action"], match["camera"]))
    if not found:
        raise UserError(f"{folder}: no file such as 'Walking 1.{cameras[-1]}.cdf'; unpack it anew")
    return found


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Order names as people do: numbers in them by size, ``Walking 2`` before ``Walking 10``."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(p), "") if p.isascii() and p.isdigit() else (-1, p) for p in parts)
