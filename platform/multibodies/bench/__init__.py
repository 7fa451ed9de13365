"""Speed as ratios: every benchmark times two or more roads to one result, by turns, in one process.

It needs torch, smplx and nflows only. Baselines from other packages are optional: without them
their rows say so. `multibodies bench` and `python -m multibodies.bench` run it.
"""
