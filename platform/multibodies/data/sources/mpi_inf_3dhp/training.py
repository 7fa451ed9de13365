"""S1-8/Seq1-2 of MPI-INF-3DHP. Legend: N frame of a video, K = 17 of the 28 joints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.mpi_inf_3dhp.cameras import distances, read_intrinsics
from multibodies.data.sources.mpi_inf_3dhp.frames import (
    TOLERANCE,
    Reading,
    Take,
    View,
    require_millimetres,
)
from multibodies.data.sources.mpi_inf_3dhp.mat import Annotations, read_annotations
from multibodies.data.sources.mpi_inf_3dhp.pictures import training_pictures
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

# Pelvis, left leg, right leg, spine, neck, head, top of the head, left arm, right arm among the
# 28 joints of the training files.
TRAIN_TO_17 = (4, 18, 19, 20, 23, 24, 25, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16)
CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)  # SPIN's: at chest or knee height, or angled down
SIDE = 2048


class _Rows(NamedTuple):
    frames: npt.NDArray[np.int64]
    points: Floats
    joints: Floats
    errors: Floats


def read_training_sequence(reading: Reading) -> Take:
    """Read every step-th frame of the cameras that have pictures.

    Left out and counted: `not_sampled`, `no_pictures` and `outside_picture` frames. Raises
    UserError where annot.mat or camera.calibration is not as distributed, or annot3 does not
    project to annot2.
    """
    annotations = read_annotations(reading.labels)
    calibration = reading.labels.with_name("camera.calibration")
    intrinsics = read_intrinsics(calibration)
    frames = annotations.frames
    sampled = np.flatnonzero(frames % reading.step == 0)
    skipped = Counter(not_sampled=len(CAMERAS) * (len(frames) - len(sampled)))
    views, parts = [], []
    for camera in CAMERAS:
        _require_camera(camera, annotations, intrinsics, reading.labels)
        pictures = training_pictures(reading.images, camera)
        if pictures is None:
            skipped["no_pictures"] += len(sampled)
            continue
        part, outside = _rows(annotations, camera, sampled, intrinsics[camera])
        _require_projected(part, camera, reading.labels, calibration)
        skipped["outside_picture"] += outside
        views.append(View(f"video_{camera}", "frame", (SIDE, SIDE), pictures))
        parts.append(part)
    if not views:
        raise UserError(
            f"{reading.images}: no camera of {reading.name} has pictures; expected "
            "imageSequence/video_0.avi, ... or imageFrames/video_0/frame_000001.jpg, ..."
        )
    joined = _Rows(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    require_millimetres(joined.joints, "annot3", reading.labels)
    view = np.repeat(np.arange(len(parts)), [len(part.frames) for part in parts])
    return Take(reading, tuple(views), view, *joined, skipped=skipped)


def _rows(
    annotations: Annotations, camera: int, sampled: npt.NDArray[np.int64], intrinsics: Floats
) -> tuple[_Rows, int]:
    """Return a camera's rows with every joint in the picture, and how many have one outside."""
    points, joints = (
        cells[camera][sampled].astype(np.float64).reshape(len(sampled), 28, -1)[:, TRAIN_TO_17]
        for cells in (annotations.annot2, annotations.annot3)
    )
    # NaN is not outside: such a row stays, to be reported as a fault.
    kept = ~((points < 0) | (points >= SIDE)).any(axis=(1, 2))
    points, joints = points[kept], joints[kept] / 1000
    errors = distances(intrinsics, joints, points)
    rows = _Rows(annotations.frames[sampled[kept]], points, joints, errors)
    return rows, int((~kept).sum())


def _require_camera(
    camera: int, annotations: Annotations, intrinsics: dict[int, Floats], path: Path
) -> None:
    if camera not in annotations.annot2:
        raise UserError(f"{path}: no camera {camera}; found {sorted(annotations.annot2)}")
    if camera not in intrinsics:
        raise UserError(f"{path.with_name('camera.calibration')}: no camera {camera}")


def _require_projected(rows: _Rows, camera: int, path: Path, calibration: Path) -> None:
    """Raises UserError where most rows of a camera do not project to their 2D labels."""
    errors = rows.errors[~np.isnan(rows.errors)]
    if len(errors) and (apart := float(np.median(errors))) > TOLERANCE:
        raise UserError(
            f"{path}: annot3 of camera {camera} projects {apart:.4g} px away from annot2 (median), "
            f"expected at most {TOLERANCE:g}; is {calibration.name} another sequence's, or annot3 "
            "univ_annot3 or not in the camera's frame?"
        )
