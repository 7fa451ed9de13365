"""Sweep files to plans: what is trained, what is shared, what is done.

No Ray here: a plan is checked on a laptop.
"""

from multibodies.sweep.choose import choose_flow_weight
from multibodies.sweep.files import Sweep, load_sweep, smoke_variant
from multibodies.sweep.plan import Cell, Plan, Stage, Training, expand
from multibodies.sweep.state import (
    check_recipe,
    is_done,
    mark_done,
    stage_path,
    write_timings,
)
from multibodies.sweep.text import describe_plan

__all__ = [
    "Cell",
    "Plan",
    "Stage",
    "Sweep",
    "Training",
    "check_recipe",
    "choose_flow_weight",
    "describe_plan",
    "expand",
    "is_done",
    "load_sweep",
    "mark_done",
    "smoke_variant",
    "stage_path",
    "write_timings",
]
