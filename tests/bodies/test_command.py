"""`multibodies body`, and bodies by name wherever a body is opened."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from multibodies import cli
from multibodies.bodies import verifying
from multibodies.bodies.loading import load_body
from multibodies.bodies.naming import body_folder, find_body
from multibodies.config import load_config
from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.data.plan import make_plan
from multibodies.errors import UserError
from multibodies.lookalikes.smpl import write_smpl

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of names with the male model in it, made by the command."""
    root = tmp_path_factory.mktemp("smpl")
    (file,) = write_smpl(root, load_body(), genders=("male",))
    code = cli.main(["body", "import", str(file.path), "--out", str(root / "bodies"), *_spin(root)])
    assert code == 0
    return root / "bodies"


@pytest.fixture
def folder(imported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where names lie."""
    monkeypatch.setenv("MULTIBODIES_BODIES", str(imported))
    return imported


def _spin(root: Path) -> list[str]:
    return [
        *("--regressor-h36m", str(root / "J_regressor_h36m.npy")),
        *("--regressor-extra", str(root / "J_regressor_extra.npy")),
    ]


def test_import_into_the_folder_of_names(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("MULTIBODIES_BODIES", str(tmp_path / "mine"))
    assert cli.main(["body", "import", str(folder / "smpl-male-1.0.0.npz")]) == 0
    assert (tmp_path / "mine" / "smpl-male-1.0.0.npz").is_file()
    printed = capsys.readouterr().out
    assert "smpl-male-1.0.0.npz, sha256 " in printed
    assert "licence forbids to share" in printed


def test_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MULTIBODIES_BODIES", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert body_folder() == Path("/home/me/.local/share/multibodies/bodies")


def test_names_and_files(folder: Path) -> None:
    male = folder / "smpl-male-1.0.0.npz"
    assert find_body("smpl-male-1.0.0") == find_body(str(male)) == male
    assert find_body(None) == find_body("embedded") == EMBEDDED_BODY
    assert find_body("a=b.npz") == Path("a=b.npz")
    with pytest.raises(
        UserError, match=r"no body 'smpl-mal-1' in .*did you mean 'smpl-male-1.0.0'"
    ):
        find_body("smpl-mal-1")


def test_both_kinds_of_bodies_are_one_thing(folder: Path) -> None:
    ours, theirs = load_body("embedded"), load_body("smpl-male-1.0.0")
    assert isinstance(theirs, BodyArrays)
    assert torch.allclose(theirs.v_template, 1.03 * ours.v_template, atol=1e-6)
    assert torch.equal(theirs.J_regressor_extra, ours.J_regressor_extra)


def test_a_configurations_body_is_a_name(folder: Path) -> None:
    """The name stays in the configuration; the recipe has the SHA-256 of its file."""
    config = load_config("smoke", {"body.path": "smpl-male-1.0.0"})
    assert config.body.path == "smpl-male-1.0.0"
    recipe = make_plan(config).recipe
    assert recipe["body_sha256"] == load_body(str(folder / "smpl-male-1.0.0.npz")).sha256


def test_verify_prints_a_line_per_check(folder: Path, capsys: Capture) -> None:
    assert cli.main(["body", "verify", "embedded", "smpl-male-1.0.0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 8
    assert sum(line.startswith("  ok  ") for line in lines) == 14
    assert any("basicmodel_m_lbs_10_207_0_v1.0.0.pkl, sha256" in line for line in lines)


def test_verify_finds_arrays_that_were_changed(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    with np.load(folder / "smpl-male-1.0.0.npz", allow_pickle=False) as archive:
        arrays = {key: archive[key].copy() for key in archive.files}
    arrays["posedirs"][5, 1, 7] += 1e-4
    np.savez(tmp_path / "changed.npz", **arrays)
    assert cli.main(["body", "verify", str(tmp_path / "changed.npz")]) == 1
    assert "the arrays are not those imported" in capsys.readouterr().out


def test_verify_finds_a_flipped_bit(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    content = bytearray((folder / "smpl-male-1.0.0.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.npz").write_bytes(content)
    assert cli.main(["body", "verify", str(tmp_path / "flipped.npz")]) == 1
    assert "Bad CRC-32" in capsys.readouterr().out


def test_verify_finds_joints_that_leave_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    real = JointBody.forward

    def moved(self: JointBody, *pose: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: joints + 2e-5 for name, joints in real(self, *pose).items()}

    monkeypatch.setattr(JointBody, "forward", moved)
    assert [c.name for c in verifying.verify_body("embedded") if not c.good] == [
        "smpl24", "j24", "openpose25", "h36m17",
    ]  # fmt: skip


def test_list_shows_every_body(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copy(folder / "smpl-male-1.0.0.npz", tmp_path)
    (tmp_path / "broken.npz").write_bytes(b"not a zip")
    assert cli.main(["body", "list", "--from", str(tmp_path)]) == 0
    head, ours, broken, male = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head[0] == "name"
    assert (ours[0], ours[1], ours[3]) == ("embedded", "neutral", "6890")
    assert broken[:4] == ["broken", "?", "?", "damaged"]
    assert male[:5] == ["smpl-male-1.0.0", "male", "1.0.0", "6890",
                        "basicmodel_m_lbs_10_207_0_v1.0.0.pkl"]  # fmt: skip
    assert male[-1] == load_body(str(folder / "smpl-male-1.0.0.npz")).sha256[:12]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "none.pkl"], "none.pkl: no such file"),
        (["import", "a.pkl", "b.pkl", "--gender", "male"], "--gender is for one FILE"),
        (["import", "a.pkl", "--gender", "men"], "invalid choice"),
        (["verify", "nobody"], "no body 'nobody'"),
        (["verify", "none.npz"], "none.npz: no such body"),
        (["list", "--from", "/none"], "/none: no such folder"),
        ([], "multibodies body --help"),
        (["lst"], "invalid choice"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], said: str, folder: Path, capsys: Capture
) -> None:
    assert cli.main(["body", *arguments]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert said in text


class Runs:
    """Unpickled by Python, this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_that_runs_a_command_does_not(tmp_path: Path, capsys: Capture) -> None:
    file, marker = tmp_path / "SMPL_NEUTRAL.pkl", tmp_path / "marker"
    file.write_bytes(pickle.dumps({"v_template": Runs(marker)}, 2))
    assert cli.main(["body", "import", str(file), "--out", str(tmp_path)]) == 2
    assert "'posix.system', which is not allowed" in capsys.readouterr().err
    assert not marker.exists()
    pickle.loads(file.read_bytes())
    assert marker.exists()
