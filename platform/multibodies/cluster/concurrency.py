"""How many trials run side by side: what was asked for, what the cluster has, or may grow to."""

from __future__ import annotations

from collections.abc import Mapping

import ray

GROWING = 8  # trials that wait for a cluster that grows by an amount that nobody tells


def at_once(
    asked: int | None,
    held: Mapping[str, float],
    has: Mapping[str, float],
    may_have: Mapping[str, float],
    trials: int,
) -> int:
    """Return how many of `trials` run side by side, each of which holds `held`.

    As many as were asked for; else as fit into what the cluster has, or may grow to where its
    autoscaler tells. A cluster that has not even what one trial holds can only be one that grows:
    its trials' waiting is what makes it do so, and one alone would make one node.
    """
    if asked is not None:
        return max(1, min(asked, trials))
    grown = {name: max(has.get(name, 0.0), may_have.get(name, 0.0)) for name in held}
    fit = min(int(grown[name] // amount) for name, amount in held.items())
    return min(fit or GROWING, trials)


def largest_cluster() -> Mapping[str, float]:
    """Return what the cluster's autoscaler may grow it to; nothing where it does not tell, as
    KubeRay's does not."""
    from ray._private.state import state  # Ray has no public road to its autoscaler's limits

    return state.get_max_resources_from_cluster_config() or {}


def trials_at_once(asked: int | None, workers: int, gpus: int, trials: int) -> int:
    """Return how many trainings of some workers (a CPU each, or also GPUs) run side by side here.

    Where workers have GPUs, those alone count.
    """
    held = {"GPU": workers * gpus} if gpus else {"CPU": workers}
    return at_once(asked, held, ray.cluster_resources(), largest_cluster(), trials)
