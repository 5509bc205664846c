"""The first screen of a site at its highest level, the open folds on a phone, and the printed page, in Chromium."""

import re
import shutil
import subprocess
from datetime import timedelta

import pytest

from monitor.features.demo.story import FAILS_AFTER
from monitor.features.movement.tables import failure_time
from monitor.settings.service import parse_service
from monitor.storage.engine import Database
from monitor.web.app import build_app
from tests.browser.test_red_page import END, SITE, red, red_database, store_slope_at_red
from tests.browser.test_web_browser import Watch, chromium
from tests.data.servers.page_server import PageServer
from tests.fixtures.soak import with_soak
from tests.fixtures.waiting import skip_missing

__all__ = ("chromium", "red", "red_database")  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.slow]
ANSWERS = ("moving", "since", "action", "told", "unseen")
SIZES = {"phone": (390, 844), "desk": (1440, 900)}
PAGES = (
    "/",
    SITE,
    "/alerts",
    "ALERT",
    f"{SITE}/movement",
    f"{SITE}/forecasts",
    f"{SITE}/instruments",
    f"{SITE}/thresholds",
    f"{SITE}/acts",
    "/notifications",
)
OUTSIDE = """
names => names.filter(name => {
  const element = document.querySelector(`.headline [data-answer="${name}"]`);
  const box = element.getBoundingClientRect();
  const isVisible = element.checkVisibility() && element.textContent.trim().length > 3;
  return !isVisible || box.top < 0 || box.left < 0 || box.bottom > innerHeight || box.right > innerWidth;
})
"""


@pytest.fixture(scope="module")
def after_failure(tmp_path_factory):
    """Serve the page of a slope that failed 50 minutes ago; return its address."""
    now = END + FAILS_AFTER + timedelta(minutes=50)
    with Database(f"sqlite:///{tmp_path_factory.mktemp('failed')}/failed.db") as db:
        slope = store_slope_at_red(db)
        while slope.now < now:
            slope.store_until(min(slope.now + timedelta(minutes=10), now))
        with PageServer(lambda _: build_app(parse_service("", "test"), db, lambda: now)) as server:
            yield server.url


@pytest.fixture
def open_page(chromium, red):
    pages = []

    def open_as(size, scheme="light", address=red[0]):
        width, height = SIZES[size]
        watch = Watch(chromium, width=width, height=height, scheme=scheme)
        pages.append(watch)
        watch.log_in(address, "bo")
        return watch

    yield open_as
    for watch in pages:
        watch.close()


@pytest.mark.parametrize("size", with_soak("phone", "desk"))
def test_first_screen_answers_the_five_questions_without_scrolling_or_a_fold(red, open_page, size):
    """Which stations move, since when, what to do, who was notified, what is not seen."""
    base, _ = red
    watch = open_page(size)
    watch.page.goto(base + SITE)
    watch.page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    assert watch.page.evaluate("scrollY") == 0
    assert watch.page.evaluate(OUTSIDE, ANSWERS) == []
    status = watch.page.locator("#part-status")
    answers = {name: status.locator(f'[data-answer="{name}"]').inner_text() for name in ANSWERS}
    assert re.search(r"\bG\d", answers["moving"])
    assert re.search(r"red since \d\d:\d\d", answers["since"])
    assert "Close the road" in answers["action"]
    assert "duty engineer" in answers["told"]
    assert "not yet acknowledged" in answers["told"]
    assert "R1" in answers["unseen"]


@pytest.mark.parametrize("size", with_soak("phone", "desk"))
def test_first_screen_still_answers_when_a_failure_is_expected(red, red_database, open_page, size):
    with red_database.write() as c:
        c.execute(failure_time.update().values(trusted=True))
    try:
        watch = open_page(size)
        watch.page.goto(red[0] + SITE)
        assert "Failure is possible" in watch.page.locator(".outlook").inner_text()
        assert watch.page.evaluate(OUTSIDE, ANSWERS) == []
    finally:
        with red_database.write() as c:
            c.execute(failure_time.update().values(trusted=False))


@pytest.mark.soak
@pytest.mark.parametrize("size", with_soak("phone", "desk"))
def test_first_screen_after_the_failure_answers_what_happened_before_everything_else(after_failure, open_page, size):
    watch = open_page(size, address=after_failure)
    watch.page.goto(after_failure + SITE)
    watch.page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    assert watch.page.evaluate(OUTSIDE, ANSWERS) == []
    silence = watch.page.locator("#part-status .silence").inner_text()
    assert re.search(r"[Aa]ll \d+ instruments on the slope have been silent since", silence)
    assert "keep everybody out" in silence
    unseen = watch.page.locator('#part-status [data-answer="unseen"]').inner_text()
    assert "stations on the slope" in unseen


def test_map_is_beside_the_situation_and_chart_below_has_the_full_width(red, open_page):
    watch = open_page("desk")
    watch.page.goto(red[0] + SITE)
    watch.page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    situation = watch.page.locator(".headline").bounding_box()
    chart = watch.page.locator("#chart").bounding_box()
    grid = watch.page.locator(".site-grid").bounding_box()
    assert chart["y"] >= situation["y"] + situation["height"]
    assert chart["width"] == pytest.approx(grid["width"], abs=2)
    place = watch.page.locator(".site-map").bounding_box()
    assert (place["y"], place["height"]) == pytest.approx((situation["y"], situation["height"]), abs=20)
    assert place["x"] > situation["x"] + situation["width"]
    assert situation["width"] + place["width"] > 0.97 * grid["width"]


@pytest.mark.soak
def test_chart_opens_with_the_velocity_that_the_level_rests_on(red, open_page):
    watch = open_page("desk")
    watch.page.goto(red[0] + SITE)
    chart = watch.page.locator("#chart")
    watch.page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    headline = watch.page.locator(".because").inner_text()
    fastest = watch.page.locator('[data-answer="moving"] b').inner_text().split(",")[0]
    titles = chart.locator(".pane .head b").all_inner_texts()
    assert titles[:2] == [f"Velocity {fastest}, mm/day", f"displacement downslope {fastest}, mm"]
    latest = chart.locator('[data-pane="lead"] .latest').inner_text()
    assert float(latest.split()[0]) == pytest.approx(float(re.search(r"(\d+) mm/day", headline)[1]), rel=0.01)
    legend = chart.locator(".key").inner_text()
    assert all(f"{level} over" in legend for level in ("yellow", "orange", "red"))


@pytest.mark.soak
def test_open_folds_do_not_overflow_a_phone(red, open_page):
    """The document stays as wide as the screen when every fold of a page is open."""
    base, alert = red
    watch = open_page("phone")
    wide = []
    for path in PAGES:
        watch.page.goto(base + path.replace("ALERT", alert))
        watch.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        watch.page.wait_for_load_state("networkidle")
        width = watch.page.evaluate("document.documentElement.scrollWidth")
        wide += [f"{path}: {width} pixels"] if width > 390 else []
    assert wide == []


@pytest.mark.soak
def test_site_with_one_person_and_one_channel_shows_no_duty_drills_or_approvals(red, open_page):
    watch = open_page("desk")
    for path in ("/", SITE):
        watch.page.goto(red[0] + path)
        links = watch.page.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert [link for link in links if re.search(r"/(duty|drills|signatures|proposals)$", link or "")] == []


@pytest.mark.soak
def test_printed_page_contains_level_action_recipients_and_tables(red, open_page, tmp_path):
    if (to_text := shutil.which("pdftotext")) is None:
        skip_missing("pdftotext (Debian package poppler-utils)")
    watch = open_page("desk", scheme="dark")
    watch.page.goto(red[0] + SITE)
    watch.page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    watch.page.pdf(path=str(tmp_path / "site.pdf"), format="A4", print_background=True)
    printed = subprocess.run(
        [to_text, "-layout", str(tmp_path / "site.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    first_page = printed.split("\f")[0]
    for text in ("State of 2026-03-20", "Red", "Close the road", "duty engineer", "not yet acknowledged"):
        assert text in first_page, text
    for text in ("velocity in", "Movement of each station", "Author and reason"):
        assert text in printed, text
