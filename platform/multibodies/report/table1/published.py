"""The paper's own Table 1, set apart: other data, another body, another trunk."""

from __future__ import annotations

from multibodies.report import paper
from multibodies.report.page import Section, Table

BLANK = "–"
WARNING = (
    "Not comparable: measured on Human3.6M and 3DPW with SMPL, ResNet-50 and real training sets; "
    "HMR, GraphCMR and SPIN as published, each with its own data. The rows above are of profile "
    "'{profile}'; millimetres of the two must not be compared."
)


def published_section(profile: str) -> Section:
    """Return the paper's numbers, a table per dataset; what it leaves blank stays blank."""
    header = ("system", *(f"{name}-{n}" for n in paper.ALL_N for name in ("MPJPE", "RE")))
    tables = [
        Table(
            header,
            tuple((name, *_cells(values)) for name, values in rows.items()),
            f"the paper's {dataset}, mm",
        )
        for dataset, rows in paper.TABLE1.items()
    ]
    title = "The paper's own Table 1"
    return Section(title, (WARNING.format(profile=profile), *tables), foreign=True)


def _cells(values: paper.Printed) -> list[str]:
    absent = ((None, None),) * (len(paper.ALL_N) - len(values))
    pairs = (*values, *absent)
    return [BLANK if value is None else f"{value:.1f}" for pair in pairs for value in pair]
