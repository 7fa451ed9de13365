"""Make an MLflow server equal to a run's journal: runs, settings, tags, numbers, files, statuses.

Needed where the server was away when the run ended, or its database is lost. Sending twice changes
nothing. Runs that the journal leaves open, of a command that was killed, end as KILLED; the same
sweep command takes them up again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from multibodies.commands import common
from multibodies.errors import UserError

if TYPE_CHECKING:
    from multibodies.tracking import Replayed

HELP = "a run's journal -> MLflow"
COUNTED = ("runs", "params", "metrics", "artifacts", "inputs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "run_dir", metavar="RUN", type=Path, help="a sweep's folder, such as runs/table2"
    )
    parser.add_argument(
        "--tracking-uri", help="(default: $MLFLOW_TRACKING_URI, else the run's own)"
    )


def run(args: argparse.Namespace) -> int:
    """Replay and print what was new; 1 where the server could not take something."""
    from multibodies import runs
    from multibodies.sweep.state import JOURNAL
    from multibodies.tracking import end_open_runs

    journal = args.run_dir / JOURNAL
    common.existing(journal, "journal", "give the folder of a sweep, such as runs/table2")
    named = common.tracking_uri(args.tracking_uri)
    with runs.alone(args.run_dir):
        ended = end_open_runs(journal)
        with server_of(args.run_dir, named) as uri:
            done = replayed(journal, uri)
    counts = ", ".join(f"{done.new[what]} {what}" for what in COUNTED)
    print(f"{uri}: equal to {journal}, {done.runs} runs; new there: {counts}")
    if ended:
        print(f"ended as KILLED: {', '.join(cell or 'the sweep' for cell in ended)}")
    for problem in done.problems:
        print(f"not sent: {problem}")
    return 1 if done.problems else 0


@contextmanager
def server_of(run_dir: Path, uri: str | None) -> Iterator[str]:
    """Give the address of the server: the one named, else the run's own, started for a while."""
    if uri is not None:
        yield uri
        return
    from multibodies.tracking_server import tracking_server

    with tracking_server(run_dir) as server:
        yield server.uri


def replayed(journal: Path, uri: str) -> Replayed:
    """Replay with progress by runs. Raises UserError where the server does not answer."""
    from multibodies.progress import Progress
    from multibodies.tracking import replay, runs_in

    with Progress(runs_in(journal), "replay", unit="runs") as bar:
        try:
            return replay(journal, uri, _advance(bar.advance))
        except UserError:
            raise
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{uri}: MLflow does not answer ({reason}); what was sent stays; give the same "
                "command again when it does"
            ) from error


def _advance(advance: Callable[[int, str], None]) -> Callable[[str], None]:
    return lambda cell: advance(1, cell or "the sweep")
