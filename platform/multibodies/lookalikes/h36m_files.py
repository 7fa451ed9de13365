"""Files as Human3.6M has them: cdf, mat, mp4, and MoSh's pickles. Legend: T frames, N fits."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import av
import h5py
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream
from cdflib.cdfwrite import CDF

from multibodies.lookalikes.people import Floats, draw_picture, turn


class Rectangle(NamedTuple):
    """A filled mask: first and behind-last columns and rows."""

    left: int
    top: int
    right: int
    bottom: int


def write_cdf(path: Path, values: npt.NDArray[Any], name: str = "Pose") -> None:
    """Write a variable of one record, as MATLAB does: [T, W] -> (1, T, W), 32-bit floats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spec = {
        "Variable": name,
        "Data_Type": CDF.CDF_REAL4,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Var_Type": "zVariable",
        "Dim_Sizes": list(values.shape),
        "Dim_Vary": [True] * values.ndim,
        "Compress": 0,
    }
    with CDF(path, cdf_spec={"Majority": "row_major", "Encoding": 6}, delete=True) as file:
        file.write_var(spec, var_data=values.astype(np.float32)[None])


def write_masks(path: Path, masks: list[Rectangle], size: tuple[int, int]) -> None:
    """Write filled masks as a mat file of version 7.3: references to arrays [W, H]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = file.create_dataset("Masks", (len(masks), 1), h5py.ref_dtype)
        for index, mask in enumerate(masks):
            stored = np.zeros(size, np.uint8)
            stored[mask.left : mask.right, mask.top : mask.bottom] = 1
            cells[index, 0] = file.create_dataset(
                f"#refs#/{index}", data=stored, compression="gzip", compression_opts=1
            ).ref
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def write_video(path: Path, size: tuple[int, int], marks: list[Floats], seed: int) -> None:
    """Write a frame with COLOURS at each of its marks [24, 2]: H.264 with B-frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"preset": "ultrafast", "crf": "14", "x264-params": "bframes=2:b-adapt=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50, options=options)
        assert isinstance(stream, VideoStream)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for points in marks:  # one seed: the background stands still
            picture = draw_picture(size, points, np.random.default_rng(seed), 6.0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def write_fits(path: Path, theta: Floats, beta: Floats) -> None:
    """Write a MoSh fit of theta [N, 24, 3] and beta [10]: the half turn taken out of the roots."""
    path.parent.mkdir(parents=True, exist_ok=True)
    poses = theta.copy()
    poses[:, 0] = [turn(root, [-np.pi, 0.0, 0.0]) for root in theta[:, 0]]
    fields = {"new_poses": poses.reshape(-1, 72), "betas": beta}
    path.write_bytes(pickle.dumps(fields, protocol=2))
