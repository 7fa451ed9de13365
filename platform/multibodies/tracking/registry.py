"""The model registry: pyfunc models from code and safetensors, a version per weights, aliases."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from multibodies.errors import UserError
from multibodies.tracking.limits import ARTIFACT_SECONDS, limits, probe
from multibodies.tracking.remote_runs import CELL_TAG, SWEEP_TAG

CODE = Path(__file__).with_name("model_code.py")
DIGEST_TAG = "multibodies.digest"
CALL_SECONDS = 30
COPIED = ("git_commit", "data_fingerprint", "protocol", "seed")  # of the run's tags
REQUIREMENTS = (
    *("mlflow", "torch", "numpy", "pyarrow", "safetensors", "pydantic"),
    *("smplx", "nflows", "opencv-python-headless", "pillow"),
)


def check_alias(alias: str) -> None:
    """Raise UserError on an alias that MLflow would refuse."""
    if not re.fullmatch(r"(?!latest$|v\d+$)[A-Za-z0-9_-]{1,255}", alias):
        raise UserError(
            f"alias '{alias}': expected letters, digits, - and _, neither 'latest' nor v1, v2, ..."
        )


def save_pyfunc(folder: Path, bundle: Path, source: Path, defaults: Mapping[str, Any]) -> None:
    """Write an MLflow model: the script, `source` (a package), `bundle` as its artifact.

    defaults: the params of a prediction and their values where a caller gives none.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    kinds = {int: "long", float: "double"}
    params = [ParamSpec(name, kinds[type(value)], value) for name, value in defaults.items()]
    with _quiet(), limits(CALL_SECONDS):
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(CODE),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(source)],
            pip_requirements=[*_pinned()],
            signature=ModelSignature(params=ParamSchema(params)),
        )


class Registry:
    """One server's registry. Every method raises UserError where it does not answer or refuses."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with _told(uri):
            probe(uri)
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def run_of(self, sweep: str, cell: str) -> Any:
        """Return a cell's run. Raises UserError where the server does not have it."""
        with _told(self.uri):
            experiment = self._client.get_experiment_by_name(sweep)
            found: list[Any] = []
            if experiment is not None:
                wanted = f"tags.`{SWEEP_TAG}` = '{sweep}' and tags.`{CELL_TAG}` = '{cell}'"
                found = self._client.search_runs([experiment.experiment_id], wanted)
        if not found:
            raise UserError(
                f"{self.uri}: has no run of {sweep}/{cell}; `multibodies replay RUN` sends it"
            )
        return found[0]

    def version_of(self, name: str, digest: str) -> str | None:
        """Return the version of a model that has these weights."""
        with _told(self.uri):
            for found in self._client.search_model_versions(f"name = '{name}'"):
                if found.tags.get(DIGEST_TAG) == digest:
                    return str(found.version)
        return None

    def add(self, name: str, digest: str, run: Any, model: Path, tags: Mapping[str, object]) -> str:
        """Upload a saved model to its run and register it; return the version."""
        folder = f"model-{digest}"
        copied = {key: run.data.tags[key] for key in COPIED if key in run.data.tags}
        told = {key: str(value) for key, value in {**copied, **tags, DIGEST_TAG: digest}.items()}
        with _told(self.uri), _quiet():
            with limits(ARTIFACT_SECONDS):
                self._client.log_artifacts(run.info.run_id, str(model), folder)
            if not self._client.search_registered_models(f"name = '{name}'"):
                self._client.create_registered_model(name)
            source = f"{run.info.artifact_uri}/{folder}"
            made = self._client.create_model_version(name, source, run.info.run_id, told)
        return str(made.version)

    def name_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias stand for a version, whatever it stood for."""
        with _told(self.uri):
            self._client.set_registered_model_alias(name, alias, version)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        with limits(CALL_SECONDS):
            yield
    except (OSError, MlflowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise UserError(
            f"{uri}: MLflow does not answer as it should ({reason}); give the same command again "
            "when it does"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's advice on input examples to itself."""
    log = logging.getLogger("mlflow")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(before)


def _pinned() -> Iterator[str]:
    for name in REQUIREMENTS:
        try:
            yield f"{name}=={version(name).partition('+')[0]}"
        except PackageNotFoundError:
            yield name
