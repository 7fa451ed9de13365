"""The one MLflow adapter: a local journal first, a server when there is one."""

from multibodies.tracking.facts import Dataset, Facts
from multibodies.tracking.journal import Event, Journal, read_journal
from multibodies.tracking.replaying import Replayed, end_open_runs, replay, runs_in
from multibodies.tracking.runlog import RunLog, flat
from multibodies.tracking.tracker import Tracker

__all__ = [
    "Dataset",
    "Event",
    "Facts",
    "Journal",
    "Replayed",
    "RunLog",
    "Tracker",
    "end_open_runs",
    "flat",
    "read_journal",
    "replay",
    "runs_in",
]
