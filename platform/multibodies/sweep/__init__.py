"""Sweep files to plans: what is trained, what is shared, what is done.

No Ray here: a plan is checked on a laptop.
"""

from multibodies.sweep.adaptive import Outcome, draw_more, with_drawn
from multibodies.sweep.choose import best_of, choose_flow_weight, errors_by
from multibodies.sweep.definition import Stopping, Sweep
from multibodies.sweep.expand import content_of, expand, with_flow_weight
from multibodies.sweep.files import load_sweep
from multibodies.sweep.plan import Cell, Plan, Prior, Scoring, Stage, Training
from multibodies.sweep.sharing import find_same, link_tree
from multibodies.sweep.smoke import smoke_variant
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
    "Outcome",
    "Plan",
    "Prior",
    "Scoring",
    "Stage",
    "Stopping",
    "Sweep",
    "Training",
    "best_of",
    "check_recipe",
    "choose_flow_weight",
    "content_of",
    "describe_plan",
    "draw_more",
    "errors_by",
    "expand",
    "find_same",
    "is_done",
    "link_tree",
    "load_sweep",
    "mark_done",
    "smoke_variant",
    "stage_path",
    "with_drawn",
    "with_flow_weight",
    "write_timings",
]
