"""A headless Chromium that is asked by its DevTools protocol: what the page says, and how it looks.

Debian's package is ``chromium``. Source of the commands: https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse

__all__ = ["Tab", "needs_chromium", "open_tab"]

_PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
_PATIENCE_SECONDS: Final = 30.0

needs_chromium = pytest.mark.skipif(_PROGRAM is None, reason="Chromium is not installed: apt-get install chromium")


class Tab:
    """One page of the browser. ``complaints`` is what it logged: refused scripts and styles, and exceptions."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._ids = itertools.count(1)

    async def command(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        """Send a command and return what it gives back."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                said = await self._socket.receive_json()
                if said.get("id") == number:
                    assert "error" not in said, said
                    result: Mapping[str, Any] = said["result"]
                    return result
                if said.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                    self.complaints.append(json.dumps(said["params"]))

    async def show(self, url: str, *, width: int, dark: bool = False) -> None:
        """Load *url* into a window of *width* CSS pixels."""
        scheme = "dark" if dark else "light"
        await self.command("Log.enable")
        await self.command("Runtime.enable")
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        await self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.command("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && document.title !== ''")

    async def without_scripts(self) -> None:
        """Run no script of the pages that are loaded from now on."""
        await self.command("Emulation.setScriptExecutionDisabled", value=True)

    async def value(self, expression: str) -> Any:
        """Return what *expression*, in JavaScript, is in the page; a promise is awaited."""
        done = await self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until *condition*, in JavaScript, holds."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not await self.value(condition):  # noqa: ASYNC110 - a page whose scripts are off cannot call us
                await asyncio.sleep(0.02)

    async def picture(self) -> bytes:
        """Return what the page looks like, all of it, as PNG."""
        shot = await self.command("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def open_tab(folder: Path) -> AsyncIterator[Tab]:
    """Start a browser that keeps everything in *folder*, and end it with the block."""
    assert _PROGRAM is not None, "mark the test with what it needs"
    browser = await asyncio.create_subprocess_exec(
        _PROGRAM,
        "--headless=new",
        "--no-sandbox",  # tests run as root in containers
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-proxy-server",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert browser.stderr is not None
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            async for line in browser.stderr:
                if line.startswith(b"DevTools listening on "):
                    origin = line.split()[-1].decode().replace("ws://", "http://").partition("/devtools")[0]
                    break
            else:
                pytest.fail("Chromium ended before it listened")
        # Nobody reads on: a pipe that is full would stop it.
        drain = asyncio.create_task(browser.stderr.read())
        try:
            async with ClientSession() as session:
                async with session.get(f"{origin}/json/list") as response:
                    tabs = [tab for tab in await response.json() if tab["type"] == "page"]
                async with session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    yield tab
                    await tab.command("Browser.close")
        finally:
            if browser.returncode is None:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await browser.wait()
            await drain
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()
