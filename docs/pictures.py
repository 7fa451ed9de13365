"""Make README's pictures from a finished run: ``python docs/pictures.py runs/table2``.

Needs Chromium (Debian's package `chromium`) for the report's and MLflow's pages.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from multibodies.predict import predict
from multibodies.tracking_server import tracking_server

IMAGES = Path(__file__).resolve().parent / "images"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--virtual-time-budget=60000"),
)


def photograph(address: str, picture: Path, width: int, height: int) -> None:
    """Take a page's picture."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *("chromium", *FLAGS, f"--user-data-dir={profile}"),
                *(f"--window-size={width},{height}", f"--screenshot={picture}", address),
            ],
            check=True,
            capture_output=True,
            timeout=240,
        )


def compare_address(uri: str, sweep: str, wanted: str, order: Callable[[Any], Any]) -> str:
    """Return the address of MLflow's comparison of the runs of a sweep that a filter finds, sorted
    by `order`, which is None of a run to be left out."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name(sweep)
    if experiment is None:
        raise SystemExit(f"no experiment '{sweep}'")
    found = client.search_runs([experiment.experiment_id], wanted)
    runs = {run.info.run_id: order(run) for run in found if order(run) is not None}
    ids, experiments = json.dumps(sorted(runs, key=runs.__getitem__)), [experiment.experiment_id]
    return f"{uri}/#/compare-runs?runs={quote(ids)}&experiments={quote(json.dumps(experiments))}"


def table2_address(uri: str, sweep: str) -> str:
    """Return that of the first seed's four rows of Table 2."""
    keys = ("loss.ri", "evaluation.flow_weight")
    wanted = "tags.seed = '0' and tags.ours = 'False'"
    return compare_address(uri, sweep, wanted, lambda run: [run.data.params[k] for k in keys])


def astronaut(run_dir: Path) -> None:
    """Draw five bodies for the astronaut, whose legs no one sees."""
    photo = Path(__file__).resolve().parent / "astronaut.jpg"
    weights, prior = sorted(run_dir.glob("cells/*/weights"))[-1], run_dir / "prior" / "weights"
    with tempfile.TemporaryDirectory() as out:
        picture, _ = predict(photo, (60, 0, 330, 512), 5, weights, prior, out)
        shutil.move(picture, IMAGES / "predict.png")


def main(run_dir: Path) -> None:
    """Write docs/images/*.png."""
    IMAGES.mkdir(exist_ok=True)
    shutil.copyfile(run_dir / "figures" / "samples.png", IMAGES / "samples.png")
    shutil.copyfile(run_dir / "figures" / "gallery-awild-test.png", IMAGES / "fig6.png")
    photograph((run_dir / "table2.html").resolve().as_uri(), IMAGES / "table2.png", 1100, 1150)
    astronaut(run_dir)
    sweep = json.loads((run_dir / "plan.json").read_text())["name"]
    with tracking_server(run_dir) as server:
        time.sleep(2)
        picture = IMAGES / "mlflow_compare.png"
        photograph(table2_address(server.uri, sweep), picture, 1900, 2700)
    with Image.open(picture) as page:
        page.crop((200, 0, 1400, 2680)).save(picture)  # without MLflow's side bars


if __name__ == "__main__":
    main(Path(sys.argv[1]))
