"""The one MLflow adapter: a local journal first, a server when there is one."""

from multibodies.tracking.journal import Event, Journal, read_journal
from multibodies.tracking.tracker import RunLog, Tracker, flat, replay

__all__ = ["Event", "Journal", "RunLog", "Tracker", "flat", "read_journal", "replay"]
