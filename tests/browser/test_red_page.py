"""The pages of a slope at red in a real Chromium, on a telephone and a wide screen, in both themes."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe

from monitor.settings.service import parse_service
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.storage.views import load_view
from monitor.web.app import build_app
from tests.browser.test_axe_browser import find_low_controls, run
from tests.browser.test_web_browser import Watch, chromium
from tests.data.accounts import add_account
from tests.data.filled import PASSWORD
from tests.data.servers.page_server import PageServer
from tests.data.simulated_slope import SimulatedSlope
from tests.fixtures.soak import with_soak

__all__ = ("chromium",)  # a fixture
pytestmark = [pytest.mark.browser, pytest.mark.slow]
END = datetime(2026, 3, 20, 12, tzinfo=UTC)
SITE = "/sites/sim-slope"
SIZES = {390: (844, "light"), 1440: (900, "dark")}  # test_axe_browser checks each page in both themes at both widths.
MAX_HTML_BYTES = {
    "/": 30_000,
    SITE: 80_000,
    "/alerts": 60_000,
    "ALERT": 120_000,
    f"{SITE}/movement": 60_000,
    f"{SITE}/forecasts": 60_000,
    f"{SITE}/instruments": 60_000,
    "/notifications": 60_000,
}
"""Transfer size of each page, so that it loads over a slow mobile connection."""


def store_slope_at_red(db):
    """Store the readings and levels of a slope with six stations until it is red. Return the slope."""
    upgrade(db)
    slope = SimulatedSlope(db, END, days=1.75, stations=6)
    for hours in (36, 3, 1, 0):
        slope.store_until(END - timedelta(hours=hours))
    with db.write() as c:
        add_account(c, "bo", PASSWORD, "operator", END)
    return slope


@pytest.fixture(scope="module")
def red_database(tmp_path_factory):
    """Return the database of a slope at red."""
    with Database(f"sqlite:///{tmp_path_factory.mktemp('red')}/red.db") as db:
        store_slope_at_red(db)
        yield db


@pytest.fixture(scope="module")
def red(red_database):
    """Serve the page of the slope at red; return its address and the path of its alert."""
    with red_database.read() as c:
        assert load_view(c, "site_status")[0]["level_name"] == "red"
        [hazard] = load_view(c, "active_alerts", ledger="hazard")
    with PageServer(lambda _: build_app(parse_service("", "test"), red_database, lambda: END)) as server:
        yield server.url, f"/alerts/{hazard['alert_id']}"


@pytest.mark.soak
@pytest.mark.parametrize("width", with_soak(390, 1440))
def test_pages_at_red_load_fast_fit_the_screen_and_are_accessible(red, chromium, width):
    base, alert = red
    high, scheme = SIZES[width]
    looks = Watch(chromium, width=width, height=high, scheme=scheme)
    page, axe, wrong = looks.page, Axe(), []
    looks.log_in(base, "bo")
    try:
        for name, max_bytes in MAX_HTML_BYTES.items():
            began = time.monotonic()
            body = page.goto(base + name.replace("ALERT", alert)).body()
            took = time.monotonic() - began
            if name == SITE:
                page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
            wrong += [f"{name} {scheme}: {violation}" for violation in run(axe, page)]
            wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            print(f"{name} at {width}: {len(body):,} bytes, {took:.2f} s")
            wrong += [f"{name}: {len(body):,} bytes"] if len(body) > max_bytes else []
            wrong += [f"{name}: {wider} pixels wider than the screen"] if wider > 1 else []
            if width == 390:
                wrong += [f"{name}: {element} is lower than 44 px" for element in find_low_controls(page)]
        page.goto(base + alert)
        page.get_by_role("heading", name="Evidence").click()
        page.get_by_text("Inputs of the decision").wait_for()
        assert not wrong, "\n".join(wrong)
        assert looks.complaints == []
    finally:
        looks.close()
