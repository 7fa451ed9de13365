"""Submit a sweep to a Ray cluster, follow its log and return the driver's exit code.

The package, the sweep file and the entry points travel; data, models and results do not: --data and
--out are folders on storage that every node of the cluster sees. Ctrl-C detaches from the log, and
the sweep goes on. A cluster that asks for a token gets it from RAY_AUTH_MODE=token and
RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN).
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from multibodies.commands import common
from multibodies.errors import UserError

if TYPE_CHECKING:
    from multibodies.cluster.submission import Cluster
    from multibodies.submissions import Submission
    from multibodies.sweep import Plan

HELP = "a sweep as a job on a Ray cluster"
PROJECT = Path(__file__).resolve().parents[3]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", type=Path, nargs="?", metavar="SWEEP", help="a sweep file")
    parser.add_argument(
        "--address",
        default=os.environ.get("RAY_API_SERVER_ADDRESS"),
        help="of the dashboard: http://HOST:8265 (default: $RAY_API_SERVER_ADDRESS)",
    )
    parser.add_argument("--out", type=PurePosixPath, help="(default: $MULTIBODIES_RUNS/NAME there)")
    parser.add_argument("--data", type=PurePosixPath, help="prepared datasets, as the cluster sees")
    parser.add_argument("--tracking-uri", help="an MLflow server that the cluster reaches")
    parser.add_argument("--profile", help="another size of the same sweep, such as paper-dry")
    parser.add_argument("--smoke", action="store_true", help="the same grid at the smallest size")
    parser.add_argument("--stage1", choices=("shipped", "train"), help="(default: the file's)")
    common.add_workers(parser)
    parser.add_argument("--project", type=Path, default=PROJECT, help="(default: %(default)s)")
    parser.add_argument(
        "--if-running",
        choices=("refuse", "attach"),
        default="refuse",
        help="what to do if the same sweep runs already (default: %(default)s)",
    )
    parser.add_argument("--no-follow", action="store_true", help="do not wait for the end")
    parser.add_argument("--attach", metavar="ID", help="follow a submitted sweep")
    parser.add_argument("--stop", metavar="ID", help="end a submitted sweep")
    common.add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    """Submit, attach or stop; return the exit code of the driver that was followed."""
    if sum(what is not None for what in (args.file, args.attach, args.stop)) != 1:
        raise UserError("give one of: a sweep file, --attach ID, --stop ID")
    if args.file is None:
        return _look_after(args)
    plan, job = _job_of(args)
    if args.dry_run:
        return _tell(args, plan, job)
    from multibodies.cluster.submission import Cluster

    cluster = Cluster(args.address)
    running = cluster.running(job.name)
    if running and args.if_running == "refuse":
        raise UserError(
            f"'{plan.name}' runs already as {running}; {_commands(running, cluster.address)}; "
            "or give --if-running attach"
        )
    submitted = running or cluster.submit(job)
    print(_by_ray(args, job, cluster.address, submitted))
    print(f"{'runs already' if running else 'submitted'} as {submitted}", flush=True)
    if args.no_follow:
        print(_commands(submitted, cluster.address))
        return 0
    return _follow(cluster, submitted)


def _look_after(args: argparse.Namespace) -> int:
    from multibodies.cluster.submission import Cluster

    cluster = Cluster(args.address)
    if args.attach:
        cluster.info(args.attach)  # refuses an unknown id
        return _follow(cluster, args.attach)
    print(f"{args.stop}: {cluster.stop(args.stop).status.lower()}")
    return 0


def _follow(cluster: Cluster, job: str) -> int:
    from multibodies.cluster.submission import exit_code

    try:
        info = cluster.follow(job)
    except KeyboardInterrupt:
        commands = _commands(job, cluster.address)
        print(f"\ndetached; {job} goes on; {commands}", file=sys.stderr)
        return 130
    code = exit_code(info)
    print(f"{job}: {info.status.lower()}, exit code {code}", flush=True)
    if code and info.driver_exit_code is None and info.message:
        print(info.message.strip(), file=sys.stderr)
    return code


def _tell(args: argparse.Namespace, plan: Plan, job: Submission) -> int:
    """Print what would be done."""
    from multibodies.cluster.dashboard import checked_address
    from multibodies.sweep import describe_plan
    from multibodies.uploads import mebibytes

    address = checked_address(args.address)
    print(describe_plan(plan, args.out or f"$MULTIBODIES_RUNS/{plan.name} of the cluster"))
    print(f"upload: {len(job.upload.files)} files, {mebibytes(job.upload.size)}, as {job.name}")
    print(_by_ray(args, job, address, job.name))
    return 0


def _by_ray(args: argparse.Namespace, job: Submission, address: str, submitted: str) -> str:
    line = job.line(address, submitted, args.project.resolve())
    return f"the same by Ray's own command:\n{line}"


def _commands(job: str, address: str) -> str:
    ours = "multibodies submit --address"
    return f"follow it: {ours} {address} --attach {job}; stop it: {ours} {address} --stop {job}"


def _job_of(args: argparse.Namespace) -> tuple[Plan, Submission]:
    """Check sweep, paths and files without Ray and without the cluster."""
    from multibodies.report.provenance import git_commit
    from multibodies.submissions import Submission, name_of, options_of
    from multibodies.uploads import gather

    for flag, path in (("--out", args.out), ("--data", args.data)):
        if path is not None and not path.is_absolute():
            raise UserError(
                f"{flag} {path}: expected an absolute path, on storage that every node sees"
            )
    _check_uri(args.tracking_uri)
    plan = _plan_of(args)
    names = ("out", "data", "profile", "smoke", "stage1", "tracking-uri", "gpu")
    given = {name: getattr(args, name.replace("-", "_")) for name in names}
    workers = {"workers": args.workers} if args.workers > 1 else {}
    upload = gather(args.project, args.file)
    options = options_of({**given, **workers})
    name = name_of(plan, args.data)
    return plan, Submission(name, upload, options, git_commit(args.project))


def _check_uri(uri: str | None) -> None:
    if uri is None:
        return
    common.tracking_uri(uri)
    parts = urlsplit(uri)
    if parts.username or parts.password:
        raise UserError(
            "--tracking-uri: holds a password, which everyone who lists jobs would see; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the cluster"
        )


def _plan_of(args: argparse.Namespace) -> Plan:
    """Expand the sweep; its data may lie where only the cluster sees them."""
    from multibodies.sweep import expand, load_sweep, smoke_variant

    changes = {name: getattr(args, name) for name in ("stage1", "profile")}
    sweep = replace(load_sweep(args.file), **{key: v for key, v in changes.items() if v})
    data = None if args.data is None else Path(args.data)
    sweep = smoke_variant(sweep) if args.smoke else sweep
    return expand(sweep, data, elsewhere=data is not None and not data.exists())
