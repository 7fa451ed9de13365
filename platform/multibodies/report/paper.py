"""Golden numbers: the paper's Tables 1 and 2 and the released code's own README. MPJPE/RE in mm.

Table 1 and Table 2: Biggs et al., "3D Multi-bodies", NeurIPS 2020. README: benjiebob/3D-Multibodies
at its first commit; "W" = flow-weighted K-means, "U" = uniform K-means.
"""

from __future__ import annotations

from typing import NamedTuple

Pairs = tuple[tuple[float, float], ...]
Printed = tuple[tuple[float | None, float | None], ...]  # None: the table has a dash there


class PaperRow(NamedTuple):
    """One row of Table 2 on 3DPW: which parts are on, (MPJPE-n, RE-n) for n = 5, 10, 25."""

    reprojection: bool
    flow: bool
    values: Pairs


TABLE2_N = (5, 10, 25)
TABLE2 = (
    PaperRow(False, False, ((86.4, 57.9), (84.0, 57.5), (79.0, 56.3))),
    PaperRow(False, True, ((84.1, 57.0), (81.9, 56.7), (77.8, 55.8))),
    PaperRow(True, False, ((82.7, 57.5), (79.9, 57.0), (76.2, 55.9))),
    PaperRow(True, True, ((82.2, 57.1), (79.4, 56.6), (75.8, 55.6))),
)

ALL_N = (1, 5, 10, 25)
TABLE1_OURS: dict[str, Pairs] = {  # the rows named "Ours" of Table 1
    "H36M": ((61.5, 41.6), (59.8, 42.0), (59.2, 42.2), (58.2, 42.2)),
    "3DPW": ((93.8, 59.9), (82.2, 57.1), (79.4, 56.6), (75.8, 55.6)),
    "AH36M": ((103.6, 67.8), (96.4, 67.1), (93.5, 66.0), (90.0, 64.2)),
    "A3DPW": ((149.6, 78.5), (125.6, 74.4), (116.7, 73.7), (107.8, 72.1)),
}
MDN, CVAE = "SMPL-MDN", "SMPL-CVAE"
TABLE1: dict[str, dict[str, Printed]] = {  # (MPJPE-n, RE-n) for n of ALL_N, or n = 1 alone
    "H36M": {
        "HMR": ((None, 56.8),),
        "GraphCMR": ((71.9, 50.1),),
        "SPIN": ((62.2, 41.8),),
        MDN: ((64.4, 44.8), (61.8, 43.3), (61.3, 43.0), (61.1, 42.7)),
        CVAE: ((70.1, 46.7), (68.9, 46.4), (68.6, 46.3), (68.1, 46.2)),
        "Ours": TABLE1_OURS["H36M"],
    },
    "3DPW": {
        "HMR": ((None, 81.3),),
        "GraphCMR": ((None, 70.2),),
        "SPIN": ((96.9, 59.3),),
        MDN: ((105.8, 64.7), (96.9, 61.2), (95.9, 60.7), (94.9, 60.1)),
        CVAE: ((96.3, 61.4), (93.7, 60.7), (92.9, 60.5), (92.0, 60.3)),
        "Ours": TABLE1_OURS["3DPW"],
    },
    "AH36M": {
        MDN: ((113.9, 74.7), (98.0, 70.8), (95.1, 69.9), (91.5, 69.5)),
        CVAE: ((114.5, 76.5), (111.5, 75.7), (110.6, 75.4), (109.7, 75.1)),
        "Ours": TABLE1_OURS["AH36M"],
    },
    "A3DPW": {
        MDN: ((159.7, 82.8), (154.6, 83.0), (149.6, 80.7), (122.1, 76.6)),
        CVAE: ((156.6, 80.2), (154.5, 79.9), (153.9, 79.8), (153.1, 79.8)),
        "Ours": TABLE1_OURS["A3DPW"],
    },
}
README: dict[tuple[str, str], Pairs] = {  # n = 1 is printed once there, for both
    ("H36M", "W"): ((61.52, 41.63), (60.44, 42.02), (59.73, 42.18), (58.55, 42.37)),
    ("H36M", "U"): ((61.52, 41.63), (59.77, 41.99), (59.16, 42.10), (58.24, 42.18)),
    ("3DPW", "W"): ((93.79, 59.87), (81.72, 56.71), (78.76, 56.29), (75.28, 55.28)),
    ("3DPW", "U"): ((93.79, 59.87), (82.69, 57.49), (79.94, 57.00), (76.25, 55.94)),
    ("AH36M", "W"): ((103.61, 67.83), (95.31, 65.46), (92.42, 64.57), (88.75, 63.19)),
    ("AH36M", "U"): ((103.61, 67.83), (96.37, 67.06), (93.43, 66.00), (89.93, 64.29)),
    ("A3DPW", "W"): ((149.67, 78.30), (125.61, 74.26), (116.77, 73.58), (107.47, 71.99)),
    ("A3DPW", "U"): ((149.67, 78.30), (132.17, 77.63), (123.75, 76.47), (112.87, 74.08)),
}


def table2_effect(effect: str, n: int, metric: str) -> float:
    """Return an effect (mm, negative helps) in the paper's Table 2: the mean of its two contrasts.

    `effect` is "reprojection" or "flow", `metric` "mpjpe" or "re", n one of TABLE2_N.
    """
    column, part = TABLE2_N.index(n), ("mpjpe", "re").index(metric)
    on = [row.values[column][part] for row in TABLE2 if getattr(row, effect)]
    off = [row.values[column][part] for row in TABLE2 if not getattr(row, effect)]
    return sum(on) / len(on) - sum(off) / len(off)
