"""A model to hand on: network, prior, body and settings in one folder of safetensors and JSON.

The embedded body travels inside. Any other is licensed: only its name and its SHA-256 do, and who
loads the bundle has the file. Shapes: N image, n output, K joint.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies import checkpoints
from multibodies.bodies.embedded import BODY_SHA256
from multibodies.bodies.naming import VARIABLE, find_body
from multibodies.config import fingerprint
from multibodies.core import body_arrays
from multibodies.core.body_arrays import EMBEDDED_BODY, BodyArrays
from multibodies.data.crops import crop
from multibodies.data.photo import load_photo
from multibodies.errors import UserError
from multibodies.files import write_bytes
from multibodies.hypotheses import check_hypotheses
from multibodies.inference import Inference, infer_images
from multibodies.persons import UNITS, Picture, choose, person_square
from multibodies.truth import check_n

NETWORK, PRIOR, BODY, SETTINGS = "network", "prior", "body.npz", "model.json"
OWN_BODY = "MULTIBODIES_BODY"  # the file of a body that does not travel
OUTPUTS = (
    *("joints_j24", "theta", "beta", "camera", "keypoints_px"),
    *("weight", "log_density", "hypothesis"),
)


@dataclass(frozen=True)
class Settings:
    """What stands in model.json. flow_weight, n: where a caller asks for none; quantizer: how n of
    the M are taken, as the network was scored."""

    image_size: int
    num_hypotheses: int
    flow_weight: float
    n: int
    body_name: str
    body_sha256: str
    quantizer: str = "kmeans"
    units: str = UNITS


def write_bundle(
    folder: Path, checkpoint: Path, prior: Path, body: BodyArrays, settings: Settings
) -> str:
    """Fill a folder; return 16 hex digits that identify weights, body and settings.

    Raises UserError on a damaged checkpoint and where the disk refuses.
    """
    for name, source in ((NETWORK, checkpoint), (PRIOR, prior)):
        checkpoints.load_module(source)  # refuses a damaged one
        for file in (checkpoints.WEIGHTS, checkpoints.META):
            write_bytes(folder / name / file, (source / file).read_bytes())
    if body.sha256 == BODY_SHA256:
        shutil.copyfile(EMBEDDED_BODY, folder / BODY)
    told = json.dumps(asdict(settings), indent=1, sort_keys=True)
    write_bytes(folder / SETTINGS, (told + "\n").encode())
    weights = [checkpoints.identity(path) for path in (checkpoint, prior)]
    return fingerprint(*weights, asdict(settings))


def read_settings(folder: Path) -> Settings:
    """Read model.json. Raises UserError naming the file."""
    path = folder / SETTINGS
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        asked = [f.name for f in fields(Settings) if f.default is MISSING or f.name in told]
        return Settings(**{name: told[name] for name in asked})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a model's settings ({error}); register it again") from None


def open_body(folder: Path, settings: Settings) -> BodyArrays:
    """Read the body that travels, else $MULTIBODIES_BODY or the one of that name here.

    Raises UserError where it is absent, or another than the network was scored with.
    """
    inside = folder / BODY
    if inside.exists():
        return body_arrays.load_body(str(inside))
    given = os.environ.get(OWN_BODY)
    try:
        found = body_arrays.load_body(given or str(find_body(settings.body_name)))
    except UserError as error:
        raise UserError(
            f"this model needs the body '{settings.body_name}', which is licensed and does not "
            f"travel: name its file by {OWN_BODY} or its folder by {VARIABLE} ({error})"
        ) from None
    if found.sha256 != settings.body_sha256:
        raise UserError(
            f"this model needs the body '{settings.body_name}' of SHA-256 "
            f"{settings.body_sha256[:16]}, found {found.sha256[:16]}: give the same import"
        )
    return found


class Bundle:
    """A loaded model: photographs in, n bodies for each out. Raises as its parts when loaded."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.settings = read_settings(folder)
        network = checkpoints.load_regressor(folder / NETWORK)
        prior = checkpoints.load_prior(folder / PRIOR)
        self._inference = Inference(network, prior, open_body(folder, self.settings))

    def predict(
        self, images: Any, n: int | None = None, flow_weight: float | None = None
    ) -> dict[str, npt.NDArray[np.floating] | npt.NDArray[np.integer]]:
        """Return the arrays of OUTPUTS [N, n, ...] of photographs that each show one person.

        images: uint8 RGB [N, H, W, 3] or [H, W, 3], or a path or several. Metres and radians in the
        camera's frame (x right, y down, z forward), joints [N, n, 24, 3] about the mid-hip, theta
        [N, n, 24, 3] as axis-angle, camera s, tx, ty of the square about the photograph, keypoints
        [N, n, 24, 2] in its pixels, weight [N, n] the heaviest first, drawn ones as they were
        drawn. Raises UserError on other input and on n > M.
        """
        settings = self.settings
        n = settings.n if n is None else int(n)
        alpha = settings.flow_weight if flow_weight is None else float(flow_weight)
        check_n([n], settings.num_hypotheses, "this model")
        given = photos(images)
        squares = [person_square(photo, None) for photo in given]
        pixels = [crop(p, s, settings.image_size) for p, s in zip(given, squares, strict=True)]
        names = [f"image {index}" for index in range(len(given))]
        stored = infer_images(self._inference, names, np.stack(pixels))
        check_hypotheses(stored, "this model")
        rows = [
            choose(stored.rows([index]), n, alpha, square, settings.quantizer).rows()
            for index, square in enumerate(squares)
        ]
        return {name: np.array([[one[name] for one in row] for row in rows]) for name in OUTPUTS}


def photos(images: Any) -> Sequence[Picture]:
    """Return photographs from an array or paths; a table's first column counts as either.

    Raises UserError on anything else.
    """
    if hasattr(images, "iloc"):
        images = images.iloc[:, 0].tolist()
    if isinstance(images, (str, Path)):
        images = [images]
    if isinstance(images, Sequence) and images and all(isinstance(x, (str, Path)) for x in images):
        return [load_photo(path) for path in images]
    array = np.asarray(images)
    array = array[None] if array.ndim == 3 else array
    whole = array.dtype.kind in "iu" and array.size > 0
    if array.ndim != 4 or array.shape[3] != 3 or not whole or array.min() < 0 or array.max() > 255:
        raise UserError(
            f"expected uint8 images [N, H, W, 3] or paths, got {array.dtype} {array.shape}"
        )
    return list(array.astype(np.uint8))


def settings_of(
    checkpoint: Path, body: BodyArrays, image_size: int, evaluation: Mapping[str, Any]
) -> Settings:
    """Return the settings of a network as it was scored: its evaluation's n and flow weight."""
    size = int((checkpoints.read_meta(checkpoint).get("spec") or {}).get("num_hypotheses", 1))
    asked = [n for n in evaluation["n"] if n <= min(5, size)]
    alpha = float(evaluation["flow_weight"])
    n, quantizer = max(asked, default=1), str(evaluation.get("quantizer", "kmeans"))
    return Settings(image_size, size, alpha, n, body.name, body.sha256, quantizer)
