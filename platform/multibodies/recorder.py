"""What a training tells while it runs: journal lines and a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from multibodies.progress import Progress
from multibodies.runs import Journal

OnReport = Callable[[int, dict[str, Any]], None]
Metrics = dict[str, float]
WINDOW = 20  # steps that one line averages


class Recorder:
    """Averages each window of steps; writes and reports it.

    A window ends every `WINDOW` steps, at each checkpoint and at the last step, so that a resumed
    run writes the lines that an undisturbed one would. `reduce` averages over workers.
    """

    def __init__(
        self,
        steps: int,
        checkpoint_every: int,
        journal: Journal | None,
        reduce: Callable[[Metrics], Metrics] = dict,
        on_report: OnReport | None = None,
    ) -> None:
        self.steps, self.checkpoint_every = steps, checkpoint_every
        self.journal, self.reduce, self.on_report = journal, reduce, on_report
        self.last: Metrics = {}
        self._sums: Metrics = {}
        self._count = 0

    def __call__(self, step: int, metrics: Metrics) -> None:
        """Take one step's means."""
        self._count += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if step % WINDOW == 0 or self.saves_at(step):
            self.last = self.reduce({k: total / self._count for k, total in self._sums.items()})
            self._sums, self._count = {}, 0
            self._tell(step)

    def _tell(self, step: int) -> None:
        if self.journal is not None:
            self.journal.write(step, self.last)
        if self.on_report is not None:
            self.on_report(step, self.last)

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint is due after this step."""
        return step % self.checkpoint_every == 0 or step == self.steps


@contextmanager
def shown(steps: int, label: str, on_report: OnReport | None) -> Iterator[OnReport]:
    """Show progress, rate, time left and loss; give the function that is to get the reports."""
    started = time.monotonic()
    with Progress(steps, label, unit="steps") as bar:

        def report(step: int, metrics: dict[str, Any]) -> None:
            rate = step / (time.monotonic() - started)
            bar.advance(step - bar.done, f"{rate:.1f} steps/s, loss {metrics['total']:.2f}")
            if on_report is not None:
                on_report(step, metrics)

        yield report
