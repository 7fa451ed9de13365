"""How many trials run side by side: a rule of what was asked, what is there, what may come."""

from __future__ import annotations

from typing import Any

import pytest

from multibodies.cluster.concurrency import GROWING, at_once

CPUS, GPUS = {"CPU": 2.0}, {"GPU": 1.0}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"has": {"CPU": 8.0}}, 4),
        ({"has": {"CPU": 9.0}}, 4),
        ({"has": {"CPU": 8.0}, "trials": 3}, 3),
        ({"has": {"CPU": 8.0}, "asked": 2}, 2),
        ({"has": {"CPU": 2.0}, "asked": 6}, 6),
        ({"has": {"CPU": 2.0}, "asked": 60, "trials": 5}, 5),
        ({"has": {"CPU": 2.0}, "may_have": {"CPU": 32.0}}, 16),
        ({"has": {"CPU": 64.0}, "may_have": {"CPU": 32.0}, "trials": 99}, 32),
        ({"held": GPUS, "has": {"CPU": 64.0, "GPU": 4.0}}, 4),
        ({"held": GPUS, "has": {"CPU": 64.0}, "may_have": {"GPU": 3.0}}, 3),
        ({"held": GPUS, "has": {"CPU": 4.0}}, GROWING),
        ({"held": GPUS, "has": {"CPU": 4.0}, "trials": 2}, 2),
        ({"has": {"CPU": 1.0}}, GROWING),
    ],
)
def test_the_rule(given: dict[str, Any], expected: int) -> None:
    usual: dict[str, Any] = {"asked": None, "held": CPUS, "may_have": {}, "trials": 20}
    assert at_once(**{**usual, **given}) == expected
    assert expected > 1 and GROWING > 1


@pytest.mark.slow
def test_a_cluster_without_an_autoscaler_counts_what_it_has(ray_local: Any) -> None:
    from multibodies.cluster.concurrency import largest_cluster, trials_at_once

    assert largest_cluster() == {}
    assert trials_at_once(None, workers=1, gpus=0, trials=9) == 2
    assert trials_at_once(None, workers=2, gpus=0, trials=9) == 1
    assert trials_at_once(5, workers=2, gpus=0, trials=9) == 5
    assert trials_at_once(None, workers=1, gpus=1, trials=99) == GROWING
