"""Make README's picture of MLflow's parallel coordinates: ``python docs/parallel.py RUN METRIC``.

RUN is a finished sweep's folder, METRIC one of its cells' metrics, such as mpjpe_mm_n01_wild. Needs
Chromium (Debian's package `chromium`), which is told by its DevTools protocol to choose the metric:
MLflow takes the differing settings by itself, but the metric that was logged first.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from pictures import FLAGS, IMAGES, compare_address
from PIL import Image

from multibodies.tracking.remote_runs import PARENT_TAG
from multibodies.tracking_server import tracking_server

WIDTH, HEIGHT = 1900, 900
CROP = (200, 0, 1400, 600)  # without side bars and what is below the plot
PATIENCE = 90.0
FIELD = "[...document.querySelectorAll('div')].find(e => e.innerText === 'Metrics:')"
PLACE = f"""(() => {{
  if (!document.querySelector('.js-plotly-plot .parcoords') || !{FIELD}) return null;
  const box = {FIELD}.nextElementSibling.getBoundingClientRect();
  return [box.right - 40, box.y + box.height / 2];
}})()"""
CHOSEN = f"""[...{FIELD}.nextElementSibling.querySelectorAll('[class*=item-content]')]
  .map(e => e.innerText).join(' ')"""


class Tab:
    """A tab of a browser that is told what to do."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self._numbers = socket, count(1)

    async def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self.socket.receive_json()
            if answer.get("id") == number:
                return dict(answer["result"])

    async def ask(self, script: str) -> Any:
        """Return the value of a JavaScript expression, None where it raises."""
        answer = await self.tell("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def wait_for(self, script: str) -> Any:
        """Return the value of an expression as soon as it has one."""
        deadline = time.monotonic() + PATIENCE
        while (value := await self.ask(script)) is None:
            if time.monotonic() > deadline:
                raise SystemExit(f"the page never had {script}")
            await asyncio.sleep(0.5)
        return value

    async def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            await self.tell(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    async def click(self, x: float, y: float) -> None:
        """Click at a place."""
        for kind in ("mousePressed", "mouseReleased"):
            place = {"x": x, "y": y, "button": "left", "clickCount": 1}
            await self.tell("Input.dispatchMouseEvent", type=kind, **place)


async def photograph(port: int, address: str, metric: str) -> bytes:
    """Open MLflow's comparison, replace the metric, return the page's PNG."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = await answer.json(content_type=None)
        target = next(page for page in pages if page["type"] == "page")["webSocketDebuggerUrl"]
        async with session.ws_connect(target, max_msg_size=0) as socket:
            tab = Tab(socket)
            await tab.tell("Page.navigate", url=address)
            await tab.click(*await tab.wait_for(PLACE))
            await tab.press("Backspace", 8)
            await tab.tell("Input.insertText", text=metric)
            await asyncio.sleep(1)
            await tab.press("Enter", 13)
            await tab.press("Escape", 27)
            await asyncio.sleep(3)
            if (chosen := await tab.ask(CHOSEN)) != metric:
                raise SystemExit(f"could not choose '{metric}': the page has {chosen!r}")
            picture = await tab.tell("Page.captureScreenshot", format="png")
    return b64decode(picture["data"])


def cells_address(uri: str, sweep: str) -> str:
    """Return the address of MLflow's comparison of all cells of a sweep."""
    return compare_address(
        uri, sweep, "attributes.status = 'FINISHED'", lambda run: run.data.tags.get(PARENT_TAG)
    )


def in_browser(address: str, metric: str) -> bytes:
    """Run a Chromium of our own, which is ended in the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [flag for flag in FLAGS if "virtual-time" not in flag]
        places = (f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}")
        command = ["chromium", *flags, "--remote-debugging-port=0", *places, "about:blank"]
        browser = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            told = Path(profile) / "DevToolsActivePort"
            deadline = time.monotonic() + PATIENCE
            while not (told.exists() and told.read_text().strip()):
                if browser.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("Chromium did not start")
                time.sleep(0.2)
            port = int(told.read_text().split()[0])
            return asyncio.run(photograph(port, address, metric))
        finally:
            browser.terminate()
            browser.wait(30)


def main(run_dir: Path, metric: str) -> None:
    """Write docs/images/mlflow_parallel.png."""
    sweep = json.loads((run_dir / "plan.json").read_text())["name"]
    with tracking_server(run_dir) as server:
        content = in_browser(cells_address(server.uri, sweep), metric)
    with Image.open(BytesIO(content)) as page:
        page.crop(CROP).save(IMAGES / "mlflow_parallel.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
