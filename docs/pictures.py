"""The pictures of the documents, made anew by Chromium: a simulated slope that fails beside the story of the tests.

`make pictures` writes all of them to docs/images, `make pictures PICTURES="duty map"` those two. Look at each against
docs/design.md before it is kept.
"""

import io
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import rasterio
import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from detection.imagery.tiles.records import ReliefRequest
from detection.imagery.tiles.relief import make_relief
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import acknowledge, load_alerts
from monitor.alerts.records import AlertState
from monitor.features.demo.story import write_story_site
from monitor.features.drills.tables import drill
from monitor.features.duty import queries as duty
from monitor.features.photos.tables import photo
from monitor.settings.service import parse_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.storage.service_state import write_heartbeat
from monitor.web.app import build_app
from monitor.web.parts.headline import list_sentences
from tests.data import filled
from tests.data.simulated_slope import SimulatedSlope

IMAGES = Path(__file__).parent / "images"
LARGEST = 150_000  # bytes of one picture
COLOURS = (256, 128, 64, 32)
END = filled.NOW + timedelta(minutes=3)
NOW = END + timedelta(minutes=2)
SITE, LAKE = "/sites/sim-slope", "/sites/lake-slope"
DRAWING = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PEOPLE = """
[[recipient]]
name = "team:geologists"
levels = ["yellow", "orange", "red"]
escalate_after = "10m"
[[recipient]]
name = "R. Mori"
people = ["bo"]
channels = ["sms:MORI"]
phone = "+41 79 000 00 01"
[[recipient]]
name = "A. Rossi"
channels = ["email:rossi@example.org"]
phone = "+41 79 000 00 02"
[[recipient]]
name = "L. Frei"
people = ["ada"]
channels = ["push:ada"]
phone = "+41 79 000 00 03"
[[team]]
name = "geologists"
members = ["R. Mori", "A. Rossi", "L. Frei"]
lead = "L. Frei"
"""
PLAN = "Mon-Fri 07:00 R. Mori, A. Rossi\nMon-Fri 19:00 A. Rossi, L. Frei\nSat 07:00 L. Frei, R. Mori\n"
PLAN += "Sun 06:00 R. Mori, A. Rossi"
NOTES = "Cracks above bench 3 opened by 3 cm since noon. The road is closed since 05:40, the mine manager knows."


DRILLED = {
    "alerts": 1,
    "unanswered": 0,
    "first_message_s": 1.4,
    "messages": {"delivered": 6},
    "acknowledged": [{"by": "bo", "after_s": 74.0}, {"by": "ada", "after_s": 131.0}],
}


@dataclass(frozen=True)
class Picture:
    """One of them."""

    name: str
    path: str
    width: int = 1200
    height: int = 800
    scheme: str = "light"
    by: str = "bo"
    before: Callable[[Page], object] = lambda _page: None
    part: str = ""  # a selector: that part of the page alone


def open_editor(page: Page) -> None:
    """Change a bound and wait for the replay."""
    page.get_by_role("group", name="level-1").get_by_label("yellow, over").fill("5")
    page.get_by_label("Reason (stored in the history").fill("it creeps by 0.01 mm/day since the flood")
    page.get_by_label("Months to replay").fill("1")
    page.get_by_role("button", name="Propose this change").click()
    page.wait_for_url("**/proposals*", timeout=600_000)


def show_windows(page: Page) -> None:
    """The last week of the extensometer on top."""
    page.get_by_role("button", name="7 d", exact=True).click()
    page.locator("select[name=station]").select_option("E1")
    page.wait_for_timeout(3000)
    page.locator("#h-station").evaluate("one => one.scrollIntoView()")


def draw_map(page: Page) -> None:
    """Bring the map near, which is when it comes."""
    page.locator("details:has(> summary > #h-map)").evaluate("one => { one.open = true; one.scrollIntoView(); }")
    page.locator(".mapview[data-drawn]").wait_for(timeout=120_000)


def draw_chart(page: Page) -> None:
    """Wait until the chart stands."""
    page.locator("#chart[data-drawn]").wait_for(timeout=60_000)


def draw_outline(page: Page) -> None:
    """Draw around the scar, up to where it can be stored."""
    page.locator(".mapview[data-drawn]").wait_for(timeout=120_000)
    page.get_by_role("button", name="Draw an outline").click()
    view = page.locator(".mapview").bounding_box()
    assert view is not None
    x, y = view["x"] + view["width"] / 2, view["y"] + view["height"] / 2
    for across, down in ((40, -200), (120, -100), (170, 40), (150, 190), (60, 235), (-30, 190), (-50, 40), (-20, -120)):
        page.mouse.click(x + across, y + down)
    page.get_by_role("button", name="Close the outline").click()
    page.get_by_label("Note").fill("fresh scar, above the road")


PICTURES = (
    Picture("overview-phone", "/", 390, 844),
    Picture("alert-phone", "ALERT", 390, 844),
    Picture("alert", "ALERT", 1200, 1000),
    Picture("page", SITE, 1200, 1180, before=draw_chart),
    Picture("page-dark", f"{SITE}?span=7d", 1200, 1180, scheme="dark", before=draw_chart),
    Picture("map", SITE, 1200, 900, before=draw_map, part="details:has(> summary > #h-map)"),
    Picture("outlines", filled.DRAWN, 1200, 1300, before=draw_outline, part="section:has(> #h-draw)"),
    Picture("movement", f"{SITE}/movement", 1360, 820, before=show_windows),
    Picture("duty", f"{SITE}/duty", 390, 1000),
    Picture("hand-over", f"{SITE}/duty", 390, 844, by="ada", part="section:has(> #h-over)"),
    Picture("thresholds", f"{LAKE}/thresholds", 1200, 1000, before=open_editor),
    Picture("drill", "/sites/north-bench/drills", 390, 760),
    Picture("bulletin", f"{SITE}/reports/weekly.html", 820, 1100),
    Picture("instruments", "/sites/north-bench/instruments", 1200, 800),
)


def main(wanted: list[str]) -> None:
    """Fill a database, serve it, take the pictures."""
    unknown = set(wanted) - {one.name for one in PICTURES}
    if unknown:
        sys.exit(f"no picture {', '.join(sorted(unknown))}; there are: {', '.join(one.name for one in PICTURES)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        db = Database(f"sqlite:///{folder}/pictures.db")
        alert = fill(db, folder)
        config = parse_service(f'[paths]\nsites = "{folder}"\ninbox = "{folder}/inbox"\n', "pictures")
        draw_relief(config.paths.relief_of("sim-slope"), folder / "ground.tif")
        door = socket.socket(proto=socket.IPPROTO_TCP)
        door.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(build_app(config, db, lambda: NOW), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            take([one for one in PICTURES if not wanted or one.name in wanted], door.getsockname()[1], alert)
        finally:
            server.should_exit = True
            thread.join(10)
            door.close()
            db.close()


def fill(db: Database, folder: Path) -> int:
    """The story of the tests, and a slope that fails in half an hour; returns the number of its alert."""
    upgrade(db)
    filled.fill(db)
    filled.make_drawable(db, folder)

    def write(model: object) -> str:
        text = write_story_site(model).replace('timezone = "UTC"', 'timezone = "Europe/Zurich"', 1)  # type: ignore[arg-type]
        text = text[: text.index("[[recipient]]")] + PEOPLE
        (folder / "sim-slope.toml").write_text(text, encoding="utf-8")
        return text

    slope = SimulatedSlope(db, END, 9.0, write)
    (crew,) = slope.site.teams
    with db.write() as c:
        c.execute(photo.delete())  # of the story: no picture is in it
        duty.add_plan(c, crew, PLAN, Actor("ada"), "winter", slope.now)
    lake = filled.LAKE + filled.CREPT
    (folder / "lake-slope.toml").write_text(lake, encoding="utf-8")
    with db.write() as c:
        save_site(c, parse_site(lake, "lake-slope.toml"), "ada", "after the flood", filled.START)
    hours = 9 * 24
    while hours > 0:
        slope.store_until(END - timedelta(hours=hours))
        hours -= 6 if hours > 48 else 1
        with db.write() as c:
            for one in load_alerts(c, "sim-slope", ledger="hazard"):
                if one.state == AlertState.UNACKNOWLEDGED:
                    acknowledge(
                        c, one.id, Actor("bo"), "on site, the road is watched", slope.now + timedelta(minutes=4)
                    )
    slope.store_until(END)
    with db.write() as c:
        # those of the level before were answered
        c.execute(notification.delete().where(notification.c.queued_at < END, notification.c.site == "sim-slope"))
        c.execute(notification.update().values(state="delivered", sent_at=notification.c.queued_at))
        c.execute(drill.update().values(state="ended", outcome=DRILLED))
        duty.sign_out(c, crew, Actor("bo"), NOTES, NOW - timedelta(minutes=1), list_sentences)
        write_heartbeat(c, "core", {"state": "running", "version": "", "degraded": []}, NOW)
    with db.read() as c:
        return max(a.id for a in load_alerts(c, "sim-slope", ledger="hazard"))


def draw_relief(out: Path, dem: Path) -> None:
    """Shaded relief of a slope that was drawn: a valley side with gullies and the bowl of an old slide."""
    size, step, west, north = 400, 5e-5, 8.89, 46.21
    y, x = np.mgrid[0:size, 0:size] / size
    bowl = 60.0 * np.exp(-(((x - 0.5) / 0.10) ** 2 + ((y - 0.5) / 0.14) ** 2))
    gullies = 14.0 * np.sin(16.0 * x + 3.0 * np.sin(5.0 * y)) * y + 5.0 * np.sin(43.0 * x + 21.0 * y)
    heights = (1700.0 - 620.0 * y + 60.0 * np.sin(3.2 * x + 0.6) + gullies - bowl).astype("float32")
    grid = rasterio.Affine(step, 0.0, west, 0.0, -step, north)
    with rasterio.open(
        dem, "w", driver="GTiff", height=size, width=size, count=1, dtype="float32", crs="EPSG:4326", transform=grid
    ) as file:
        file.write(heights, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    make_relief(ReliefRequest(dem, out))


def take(pictures: list[Picture], port: int, alert: int) -> None:
    """Open each page as who it is for, and keep what stands on the screen."""
    base = f"http://127.0.0.1:{port}"
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=DRAWING)
        for one in pictures:
            size = {"width": one.width, "height": one.height}
            context = browser.new_context(
                viewport=size, color_scheme=one.scheme, device_scale_factor=2 if one.width < 500 else 1
            )
            page = context.new_page()
            page.goto(f"{base}/login")
            page.fill("[name=name]", one.by)
            page.fill("[name=password]", filled.PASSWORD)
            page.click("main form button")
            page.goto(base + one.path.replace("ALERT", f"/alerts/{alert}"))
            one.before(page)
            page.wait_for_timeout(2500)  # maps and curves fade in
            where = page.locator(one.part) if one.part else page
            write(IMAGES / f"{one.name}.png", where.screenshot())
            context.close()
        browser.close()


def write(path: Path, content: bytes) -> None:
    """Keep a picture with as many colours as its size allows."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    for colours in COLOURS:
        kept = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(kept, "PNG", optimize=True)
        if kept.tell() <= LARGEST:
            path.write_bytes(kept.getvalue())
            print(f"{path.name}: {picture.width} x {picture.height}, {colours} colours, {kept.tell()} bytes")
            return
    sys.exit(f"{path.name} is larger than {LARGEST} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
