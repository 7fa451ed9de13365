"""Ours: M hypotheses, best-of-M with every one held to the visible keypoints (eq. 8)."""

from multibodies.systems.base import System

SYSTEM = System()
