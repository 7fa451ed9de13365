"""Why a pickle is not read."""

from __future__ import annotations


class Refused(Exception):
    """The reason, as the end of a sentence that begins with the file."""
