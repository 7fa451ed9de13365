"""3DPW's sequence files: as Python 2 wrote them, damaged, hostile, and with other fields."""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.data.sources.importer import SourceOptions
from multibodies.data.sources.record import Record
from multibodies.data.sources.threedpw.importer import open_source
from multibodies.errors import UserError
from read_all import all_items
from threedpw_samples import (
    Fields,
    Open,
    Tree,
)

pytestmark = pytest.mark.slow


def test_the_look_alikes_pickles_are_python_2s(threedpw: Tree) -> None:
    content = threedpw.file("test").read_bytes()
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(content)
    opcodes = [(op.name, arg) for op, arg, _ in pickletools.genops(content)]
    assert not {"BINUNICODE", "BINBYTES", "SHORT_BINBYTES"} & {name for name, _ in opcodes}
    assert ("GLOBAL", "numpy.core.multiarray _reconstruct") in opcodes
    assert ("SHORT_BINSTRING", "jointPositions") in opcodes


def root_with(tmp_path: Path, content: bytes) -> str:
    folder = tmp_path / "sequenceFiles" / "test"
    folder.mkdir(parents=True)
    (tmp_path / "imageFiles").mkdir()
    (folder / "seq.pkl").write_bytes(content)
    return str(tmp_path)


class Shell:
    """Runs a command when it is unpickled by pickle itself."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    content = pickle.dumps({"sequence": Shell(f"touch {mark}")}, protocol=2)
    importer = open_source(SourceOptions(root_with(tmp_path, content)))
    with pytest.raises(UserError, match=r"seq\.pkl: .*system.* is not allowed"):
        importer.listing("3dpw-test")
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
def test_truncated_pickles_are_refused(tmp_path: Path, threedpw: Tree, keep: int) -> None:
    importer = open_source(
        SourceOptions(root_with(tmp_path, threedpw.file("test").read_bytes()[:keep]))
    )
    with pytest.raises(UserError, match=r"seq\.pkl: .*expected a 3DPW sequence file"):
        importer.listing("3dpw-test")


def test_another_pickle_is_refused(tmp_path: Path) -> None:
    importer = open_source(SourceOptions(root_with(tmp_path, pickle.dumps([1, 2], protocol=2))))
    with pytest.raises(UserError, match="holds list, expected a 3DPW sequence file"):
        importer.listing("3dpw-test")


NEEDED = (
    "sequence", "poses", "betas", "trans", "genders", "poses2d", "jointPositions",
    "campose_valid", "cam_poses", "cam_intrinsics",
)  # fmt: skip


def test_texts_may_be_arrays_of_bytes(fields: Fields, opened: Open) -> None:
    fields["sequence"] = np.array(b"seq")
    fields["genders"] = [np.array(b"f"), np.array("m")]
    items = all_items(opened(fields), "3dpw-test")
    assert [item.gender for item in items if isinstance(item, Record)] == [
        *["female"] * 4,
        *["male"] * 4,
    ]


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_field_is_named(fields: Fields, opened: Open, name: str) -> None:
    del fields[name]
    with pytest.raises(UserError, match=rf"seq\.pkl: no field '{name}'"):
        opened(fields).listing("3dpw-test")


@pytest.mark.parametrize("name", sorted({"v_template_clothed", "texture_maps", "poses_60Hz"}))
def test_fields_that_are_not_used_may_be_missing(fields: Fields, opened: Open, name: str) -> None:
    del fields[name]
    assert len(all_items(opened(fields), "3dpw-test")) == 8


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("poses", np.zeros((6, 66)), r"'poses\[0\]' has shape \(6, 66\), expected \(any, 72\)"),
        ("trans", np.zeros((5, 3)), r"'trans\[0\]' has shape \(5, 3\), expected \(6, 3\)"),
        ("poses2d", np.zeros((6, 18, 3)), r"shape \(6, 18, 3\), expected \(6, 3, 18\)"),
        ("poses2d", np.zeros((6, 3, 17)), r"shape \(6, 3, 17\), expected \(6, 3, 18\)"),
        ("betas", np.zeros(9), r"'betas\[0\]' has 9 numbers, expected 10 or 300"),
        ("jointPositions", np.zeros((6, 24)), r"shape \(6, 24\), expected \(6, 72\)"),
        ("campose_valid", np.ones(7), r"shape \(7,\), expected \(6,\)"),
        ("poses", [["a"]], "holds list, expected an array of numbers"),
        ("trans", [[1.0], [1.0, 2.0]], "holds list, expected an array of numbers"),
        ("genders", "x", "gender of person 0 is 'x', expected 'm' or 'f'"),
    ],
)
def test_a_misshapen_field_of_a_person_is_named(
    fields: Fields, opened: Open, name: str, value: Any, reason: str
) -> None:
    fields[name][0] = value
    with pytest.raises(UserError, match=reason):
        opened(fields).listing("3dpw-test")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("genders", ["m"], "'genders' has 1 persons, 'poses' 2"),
        ("poses", 3.0, "'poses' is float, expected a list, one item per person"),
        ("cam_poses", np.zeros((6, 3, 4)), r"expected \(any, 4, 4\)"),
        ("cam_poses", np.zeros((5, 4, 4)), "person 0 has 6 frames, 'cam_poses' 5"),
        ("cam_intrinsics", np.zeros((3, 3)), r"expected \[fx 0 cx; 0 fy cy; 0 0 1\]"),
        ("cam_intrinsics", np.full((3, 3), np.nan), r"expected \[fx 0 cx; 0 fy cy; 0 0 1\]"),
        ("sequence", "other", r"'sequence' is 'other'; .*'other\.pkl'"),
    ],
)
def test_a_misshapen_field_of_the_sequence_is_named(
    fields: Fields, opened: Open, name: str, value: Any, reason: str
) -> None:
    fields[name] = value
    with pytest.raises(UserError, match=reason):
        opened(fields).listing("3dpw-test")
