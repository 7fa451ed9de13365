"""Bodies: import your own SMPL, check one, list those there are.

A body's name or file is what the settings body.path, body.male and body.female take. Names lie in
$MULTIBODIES_BODIES, or else in ~/.local/share/multibodies/bodies.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multibodies.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HELP = "your SMPL files -> bodies by name"
GENDERS = ("neutral", "male", "female")
LICENCE = "licensed: readable by you alone; its licence forbids to share it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add import, verify and list."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    one = _add(actions, "import", "SMPL's .pkl, or an .npz of its arrays -> a body", _import)
    one.add_argument("files", nargs="+", type=Path, metavar="FILE", help="v1.0.0 or v1.1.0")
    one.add_argument("--out", type=Path, metavar="FOLDER", help="(default: where names lie)")
    one.add_argument(
        "--regressor-h36m", type=Path, metavar="FILE", help="SPIN's J_regressor_h36m.npy"
    )
    one.add_argument(
        "--regressor-extra", type=Path, metavar="FILE", help="SPIN's J_regressor_extra.npy"
    )
    one.add_argument("--gender", choices=GENDERS, help="(default: as the file's name says)")
    one.add_argument("--force", action="store_true", help="replace a body that differs")
    two = _add(actions, "verify", "check arrays, and joints against smplx's mesh", _verify)
    two.add_argument("bodies", nargs="+", metavar="NAME_OR_FILE")
    three = _add(actions, "list", "names, genders, versions, origins", _list)
    three.add_argument(
        "--from", dest="folder", type=Path, metavar="FOLDER", help="(default: where names lie)"
    )


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    act: Callable[[argparse.Namespace], int] = args.act
    return act(args)


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    what: str,
    act: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, description=what)
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks"
    )
    parser.set_defaults(act=act)
    return parser


def _import(args: argparse.Namespace) -> int:
    from multibodies.bodies.importing import import_body
    from multibodies.bodies.naming import body_folder

    if args.gender and len(args.files) > 1:
        raise UserError("--gender is for one FILE; import the others on their own")
    regressors = {
        "J_regressor_h36m": args.regressor_h36m,
        "J_regressor_extra": args.regressor_extra,
    }
    for file in args.files:
        made = import_body(
            file,
            args.out or body_folder(),
            regressors=regressors,
            gender=args.gender,
            force=args.force,
        )
        print(f"{file} -> {made.path}, sha256 {made.sha256[:12]}")
        for note in (*made.notes, LICENCE):
            print(f"  {note}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from multibodies.bodies.verifying import verify_body

    failed = 0
    for body in args.bodies:
        print(body)
        for check in verify_body(body):
            print(f"  {'ok' if check.good else 'fail':4}  {check.name:10}  {check.detail}")
            failed += not check.good
    return 1 if failed else 0


def _list(args: argparse.Namespace) -> int:
    from multibodies.bodies.listing import Line, list_bodies
    from multibodies.bodies.naming import body_folder

    folder = args.folder or body_folder()
    if args.folder and not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the one that `body import` wrote to")
    rows: list[Sequence[str]] = [Line._fields, *list_bodies(folder)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    return 0
