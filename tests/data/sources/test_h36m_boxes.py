"""Boxes from masks in MATLAB's files, and the files that are none."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from multibodies.data.sources.h36m import boxes as h36m_boxes
from multibodies.data.sources.h36m.boxes import Masks, box_of_joints, box_of_mask
from multibodies.errors import UserError
from multibodies.lookalikes.h36m_files import Rectangle, write_masks

WIDE = Rectangle(100, 20, 700, 120)


def test_a_wide_mask_stored_by_matlab(tmp_path: Path) -> None:
    """[W, H] in the file: its first axis is x."""
    path = tmp_path / "a.mat"
    write_masks(path, [Rectangle(0, 0, 2, 3), WIDE], (1000, 1002))
    with h5py.File(path) as file:
        assert file["Masks"].shape == (2, 1) and file[file["Masks"][1, 0]].shape == (1000, 1002)
    with Masks(path) as masks:
        assert masks.box(1) == (400, 70, 0.9 * 600)
        assert masks.box(0) == (1, 1.5, 0.9 * 3)


def test_boxes_in_continuous_pixels() -> None:
    """The first pixel covers [0, 1): a mask of one pixel has its centre at .5."""
    mask = np.zeros((6, 8), bool)
    mask[0, 7] = True
    assert box_of_mask(mask) == (7.5, 0.5, 0.9)
    mask[2, 4] = True  # a hole between them does not matter
    assert box_of_mask(mask) == (6, 1.5, 0.9 * 4)
    with pytest.raises(ValueError, match="empty"):
        box_of_mask(np.zeros((6, 8)))
    joints = np.array([[10.0, 5.0], [30.0, 10.0], [20.0, 7.0]])
    assert box_of_joints(joints) == (20, 7.5, 1.2 * 20)


def test_a_frame_without_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mat"
    write_masks(path, [Rectangle(5, 5, 5, 5), WIDE], (1000, 1002))
    with h5py.File(path, "r+") as file:
        cube = file.create_dataset("#refs#/cube", data=np.zeros((2, 2, 2)))
        cells = file.create_dataset("Cells", (6, 1), h5py.ref_dtype)
        cells[0, 0], cells[1, 0] = file["Masks"][0, 0], file["Masks"][1, 0]
        cells[2, 0], cells[4, 0] = cube.ref, file["#refs#"].ref
        cells[5, 0] = file.create_dataset("#refs#/text", data=np.full((2, 2), b"mask")).ref
        del file["Masks"]
        file["Masks"] = file["Cells"]
    with Masks(path) as masks:
        for frame, words in (
            (0, "mask is empty"),
            (2, r"frame 2: an array \(2, 2, 2\)"),
            (3, "frame 3"),
            (4, "frame 4: not an array"),
            (5, "frame 5: not an array"),
            (6, "no mask for frame 6"),
        ):
            with pytest.raises(ValueError, match=words):
                masks.box(frame)
        assert masks.box(1).side == 540
        monkeypatch.setattr(h36m_boxes, "MAX_PIXELS", 1000)
        with pytest.raises(ValueError, match=r"\(1000, 1002\)"):
            masks.box(1)


def test_files_that_hold_no_masks(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(900))
    with pytest.raises(UserError, match=r"a.mat: .*7.3"):
        Masks(path)
    with h5py.File(path, "w") as file:
        file["Mask"] = np.zeros(3)
    with pytest.raises(UserError, match=r"a.mat: .*'Masks'"):
        Masks(path)
    with h5py.File(path, "w") as file:
        file["Masks"] = np.zeros((3, 1))
    with pytest.raises(UserError, match=r"a.mat: 'Masks' holds no references"):
        Masks(path)
    write_masks(path, [WIDE], (1000, 1002))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError, match=r"a.mat"):
        Masks(path)
