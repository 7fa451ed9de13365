"""A registered model: without pickles, the same bodies as our own prediction, once per weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlflow_checks import journaled
from model_samples import SIZE, save_prior, save_regressor
from multibodies import cli, registering
from multibodies.bodies.loading import load_body
from multibodies.bundles import BODY, SETTINGS, Bundle, photos, settings_of, write_bundle
from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.errors import UserError
from multibodies.predict import predict
from multibodies.runs import write_record
from multibodies.sweep import Plan, expand, load_sweep, smoke_variant
from multibodies.tracking import Tracker
from multibodies.winners import MODELS_FILE, Choice
from test_tracking import refused_uri

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[1]
EVALUATION = {"n": [1, 3, 10], "flow_weight": 0.25}
WEIGHTS_AND_META = ("weights.safetensors", "meta.json")
PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".dill")


def make_run(folder: Path, sweep: str) -> Path:
    """Make what is left of a finished sweep of two cells: weights and models.json."""
    cells = {}
    for seed, cell in enumerate(("a", "b")):
        save_regressor(folder / "cells" / cell / "weights", hypotheses=6, seed=seed)
        paths = {"network": f"cells/{cell}/weights", "prior": "prior/weights", "body": None}
        cells[cell] = {**paths, "image_size": SIZE, "evaluation": EVALUATION, "val_error_mm": 80.0}
    save_prior(folder / "prior" / "weights")
    told = {"sweep": sweep, "winner": "b", "reason": "least on val", "cells": cells}
    write_record(folder / MODELS_FILE, told)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two photographs of noise, of one size."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 90, 3), dtype=np.uint8)
    paths = [tmp_path / f"photo{index}.png" for index in range(2)]
    for path, pixels in zip(paths, noise, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Path]:
    """Write a bundle, by default of the embedded body."""
    run = make_run(tmp_path / "run", "s")

    def write(body: str | None = None) -> Path:
        arrays = load_body(body)
        checkpoint, prior = run / "cells/a/weights", run / "prior/weights"
        settings = settings_of(checkpoint, arrays, SIZE, EVALUATION)
        write_bundle(tmp_path / "bundle", checkpoint, prior, arrays, settings)
        return tmp_path / "bundle"

    return write


def own_prediction(run: Path, cell: str, picture: Path, n: int, alpha: float) -> list[Any]:
    """Return the hypotheses that `multibodies predict` writes."""
    weights, out = run / "cells" / cell / "weights", picture.parent / "own"
    _, path = predict(picture, None, n, weights, run / "prior/weights", out, flow_weight=alpha)
    hypotheses: list[Any] = json.loads(path.read_text())["hypotheses"]
    return hypotheses


@pytest.mark.slow
def test_a_bundle_predicts_as_we_do(bundle: Callable[..., Path], pictures: list[Path]) -> None:
    model = Bundle(bundle())
    run = pictures[0].parent / "run"
    given = model.predict([str(path) for path in pictures])
    assert given["joints_j24"].shape == (2, 3, 24, 3)  # the largest n that was scored, up to 5
    arrays = np.stack([np.asarray(Image.open(path)) for path in pictures])
    for index, path in enumerate(pictures):
        own = own_prediction(run, "a", path, 3, 0.25)
        for name in ("joints_j24", "theta", "beta", "camera", "keypoints_px", "weight"):
            expected = np.array([row[name] for row in own])
            np.testing.assert_allclose(given[name][index], expected, atol=1e-5)
            np.testing.assert_allclose(model.predict(arrays)[name][index], expected, atol=1e-5)
    other = model.predict(arrays, n=2, flow_weight=0.0)
    assert other["weight"].shape == (2, 2)
    with pytest.raises(UserError, match=r"evaluation\.n asks for 7 of M = 6"):
        model.predict(arrays, n=7)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((1, 8, 8, 3), np.float32),
        np.full((1, 8, 8, 3), 256),
        np.zeros((0, 8, 8, 3), np.uint8),
        [],
    ],
)
def test_what_is_no_image_is_refused(bad: Any) -> None:
    with pytest.raises(UserError, match=r"expected uint8 images \[N, H, W, 3\] or paths"):
        photos(bad)


def test_a_licensed_body_stays_at_home(
    bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: of another body than ours only name and fingerprint travel; loading asks for it."""
    assert (bundle() / BODY).is_file()
    shutil.rmtree(tmp_path / "bundle")
    with np.load(EMBEDDED_BODY) as arrays:
        licensed = dict(arrays)
    licensed["v_template"] = licensed["v_template"] * 1.01
    np.savez(tmp_path / "smpl_neutral.npz", **licensed)
    folder = bundle(str(tmp_path / "smpl_neutral.npz"))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    weights = {f"{part}/{name}" for part in ("network", "prior") for name in WEIGHTS_AND_META}
    assert found == {SETTINGS, *weights}
    assert str(tmp_path) not in (folder / SETTINGS).read_text()
    monkeypatch.setenv("MULTIBODIES_BODIES", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"needs the body 'smpl_neutral'.*MULTIBODIES_BODY"):
        Bundle(folder)
    monkeypatch.setenv("MULTIBODIES_BODY", str(EMBEDDED_BODY))
    with pytest.raises(UserError, match="give the same import"):
        Bundle(folder)
    monkeypatch.setenv("MULTIBODIES_BODY", str(tmp_path / "smpl_neutral.npz"))
    Bundle(folder)
    monkeypatch.delenv("MULTIBODIES_BODY")
    monkeypatch.setenv("MULTIBODIES_BODIES", str(tmp_path))
    Bundle(folder)


@pytest.mark.slow
def test_a_model_scored_by_random_modes_predicts_by_them(
    bundle: Callable[..., Path], pictures: list[Path]
) -> None:
    """And a bundle of before, which does not say, by K-means."""
    folder = bundle()
    told = json.loads((folder / SETTINGS).read_text())
    assert told.pop("quantizer") == "kmeans"
    (folder / SETTINGS).write_text(json.dumps(told))
    paths = [str(path) for path in pictures]
    weights = Bundle(folder).predict(paths)["weight"]
    assert not np.allclose(weights, 1 / 3)
    arrays, checkpoint = load_body(None), pictures[0].parent / "run/cells/a/weights"
    settings = settings_of(checkpoint, arrays, SIZE, {**EVALUATION, "quantizer": "random"})
    assert settings.quantizer == "random"
    (folder / SETTINGS).write_text(json.dumps({**told, "quantizer": settings.quantizer}))
    np.testing.assert_allclose(Bundle(folder).predict(paths)["weight"], 1 / 3)


def test_damaged_settings_are_named(bundle: Callable[..., Path]) -> None:
    folder = bundle()
    (folder / SETTINGS).write_text("{}")
    with pytest.raises(UserError, match=r"model\.json: not a model's settings"):
        Bundle(folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "models.json: no such file; give the sweep's command"),
        (("--alias", "latest"), "alias 'latest': expected letters"),
        (("--alias", "v3"), "alias 'v3'"),
        (("--tracking-uri", "sqlite:///x.db"), "expected a server, such as http://mlflow:5000"),
    ],
)
def test_bad_requests_are_refused(
    tmp_path: Path, words: tuple[str, ...], said: str, capsys: Capture
) -> None:
    assert cli.main(["register", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err


def test_a_server_that_is_away_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    run = make_run(tmp_path / "run", "s")
    assert cli.main(["register", str(run), "--tracking-uri", refused_uri()]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "MLflow does not answer as it should" in error
    assert "give the same command again" in error


def winning_plan() -> Plan:
    return expand(smoke_variant(load_sweep(ROOT / "sweeps/lambda_ri.toml")))


def test_a_sweep_ends_well_without_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: MLflow is away at the end; the parent run's journal says what was not done."""
    plan = winning_plan()
    choices = {
        "won": Choice(plan.cells[0].id, "least on val", {}),
        "nobody": Choice(None, "no val", {}),
    }
    for name, choice in choices.items():
        monkeypatch.setattr(registering, "choose_winner", lambda *_, choice=choice: choice)
        run_dir = tmp_path / name
        with Tracker(refused_uri(), run_dir / "journal", "s") as tracker, tracker.run() as parent:
            registering.register_winner(tracker, parent, plan, run_dir)
        assert (run_dir / MODELS_FILE).is_file()
    told = journaled(tmp_path / "won" / "journal")["(sweep)"]
    assert told["status"] == "FINISHED"
    assert told["tags"]["winner"] == plan.cells[0].id
    assert told["tags"]["registered"].startswith("not yet: http://127.0.0.1")
    nobody = journaled(tmp_path / "nobody" / "journal")["(sweep)"]["tags"]
    assert nobody == {"registered": "nothing: no val"}


LOADS = """
import pickle, sys

class Forbidden:
    def __init__(self, *_, **__):
        raise AssertionError("something was unpickled")

def forbidden(*_, **__):
    raise AssertionError("something was unpickled")

import mlflow.pyfunc
pickle.Unpickler, pickle.load, pickle.loads = Forbidden, forbidden, forbidden
import cloudpickle
cloudpickle.load = cloudpickle.loads = forbidden
import numpy as np
uri, pictures, out = sys.argv[1], sys.argv[2:-1], sys.argv[-1]
model = mlflow.pyfunc.load_model(uri)
import multibodies
assert "/code/multibodies/" in multibodies.__file__, multibodies.__file__
given = model.predict(pictures, params={"n": 2, "flow_weight": 1.0})
np.savez(out, default=model.predict(pictures)["weight"], **given)
"""


def load_afresh(uri: str, model: str, pictures: list[Path], out: Path) -> Any:
    """Load and predict in a process that neither finds the package nor can unpickle."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = [sys.executable, "-c", LOADS, model, *map(str, pictures), str(out)]
    done = subprocess.run(
        command, env=environment, cwd=out.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(out)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_a_registered_model_is_ours_everywhere(
    tracking_uri: str, tmp_path: Path, pictures: list[Path], capsys: Capture
) -> None:
    """Promise: by alias, without the package and without unpickling, the same joints to 1e-5; the
    same weights are one version, whatever the alias."""
    from mlflow import MlflowClient, artifacts

    sweep = f"registered-{tmp_path.name}"
    run = make_run(tmp_path / "run", sweep)
    command = ["register", str(run), "--tracking-uri", tracking_uri]
    assert cli.main(command) == 2
    assert f"has no run of {sweep}/b; `multibodies replay RUN`" in capsys.readouterr().err
    with Tracker(tracking_uri, run / "journal", sweep) as tracker, tracker.run():
        for cell in "ab":
            with tracker.run(cell) as log:
                log.tags({"git_commit": "abc", "data_fingerprint": "f00"})
    assert cli.main(command) == 0
    name = f"multibodies-{sweep}"
    assert f"models:/{name}@winner: version 1 (new), cell b" in capsys.readouterr().out
    assert cli.main([*command, "--alias", "champion"]) == 0
    assert "version 1 (the same weights as before)" in capsys.readouterr().out
    assert cli.main([*command, "--cell", "a", "--alias", "champion"]) == 0
    client = MlflowClient(tracking_uri=tracking_uri)
    versions = client.search_model_versions(f"name = '{name}'")
    assert sorted(str(version.version) for version in versions) == ["1", "2"]
    first = client.get_model_version_by_alias(name, "winner")
    assert (str(first.version), first.tags["cell"], first.tags["git_commit"]) == ("1", "b", "abc")
    assert str(client.get_model_version_by_alias(name, "champion").version) == "2"
    assert first.tags["chosen"] == "least on val"
    model = f"models:/{name}@winner"
    given = load_afresh(tracking_uri, model, pictures, tmp_path / "given.npz")
    for index, path in enumerate(pictures):
        own = own_prediction(run, "b", path, 2, 1.0)
        for key in ("joints_j24", "theta", "beta", "camera", "weight"):
            expected = np.array([row[key] for row in own])
            np.testing.assert_allclose(given[key][index], expected, atol=1e-5)
    assert given["default"].shape == (2, 3)
    where = artifacts.download_artifacts(
        run_id=first.run_id,
        artifact_path=str(first.source).rpartition("/")[2],
        dst_path=str(tmp_path / "down"),
        tracking_uri=tracking_uri,
    )
    files = [path for path in Path(where).rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    for path in files:
        assert path.suffix not in PICKLED, path
        assert not path.read_bytes().startswith(b"\x80"), f"{path} begins as a pickle does"
