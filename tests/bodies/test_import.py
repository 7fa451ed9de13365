"""SMPL's own files become bodies: every quirk of theirs, held against the arrays put into them."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibodies.bodies.importing import Imported, import_body
from multibodies.bodies.models import gender_of, read_model
from multibodies.core.body import BodyArrays, MeshBody, load_body
from multibodies.core.joints import SMPL_PARENTS
from multibodies.errors import UserError
from multibodies.lookalikes.python2 import write_python2
from multibodies.lookalikes.smpl import (
    ModelFile,
    model_arrays,
    pickled,
    write_regressors,
    write_smpl,
)

pytestmark = pytest.mark.slow

ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")


@pytest.fixture(scope="module")
def ours() -> BodyArrays:
    return load_body()


@pytest.fixture(scope="module")
def tree(ours: BodyArrays, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFile]:
    """The three models of v1.0.0, by gender."""
    return {file.gender: file for file in write_smpl(tmp_path_factory.mktemp("smpl"), ours)}


def do(file: Path, out: Path, regressors: Path | None = None, **options: Any) -> Imported:
    """Import with SPIN's regressors of a folder, that of the file if none is given."""
    names = ("J_regressor_h36m", "J_regressor_extra")
    given = {name: (regressors or file.parent) / f"{name}.npy" for name in names}
    return import_body(file, out, regressors=given, **options)


@pytest.fixture(scope="module")
def made(
    tree: dict[str, ModelFile], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Imported]:
    """The three of them imported into one folder."""
    out = tmp_path_factory.mktemp("bodies")
    return {gender: do(file.path, out) for gender, file in tree.items()}


def assert_same(found: BodyArrays, wanted: dict[str, Any], ours: BodyArrays) -> None:
    """Hold a body against the arrays that were pickled."""
    for name in ARRAYS:
        expected = wanted[name][..., :10] if name == "shapedirs" else wanted[name]
        np.testing.assert_array_equal(getattr(found, name).numpy(), expected.astype(np.float32))
    np.testing.assert_array_equal(found.faces.numpy(), wanted["f"])
    assert tuple(found.parents.tolist()) == SMPL_PARENTS
    assert torch.equal(found.J_regressor_h36m, ours.J_regressor_h36m)
    assert torch.equal(found.J_regressor_extra, ours.J_regressor_extra)


@pytest.mark.parametrize("gender", ["neutral", "male", "female"])
def test_v1_0_0(
    gender: str, tree: dict[str, ModelFile], made: dict[str, Imported], ours: BodyArrays
) -> None:
    """Neutral's shapedirs is a Select of twice as many components, the others' a Ch."""
    assert made[gender].path.name == f"smpl-{gender}-1.0.0.npz"
    assert made[gender].notes == ()
    assert_same(load_body(str(made[gender].path)), tree[gender].arrays, ours)


def test_v1_1_0_keeps_10_of_300_components(ours: BodyArrays, tmp_path: Path) -> None:
    """Its sparse matrix has SciPy's newer name, its file name neither version nor 300."""
    (file,) = write_smpl(tmp_path, ours, version="1.1.0", genders=("female",))
    assert file.arrays["shapedirs"].shape == (6890, 3, 300)
    made = do(file.path, tmp_path)
    assert made.path.name == "smpl-female-1.1.0.npz"
    assert made.notes == ("took the first 10 of SMPL_FEMALE.pkl's 300 shape components",)
    assert_same(load_body(str(made.path)), file.arrays, ours)


def test_genders_are_other_bodies(made: dict[str, Imported]) -> None:
    heights = {}
    for gender, imported in made.items():
        body = load_body(str(imported.path))
        rest = MeshBody(body)(torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 10))[0]
        heights[gender] = float(rest[:, 1].max() - rest[:, 1].min())
    assert heights["female"] < heights["neutral"] < heights["male"]


@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_root_parent_of_any_dtype(
    dtype: type, tree: dict[str, ModelFile], ours: BodyArrays, tmp_path: Path
) -> None:
    table: Any = tree["male"].arrays["kintree_table"].astype(dtype)
    assert table[0, 0] == 2**32 - 1
    made = do(
        spoil(tree, tmp_path, kintree_table=table), tmp_path / "out", tree["male"].path.parent
    )
    assert_same(load_body(str(made.path)), tree["male"].arrays, ours)


def test_our_own_npz_brings_its_regressors(
    tree: dict[str, ModelFile], ours: BodyArrays, tmp_path: Path
) -> None:
    regressors = {
        name: getattr(ours, name).numpy() for name in ("J_regressor_h36m", "J_regressor_extra")
    }
    save(tmp_path / "mine_neutral.npz", tree["neutral"].arrays | regressors)
    made = import_body(tmp_path / "mine_neutral.npz", tmp_path / "out", regressors={})
    assert made.path.name == "mine_neutral.npz"
    assert_same(load_body(str(made.path)), tree["neutral"].arrays, ours)


def test_an_imported_body_can_be_imported_again(tree: dict[str, ModelFile], tmp_path: Path) -> None:
    first = do(tree["male"].path, tmp_path / "a")
    again = import_body(first.path, tmp_path / "b", regressors={})
    assert again.path.name == first.path.name
    found, wanted = load_body(str(again.path)), load_body(str(first.path))
    assert torch.equal(found.shapedirs, wanted.shapedirs)


def test_bytes_are_the_same_on_another_day(
    tree: dict[str, ModelFile],
    made: dict[str, Imported],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 2e9)
    again = do(tree["male"].path, tmp_path)
    assert again.path.read_bytes() == made["male"].path.read_bytes()


def test_file_tells_its_origin_and_is_its_owners(made: dict[str, Imported]) -> None:
    path = made["female"].path
    with np.load(path, allow_pickle=False) as archive:
        told = json.loads(str(archive["provenance"]))
    assert (told["gender"], told["version"]) == ("female", "1.0.0")
    assert told["source"] == "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    assert set(told["regressors"]) == {"J_regressor_h36m", "J_regressor_extra"}
    assert all(len(told[key]) == 64 for key in ("source_sha256", "arrays_sha256"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(list(path.parent.iterdir())) == len(made)


def test_another_body_is_replaced_only_by_force(
    tree: dict[str, ModelFile], ours: BodyArrays, tmp_path: Path
) -> None:
    regressors, file = tree["male"].path.parent, tmp_path / "male.npz"
    save(file, tree["male"].arrays)
    do(file, tmp_path / "out", regressors)
    assert do(file, tmp_path / "out", regressors).notes == ("was there already, the same; kept",)
    save(file, tree["female"].arrays)
    with pytest.raises(UserError, match=r"male\.npz: is there and differs; .*--force"):
        do(file, tmp_path / "out", regressors)
    made = do(file, tmp_path / "out", regressors, force=True)
    assert_same(load_body(str(made.path)), tree["female"].arrays, ours)


@pytest.mark.parametrize(
    ("name", "gender"),
    [
        ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", "female"),
        ("basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "male"),
        ("basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "neutral"),
        ("SMPL_FEMALE.pkl", "female"),
        ("model.pkl", None),
    ],
)
def test_gender_by_the_files_name(name: str, gender: str | None) -> None:
    assert gender_of(Path(name)) == gender


def test_a_name_without_gender_asks_for_it(tree: dict[str, ModelFile], tmp_path: Path) -> None:
    os.link(tree["male"].path, tmp_path / "model.pkl")
    regressors = tree["male"].path.parent
    with pytest.raises(UserError, match="its name tells no gender; give --gender"):
        do(tmp_path / "model.pkl", tmp_path, regressors)
    made = do(tmp_path / "model.pkl", tmp_path, regressors, gender="male")
    assert made.path.name == "smpl-male-1.0.0.npz"


def test_neither_scipy_nor_chumpy_is_needed(
    tree: dict[str, ModelFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """chumpy is not installed at all; the child imports NumPy alone (test_read_pickle)."""
    with pytest.raises(ImportError):
        import chumpy  # type: ignore[import-not-found] # noqa: F401
    assert read_model(tree["male"].path).arrays["J_regressor"].shape == (24, 6890)


def save(path: Path, arrays: Any) -> None:
    """Write an .npz, half as large as SMPL's float64."""
    half = {k: a.astype(np.float32) if a.dtype == np.float64 else a for k, a in arrays.items()}
    np.savez(path, **half)


def spoil(tree: dict[str, ModelFile], folder: Path, **changed: Any) -> Path:
    """Write the male model as an .npz with other arrays."""
    path = folder / "SMPL_MALE.npz"
    save(path, tree["male"].arrays | changed)
    return path


def changed(tree: dict[str, ModelFile], name: str, value: float) -> dict[str, Any]:
    """One array with one other value."""
    array = tree["male"].arrays[name].copy()
    array.flat[7] = value
    return {name: array}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("v_template", np.nan, "'v_template' holds a NaN"),
        ("posedirs", np.inf, "'posedirs' holds a NaN or an infinity"),
        ("weights", 3.0, "a row of 'weights' does not sum to one"),
        ("kintree_table", 3, "another skeleton"),
        ("f", 7000, "names vertices that 'v_template' lacks"),
    ],
)
def test_bad_values(
    name: str, value: float, said: str, tree: dict[str, ModelFile], tmp_path: Path
) -> None:
    path = spoil(tree, tmp_path, **changed(tree, name, value))
    with pytest.raises(UserError, match=rf"SMPL_MALE\.npz: .*{said}"):
        do(path, tmp_path / "out", tree["male"].path.parent)
    assert not (tmp_path / "out").exists()


def test_other_units_than_metres(tree: dict[str, ModelFile], tmp_path: Path) -> None:
    path = spoil(tree, tmp_path, v_template=1000 * tree["male"].arrays["v_template"])
    with pytest.raises(UserError, match=r"'v_template' is 1766 long, .* other units than metres"):
        do(path, tmp_path, tree["male"].path.parent)


def test_arrays_of_objects(tree: dict[str, ModelFile], tmp_path: Path) -> None:
    path = spoil(tree, tmp_path, weights=np.array([{}, []], object))
    with pytest.raises(UserError, match=r"SMPL_MALE\.npz: damaged \(Object arrays"):
        do(path, tmp_path, tree["male"].path.parent)


FOREIGN = {
    "SMPL-X": (10475, 55, 486),
    "SMPL-H": (6890, 52, 459),
    "STAR": (6890, 24, 93),
    "MANO": (778, 16, 135),
    "FLAME": (5023, 5, 36),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("suffix", ["pkl", "npz"])
def test_other_models_of_the_family_are_named(name: str, suffix: str, tmp_path: Path) -> None:
    vertices, joints, features = FOREIGN[name]
    arrays = {
        "v_template": np.zeros((vertices, 3)),
        "kintree_table": np.zeros((2, joints), np.uint32),
        "posedirs": np.zeros((1, 3, features)),
    }
    path = tmp_path / f"NEUTRAL.{suffix}"
    if suffix == "npz":
        save(path, arrays | {"part2num": np.array({"pelvis": 0}, object)})
    else:
        write_python2(path, arrays)
    with pytest.raises(UserError, match=rf"{path}: it is {name}.*; expected SMPL: 6890 vertices"):
        do(path, tmp_path)


def test_a_model_without_an_array(ours: BodyArrays, tmp_path: Path) -> None:
    model = pickled(model_arrays(ours, 1.0), "scipy.sparse.csc")
    del model["weights"]
    write_python2(tmp_path / "SMPL_NEUTRAL.pkl", model)
    with pytest.raises(UserError, match=r"SMPL_NEUTRAL\.pkl: no array 'weights'; expected SMPL"):
        do(tmp_path / "SMPL_NEUTRAL.pkl", tmp_path)


def test_a_reduced_model(ours: BodyArrays, tmp_path: Path) -> None:
    few = {"v_template": ours.v_template[:1000].numpy()}
    save(tmp_path / "SMPL_MALE.npz", model_arrays(ours, 1.0) | few)
    with pytest.raises(UserError, match=r"\(1000, 24, 207\), expected \(6890, 24, 207\)"):
        do(tmp_path / "SMPL_MALE.npz", tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>login</html>", "a web page"),
        (b"", "an empty file"),
        (b"\x80\x02}q\x00(U\x0av_te", "truncated"),
        (b"\x80\x02]q\x00.", "holds a list"),
        (b"cos\nsystem\n(U\x04truetR.", "'os.system', which is not allowed"),
    ],
)
def test_what_is_no_model(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"SMPL_NEUTRAL\.pkl: .*{said}.*; expected SMPL"):
        do(path, tmp_path)


def test_a_truncated_download(tree: dict[str, ModelFile], tmp_path: Path) -> None:
    whole = tree["male"].path.read_bytes()
    path = tmp_path / "SMPL_MALE.pkl"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"truncated.*download it again"):
        do(path, tmp_path)


def test_the_archive_that_was_downloaded(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "SMPL_python_v.1.1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("smpl/models/basicmodel_f_lbs_10_207_0_v1.1.0.pkl", b"x")
    with pytest.raises(UserError, match="a zip archive; unpack it"):
        do(path, tmp_path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.pkl: no such file"):
        do(tmp_path / "absent.pkl", tmp_path)


@pytest.mark.parametrize(
    ("name", "option"),
    [("J_regressor_h36m", "--regressor-h36m"), ("J_regressor_extra", "--regressor-extra")],
)
def test_a_missing_regressor_says_what_to_fetch(
    name: str, option: str, tree: dict[str, ModelFile], tmp_path: Path
) -> None:
    files = {key: tree["male"].path.parent / f"{key}.npy" for key in (
        "J_regressor_h36m", "J_regressor_extra") if key != name}  # fmt: skip
    said = rf"no '{name}' in it.*fetch {name}\.npy of SPIN's data folder.*give {option} FILE"
    with pytest.raises(UserError, match=said):
        import_body(tree["male"].path, tmp_path, regressors=dict(files))


def forged_header(shape: str) -> bytes:
    """A .npy whose header promises what is not there."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (forged_header("(100000000000, 6890)"), r"shape \(100000000000, 6890\)"),
        (forged_header("(17, 6890)"), "expected"),
        (b"<html>", "not a whole .npy"),
        (b"", "not a whole .npy"),
    ],
)
def test_a_bad_regressor_file(
    content: bytes, said: str, tree: dict[str, ModelFile], tmp_path: Path
) -> None:
    (tmp_path / "J_regressor_h36m.npy").write_bytes(content)
    with pytest.raises(UserError, match=rf"J_regressor_h36m\.npy: .*{said}"):
        do(tree["male"].path, tmp_path, tmp_path)


def test_regressors_swapped(tree: dict[str, ModelFile], tmp_path: Path) -> None:
    folder = tree["male"].path.parent
    swapped = {
        "J_regressor_h36m": folder / "J_regressor_extra.npy",
        "J_regressor_extra": folder / "J_regressor_h36m.npy",
    }
    with pytest.raises(
        UserError, match=r"extra\.npy: a matrix of shape \(9, 6890\).* \[17, 6890\]"
    ):
        import_body(tree["male"].path, tmp_path, regressors=swapped)


@pytest.mark.parametrize(("factor", "said"), [(9.0, "outside the body"), (np.nan, "a NaN")])
def test_regressors_of_something_else(
    factor: float, said: str, tree: dict[str, ModelFile], ours: BodyArrays, tmp_path: Path
) -> None:
    other = dataclasses.replace(ours, J_regressor_h36m=ours.J_regressor_h36m * factor)
    write_regressors(tmp_path, other)
    with pytest.raises(UserError, match=rf"J_regressor_h36m' .*{said}"):
        do(tree["male"].path, tmp_path, tmp_path)
