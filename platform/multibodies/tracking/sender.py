"""Sends events to a server from a thread of its own: nobody who logs ever waits for the network."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from multibodies.tracking.journal import Event, read_journal
from multibodies.tracking.sink import Sink

LOG = logging.getLogger("multibodies.tracking")
SEND_EVERY = 2.0  # seconds; metrics in between travel in one batch
RETRY_EVERY = 30.0  # seconds between tries while the server is away


class Sender:
    """Brings a server up to date with what it is given.

    A server that is away or hangs is tried again now and then; until it answers events are not
    kept here, since the journal has them all, and what it missed is read from there.

    online: whether the last try succeeded; missed: whether any failed.
    """

    def __init__(
        self,
        uri: str,
        journal: Path,
        note: Callable[[Sequence[str]], None],
        earlier: Sequence[Event] = (),
    ) -> None:
        self.uri, self.online, self.missed = uri, True, False
        self._journal, self._note = journal, note
        self._waiting = list(earlier)
        self._urgent = self._busy = self._stopped = False
        self._changed = threading.Condition()
        self._sink: Sink | None = None
        self._thread: threading.Thread | None = None

    def put(self, event: Event) -> None:
        """Take an event. Metrics go with the next batch, all else at once."""
        with self._changed:
            if self.online or self._busy:
                self._waiting.append(event)
            self._urgent |= event.kind != "metrics"
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Return when all is sent, or when a try has failed."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            self._changed.wait_for(self._idle)

    def stop(self) -> None:
        """End the thread after the try it is at."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _idle(self) -> bool:
        if self._thread is None or self._stopped:
            return True
        return not self._busy and not (self.online and self._waiting)

    def _due(self) -> bool:
        return self._stopped or (self.online and self._urgent and bool(self._waiting))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._due, SEND_EVERY if self.online else RETRY_EVERY)
                if self._stopped:
                    return
                events, self._waiting = self._waiting, []
                self._urgent, self._busy = False, True
            failure = self._try(events)
            with self._changed:
                self._busy = False
                self._conclude(failure)
                self._changed.notify_all()

    def _try(self, events: Sequence[Event]) -> Exception | None:
        """Send; after an outage all that the journal holds. Return why it failed."""
        try:
            if not self.online:
                events = read_journal(self._journal)[0]
            if events:
                self._sink = self._sink or Sink(self.uri)
                self._note(self._sink.send(events))
        except Exception as error:  # whatever fails in tracking, the work goes on
            return error
        return None

    def _conclude(self, failure: Exception | None) -> None:
        if failure is None:
            if not self.online:
                LOG.warning("MLflow at %s answers again and is up to date", self.uri)
            self.online = True
            return
        if self.online:
            reason = (str(failure).splitlines() or [type(failure).__name__])[0][:200]
            text = "MLflow at %s does not answer (%s); logging goes on in %s only"
            LOG.warning(text, self.uri, reason, self._journal)
        self.online, self.missed = False, True
        self._sink, self._waiting = None, []
