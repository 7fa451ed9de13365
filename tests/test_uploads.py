"""What travels with a submitted sweep, and what is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from multibodies import uploads
from multibodies.errors import UserError
from multibodies.uploads import gather, staged

ROOT = Path(__file__).resolve().parents[1]
SWEEP = "sweeps/grid.toml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a checkout of four small files."""
    for name in ("platform/package/code.py", "jobs/sweep.py", SWEEP, "pyproject.toml"):
        _write(tmp_path / "project" / name, f"# {name}\n")
    return tmp_path / "project"


def _write(path: Path, text: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _refusal(project: Path, limit: int = uploads.MAX_BYTES) -> str:
    with pytest.raises(UserError) as refused:
        gather(project, project / SWEEP, limit)
    return str(refused.value)


def test_code_and_sweeps_travel_and_all_else_stays(project: Path) -> None:
    expected = {p.relative_to(project).as_posix() for p in project.rglob("*") if p.is_file()}
    for name in ("runs/r/weights.pt", "data/a.npz", ".venv/bin/python", ".env", "body.pkl"):
        _write(project / name)
    for name in ("__pycache__/code.pyc", ".cache/key", "package/x.tmp", "p.egg-info/PKG-INFO"):
        _write(project / "platform" / name)
    upload = gather(project, project / SWEEP)
    assert set(upload.files) == expected
    assert upload.sweep == SWEEP
    with staged(upload) as folder:
        copied = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        assert set(copied) == expected
        assert all(p.read_text() == f"# {name}\n" for name, p in copied.items())
    assert not folder.exists()


def test_a_sweep_from_elsewhere_travels(project: Path, tmp_path: Path) -> None:
    outside = _write(tmp_path / "mine" / "my grid.toml", "name = 'mine'")
    upload = gather(project, outside)
    assert upload.sweep == "sweeps/submitted/my grid.toml"
    with staged(upload) as folder:
        assert (folder / upload.sweep).read_text() == "name = 'mine'"


def test_a_sweep_in_the_project_but_not_among_its_sweeps_travels(project: Path) -> None:
    inside = _write(project / "runs" / "again.toml", "name = 'again'")
    assert gather(project, inside).sweep == "sweeps/submitted/again.toml"


@pytest.mark.parametrize(
    "name",
    [
        *("platform/package/assets/body/SMPL_NEUTRAL.npz", "sweeps/basicModel_m_lbs.PKL"),
        *("jobs/model.pth", "platform/a.pt", "platform/a.ckpt", "sweeps/deep/er.safetensors"),
        "platform/set.parquet",
    ],
)
def test_models_and_data_are_refused_by_name(project: Path, name: str) -> None:
    _write(project / name)
    assert f"{name} is a " in _refusal(project)


def test_every_refused_file_is_counted(project: Path) -> None:
    for number in range(9):
        _write(project / f"platform/{number}.pt")
    said = _refusal(project)
    assert len(re.findall(r"is a model file", said)) == 5
    assert "and 4 more" in said


def test_an_array_under_an_innocent_name_is_refused(project: Path) -> None:
    with (project / "platform" / "notes.txt").open("wb") as file:
        np.savez(file, weights=np.zeros(3))
    assert "platform/notes.txt is an archive" in _refusal(project)


def test_another_body_in_the_place_of_ours_is_refused(project: Path) -> None:
    (project / uploads.BODY).parent.mkdir(parents=True)
    np.savez(project / uploads.BODY, v_template=np.zeros((6890, 3)))
    assert f"{uploads.BODY} is not the body" in _refusal(project)


def test_links_are_refused(project: Path, tmp_path: Path) -> None:
    licensed = _write(tmp_path / "licensed" / "SMPL_NEUTRAL.txt").parent
    (project / "platform" / "bodies").symlink_to(licensed)
    (project / "sweeps" / "b.toml").symlink_to(licensed / "SMPL_NEUTRAL.txt")
    said = _refusal(project)
    assert "platform/bodies is a link" in said
    assert "sweeps/b.toml is a link" in said


def test_more_than_the_limit_is_refused_and_the_largest_files_are_named(project: Path) -> None:
    with (project / "platform" / "log.txt").open("wb") as file:
        file.truncate(uploads.MAX_BYTES)
    said = _refusal(project)
    assert "50.0 MiB, more than 50.0 MiB" in said
    assert "are platform/log.txt (50.0 MiB), " in said
    (project / "platform" / "log.txt").write_bytes(b"")
    size = sum(path.stat().st_size for path in project.rglob("*") if path.is_file())
    assert gather(project, project / SWEEP, size).size == size
    assert "the largest files" in _refusal(project, size - 1)


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no platform here; name the folder of a checkout"):
        gather(tmp_path, ROOT / "sweeps" / "table2.toml")


def test_this_checkout_may_travel() -> None:
    upload = gather(ROOT, ROOT / "sweeps" / "table2.toml")
    assert {uploads.BODY, "jobs/sweep.py", "platform/multibodies/cli.py"} <= set(upload.files)
    assert upload.size < uploads.MAX_BYTES / 2
