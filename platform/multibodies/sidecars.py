"""Sidecars: a JSON file beside each finished part of a stage, saying which recipe made it and its
checksum.

A part is done when its sidecar says so for the same recipe and its bytes are still those. The
sidecar is written last, so a killed job leaves a part without one, and the part is made again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multibodies.errors import UserError
from multibodies.files import sha256, write_bytes


def sidecar_path(path: str | Path) -> Path:
    """Return part-00000.json for part-00000.parquet."""
    return Path(path).with_suffix(".json")


def seal(path: str | Path, recipe: str, **notes: Any) -> dict[str, Any]:
    """Write the sidecar of a finished part: recipe, sha256 and notes (plain JSON values); return
    it.
    """
    content = {"recipe": recipe, "sha256": sha256(path), **notes}
    write_bytes(sidecar_path(path), (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())
    return content


def read_sidecar(path: str | Path) -> dict[str, Any]:
    """Return a part's sidecar. Raises UserError naming it if it is missing or not one."""
    sidecar = sidecar_path(path)
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        return {"recipe": str(content["recipe"]), "sha256": str(content["sha256"]), **content}
    except OSError as error:
        raise UserError(
            f"{sidecar}: cannot be read ({error.strerror}); make {Path(path).name} again"
        ) from None
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{sidecar}: not a sidecar (recipe and sha256); make {Path(path).name} again"
        ) from None


def is_done(path: str | Path, recipe: str) -> bool:
    """Say whether a part was finished by this recipe and is undamaged."""
    if not (Path(path).is_file() and sidecar_path(path).is_file()):
        return False
    try:
        content = read_sidecar(path)
    except UserError:  # a damaged sidecar only costs making the part again
        return False
    return bool(content["recipe"] == recipe and content["sha256"] == sha256(path))


def check_whole(path: str | Path) -> dict[str, Any]:
    """Return the sidecar of a part whose bytes are those it was sealed with.

    Raises UserError naming a part that is missing or damaged: Parquet itself reads flipped bits
    silently.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; make it again")
    content = read_sidecar(path)
    if content["sha256"] != sha256(path):
        raise UserError(
            f"{path}: damaged (its SHA-256 is not its sidecar's); delete it and make it again"
        )
    return content
