"""Shared test set-up: one thread per library, seeded torch, one local Ray for the whole session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from multibodies.tracking_server import Server

TESTS = Path(__file__).resolve().parent
SOURCES = [str(TESTS.parent / "platform"), str(TESTS)]

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # Ray binds to loopback only
# Ray workers and subprocesses find the package, and the builders that tests share, as we do.
_old = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join([*SOURCES, *([_old] if _old else [])])
sys.path[:0] = [source for source in SOURCES if source not in sys.path]


settings.register_profile("untimed", deadline=None)  # a busy machine must not fail a test
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Every warning is an error but those that Ray raises about itself and its processes."""
    for line in (r"ignore::Warning:ray[.].*", r"ignore:subprocess \d+ is still:ResourceWarning"):
        config.addinivalue_line("filterwarnings", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file, since two processes share the files: none waits at the end."""
    items.sort(key=lambda item: item.path.name != "test_sweeps.py")


@pytest.fixture(autouse=True)
def _seed_torch() -> Iterator[None]:
    """Give every test that uses torch the same random numbers, whatever ran before it."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of random rows in four shards."""
    from training_samples import save_rows

    return save_rows(tmp_path_factory.mktemp("rows") / "data")


@pytest.fixture(scope="module")
def stage1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a tiny stage 1."""
    from training_samples import save_stage1, tiny_config

    return save_stage1(tmp_path_factory.mktemp("stage1") / "weights", tiny_config())


@pytest.fixture(scope="module")
def calm(rows: Path, stage1: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of an undisturbed training of the tiny stage 2 on one device."""
    from training_samples import go

    return go(rows, stage1, tmp_path_factory.mktemp("calm"))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ray Train look at its workers five times a second, not every two seconds."""
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


@pytest.fixture(scope="session")
def ray_local() -> Iterator[Any]:
    """One Ray of 2 CPUs on loopback for all tests; never joins or stops anybody else's cluster."""
    import ray

    for attempt in range(3):  # a crowded machine may not start the daemons within Ray's 30 s
        try:
            ray.init(
                address="local",
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                _node_ip_address="127.0.0.1",
            )
            break
        except Exception:
            ray.shutdown()
            if attempt == 2:
                raise
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One MLflow server on loopback for all sweeps that tests run."""
    from multibodies.tracking_server import tracking_server

    with tracking_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def tracking_uri(mlflow_server: Server) -> str:
    """Return that server's address."""
    return mlflow_server.uri
