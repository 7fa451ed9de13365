"""SPIN's dictionary: the best fit so far of each training row, by the row's key.

Shapes: B row of a batch, N row known. It lies in the processor's memory, is written with every
checkpoint and is the same in all workers. theta is kept as the stored picture shows the body,
before an augmentation; camera and error are of the view in which the fit was made.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from multibodies.core.smplify import Fit

WIDTHS = {"theta": (24, 3), "beta": (10,), "camera": (3,), "error": (), "visits": ()}
FIRST_ROWS = 1024


class BestFits:
    """Key -> theta, beta, camera, error of the best fit, and how often the row was seen.

    A row that was seen and never fitted has an infinite error.
    """

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._table = self._empty(FIRST_ROWS)

    def tensors(self) -> dict[str, Tensor]:
        """Return keys int64 [N] and the fits, in the order in which rows were first seen."""
        count = len(self._rows)
        keys = torch.tensor(list(self._rows), dtype=torch.int64)
        return {"key": keys, **{name: t[:count].clone() for name, t in self._table.items()}}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` returned."""
        self._rows = {key: row for row, key in enumerate(tensors["key"].tolist())}
        self._table = self._empty(max(FIRST_ROWS, len(self._rows)))
        for name, table in self._table.items():
            table[: len(self._rows)] = tensors[name]

    def recall(self, keys: Tensor) -> tuple[Fit, Tensor]:
        """Return the fits of keys [B], on their device, and how often each was seen [B]; of an
        unknown row zeros with an infinite error."""
        rows = torch.tensor([self._rows.get(key, -1) for key in keys.tolist()])
        known = rows >= 0
        found = {name: table[rows.clamp_min(0)] for name, table in self._table.items()}
        for name, value in found.items():
            value[~known] = torch.inf if name == "error" else 0
        visits = found.pop("visits")
        fit = Fit(**{name: value.to(keys.device) for name, value in found.items()})
        return fit, visits.to(keys.device)

    def update(self, keys: Tensor, fit: Fit, better: Tensor) -> None:
        """Count a visit of each key [B], and keep the fits that are `better` [B] bool.

        Every worker is told every worker's. Of a row that is seen twice at once the fit of the
        smaller error stays.
        """
        parts = [gathered(x).cpu() for x in (keys, better, *fit)]
        seen = torch.tensor([self._row_of(key) for key in parts[0].tolist()])
        ones = torch.ones_like(seen, dtype=self._table["visits"].dtype)
        self._table["visits"].index_add_(0, seen, ones)
        told = Fit(*parts[2:])
        order = told.error.argsort(descending=True, stable=True)
        best = {int(seen[i]): int(i) for i in order if parts[1][i]}
        into, chosen = torch.tensor(list(best), dtype=torch.int64), list(best.values())
        for name, value in told._asdict().items():
            self._table[name][into] = value[chosen].to(self._table[name].dtype)

    def _row_of(self, key: int) -> int:
        row = self._rows.setdefault(key, len(self._rows))
        if row == len(self._table["error"]):
            more = self._empty(row)
            self._table = {name: torch.cat([t, more[name]]) for name, t in self._table.items()}
        return row

    @staticmethod
    def _empty(rows: int) -> dict[str, Tensor]:
        table = {name: torch.zeros(rows, *width) for name, width in WIDTHS.items()}
        table["error"].fill_(torch.inf)
        table["visits"] = table["visits"].to(torch.int32)
        return table


def gathered(tensor: Tensor) -> Tensor:
    """Return the tensors [B, ...] of all workers one after another; one worker's is its own."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
