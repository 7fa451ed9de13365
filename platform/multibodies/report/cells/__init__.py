"""The comparison of a sweep's cells: curves, the effect of each axis, diversity, cost.

Shapes: B image, C cell, P point (cells that differ in their seed only), S seed, N output count,
D = 2 metrics (MPJPE, RE; mm).
"""
