"""MLflow's limits of a call, which it reads from the environment: other threads read that too."""

from __future__ import annotations

import os
import threading
import time

import pytest

from multibodies.tracking.limits import DEFAULTS, limits

TIMEOUT, RETRIES = "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


def test_a_block_has_its_limits_and_a_user_s_own_hold_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TIMEOUT, "7")
    monkeypatch.setenv("NO_PROXY", "store.example,localhost")
    with limits(2):
        with limits(30):
            assert (os.environ[TIMEOUT], os.environ[RETRIES]) == ("30", "0")
        assert os.environ[TIMEOUT] == "2"
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"]
        assert os.environ["NO_PROXY"] == "store.example,localhost,127.0.0.1"
    assert os.environ[TIMEOUT] == "7"
    assert os.environ["NO_PROXY"] == "store.example,localhost"


def test_limits_that_nobody_set_become_mlflow_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import environment_variables as its

    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    assert DEFAULTS == {name: str(getattr(its, name).default) for name in (TIMEOUT, RETRIES)}
    with limits(2):
        assert os.environ[TIMEOUT] == "2"
    assert {name: os.environ[name] for name in DEFAULTS} == DEFAULTS


def test_no_variable_is_taken_away_below_who_goes_over_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray Data goes over os.environ when a dataset starts, while a thread sends to MLflow."""
    for name in (TIMEOUT, RETRIES, "NO_PROXY", "no_proxy", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    gone: list[str] = []
    unset = type(os.environ).__delitem__

    def deleted(self: os._Environ[str], key: str) -> None:
        gone.append(key)
        unset(self, key)

    monkeypatch.setattr(type(os.environ), "__delitem__", deleted)
    with limits(2):
        inside = set(os.environ)
    held = inside & set(os.environ)
    monkeypatch.undo()
    assert not gone
    assert held >= {TIMEOUT, RETRIES, "NO_PROXY", "no_proxy", "MLFLOW_DISABLE_TELEMETRY"}


def test_a_block_of_another_thread_waits() -> None:
    seen: list[str] = []
    begun = threading.Event()

    def other() -> None:
        begun.set()
        with limits(30):
            seen.append(os.environ[TIMEOUT])

    thread = threading.Thread(target=other)
    with limits(2):
        thread.start()
        assert begun.wait(60)
        time.sleep(0.1)
        assert (seen, os.environ[TIMEOUT]) == ([], "2")
    thread.join()
    assert seen == ["30"]
