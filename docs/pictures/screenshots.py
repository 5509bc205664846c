"""Take screenshots of all important pages in five states of a site, at two widths, light, dark and printed.

`make screenshots` writes build/screenshots/STATE/PAGE-WIDTH-MODE.png. For each state and view it also writes a sheet
with all pages side by side, build/screenshots/STATE-WIDTH-MODE.png, in which a red line marks the end of the first
screen. Names of states select some of them (`SCREENSHOTS="red after-failure"`). `make screenshots SCREENSHOTS=--images`
writes the screenshots in `DOCUMENTATION_IMAGES` to docs/images instead.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from docs.pictures.browser import IMAGES, log_in, open_chromium, save_image, serve_page
from docs.pictures.states import SITE_ID, STATES, StateDatabase, list_states
from monitor.alerts.queries.alerts import load_alerts
from monitor.settings.service import parse_service
from monitor.storage.engine import Database

OUTPUT = Path("build/screenshots")
SITE = f"/sites/{SITE_ID}"
ALERT_PAGE = "ALERT"  # replaced by the address of the newest alert about the slope
PAGES = {
    "overview": "/",
    "site": SITE,
    "alert": ALERT_PAGE,
    "movement": f"{SITE}/movement",
    "forecasts": f"{SITE}/forecasts",
    "instruments": f"{SITE}/instruments",
    "alerts": "/alerts",
}
DRAW_TIMEOUT_MS = 20_000
SHEET_COLUMN = 480  # pixels of a page on a sheet
SHEET_GAP = 12
SHEET_TITLE = 20
SHEET_SCREENS = 2  # height of a page on a sheet
# Whether the chart of the site, all plots and all visible maps are drawn.
IS_DRAWN = """() => {
  const charts = [...document.querySelectorAll("#chart")];
  const maps = [...document.querySelectorAll("[data-map]")].filter((box) => box.checkVisibility());
  // Short records have no season and no usual day.
  const optional = "[hidden], [data-plot=season], [data-plot=day]";
  const plots = [...document.querySelectorAll(`figure[data-plot]:not(${optional})`)];
  return charts.every((chart) => "drawn" in chart.dataset)
    && plots.every((plot) => "drawn" in plot.dataset)
    && maps.every((box) => box.matches("[data-drawn]") || box.querySelector(".mapview[data-drawn]"));
}"""


@dataclass(frozen=True)
class View:
    """A screen or a sheet of paper on which pages are shown."""

    mode: str  # light, dark or print
    width: int
    height: int


PHONE_HEIGHT = 844
DESK_HEIGHT = 900
# A4 at 96 dots per inch. Paper has the same width for everybody.
PAPER = View("print", 794, 1123)
SCREENS = (
    View("light", 390, PHONE_HEIGHT),
    View("dark", 390, PHONE_HEIGHT),
    View("light", 1440, DESK_HEIGHT),
    View("dark", 1440, DESK_HEIGHT),
)
VIEWS = (*SCREENS, PAPER)


@dataclass(frozen=True)
class DocumentationImage:
    """A screenshot in the documentation: what the first screen shows."""

    name: str
    state: str
    page: str
    view: View


PHONE, PHONE_DARK, DESK, DESK_DARK = SCREENS
DOCUMENTATION_IMAGES = (
    DocumentationImage("state-starting", "starting", "site", DESK),
    DocumentationImage("state-green", "green", "overview", PHONE),
    DocumentationImage("state-yellow-missing", "yellow-missing", "site", PHONE),
    DocumentationImage("state-yellow-instruments", "yellow-missing", "instruments", DESK),
    DocumentationImage("state-red", "red", "site", DESK),
    DocumentationImage("state-red-phone", "red", "alert", PHONE_DARK),
    DocumentationImage("state-after-failure", "after-failure", "site", DESK),
    DocumentationImage("state-after-failure-phone", "after-failure", "site", PHONE),
)


class StateCamera:
    """Take screenshots of the pages of one state in one view."""

    def __init__(self, browser: Browser, address: str, alert_page: str | None, view: View) -> None:
        self.address = address
        self.alert_page = alert_page
        self.view = view
        self.context = browser.new_context(
            viewport={"width": view.width, "height": view.height},
            color_scheme="dark" if view.mode == "dark" else "light",
        )
        self.page = self.context.new_page()
        log_in(self.page, address, "bo")

    def take(self, name: str, *, full_page: bool) -> bytes | None:
        """Return the screenshot of a page as PNG. Return None if the state has no alert and its page is requested."""
        path = PAGES[name]
        if path == ALERT_PAGE:
            if self.alert_page is None:
                return None
            path = self.alert_page
        self.page.emulate_media(media="screen")
        self.page.goto(self.address + path)
        draw_charts(self.page)
        try:
            self.page.wait_for_function(IS_DRAWN, timeout=DRAW_TIMEOUT_MS)
        except PlaywrightTimeoutError:
            print(f"{name}: a chart or a map was not drawn within {DRAW_TIMEOUT_MS / 1000:.0f} s")
        if self.view.mode == "print":
            # A page is printed after it was drawn on the screen.
            self.page.emulate_media(media="print")
        self.page.wait_for_timeout(700)  # curves and map tiles fade in
        return self.page.screenshot(full_page=full_page)

    def close(self) -> None:
        """Close the pages of this view."""
        self.context.close()


def draw_charts(page: Page) -> None:
    """Scroll to each map and plot, because they are drawn when they come near the screen, and back to the top."""
    for box in page.locator("[data-map], figure[data-plot]").all():
        if box.is_visible():
            box.scroll_into_view_if_needed()
            page.wait_for_timeout(300)
    page.evaluate("scrollTo(0, 0)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Take the screenshots that the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("states", nargs="*", metavar="STATE", help=f"only these: {', '.join(STATES)}")
    parser.add_argument("--images", action="store_true", help="write the screenshots of the documentation")
    options = parser.parse_args(arguments)
    if unknown := set(options.states) - set(STATES):
        parser.error(f"no state {', '.join(sorted(unknown))}; there are {', '.join(STATES)}")
    states = [
        state for state in list_states(OUTPUT / "databases") if not options.states or state.state in options.states
    ]
    with open_chromium() as browser:
        for state in states:
            take = take_documentation_images if options.images else take_all
            take(browser, state)


def take_all(browser: Browser, state: StateDatabase) -> None:
    """Write all screenshots of a state, and its sheets."""
    folder = OUTPUT / state.state
    folder.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        taken = {}
        with open_camera(browser, state, view) as camera:
            for name in PAGES:
                content = camera.take(name, full_page=True)
                path = folder / f"{name}-{view.width}-{view.mode}.png"
                path.unlink(missing_ok=True)
                if content is not None:
                    path.write_bytes(content)
                    taken[name] = path
        write_sheet(OUTPUT / f"{state.state}-{view.width}-{view.mode}.png", taken, view)
    print(f"{state.state}: {OUTPUT}/{state.state}")


def take_documentation_images(browser: Browser, state: StateDatabase) -> None:
    """Write the screenshots of a state that the documentation shows."""
    for image in DOCUMENTATION_IMAGES:
        if image.state == state.state:
            with open_camera(browser, state, image.view) as camera:
                content = camera.take(image.page, full_page=False)
            assert content is not None, f"{image.name}: the state has no alert"
            save_image(IMAGES / f"{image.name}.png", content)


@contextmanager
def open_camera(browser: Browser, state: StateDatabase, view: View) -> Iterator[StateCamera]:
    """Serve the database of a state and open its pages in a view."""
    database = Database(f"sqlite:///{state.path}")
    folder = state.path.parent
    config = parse_service(f'[paths]\nsites = "{folder}"\ninbox = "{folder}/inbox"\n', "screenshots")
    try:
        with database.read() as connection:
            alerts = load_alerts(connection, SITE_ID, ledger="hazard", limit=1)
        alert_page = f"/alerts/{alerts[0].id}" if alerts else None
        with serve_page(config, database, state.shown_at) as address:
            camera = StateCamera(browser, address, alert_page, view)
            try:
                yield camera
            finally:
                camera.close()
    finally:
        database.close()


def write_sheet(path: Path, screenshots: Mapping[str, Path], view: View) -> None:
    """Write the upper parts of screenshots side by side, each under its name."""
    scale = min(1.0, SHEET_COLUMN / view.width)
    column = round(view.width * scale)
    visible = round(SHEET_SCREENS * view.height * scale)
    sheet = Image.new("RGB", (len(screenshots) * (column + SHEET_GAP), SHEET_TITLE + visible), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, screenshot) in enumerate(screenshots.items()):
        left = number * (column + SHEET_GAP)
        draw.text((left, 4), name, fill="black")
        image = Image.open(screenshot).convert("RGB")
        image = image.resize((column, round(image.height * scale)), Image.Resampling.LANCZOS)
        sheet.paste(image.crop((0, 0, column, min(visible, image.height))), (left, SHEET_TITLE))
        fold = SHEET_TITLE + round(view.height * scale)
        draw.line((left, fold, left + column, fold), fill="red", width=2)
    sheet.save(path)


if __name__ == "__main__":
    main()
