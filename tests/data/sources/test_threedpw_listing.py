"""What 3DPW's importer lists, in which order, under which names, and with whose bodies."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.data.sources.importer import SourceOptions
from multibodies.data.sources.record import Record
from multibodies.data.sources.registry import open_importer
from multibodies.data.sources.threedpw import file as threedpw_file
from multibodies.data.sources.threedpw.importer import open_source
from multibodies.errors import UserError
from multibodies.lookalikes.threedpw import write_threedpw
from multibodies.pickles import read_pickle
from read_all import all_items
from threedpw_samples import (
    Fields,
    Open,
    Tree,
    importer_of,
    load_fields,
)

pytestmark = pytest.mark.slow


def test_frames_without_camera_or_points_are_counted(threedpw: Tree) -> None:
    listing = threedpw.importer.listing("3dpw-test")
    assert listing.skipped == {"campose_invalid": 3, "no_keypoints": 1}
    assert sum(unit.records for unit in listing.units) == 2 * 6 - 3 - 1


def test_pictures_are_numbered_by_index_not_by_60_hz_ids(threedpw: Tree) -> None:
    fields = load_fields(threedpw.file("test"))
    assert fields["img_frame_ids"].tolist() == [0, 2, 4, 6, 8, 10]
    records = [record for record, _ in threedpw.pairs("3dpw-test")]
    assert [r.frame for r in records] == [0, 3, 4, 5, 0, 2, 4, 5]
    last, name = records[3], "downtown_lookalike_00"
    assert last.picture == (threedpw.root / f"imageFiles/{name}/image_00005.jpg", None)
    assert last.source == f"imageFiles/{name}/image_00005.jpg"
    assert last.image_id == f"3dpw-{name}-p0-00005"
    assert (last.subject, last.sequence) == (f"{name}-p0", name)
    assert records[0].picture.path.name == "image_00000.jpg"  # the first is 0, not 1


def test_persons_may_have_fewer_frames_than_the_camera(
    threedpw: Tree, fields: Fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("poses", "trans", "poses2d", "campose_valid", "jointPositions"):
        fields[name][0] = fields[name][0][:4]
    importer = importer_of(fields, tmp_path, threedpw.bodies, monkeypatch)
    frames = [int(item.image_id[-5:]) for item in all_items(importer, "3dpw-test")]
    assert frames == [0, 3, 0, 2, 4, 5]


def test_any_part_is_the_same_part_of_the_whole_to_the_bit(threedpw: Tree) -> None:
    unit = "downtown_lookalike_00"
    whole = list(threedpw.importer.records("3dpw-test", unit, 0, 8))
    for start, count in ((0, 3), (3, 2), (5, 3), (8, 0)):
        part = list(threedpw.importer.records("3dpw-test", unit, start, count))
        for found, expected in zip(part, whole[start : start + count], strict=True):
            assert isinstance(found, Record) and isinstance(expected, Record)
            for field in dataclasses.fields(Record):
                one, other = (getattr(record, field.name) for record in (found, expected))
                np.testing.assert_array_equal(one, other)


def test_sequences_come_by_name_and_each_file_is_read_once(
    threedpw: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_threedpw(
        tmp_path, threedpw.loaded, splits=("test",), sequences=2, frames=4, pictures=False
    )
    (tmp_path / "imageFiles").mkdir()
    (tmp_path / "sequenceFiles/test/._downtown_lookalike_00.pkl").write_bytes(b"a Mac's shadow")
    reads = []

    def counted(path: Path, expected: str) -> Any:
        reads.append(path.stem)
        return read_pickle(path, expected)

    monkeypatch.setattr(threedpw_file, "read_pickle", counted)
    importer = open_importer("3dpw", SourceOptions(str(tmp_path), bodies=threedpw.bodies))
    names = ["downtown_lookalike_00", "downtown_lookalike_01"]
    for _ in range(2):
        assert [unit.name for unit in importer.listing("3dpw-test").units] == names
    assert reads == names
    for start in range(3):
        assert len(list(importer.records("3dpw-test", names[1], start, 1))) == 1
    assert reads == [*names, names[1]]


def test_identity_is_the_files_and_the_bodies(
    threedpw: Tree, fields: Fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = importer_of(fields, tmp_path, threedpw.bodies, monkeypatch)
    identity = importer.listing("3dpw-test").identity
    assert identity["files"].keys() == {"seq.pkl"}
    assert identity["bodies"] == {g: body.sha256 for g, body in threedpw.loaded.items()}
    (tmp_path / "sequenceFiles/test/seq.pkl").write_bytes(b"other bytes")
    assert importer.listing("3dpw-test").identity["files"] != identity["files"]


def test_missing_folders_and_files_are_named(tmp_path: Path, threedpw: Tree) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder; expected 3DPW's folder"):
        open_source(SourceOptions(str(tmp_path / "nowhere")))
    importer = open_source(SourceOptions(str(tmp_path), bodies=threedpw.bodies))
    with pytest.raises(UserError, match="no split '3dpw-vall'; did you mean '3dpw-val'"):
        importer.listing("3dpw-vall")
    with pytest.raises(UserError, match="sequenceFiles/validation: no such folder"):
        importer.listing("3dpw-val")
    folder = tmp_path / "sequenceFiles" / "validation"
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match="imageFiles: no such folder"):
        importer.listing("3dpw-val")
    (tmp_path / "imageFiles").mkdir()
    with pytest.raises(UserError, match=r"validation: no \*\.pkl in it"):
        importer.listing("3dpw-val")
    with pytest.raises(UserError, match=r"gone\.pkl: no such file"):
        list(importer.records("3dpw-val", "gone", 0, 1))


def test_a_missing_body_is_asked_for(
    threedpw: Tree, fields: Fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = importer_of(fields, tmp_path, {"male": threedpw.bodies["male"]}, monkeypatch)
    with pytest.raises(UserError, match=r"female one; .*`multibodies body import`.*body\.female="):
        importer.listing("3dpw-test")
    fields["genders"] = ["m", "m"]
    fields["jointPositions"][0] = fields["jointPositions"][1]  # whoever it is, he is in the file
    fields["poses"][0], fields["betas"][0] = fields["poses"][1], fields["betas"][1]
    sub = tmp_path / "men"
    importer = importer_of(fields, sub, {"male": threedpw.bodies["male"]}, monkeypatch)
    assert importer.listing("3dpw-test").identity["bodies"].keys() == {"male"}


def test_bodies_that_are_not_the_sets_are_told(
    threedpw: Tree, fields: Fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = {"male": threedpw.bodies["female"], "female": threedpw.bodies["male"]}
    importer = importer_of(fields, tmp_path, swapped, monkeypatch)
    with pytest.raises(UserError, match=r"person 0 differ by \d+ cm .*wrong body or gender\?"):
        importer.listing("3dpw-test")


def test_joint_positions_in_millimetres_are_told(fields: Fields, opened: Open) -> None:
    fields["jointPositions"] = [1000 * j for j in fields["jointPositions"]]
    with pytest.raises(UserError, match=r"span \d+ m; expected metres, not millimetres"):
        opened(fields).listing("3dpw-test")


def test_joint_positions_may_be_in_any_frame(fields: Fields, opened: Open) -> None:
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    fields["jointPositions"] = [
        (j.reshape(-1, 24, 3) @ turned + 7.0).reshape(-1, 72) for j in fields["jointPositions"]
    ]
    assert len(all_items(opened(fields), "3dpw-test")) == 8


def test_more_records_than_there_are_is_an_error(fields: Fields, opened: Open) -> None:
    with pytest.raises(UserError, match=r"8 records, asked for 7\.\.8; the file has changed"):
        list(opened(fields).records("3dpw-test", "seq", 7, 2))
