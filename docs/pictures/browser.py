"""Serve a database as the page at a fixed instant, and open it in Chromium."""

import io
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from monitor.settings.service import ServiceConfig
from monitor.storage.engine import Database
from monitor.web.app import build_app
from tests.data.filled import PASSWORD

IMAGES = Path(__file__).parents[1] / "images"
MAX_IMAGE_BYTES = 150_000
PALETTE_SIZES = (256, 128, 64, 32)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Maps need WebGL. SwiftShader draws it without a graphics card.
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextmanager
def serve_page(config: ServiceConfig, database: Database, now: datetime) -> Iterator[str]:
    """Serve the page on a free port as if it were always `now`. Yield its address."""
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    app = build_app(config, database, lambda: now)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Start Chromium without a window."""
    if CHROMIUM is None:
        sys.exit("Chromium is not installed; run `make servers` first")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


def log_in(page: Page, address: str, account: str) -> None:
    """Log in as one of the accounts of the tests."""
    page.goto(f"{address}/login")
    page.fill("[name=name]", account)
    page.fill("[name=password]", PASSWORD)
    page.click("main form button")


def save_image(path: Path, content: bytes) -> None:
    """Save a PNG file with as many colours as fit into `MAX_IMAGE_BYTES`. Exit if 32 colours are too many."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    for colours in PALETTE_SIZES:
        encoded = io.BytesIO()
        image.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            encoded, "PNG", optimize=True
        )
        if encoded.tell() <= MAX_IMAGE_BYTES:
            path.write_bytes(encoded.getvalue())
            print(f"{path.name}: {image.width} x {image.height}, {colours} colours, {encoded.tell()} bytes")
            return
    sys.exit(f"{path.name} is larger than {MAX_IMAGE_BYTES} bytes")
