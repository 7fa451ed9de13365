"""MPI-INF-3DHP's kinds of files, written from arrays. Legend: C camera, N frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]


def write_annotations(
    path: Path, cells: Mapping[str, Sequence[Floats]], cameras: Sequence[int] = range(14)
) -> None:
    """Write annot.mat, MATLAB v5: annot2, annot3, univ_annot3 as cells over C cameras."""
    from scipy.io import savemat

    content: dict[str, npt.NDArray[np.object_] | Floats] = {}
    for name, values in cells.items():
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        content[name] = column
    content["frames"] = np.arange(len(cells["annot2"][0]), dtype=np.float64)[:, None]
    content["cameras"] = np.array([cameras], np.float64)
    savemat(path, content, do_compression=True)
    with path.open("r+b") as raw:  # scipy writes the time of day there
        raw.write(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(116))


def write_test_annotations(path: Path, fields: Mapping[str, Floats]) -> None:
    """Write annot_data.mat, MATLAB v7.3: HDF5 behind a user block, arrays as h5py sees them."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in fields.items():
            file.create_dataset(name, data=values)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_calibration(
    path: Path, intrinsics: Sequence[Floats], extrinsics: Sequence[Floats]
) -> None:
    """Write camera.calibration from 4x4 matrices, extrinsics in mm."""
    lines = ["Skeletool Camera Calibration File V1.0"]
    for number, (intrinsic, extrinsic) in enumerate(zip(intrinsics, extrinsics, strict=True)):
        lines += [
            f"name          {number}",
            "  sensor      10 10",
            "  size        2048 2048",
            "  animated    0",
            f"  intrinsic   {_numbers(intrinsic)} ",
            f"  extrinsic   {_numbers(extrinsic)} ",
            "  radial      0",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_video(path: Path, images: Iterable[Image | None], size: tuple[int, int]) -> None:
    """Write an avi of those frames, grey where there is None; a keyframe every 12."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = _frame(np.full((size[1], size[0], 3), 100, np.uint8))
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2", "g": "12"})
        stream.width, stream.height = size
        stream.codec_context.flags |= av.codec.context.Flags.qscale.value
        for index, image in enumerate(images):
            frame = grey if image is None else _frame(image)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_picture(path: Path, image: Image) -> None:
    """Write an RGB picture as JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _numbers(matrix: Floats) -> str:
    return " ".join(f"{value:.7g}" for value in matrix.ravel())


def _frame(image: Image) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
