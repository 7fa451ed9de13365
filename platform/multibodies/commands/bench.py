"""Measure speed and memory as ratios to other roads to the same result; see `make bench`."""

from __future__ import annotations

from multibodies.bench.arguments import add_arguments
from multibodies.bench.start import run

HELP = "measure speed and memory, as ratios"

__all__ = ["HELP", "add_arguments", "run"]
