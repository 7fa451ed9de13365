"""The image: pinned, not root, and nothing in it but the package, its jobs and its sweeps."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

from kustomized import ROOT
from multibodies.report.provenance import IMAGE_COMMIT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
ASSETS = "platform/multibodies/assets"


def _context(root: Path) -> set[str]:
    """The files that a build is sent, by Docker's own rules."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    return {name for name in exclude_paths(str(root), patterns) if (root / name).is_file()}


def test_bases_are_pinned_to_a_patch_version() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", base) for base in bases)


def test_it_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.M)[-1] == "1000:1000"


def test_it_knows_its_commit() -> None:
    """By the build argument: .git is not sent to the build. Set in the last stage, which runs."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^ARG COMMIT=unknown$.*^ENV MULTIBODIES_COMMIT=\$COMMIT$", last, re.M | re.S)
    assert IMAGE_COMMIT == "MULTIBODIES_COMMIT"
    told = (ROOT / "k8s/README.md").read_text() + DOCKERFILE
    builds = re.findall(r"^.*(?:docker|image) build -t .*$", told, re.M)
    assert len(builds) >= 2
    assert all("COMMIT=$(git rev-parse HEAD)" in line for line in builds)


def test_folders_are_copied_by_name() -> None:
    sources = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*$", DOCKERFILE, re.M)]
    flat = [source for words in sources for source in words]
    assert flat
    assert not {".", "./", "*", "platform"} & set(flat)
    assert all((ROOT / source).exists() for source in flat)


def test_what_is_copied_reaches_the_build() -> None:
    context = _context(ROOT)
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M):
        for source in line.split()[:-1]:
            assert any(name == source or name.startswith(f"{source}/") for name in context), source
    for asset in ("body/SMPL_FORMAT_NEUTRAL.npz", "poses/poses_key.npz", "stage1/meta.json"):
        assert f"{ASSETS}/{asset}" in context
    assert f"{ASSETS}/stage1/weights.safetensors" in context


@pytest.mark.parametrize(
    "name",
    [
        "runs/table2/table2.json",
        "data/h36m/S1.cdf",
        "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl",
        "platform/multibodies/SMPL_NEUTRAL.pkl",
        f"{ASSETS}/body/SMPL_NEUTRAL.npz",
        "sweeps/annotations.mat",
        "jobs/part-00001.parquet",
        "tests/conftest.py",
        ".git/config",
        ".venv/pyvenv.cfg",
    ],
)
def test_what_may_be_licensed_or_secret_does_not(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    kept = tmp_path / "sweeps/table2.toml"
    kept.parent.mkdir(exist_ok=True)
    kept.touch()
    assert _context(tmp_path) == {"sweeps/table2.toml"}


def test_locks_do_not_name_a_package_twice() -> None:
    files = ROOT / "requirements.lock", ROOT / "k8s/requirements.lock"
    names = [re.findall(r"^([\w.-]+)==", file.read_text(), re.M) for file in files]
    assert names[1]
    assert not {n.lower() for n in names[0]} & {n.lower() for n in names[1]}


def test_the_lock_has_what_the_development_extra_names() -> None:
    """Of this folder's tests; `make lock` writes it."""
    lock = (ROOT / "requirements.lock").read_text()
    for name in ("kubernetes-validate", "docker", "jsonschema", "PyYAML"):
        assert f"{name}=={distribution(name).version}\n" in lock
