"""The address of a Ray dashboard: its form, and whether Ray answers there.

The question goes without the token, so that only a Ray that asks for one is ever sent it.
"""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from multibodies.errors import UserError

SECONDS = 10.0
PORT = 8265
EXPECTED = f"give the dashboard's address: --address http://HOST:{PORT}"
UNAUTHORIZED = b"Missing authentication token"  # what Ray says with a 401


def checked_address(text: str | None) -> str:
    """Return an address without a trailing slash. Raises UserError on any other form."""
    if not text:
        raise UserError(f"no address; {EXPECTED}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UserError(f"--address '{text}': {error}; {EXPECTED}") from None
    if parts.username or parts.password:
        raise UserError("--address: holds a password, which would be printed; use a token instead")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or port == 0:
        raise UserError(f"--address '{text}': not a dashboard's address; {EXPECTED}")
    return text.rstrip("/")


def probe(address: str, seconds: float = SECONDS) -> None:
    """Ask for the version. Raises UserError where nothing answers, or something else than Ray."""
    try:
        status, body = _get(address, seconds)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{address}: no answer ({reason}); is the cluster up, and the port forwarded "
            f"(kubectl port-forward service/HEAD {PORT}:{PORT})?"
        ) from None
    if status == 401 and UNAUTHORIZED in body:
        return
    if status != 200 or not _is_version(body):
        raise UserError(
            f"{address}: something answers there (HTTP {status}), but not Ray; {EXPECTED}"
        )


def _get(address: str, seconds: float) -> tuple[int, bytes]:
    """Follow no redirection: a Ray dashboard has none here."""
    parts = urlsplit(address)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", f"{parts.path}/api/version")
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 16)
    finally:
        connection.close()


def _is_version(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and "ray_version" in answer
