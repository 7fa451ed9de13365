"""n hypotheses for a person in a photograph: drawn over the crop and from the side, and as JSON.

Shapes: V vertex, S side in pixels.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from matplotlib.figure import Figure

from multibodies import checkpoints
from multibodies.bodies.loading import load_body
from multibodies.core.body import BodyArrays
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.data.crops import crop
from multibodies.data.photo import load_photo
from multibodies.files import write_bytes
from multibodies.hypotheses import check_hypotheses
from multibodies.inference import Inference, infer_images
from multibodies.overlay import Painter, common_extent
from multibodies.persons import (
    UNITS,
    Box,
    Picture,
    Prediction,
    choose,
    person_square,
    trained_size,
)
from multibodies.truth import check_n

NOTE = "model trained on synthetic images only"
SHOWN = 320  # side of the drawn crops in pixels
PER_ROW = 5


def predict(
    image: str | Path,
    box: Box | None,
    n: int,
    checkpoint: str | Path,
    prior: str | Path,
    out: str | Path,
    *,
    flow_weight: float = 1.0,
    quantizer: str = "kmeans",
    body: str | None = None,
    image_size: int | None = None,
) -> tuple[Path, Path]:
    """Write OUT/<image's stem>.png and .json with n hypotheses for the person in the box.

    box is x, y, width, height in pixels; None is the whole photograph. image_size is the side that
    the network was trained at, where its checkpoint does not say so. Raises UserError on an
    unreadable image, a box without area or off the photograph, n > M, a damaged checkpoint.
    """
    meta = checkpoints.read_meta(checkpoint)
    check_n([n], int((meta.get("spec") or {}).get("num_hypotheses", 1)), str(checkpoint))
    size = image_size or trained_size(meta, checkpoint)
    photo = load_photo(image)
    square = person_square(photo, box)
    arrays = load_body(body)
    parts = checkpoints.load_regressor(checkpoint), checkpoints.load_prior(prior)
    pixels = crop(photo, square, size)
    stored = infer_images(Inference(*parts, arrays), [Path(image).name], pixels[None])
    check_hypotheses(stored, checkpoint)
    prediction = choose(stored, n, flow_weight, square, quantizer)
    about = {
        "image": Path(image).name,
        "box": None if box is None else list(box),
        "crop": list(square.corners),
        "image_size": size,
        "n": n,
        "num_hypotheses": stored.num_hypotheses,
        "flow_weight": flow_weight,
        "quantizer": quantizer,
        "checkpoint": checkpoints.identity(checkpoint),
        "prior": checkpoints.identity(prior),
        "note": NOTE,
        "units": UNITS,
    }
    drawn = draw(prediction, photo, arrays)
    stem = Path(image).stem
    paths = Path(out) / f"{stem}.png", Path(out) / f"{stem}.json"
    write_bytes(paths[0], drawn)
    content = json.dumps({**about, "hypotheses": prediction.rows()}, indent=1, allow_nan=False)
    write_bytes(paths[1], (content + "\n").encode())
    return paths


def draw(prediction: Prediction, photo: Picture, arrays: BodyArrays) -> bytes:
    """Return a PNG: the crop, and every body over it and from its side, at one scale."""
    stored, chosen = prediction.stored, list(prediction.chosen)
    painter = Painter(arrays)
    rotations = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[0, chosen]))
    bodies = painter.pose(rotations, torch.from_numpy(stored.beta[0, chosen]))
    extent = common_extent(list(bodies))
    seen = crop(photo, prediction.square, SHOWN)
    cameras = stored.camera[0, chosen]
    over = [painter.over(seen, b, c) for b, c in zip(bodies, cameras, strict=True)]
    beside = [painter.beside(b, extent, SHOWN) for b in bodies]
    titles = [f"{rank}: weight {w:.0%}" for rank, w in enumerate(prediction.mass, 1)]
    return layout(seen, over, beside, titles)


def layout(seen: Picture, over: list[Picture], beside: list[Picture], titles: list[str]) -> bytes:
    """Put the input and up to PER_ROW bodies in a row, their side views below, the note on top."""
    columns, bands = min(len(over), PER_ROW) + 1, -(-len(over) // PER_ROW)
    figure = Figure(figsize=(2.1 * columns, 4.5 * bands + 0.5), dpi=110, layout="constrained")
    figure.suptitle(NOTE, fontsize=11)
    axes = figure.subplots(2 * bands, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    axes[0, 0].imshow(seen)
    axes[0, 0].set_title("input", fontsize=9)
    for rank, (front, side, title) in enumerate(zip(over, beside, titles, strict=True)):
        band, column = divmod(rank, PER_ROW)
        axes[2 * band, column + 1].imshow(front)
        axes[2 * band, column + 1].set_title(title, fontsize=9)
        axes[2 * band + 1, column + 1].imshow(side)
    axes[1, 0].text(0.5, 0.5, "from the side", ha="center", va="center", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None, "Description": NOTE})
    return buffer.getvalue()
