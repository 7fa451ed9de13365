"""Files appear whole or not at all; sidecars tell what is done."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from multibodies.errors import UserError
from multibodies.files import atomic, write_bytes
from multibodies.sidecars import check_whole, is_done, seal, sidecar_path


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        UserError, match=r"a\.bin: cannot be written \(No space left on device\); free space"
    ):
        write_bytes(tmp_path / "a.bin", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        write_bytes(tmp_path / "file" / "a.bin", b"new")


def test_a_part_is_done_only_for_its_recipe_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    assert not is_done(path, "r1")
    path.write_bytes(b"rows")
    assert not is_done(path, "r1")
    seal(path, "r1", rows=4)
    assert is_done(path, "r1")
    assert not is_done(path, "r2")
    assert check_whole(path)["rows"] == 4
    path.write_bytes(b"r0ws")
    assert not is_done(path, "r1")
    with pytest.raises(UserError, match=r"part-00000\.parquet: damaged"):
        check_whole(path)


def test_a_damaged_sidecar_costs_only_the_work(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(b"rows")
    seal(path, "r1")
    sidecar_path(path).write_text("{")
    assert not is_done(path, "r1")
    with pytest.raises(UserError, match=r"part-00000\.json: not a sidecar"):
        check_whole(path)
