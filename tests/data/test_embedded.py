"""The generator: the same bytes in any chunks, exact labels, ambiguous versions of its scenes."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch

from multibodies.config import AMBIGUOUS, SPLITS, DataConfig
from multibodies.core.body import BodyArrays, JointBody, MeshBody, load_body
from multibodies.core.camera import project
from multibodies.core.occlusion import HIDDEN_J24
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.embedded import Rows, base_split, embedded_rows
from multibodies.data.keyframes import KEYFRAME_SPLITS, LYING
from multibodies.errors import UserError

DATA = DataConfig()
HARD = DataConfig(heading_std_deg=180, lying_share=1, clutter=1)
PIXELS = 64 / 2  # of one ndc unit at 64 px


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body()


@pytest.fixture(scope="module")
def train(body: BodyArrays) -> Rows:
    return embedded_rows("lab-train", 0, 96, DATA, body, masks=True)


@pytest.fixture(scope="module")
def wild(body: BodyArrays) -> Rows:
    return embedded_rows("wild-test", 0, 64, DATA, body)


@pytest.fixture(scope="module")
def awild(body: BodyArrays) -> Rows:
    return embedded_rows("awild-test", 0, 64, DATA, body)


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b


@pytest.mark.parametrize("data", [DATA, HARD], ids=["default", "hard"])
@pytest.mark.parametrize("split", ["lab-train", "alab-val", "wild-test"])
def test_rows_do_not_depend_on_chunks(split: str, data: DataConfig, body: BodyArrays) -> None:
    whole = embedded_rows(split, 3, 70, data, body)
    parts = [
        embedded_rows(split, start, count, data, body)
        for start, count in [(3, 1), (4, 6), (10, 63)]
    ]
    for name, column in whole.items():
        pieces = [part[name] for part in parts]
        listed = isinstance(column, list)
        together = list(chain(*pieces)) if listed else np.concatenate(pieces)
        assert same(column, together), name


def test_seed_split_and_row_matter(body: BodyArrays) -> None:
    first = embedded_rows("lab-val", 0, 2, DATA, body)
    again = embedded_rows("lab-val", 0, 2, DATA, body)
    other_seed = embedded_rows("lab-val", 0, 2, DATA.model_copy(update={"seed": -1}), body)
    other_split = embedded_rows("lab-test", 0, 2, DATA, body)
    assert all(same(first[name], again[name]) for name in first)
    assert not same(first["theta"], other_seed["theta"])
    assert not same(first["beta"], other_seed["beta"])
    assert not same(first["theta"], other_split["theta"])
    assert not same(first["theta"][0], first["theta"][1])


def test_schema_columns(train: Rows) -> None:
    n, size = 96, DATA.image_size
    shapes = {
        "image": (np.uint8, (n, size, size, 3)),
        "keypoints_2d": (np.float32, (n, 24, 3)),
        "openpose": (np.float32, (n, 25, 3)),
        "joints_3d": (np.float32, (n, 24, 4)),
        "h36m17": (np.float32, (n, 17, 3)),
        "theta": (np.float32, (n, 24, 3)),
        "beta": (np.float32, (n, 10)),
        "camera": (np.float32, (n, 3)),
        "crop": (np.float32, (n, 4)),
        "frame": (np.int32, (n,)),
        **{f"has_{name}": (np.bool_, (n,)) for name in ("2d", "3d", "h36m17", "smpl")},
    }
    for name, (kind, shape) in shapes.items():
        assert train[name].dtype == kind, name
        assert train[name].shape == shape, name
        assert np.isfinite(train[name].astype(float)).all(), name
    texts = {"image_id", "dataset", "split", "subject", "sequence", "gender", "occlusion", "source"}
    assert set(train) == set(shapes) | texts | {"mask"}
    assert len(set(train["image_id"])) == n
    assert train["image_id"][5] == "lab-train-00000005"


@pytest.mark.parametrize("road", ["joints", "mesh"])
@pytest.mark.parametrize("split", ["lab-train", "awild-val"])
def test_labels_reproject(split: str, road: str, body: BodyArrays) -> None:
    """theta, beta, camera give the keypoints to 1e-3 px at 64 px and the joints to 1e-5 m."""
    rows = embedded_rows(split, 40, 24, HARD, body)
    rotations = axis_angle_to_matrix(torch.from_numpy(rows["theta"]))
    beta, camera = torch.from_numpy(rows["beta"]), torch.from_numpy(rows["camera"])
    if road == "joints":
        sets = JointBody(body, sets=("j24", "h36m17"))(rotations, beta)
        j24, h36m = sets["j24"], sets["h36m17"]
    else:
        mesh = MeshBody(body)
        pick = [
            8,
            5,
            45,
            46,
            4,
            7,
            21,
            19,
            17,
            16,
            18,
            20,
            47,
            48,
            49,
            50,
            51,
            52,
            53,
            24,
            26,
            25,
            28,
            27,
        ]
        j24 = mesh.joints54(rotations, beta)[:, pick]
        h36m = torch.einsum("kv,bvd->bkd", body.J_regressor_h36m, mesh(rotations, beta))
    off = project(j24, camera).numpy() - rows["keypoints_2d"][..., :2]
    assert np.abs(off).max() * PIXELS < 1e-3
    centred = j24 - (j24[:, 2:3] + j24[:, 3:4]) / 2
    np.testing.assert_allclose(centred, rows["joints_3d"][..., :3], atol=1e-5)
    np.testing.assert_allclose(h36m - h36m[:, :1], rows["h36m17"], atol=1e-5)


def test_visible_joints_are_inside_and_on_the_body(train: Rows) -> None:
    xy, seen = train["keypoints_2d"][..., :2], train["keypoints_2d"][..., 2] > 0
    assert set(np.unique(train["keypoints_2d"][..., 2])) == {0.0, 1.0}
    assert (np.abs(xy[seen]) < 1).all()
    assert 0.5 < seen.mean() < 0.95
    row, joint = np.nonzero(seen)
    column, line = (((xy[row, joint] + 1) / 2 * 64).astype(int)).T
    wide = np.pad(train["mask"], ((0, 0), (2, 2), (2, 2)))
    near = [wide[r, y : y + 5, x : x + 5].any() for r, y, x in zip(row, line, column, strict=True)]
    assert (
        np.mean(near) > 0.995
    )  # the ears' and the head's top joints may stick out by a pixel or two


def test_body_stands_up_in_the_picture(train: Rows) -> None:
    """y points down, heads are above ankles; the camera looks at fronts by default."""
    plain = np.array(train["sequence"])
    standing = np.isin(plain, ["stand", "relaxed", "star", "crossed", "drink"])
    assert standing.sum() > 3
    y = train["keypoints_2d"][standing, :, 1]
    assert (y[:, 13] < y[:, 0]).all()
    nose, ears = train["joints_3d"][standing, 19, 2], train["joints_3d"][standing, 22:24, 2].mean(1)
    assert (nose < ears).mean() > 0.9  # z points away from the camera


def test_ambiguous_rows_show_the_same_scene(wild: Rows, awild: Rows) -> None:
    for name in ("theta", "beta", "joints_3d", "h36m17", "subject", "sequence", "frame"):
        assert same(wild[name], awild[name]), name
    assert [i[len("wild-test") :] for i in wild["image_id"]] == [
        i[len("awild-test") :] for i in awild["image_id"]
    ]
    assert set(awild["dataset"]) == {"awild"}
    assert set(wild["occlusion"]) == {"none"}
    assert set(awild["occlusion"]) == set(HIDDEN_J24)
    x = (wild["keypoints_2d"][..., :2] - awild["crop"][:, None, :2]) / np.ptp(
        awild["crop"].reshape(-1, 1, 2, 2), axis=2
    )
    np.testing.assert_allclose(
        2 * x - 1, awild["keypoints_2d"][..., :2], atol=0.08
    )  # perspective changes a little


def test_hidden_joints_are_flagged(awild: Rows) -> None:
    for k, strategy in enumerate(awild["occlusion"]):
        assert not awild["keypoints_2d"][k, list(HIDDEN_J24[strategy]), 2].any()
    assert awild["keypoints_2d"][..., 2].any(1).all()


def test_crop_pads_what_stays_visible(wild: Rows, awild: Rows) -> None:
    for k, strategy in enumerate(awild["occlusion"]):
        keep = [
            j
            for j in range(24)
            if j not in HIDDEN_J24[strategy] and np.abs(wild["keypoints_2d"][k, j, :2]).max() < 1
        ]
        xy = wild["keypoints_2d"][k, keep, :2]
        low, high = xy.min(0), xy.max(0)
        half = (high - low).max() / 2 * (1 + 2 * DATA.crop_padding)
        want = np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half])
        np.testing.assert_allclose(awild["crop"][k], want, atol=1e-5)


def test_training_share_of_occlusion(body: BodyArrays) -> None:
    rows = embedded_rows("lab-train", 0, 400, DATA.model_copy(update={"image_size": 16}), body)
    cropped = np.abs(rows["crop"] - [-1, -1, 1, 1]).max(1) > 0
    assert abs(cropped.mean() - 0.5) < 0.08
    hidden = np.array(rows["occlusion"]) != "none"
    assert abs(hidden.mean() - 0.45) < 0.08  # 0.5 * (1 - 0.1)
    assert not hidden[~cropped].any()
    off = embedded_rows("lab-train", 0, 8, DATA.model_copy(update={"occlusion_share": 0.0}), body)
    assert set(off["occlusion"]) == {"none"}


def test_settings_reach_the_hard_variant(body: BodyArrays) -> None:
    easy = embedded_rows("lab-train", 0, 128, DATA.model_copy(update={"image_size": 16}), body)
    hard = embedded_rows("lab-train", 0, 128, HARD.model_copy(update={"image_size": 16}), body)
    lying = [
        {part.strip() for part in name.replace("~", "+").split("+")} & LYING
        for name in hard["sequence"]
    ]
    assert sum(bool(names) for names in lying) > 20
    assert not any({p for p in n.replace("~", "+").split("+")} & LYING for n in easy["sequence"])

    def away(rows: Rows) -> float:
        return float((rows["joints_3d"][:, 19, 2] > rows["joints_3d"][:, 22:24, 2].mean(1)).mean())

    assert away(easy) < 0.2
    assert away(hard) > 0.35


def test_no_clutter_is_a_plain_picture(body: BodyArrays) -> None:
    data = DATA.model_copy(update={"clutter": 0.0, "image_size": 32})
    rows = embedded_rows("lab-val", 0, 16, data, body, masks=True)
    top = rows["image"][:, 0]  # one line above the head: a single colour
    assert (np.ptp(top, axis=1)[~rows["mask"][:, 0].any(1)] == 0).all()
    assert len(np.unique(top[:, 0], axis=0)) > 8  # but not the same in all pictures


def test_subjects_and_keyframes_do_not_leak(body: BodyArrays) -> None:
    small = DATA.model_copy(update={"image_size": 16, "lying_share": 1.0})
    betas, names = {}, {}
    for split in SPLITS:
        rows = embedded_rows(split, 0, 64, small, body)
        betas[split] = {row.tobytes() for row in rows["beta"]}
        names[split] = {
            part for name in rows["sequence"] for part in name.replace("~", "+").split("+")
        }
        assert names[split] <= set(KEYFRAME_SPLITS[split])
        assert all(subject.startswith(split) for subject in rows["subject"])
        assert np.abs(rows["beta"]).max() <= 2.5
    for a in SPLITS:
        for b in SPLITS:
            assert a == b or not betas[a] & betas[b]


@pytest.mark.parametrize("split", SPLITS + AMBIGUOUS)
def test_every_split_is_made_at_any_size(split: str, body: BodyArrays) -> None:
    rows = embedded_rows(split, 7, 2, DATA.model_copy(update={"image_size": 33}), body)
    assert rows["image"].shape == (2, 33, 33, 3)
    assert rows["split"] == [split, split]
    assert rows["subject"][0].startswith(base_split(split))


@pytest.mark.parametrize(
    ("split", "start", "count"), [("lab-tran", 0, 1), ("lab-val", -1, 1), ("lab-val", 0, 0)]
)
def test_bad_requests_are_refused(split: str, start: int, count: int, body: BodyArrays) -> None:
    with pytest.raises(UserError, match=r"lab-train|need a start"):
        embedded_rows(split, start, count, DATA, body)


def test_the_released_codes_switches_hide_arms_and_lengthen_the_crop(
    wild: Rows, awild: Rows, body: BodyArrays
) -> None:
    released = DATA.model_copy(update={"occlusion_head": "arms", "crop_extra_px": 1})
    rows = embedded_rows("awild-test", 0, 64, released, body)
    assert rows["occlusion"] == awild["occlusion"]
    for k, strategy in enumerate(rows["occlusion"]):
        hidden = range(6, 12) if strategy == "head" else HIDDEN_J24[strategy]
        inside = np.abs(wild["keypoints_2d"][k, :, :2]).max(1) < 1
        xy = wild["keypoints_2d"][k, [j for j in range(24) if j not in hidden and inside[j]], :2]
        side = (xy.max(0) - xy.min(0)).max() * (1 + 2 * DATA.crop_padding)
        x0, _, x1, _ = rows["crop"][k]
        np.testing.assert_allclose(x1 - x0, side + side / 64, atol=1e-5)
        assert not rows["keypoints_2d"][k, list(hidden), 2].any()
