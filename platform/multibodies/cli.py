"""The `multibodies` command: parses, calls one handler, turns errors into one line.

Exit codes: 0 done, 1 something unexpected, 2 something the user can mend, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from multibodies.errors import UserError, nearest

COMMANDS = (
    *("prepare", "fit-prior", "train", "sweep", "evaluate"),
    *("score", "report", "predict", "import-checkpoint", "body", "doctor", "bench", "ui"),
    *("lookalikes", "submit", "replay", "repair", "register"),
)
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MPLBACKEND": "Agg",
}
DISK_ERRORS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
}


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, like every other error here."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError instead of printing the usage."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    debug = Parser(add_help=False)
    debug.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks"
    )
    what = "3D Multi-bodies: from raw data to a table of MPJPE-n and RE-n."
    parser = Parser(prog="multibodies", description=what, parents=[debug])
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name in COMMANDS:
        module = import_module(f"multibodies.commands.{name.replace('-', '_')}")
        command = commands.add_parser(
            name, help=module.HELP, description=module.__doc__, parents=[debug]
        )
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(command)
        command.set_defaults(handler=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        print(
            "multibodies: interrupted; the same command goes on where it stopped", file=sys.stderr
        )
        return 130
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _explain(error)


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    """End as an exception does, so that servers and temporary files are cleared away."""
    sys.exit(128 + number)


def _dispatch(arguments: list[str]) -> int:
    word = next((a for a in arguments if not a.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        raise UserError(f"unknown command '{word}'{nearest(word, COMMANDS)}")
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return 0
    code: int | None = args.handler(args)
    return code or 0


def _explain(error: Exception) -> int:
    """Print one line for an error and return the exit code it deserves."""
    for cause in causes(error):
        if isinstance(cause, UserError):
            return _say(str(cause), 2)
        if isinstance(cause, OSError) and cause.errno in DISK_ERRORS:
            where = f"{cause.filename}: " if cause.filename else ""
            return _say(
                f"{where}{DISK_ERRORS[cause.errno]}; mend that and run the same command again", 2
            )
    reason = next(iter(str(error).strip().splitlines()), "")
    return _say(f"{type(error).__name__}: {reason}; run with --debug to see where", 1)


def _say(message: str, code: int) -> int:
    print(f"multibodies: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those it wraps, outermost first.

    Ray keeps what a task raised in `cause` (the wrapper, whose text is a remote traceback, is left
    out), Ray Train what its workers raised in `worker_failures`, Python what `raise from` named.
    """
    wrapped = getattr(error, "cause", None)
    if isinstance(wrapped, BaseException):
        yield from causes(wrapped)
        return
    yield error
    failures = getattr(error, "worker_failures", None)
    inner = [*(failures.values() if isinstance(failures, dict) else []), error.__cause__]
    for other in inner:
        if isinstance(other, BaseException):
            yield from causes(other)


if __name__ == "__main__":
    sys.exit(main())
