"""Take the screenshots of the documentation that show single features.

The database contains the two sites of the tests, and a simulated slope that fails in half an hour. `make pictures`
writes all screenshots to docs/images, `make pictures PICTURES="duty map"` those two. Compare each with docs/design.md
before you commit it.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import rasterio
from playwright.sync_api import Browser, Page

from detection.imagery.tiles.records import ReliefRequest
from detection.imagery.tiles.relief import make_relief
from docs.pictures.browser import IMAGES, log_in, open_chromium, save_image, serve_page
from docs.pictures.people import DUTY_PLAN, replace_recipients
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import acknowledge, load_alerts
from monitor.alerts.records import AlertState
from monitor.features.demo.slope import SlopeModel
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
from monitor.web.parts.headline import list_sentences
from tests.data import filled
from tests.data.simulated_slope import SimulatedSlope

END = filled.NOW + timedelta(minutes=3)
NOW = END + timedelta(minutes=2)
RECORD_DAYS = 9
SITE = "/sites/sim-slope"
LAKE_SITE = "/sites/lake-slope"
ALERT_PAGE = "ALERT"  # replaced by the address of the alert of the simulated slope
HANDOVER_NOTES = (
    "Cracks above bench 3 opened by 3 cm since noon. The road is closed since 05:40, the mine manager knows."
)
DRILL_OUTCOME = {
    "alerts": 1,
    "unanswered": 0,
    "first_message_s": 1.4,
    "messages": {"delivered": 6},
    "acknowledged": [{"by": "bo", "after_s": 74.0}, {"by": "ada", "after_s": 131.0}],
}
FADE_MS = 2500  # maps and curves fade in


@dataclass(frozen=True)
class Screenshot:
    """A page, who opens it, and what is done there before the screenshot."""

    name: str
    path: str
    width: int = 1200
    height: int = 800
    scheme: str = "light"
    account: str = "bo"
    prepare: Callable[[Page], object] = lambda _page: None
    selector: str = ""  # only this part of the page


def propose_bound(page: Page) -> None:
    """Propose a changed threshold and wait for its replay."""
    page.get_by_role("group", name="level-1").get_by_label("yellow, over").fill("5")
    page.get_by_label("Reason (stored in the history").fill("it creeps by 0.01 mm/day since the flood")
    page.get_by_label("Months to replay").fill("1")
    page.get_by_role("button", name="Propose this change").click()
    page.wait_for_url("**/proposals*", timeout=600_000)


def show_windows(page: Page) -> None:
    """Show the last week of the extensometer at the top of the screen."""
    page.get_by_role("button", name="7 d", exact=True).click()
    page.locator("select[name=station]").select_option("E1")
    page.wait_for_timeout(3000)
    page.locator("#h-station").evaluate("heading => heading.scrollIntoView()")


def show_map(page: Page) -> None:
    """Scroll to the map, because it is drawn when it comes near the screen."""
    page.locator("details:has(> summary > #h-map)").evaluate("fold => { fold.open = true; fold.scrollIntoView(); }")
    page.locator(".mapview[data-drawn]").wait_for(timeout=120_000)


def wait_for_chart(page: Page) -> None:
    """Wait until the chart is drawn."""
    page.locator("#chart[data-drawn]").wait_for(timeout=60_000)


def draw_outline(page: Page) -> None:
    """Draw an outline around the scar, and fill in the form that stores it."""
    page.locator(".mapview[data-drawn]").wait_for(timeout=120_000)
    page.get_by_role("button", name="Draw an outline").click()
    view = page.locator(".mapview").bounding_box()
    assert view is not None
    centre_x = view["x"] + view["width"] / 2
    centre_y = view["y"] + view["height"] / 2
    corners = ((40, -200), (120, -100), (170, 40), (150, 190), (60, 235), (-30, 190), (-50, 40), (-20, -120))
    for right, down in corners:
        page.mouse.click(centre_x + right, centre_y + down)
    page.get_by_role("button", name="Close the outline").click()
    drawing = page.get_by_role("region", name="Picture", exact=True)
    drawing.get_by_label("Note").fill("fresh scar, above the road")


SCREENSHOTS = (
    Screenshot("alert-phone", ALERT_PAGE, 390, 844),
    Screenshot("alert", ALERT_PAGE, 1200, 1000),
    Screenshot("page", SITE, 1200, 1180, prepare=wait_for_chart),
    Screenshot("page-dark", f"{SITE}?span=7d", 1200, 1180, scheme="dark", prepare=wait_for_chart),
    Screenshot("map", SITE, 1200, 900, prepare=show_map, selector="details:has(> summary > #h-map)"),
    Screenshot("outlines", filled.DRAWN, 1200, 1300, prepare=draw_outline, selector="section:has(> #h-draw)"),
    Screenshot("movement", f"{SITE}/movement", 1360, 820, prepare=show_windows),
    Screenshot("duty", f"{SITE}/duty", 390, 1000),
    Screenshot("hand-over", f"{SITE}/duty", 390, 844, account="ada", selector="section:has(> #h-over)"),
    Screenshot("thresholds", f"{LAKE_SITE}/thresholds", 1200, 1000, prepare=propose_bound),
    Screenshot("drill", "/sites/north-bench/drills", 390, 760),
    Screenshot("bulletin", f"{SITE}/reports/weekly.html", 820, 1100),
    Screenshot("instruments", "/sites/north-bench/instruments", 1200, 800),
)


def main(names: list[str]) -> None:
    """Fill a database, serve it and write the screenshots with these names, or all."""
    unknown = set(names) - {screenshot.name for screenshot in SCREENSHOTS}
    if unknown:
        existing = ", ".join(screenshot.name for screenshot in SCREENSHOTS)
        sys.exit(f"no screenshot {', '.join(sorted(unknown))}; there are: {existing}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(f"sqlite:///{folder}/pictures.db")
        alert_page = f"/alerts/{fill_database(database, folder)}"
        config = parse_service(f'[paths]\nsites = "{folder}"\ninbox = "{folder}/inbox"\n', "pictures")
        draw_relief(config.paths.relief_path("sim-slope"), folder / "ground.tif")
        with serve_page(config, database, NOW) as address, open_chromium() as browser:
            for screenshot in SCREENSHOTS:
                if not names or screenshot.name in names:
                    content = take_screenshot(browser, address, screenshot, alert_page)
                    save_image(IMAGES / f"{screenshot.name}.png", content)
        database.close()


def fill_database(database: Database, folder: Path) -> int:
    """Store the two sites of the tests and the simulated slope. Return the number of the alert of the slope."""
    upgrade(database)
    filled.fill(database)
    filled.make_drawable(database, folder)

    def write_site_file(model: SlopeModel) -> str:
        text = replace_recipients(write_story_site(model))
        (folder / "sim-slope.toml").write_text(text, encoding="utf-8")
        return text

    slope = SimulatedSlope(database, END, RECORD_DAYS, write_site_file)
    (team,) = slope.site.teams
    lake_file = filled.LAKE + filled.CREPT
    (folder / "lake-slope.toml").write_text(lake_file, encoding="utf-8")
    with database.write() as connection:
        # The photos of the tests contain no picture.
        connection.execute(photo.delete())
        duty.add_plan(connection, team, DUTY_PLAN, Actor("ada"), "winter", slope.now)
        lake_site = parse_site(lake_file, "lake-slope.toml")
        save_site(connection, lake_site, "ada", "after the flood", filled.START)
    hours_left = RECORD_DAYS * 24
    while hours_left > 0:
        slope.store_until(END - timedelta(hours=hours_left))
        acknowledge_alerts(database, slope)
        hours_left -= 6 if hours_left > 48 else 1
    slope.store_until(END)
    with database.write() as connection:
        # Only the messages of the last change of level are shown.
        is_older = (notification.c.queued_at < END) & (notification.c.site == "sim-slope")
        connection.execute(notification.delete().where(is_older))
        connection.execute(notification.update().values(state="delivered", sent_at=notification.c.queued_at))
        connection.execute(drill.update().values(state="ended", outcome=DRILL_OUTCOME))
        duty.write_handover(connection, team, Actor("bo"), HANDOVER_NOTES, NOW - timedelta(minutes=1), list_sentences)
        write_heartbeat(connection, "core", {"state": "running", "version": "", "degraded": []}, NOW)
    with database.read() as connection:
        return max(alert.id for alert in load_alerts(connection, "sim-slope", ledger="hazard"))


def acknowledge_alerts(database: Database, slope: SimulatedSlope) -> None:
    """Acknowledge all alerts about the slope four minutes after they were raised or rose."""
    acknowledged_at = slope.now + timedelta(minutes=4)
    with database.write() as connection:
        for alert in load_alerts(connection, "sim-slope", ledger="hazard"):
            if alert.state == AlertState.UNACKNOWLEDGED:
                acknowledge(connection, alert.id, Actor("bo"), "on site, the road is watched", acknowledged_at)


def draw_relief(relief_path: Path, heights_path: Path) -> None:
    """Write the shaded relief of an invented valley side with gullies and the bowl of an old slide."""
    size = 400
    step_deg = 5e-5
    west, north = 8.89, 46.21
    y, x = np.mgrid[0:size, 0:size] / size
    bowl = 60.0 * np.exp(-(((x - 0.5) / 0.10) ** 2 + ((y - 0.5) / 0.14) ** 2))
    gullies = 14.0 * np.sin(16.0 * x + 3.0 * np.sin(5.0 * y)) * y + 5.0 * np.sin(43.0 * x + 21.0 * y)
    heights = (1700.0 - 620.0 * y + 60.0 * np.sin(3.2 * x + 0.6) + gullies - bowl).astype("float32")
    grid = rasterio.Affine(step_deg, 0.0, west, 0.0, -step_deg, north)
    with rasterio.open(
        heights_path,
        "w",
        driver="GTiff",
        height=size,
        width=size,
        count=1,
        dtype="float32",
        crs="EPSG:4326",
        transform=grid,
    ) as file:
        file.write(heights, 1)
    relief_path.parent.mkdir(parents=True, exist_ok=True)
    make_relief(ReliefRequest(heights_path, relief_path))


def take_screenshot(browser: Browser, address: str, screenshot: Screenshot, alert_page: str) -> bytes:
    """Open a page as its account, prepare it, and return the screenshot as PNG."""
    context = browser.new_context(
        viewport={"width": screenshot.width, "height": screenshot.height},
        color_scheme=screenshot.scheme,
        device_scale_factor=2 if screenshot.width < 500 else 1,
    )
    page = context.new_page()
    log_in(page, address, screenshot.account)
    page.goto(address + screenshot.path.replace(ALERT_PAGE, alert_page))
    screenshot.prepare(page)
    page.wait_for_timeout(FADE_MS)
    shown = page.locator(screenshot.selector) if screenshot.selector else page
    content = shown.screenshot()
    context.close()
    return content


if __name__ == "__main__":
    main(sys.argv[1:])
