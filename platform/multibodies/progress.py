"""Progress of a long loop: a bar with the time left on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import NoReturn, Self, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")


class Progress:
    """Counts `total` units of work; use it as a context manager and call `advance`.

    On a terminal it draws a tqdm bar with the time left. Elsewhere it prints one line every
    `interval` seconds and one at the end, so that a log stays readable.
    """

    def __init__(
        self,
        total: int,
        label: str,
        *,
        unit: str = "it",
        interval: float = 10.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.label, self.unit, self.interval = total, label, unit, interval
        self.done = 0
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._started = self._printed = clock()
        self._bar: tqdm[NoReturn] | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=total, desc=label, unit=unit, file=self._stream, dynamic_ncols=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            spent = duration(self._clock() - self._started)
            self._print(f"{self.label}: {self.done} {self.unit} in {spent}")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count `count` more units; `note` (such as a loss) is shown beside them."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif self._clock() - self._printed >= self.interval:
            self._printed = self._clock()
            self._print(self._line(note))

    def _line(self, note: str) -> str:
        spent = self._clock() - self._started
        left = spent / self.done * (self.total - self.done) if self.done else 0.0
        share = f"{100 * self.done / self.total:.0f} %, " if self.total else ""
        tail = f", {note}" if note else ""
        count = f"{self.done}/{self.total} {self.unit}"
        return f"{self.label}: {count}, {share}{duration(left)} left{tail}"

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


def duration(seconds: float) -> str:
    """Return a time span for people: ``8 s``, ``3 min 05 s``, ``1 h 02 min``."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def track(items: Iterable[T], total: int, label: str, *, unit: str = "it") -> Iterator[T]:
    """Yield `items` unchanged while showing progress."""
    with Progress(total, label, unit=unit) as progress:
        for item in items:
            yield item
            progress.advance()
