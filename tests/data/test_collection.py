"""Collections: datasets in subfolders read as one, and what refuses to be one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from collection_samples import SIZE, STORED, pictures, save_collection, save_set
from multibodies.config import DataConfig, MixConfig
from multibodies.data.manifest import read_manifest, verify, write_manifest
from multibodies.data.mix import group_of, shares_of
from multibodies.data.pixels import central, decode_jpeg, encode_jpeg
from multibodies.data.shards import read_split, shard_paths
from multibodies.data.sources.record import Box, Picture, Record
from multibodies.data.sources.rows import RowMaker
from multibodies.data.training_rows import open_source, read_rows
from multibodies.errors import UserError
from multibodies.evaluation import shards_of
from training_samples import flip_byte


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_collection(tmp_path_factory.mktemp("sets") / "data")


def test_a_collection_is_one_dataset(collection: Path) -> None:
    manifest = verify(collection)
    assert set(manifest.splits) == {"h36m-train", "h36m-val", "mpii3d-train", "lsp-train"}
    assert manifest.rows == 66
    assert [shard.path for shard in manifest.shards("h36m-train")] == [
        "a-h36m/h36m-train/part-00000.parquet",
        "a-h36m/h36m-train/part-00001.parquet",
    ]
    assert (manifest.image_size, manifest.image_format) == (SIZE, "jpeg")
    assert manifest.columns["image"]["dtype"] == "jpeg"
    rows = read_split(collection, "lsp-train")
    assert rows["image"].shape == (6, SIZE, SIZE, 3)
    assert rows["beta"][:, 0].tolist() == list(range(6))
    assert all(path.is_file() for path in shard_paths(collection, "mpii3d-train"))
    assert [split for split, _ in shards_of(manifest, ["h36m-val", "lsp-train"])] == [
        "h36m-val",
        "lsp-train",
        "lsp-train",
    ]


def test_a_damaged_shard_of_a_collection_is_named(tmp_path: Path) -> None:
    save_collection(tmp_path)
    flip_byte(tmp_path / "lsp" / "lsp-train" / "part-00001.parquet")
    with pytest.raises(UserError, match=r"lsp/lsp-train/part-00001\.parquet: shard is damaged"):
        verify(tmp_path)
    assert verify(tmp_path, ["h36m-train"]).rows == 66


def test_the_fingerprint_is_of_all_parts(tmp_path: Path) -> None:
    first = save_collection(tmp_path / "one")
    second = save_collection(tmp_path / "two")
    assert read_manifest(first).fingerprint == read_manifest(second).fingerprint
    (second / "mpii3d").rename(tmp_path / "aside")
    assert read_manifest(first).fingerprint != read_manifest(second).fingerprint


def test_a_collection_of_one_and_other_folders_beside_it(tmp_path: Path) -> None:
    save_set(tmp_path / "lsp", {"lsp-train": [4]})
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").write_text("hello")
    assert set(read_manifest(tmp_path).splits) == {"lsp-train"}


def test_an_unfinished_dataset_in_a_collection_is_refused(tmp_path: Path) -> None:
    save_collection(tmp_path)
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "recipe.json").write_text("{}")
    with pytest.raises(UserError, match=r"coco/manifest\.json: no such file.*no finished dataset"):
        read_manifest(tmp_path)


def test_a_folder_without_datasets_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is no finished dataset"):
        read_manifest(tmp_path)
    with pytest.raises(UserError, match="is no finished dataset"):
        read_manifest(tmp_path / "absent")


def test_a_split_in_two_subfolders_names_both(tmp_path: Path) -> None:
    save_set(tmp_path / "lsp", {"lsp-train": [4]})
    save_set(tmp_path / "old", {"lsp-train": [4], "lsp-test": [4]})
    with pytest.raises(UserError, match="split 'lsp-train' is in lsp and in old"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 16, "stored": 24}, "a has data.image_size = 32, b has 16"),
        ({"image_format": "raw"}, "a has data.image_format = jpeg, b has raw"),
    ],
)
def test_crops_of_two_kinds_name_both(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    save_set(tmp_path / "a", {"lsp-train": [4]})
    save_set(tmp_path / "b", {"coco-train": [4]}, **changes)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path)


def test_another_schema_version_in_a_collection_is_refused(tmp_path: Path) -> None:
    path = save_collection(tmp_path) / "lsp" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 1}))
    with pytest.raises(UserError, match=r"lsp/manifest\.json: schema version 1"):
        read_manifest(tmp_path)


def test_features_in_a_collection_are_refused(tmp_path: Path) -> None:
    folder = save_set(tmp_path / "lsp", {"lsp-train": [4]})
    manifest = read_manifest(folder)
    recipe = {**manifest.recipe, "features": {"checkpoint": "00", "dtype": "float16"}}
    write_manifest(folder, manifest.model_copy(update={"recipe": recipe}))
    with pytest.raises(UserError, match="lsp holds features; a collection is of images"):
        read_manifest(tmp_path)


def test_shares_are_spin_s() -> None:
    rows = {"h36m-train": 300, "mpii3d-train": 90, "coco-train": 60, "lsp-train": 10}
    rows |= {"lspet-train": 20, "mpii-train": 30, "3dpw-train": 50}
    shares = shares_of(rows, MixConfig())
    assert shares == pytest.approx(
        {
            "h36m-train": 0.3,
            "mpii3d-train": 0.1,
            "coco-train": 0.3,
            "lsp-train": 0.05,
            "lspet-train": 0.1,
            "mpii-train": 0.15,
        }
    )


def test_an_absent_set_leaves_its_share_to_the_others() -> None:
    shares = shares_of({"h36m-train": 5, "mpii3d-train": 9, "lsp-train": 0}, MixConfig())
    assert shares == pytest.approx({"h36m-train": 0.75, "mpii3d-train": 0.25})


def test_other_sets_share_one_number_by_size() -> None:
    rows = {"3dpw-train": 30, "lab-train": 10, "h36m-train": 4}
    assert shares_of(rows, MixConfig(others=0.3)) == pytest.approx(
        {"3dpw-train": 0.375, "lab-train": 0.125, "h36m-train": 0.5}
    )
    assert group_of("lab-train") == "others"
    with pytest.raises(UserError, match=r"found 3dpw-train; set mix\.others"):
        shares_of({"3dpw-train": 30}, MixConfig())


def test_a_mix_is_a_source_of_parts(collection: Path) -> None:
    source = open_source(collection, "mix-train")
    assert [(p.name, p.rows, len(p.paths)) for p in source.parts] == [
        ("h36m-train", 40, 2),
        ("lsp-train", 6, 2),
        ("mpii3d-train", 12, 1),
    ]
    assert [p.share for p in source.parts] == pytest.approx([0.3, 0.6, 0.1])
    assert (source.rows, len(source.paths)) == (58, 5)
    alone = open_source(collection, "h36m-train")
    assert (alone.rows, alone.parts[0].share) == (40, 1.0)
    assert alone.fingerprint == open_source(collection / "a-h36m", "h36m-train").fingerprint


def test_a_mix_needs_a_training_split(tmp_path: Path) -> None:
    save_set(tmp_path / "lsp", {"lsp-test": [4]})
    with pytest.raises(UserError, match="no training split to mix"):
        open_source(tmp_path, "mix-train")


@pytest.mark.parametrize(("whole", "side"), [(False, SIZE), (True, STORED)])
def test_jpeg_rows_are_decoded_and_cut_unless_whole(
    collection: Path, whole: bool, side: int
) -> None:
    source = open_source(collection, "lsp-train", whole=whole)
    rows = read_rows(source)
    true = [decode_jpeg(encode_jpeg(image, 95)) for image in pictures(6, STORED)]
    assert np.array_equal(rows["image"].numpy(), central(np.stack(true), side))
    assert source.size == sum(t.numel() * t.element_size() for t in rows.values())


def test_rows_without_keypoints_show_none(tmp_path: Path) -> None:
    """Why the labels of a training need no has_2d: such rows have no visible keypoint."""
    record = Record(
        image_id="one",
        picture=Picture(Path("one.jpg")),
        source="one.jpg",
        box=Box(24, 24, 40),
        subject="",
        sequence="",
        theta=np.zeros((24, 3)),
        beta=np.zeros(10),
    )
    data, grey = DataConfig(image_size=SIZE), np.full((48, 48, 3), 90, np.uint8)
    maker = RowMaker(data, "lsp-train", lambda _: grey)
    rows, refused = maker.rows([record])
    assert not refused
    assert rows["has_2d"] == [False]
    assert np.abs(rows["keypoints_2d"][0]).max() == 0


def test_pictures_stored_at_two_sizes_cannot_be_augmented_together(tmp_path: Path) -> None:
    save_set(tmp_path / "a", {"lsp-train": [4]})
    save_set(tmp_path / "b", {"coco-train": [4]}, stored=40)
    with pytest.raises(UserError, match=r"stored at several sizes.*same data\.context"):
        open_source(tmp_path, "mix-train", whole=True)
    assert open_source(tmp_path, "mix-train").rows == 8
