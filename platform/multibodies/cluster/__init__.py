"""Everything that runs on Ray; the only package that imports it."""

from __future__ import annotations

import logging
import os

# Read by Ray when it is first imported, which any module of this package may be the one to do.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "8")  # else warns of many trials
if not os.environ.get("RAY_ADDRESS"):  # binds every port to the given address and not to all
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # This machine is not preempted, and the watcher is one more process to start for each training.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")


START_TRIES = 3


def connect(num_cpus: int | None = None) -> None:
    """Join the cluster that RAY_ADDRESS names, as a submitted job must, or start one on loopback.

    Does nothing when Ray already runs in this process. `num_cpus` is for a cluster of our own; None
    takes every CPU.
    """
    import ray

    if ray.is_initialized():
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
        return
    for left in reversed(range(START_TRIES)):
        try:
            return _start(num_cpus)
        except Exception:  # Ray gives up after 30 s, which a busy machine may need
            ray.shutdown()
            if not left:
                raise


def _start(num_cpus: int | None) -> None:
    import ray

    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )


def prepare_data() -> None:
    """Keep Ray Data's bars and notices off the terminal; its log files still get everything.

    Parquet is read by tasks alone: the newer reader starts up to eight actors per dataset for the
    footers of files, which cost more CPU seconds here than all else a short training does.
    """
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.use_datasource_v2 = False
    for handler in logging.getLogger("ray.data").handlers:
        if handler.level == logging.INFO:  # the terminal's; the files' is DEBUG
            handler.setLevel(logging.ERROR)
