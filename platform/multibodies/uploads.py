"""What travels with a submitted sweep: the package, the sweeps, the entry points. Data and models
stay where they are.

No Ray here: an upload is checked before anything is contacted.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from multibodies.bodies.embedded import BODY_SHA256
from multibodies.errors import UserError
from multibodies.files import sha256

PARTS = ("platform", "sweeps", "jobs", "pyproject.toml")
ELSEWHERE = "sweeps/submitted"  # the place of a sweep file that lies outside the project
LEFT_OUT = (".?*", "__pycache__", "*.pyc", "*.tmp", "*.egg-info")  # in the patterns of .gitignore
MAX_BYTES = 50 << 20
BODY = "platform/multibodies/assets/body/SMPL_FORMAT_NEUTRAL.npz"
OWN = (  # licence-free, and part of the package
    BODY,
    "platform/multibodies/assets/poses/poses_key.npz",
    "platform/multibodies/assets/stage1/weights.safetensors",
)
MODELS = (*(".pkl", ".pickle", ".npz", ".npy"), *(".pth", ".pt", ".ckpt", ".safetensors"))
DATA = (*(".parquet", ".h5", ".hdf5", ".mat", ".cdf"), *(".zip", ".tar", ".gz", ".tgz"))
SIGNATURES = {  # of the first bytes, whatever a file's name
    b"PK\x03\x04": "an archive (zip, npz or pt)",
    b"\x93NUMPY": "an array (npy)",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
}
SHOWN = 5  # files named in an error


@dataclass(frozen=True)
class Upload:
    """The files of a working_dir by their path in it, and the path of the sweep file among them."""

    files: Mapping[str, Path]
    sweep: str

    @property
    def size(self) -> int:
        """Bytes before packing."""
        return sum(path.stat().st_size for path in self.files.values())


def gather(project: Path, sweep: Path, limit: int = MAX_BYTES) -> Upload:
    """Return what travels with a sweep file, which may lie anywhere.

    Raises UserError on a folder that is no checkout, and on links, model files, data files or more
    than `limit` bytes, naming the files.
    """
    absent = [part for part in (*PARTS, "jobs/sweep.py") if not (project / part).exists()]
    if absent:
        raise UserError(
            f"{project}: no {absent[0]} here; name the folder of a checkout: --project FOLDER"
        )
    files = {path.relative_to(project).as_posix(): path for path in _walk(project)}
    place = _place(project, sweep)
    upload = Upload({**files, place: sweep.resolve()}, place)
    _refuse_faults(upload)
    _refuse_excess(upload, limit)
    return upload


@contextmanager
def staged(upload: Upload) -> Iterator[Path]:
    """Copy an upload into a temporary folder, so that nothing else can travel."""
    with tempfile.TemporaryDirectory(prefix="multibodies-submit-") as folder:
        for name, path in upload.files.items():
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        yield Path(folder)


def mebibytes(count: int) -> str:
    """Return bytes for people: ``9.6 MiB``."""
    return f"{count / (1 << 20):.1f} MiB"


def _place(project: Path, sweep: Path) -> str:
    sweeps = (project / "sweeps").resolve()
    inside = sweep.resolve()
    if inside.is_relative_to(sweeps):
        return (Path("sweeps") / inside.relative_to(sweeps)).as_posix()
    return f"{ELSEWHERE}/{sweep.name}"


def _walk(project: Path) -> Iterator[Path]:
    """Yield files and links of the parts, without caches and hidden files."""
    for part in PARTS:
        top = project / part
        if top.is_symlink() or not top.is_dir():
            yield top
            continue
        for folder, folders, names in os.walk(top):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            yield from (Path(folder, name) for name in sorted((*names, *links)) if _kept(name))
            folders[:] = sorted(name for name in folders if _kept(name))


def _kept(name: str) -> bool:
    return not any(Path(name).match(pattern) for pattern in LEFT_OUT)


def _refuse_faults(upload: Upload) -> None:
    told = ((name, _fault(name, path)) for name, path in upload.files.items())
    faults = [f"{name} is {fault}" for name, fault in told if fault]
    if not faults:
        return
    more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    raise UserError(
        f"this must not travel to a cluster: {'; '.join([*faults[:SHOWN], *more])}. Move it out of "
        f"{', '.join(PARTS[:3])}; a cluster reads models and data from its own storage"
    )


def _fault(name: str, path: Path) -> str | None:
    """Say why a file may not travel, if so."""
    if path.is_symlink():
        return "a link; only plain files travel"
    if not path.is_file():
        return "not a plain file"
    if name == BODY:
        return None if sha256(path) == BODY_SHA256 else "not the body that this package ships"
    if name in OWN:
        return None
    suffix = path.suffix.lower()
    if suffix in MODELS:
        return "a model file"
    return "a data file" if suffix in DATA else _signature(path)


def _signature(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(8)
    return next((what for magic, what in SIGNATURES.items() if start.startswith(magic)), None)


def _refuse_excess(upload: Upload, limit: int) -> None:
    if upload.size <= limit:
        return
    largest = sorted(upload.files.items(), key=lambda item: -item[1].stat().st_size)[:SHOWN]
    named = ", ".join(f"{name} ({mebibytes(path.stat().st_size)})" for name, path in largest)
    raise UserError(
        f"the upload has {mebibytes(upload.size)}, more than {mebibytes(limit)}; the largest files "
        f"are {named}; move data out of {', '.join(PARTS[:3])}"
    )
