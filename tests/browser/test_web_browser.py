"""The page in Chromium: charts, acts, refreshes and its warning about stale data. It requests no other host."""

import re
import shutil
import socket
import subprocess
import time
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.queries.alerts import find_alert
from monitor.alerts.tables import alert
from monitor.features.anomalies.queries.scores import AnomalyRow, add_anomalies
from monitor.features.forecasts.queries.forecasts import ForecastRow, WithheldRow, add_forecasts, add_withheld
from monitor.readings.queries.observations import load_series
from monitor.settings.service import load_service
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from monitor.web.app import build_app
from tests.data import filled as story
from tests.data.figures import bare_figures
from tests.data.servers.page_server import PageServer
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import skip_missing, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]
# A busy machine is slow, not wrong.
ACTION_TIMEOUT_MS = 120_000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        skip_missing("Chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=ACTION_TIMEOUT_MS)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def served(filled_sqlite_url, filled_template):
    db = Database(filled_sqlite_url)
    ids = filled_template("sqlite")[1]
    began = time.monotonic()
    now = lambda: story.NOW + timedelta(minutes=5, seconds=time.monotonic() - began)  # noqa: E731
    tell(
        db, write_heartbeat, "core", {"state": "running", "version": "x", "degraded": []}, now() + timedelta(minutes=10)
    )
    with PageServer(lambda _: build_app(load_service(None, {}), db, now)) as server:
        yield server.url, db, ids, server
    db.close()


class Watch:
    """A page that records its console messages and the hosts of its requests."""

    def __init__(self, chromium, width=1360, height=900, scheme="dark"):
        self.context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.context.set_default_timeout(ACTION_TIMEOUT_MS)
        self.page = self.context.new_page()
        self.complaints, self.hosts = [], set()
        self.page.on("console", self._record_message)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: self.hosts.add(urlsplit(r.url).hostname))

    def _record_message(self, message):
        # A graphics driver in software warns that it is slow, mainly under load.
        if message.type in {"error", "warning"} and "GL Driver Message" not in message.text:
            self.complaints.append(message.text)

    def log_in(self, base, name, to="/"):
        """Log in as a person and open a page."""
        self.page.goto(f"{base}/login?to={to}")
        self.fill_in(name)
        self.page.wait_for_url(f"{base}{to}")
        return self.page

    def fill_in(self, name, password=story.PASSWORD):
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.locator("main").get_by_role("button", name="Log in").click()

    def close(self):
        self.context.close()


@pytest.fixture
def watch(chromium):
    opened = []

    def make(**options):
        opened.append(Watch(chromium, **options))
        return opened[-1]

    yield make
    for browser_page in opened:
        browser_page.close()


def find_bare(page):
    """Return the numbers without a unit in the texts that scripts write beside the figures."""
    texts = page.locator("figure .key li, figure .latest, figure .says").all_inner_texts()
    assert texts
    return [bare for text in texts for bare in bare_figures(text)]


def add_unusual(db):
    """Store a newer forecast of G2 that is outside experience and ends before a failure window."""
    with db.write() as c:
        series = next(s for s in load_series(c, "north-bench") if (s.station, s.quantity) == WITH_FAN)
        at = story.NOW + timedelta(minutes=1)
        (last,) = (r for r in load_view(c, "latest_forecast", station="G2") if (r["model"], r["horizon_s"]) == SHOWN)
        value = last["data_value"]
        fan = {"q025": -2.0, "q10": -1.0, "q50": 0.0, "q90": 0.5, "q975": 1.0}
        same = {"series_id": series.id, "issued_at": at, "data_until": story.NOW, "as_of_received_at": at}
        named = {"model": "combined", "model_hash": "", "baseline": "line", "baseline_q50": value, "data_value": value}
        display = {"shown": True, "reason": OUTSIDE, "novelty": 9.6}
        rows = []
        for day, width in ((1.0, 4.0), (7.0, 60.0)):
            aims = {"target_at": story.NOW + timedelta(days=day), "horizon_s": day * 86400.0}
            band = {name: value - 12.0 * day + widths * width for name, widths in fan.items()}
            rows.append(ForecastRow(**same, **aims, **band, **named, **display))
        add_forecasts(c, rows)
        add_withheld(
            c, [WithheldRow(series.id, "lstm", "not trained yet"), WithheldRow(series.id, "combined", TOO_FAR)], at
        )


WITH_FAN, SHOWN = ("G2", "displacement_north"), ("combined", 86400.0)
OUTSIDE = "outside experience: velocity is 12 times the largest of the past"
TOO_FAR = "the failure window ends before 30 d ahead, so that the motion cannot be forecast"


def open_chart(w, base, query=""):
    w.page.goto(f"{base}/sites/north-bench{query}")
    chart = w.page.locator("#chart")
    w.page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    w.page.evaluate("for (const one of document.querySelectorAll('#chart details.fold')) one.open = true")
    chart.evaluate("chart => chart.scrollIntoView()")
    return chart


def wait_drawn(chart, act):
    """Perform an action that makes the chart load data, and wait until the chart is drawn again."""
    before = chart.get_attribute("data-drawn")
    act()
    chart.locator(f"xpath=self::*[@data-drawn != '{before}']").wait_for(timeout=60_000)


@pytest.mark.soak
def test_chart_of_a_site_shows_all_panes_without_console_messages(served, watch):
    base, db, *_ = served
    add_unusual(db)
    w = watch()
    chart = open_chart(w, base)
    assert chart.locator("[data-span='2d']").get_attribute("aria-pressed") == "true", (
        "the default span is short because an alert is open"
    )
    wait_drawn(chart, lambda: chart.get_by_role("button", name="30 d").click())
    assert w.page.locator(".headline .level .big").inner_text().strip().lower() == "orange"
    assert "Geologist on site" in w.page.locator(".headline").inner_text()
    titles = chart.locator(".pane .head b").all_inner_texts()
    assert (titles[:2], "rain R1 in 6 h, mm" in titles) == (["Velocity G1, mm/day", "displacement north G1, mm"], True)
    assert "pore pressure P1, kPa" in titles
    assert chart.locator(".pane canvas").count() == len(titles)
    legend = chart.locator(".key").inner_text()
    for word in ("forecast", "80 %", "95 %", "observed", "orange over 20 mm/day", "velocity in 2 d"):
        assert word in legend
    assert "weighted mean of experts, weights by past errors: line 80 %" in chart.locator(".says").inner_text()
    assert find_bare(w.page) == []
    # The bar below the chart shows the level and marks. One of the marks links to its alert.
    assert chart.locator(".foot .rb-2").count() >= 1
    assert "level" in chart.locator('.foot a[href^="/alerts/"]').first.get_attribute("aria-label")
    # The cursor shows the values of every pane at its time, in local time and UTC.
    box = chart.locator('.pane[data-pane="lead"] .u-over').bounding_box()
    w.page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"])
    assert re.search(r"2026-02-2\d \d\d:\d\d CET \(.*UTC\)", chart.locator(".when").inner_text())
    reads = chart.locator(".pane .read").all_inner_texts()
    assert "velocity in 7 d: " in reads[0]
    assert "observed: -" in reads[1]
    assert all("mm" in one for one in reads[:2])
    # The left arrow key announces the newest value to screen readers.
    chart.locator(".stack").focus()
    w.page.keyboard.press("Escape")
    w.page.keyboard.press("ArrowLeft")
    assert "observed: -111.4 mm" in chart.locator(".spoken").inner_text()
    # The forecast of a fast station is outside experience.
    wait_drawn(chart, lambda: chart.locator("[name=station]").select_option("G2"))
    wait_drawn(chart, lambda: chart.locator("[name=quantity]").select_option("displacement_north"))
    assert "80 %, outside experience" in chart.locator(".key").inner_text()
    assert f": {OUTSIDE}. Further ahead no forecast: {TOO_FAR}." in chart.locator(".says").inner_text()
    wait_drawn(chart, lambda: chart.locator("[name=quantity]").select_option("displacement_downslope"))
    assert "Computed from east, north and up" in chart.locator(".says").inner_text()
    chart.get_by_text("Newest values as a table").click()
    assert chart.locator(".figures tbody tr").count() == 20
    # With all stations, each curve has a name at its end and its own dash pattern.
    wait_drawn(chart, lambda: chart.locator("[name=station]").select_option("*"))
    assert {"G1", "G2"} <= set(chart.locator(".key").inner_text().split())
    assert (w.complaints, w.hosts) == ([], {"127.0.0.1"})


@pytest.mark.soak
def test_chart_zooms_by_drag_key_wheel_and_link(served, watch):
    base, *_ = served
    w = watch()
    chart = open_chart(w, base)
    wait_drawn(chart, lambda: chart.get_by_role("button", name="30 d").click())
    requests = []
    w.page.on("request", lambda r: requests.append(r.url) if "/panes/" in r.url else None)
    box = chart.locator('.pane[data-pane="lead"] .u-over').bounding_box()

    def drag():
        w.page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 40)
        w.page.mouse.down()
        w.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 60, steps=4)
        w.page.mouse.up()

    def read_requested_span():
        match = re.search(r"from=([^&]+)&to=([^&]+)", requests[-1])
        return parse_time(match[2]) - parse_time(match[1])

    wait_drawn(chart, drag)
    narrow = read_requested_span()
    assert timedelta(days=8) < narrow < timedelta(days=14)
    chart.locator(".stack").focus()
    wait_drawn(chart, lambda: w.page.keyboard.press("+"))
    assert read_requested_span() == pytest.approx(narrow / 2, rel=0.01)
    w.page.mouse.move(box["x"] + 100, box["y"] + 50)
    wait_drawn(chart, lambda: w.page.mouse.wheel(0, 200))
    assert read_requested_span() > 0.9 * narrow
    chart.locator(".stack").focus()
    wait_drawn(chart, lambda: w.page.keyboard.press("0"))
    assert "span=30d" in requests[-1]
    chart = open_chart(w, base, "?at=2026-02-20T06:00:00Z&span=4d&station=G2&quantity=displacement_east")
    assert chart.locator("[name=station]").input_value() == "G2"
    assert chart.locator("[name=quantity]").input_value() == "displacement_east"
    assert "from=2026-02-17T06" in requests[-1]
    open_chart(w, base, "?span=7d")
    assert "span=7d" in requests[-1]
    chart = open_chart(w, base, "?at=%3Cscript%3E&span=9999999999999d&station=%22%3E&quantity=constructor")
    assert chart.locator("[name=station]").input_value() == "G1"
    chart = open_chart(w, base, "?at=2026-02-20T06:00:00Z&span=99999999999999d")
    chart.locator(".stack").focus()
    for _ in range(60):
        w.page.keyboard.press("-")
    w.page.wait_for_load_state("networkidle")
    assert "could not be loaded" not in chart.locator(".says").inner_text()
    assert w.complaints == []


def test_movement_page_shows_stage_window_daily_drift_and_votes(served, watch):
    base, db, *_ = served
    w = watch()
    w.page.goto(f"{base}/sites/north-bench")
    w.page.locator("#chart").get_by_role("link", name="movement").click()
    why = w.page.locator("section:has(#h-why)").inner_text()
    assert "orange stays: a person must lower it" in why, (
        "the votes request yellow only; the level of the site is orange"
    )
    vote = w.page.locator("section:has(#h-why) tr", has_text="rate-1 · E1")
    assert vote.locator("td", has_text="counted").count() >= 1
    w.page.locator("select[name=station]").select_option("G1")
    for figure in w.page.locator("figure[data-plot]").all():
        figure.scroll_into_view_if_needed()
        figure.locator("xpath=self::*[@data-drawn]").wait_for(timeout=60_000)
    ribbon = w.page.locator('figure[data-plot="ribbon"] .key').inner_text()
    assert "orange" in ribbon
    assert "progressive" in ribbon
    day = w.page.locator('figure[data-plot="day"]')
    assert day.count() == 1, "only series with a reading every three hours or less have a daily figure"
    assert "within a day it moves by 1.5 mm" in day.locator(".says").inner_text()
    window = w.page.locator('figure[data-plot="window"][data-station="G1"]')
    assert "Trusted" in window.locator(".says").inner_text()
    assert "not trusted" in window.locator(".key").inner_text()
    assert find_bare(w.page) == []
    newest = ask(db, load_view, "movement_history", order_by=["-at"], site="north-bench", station="G1")[0]
    velocity = w.page.locator('figure[data-plot="velocity"][data-station="G1"] .latest').inner_text()
    inverse = w.page.locator('figure[data-plot="inverse"][data-station="G1"] .latest').inner_text()
    assert f"{newest['velocity_mm_per_day']:.3g} mm/day (stage)" in velocity
    assert f"{newest['inverse_velocity_day_per_mm']:.4g} day/mm (stage)" in inverse
    # Both figures show the values that the bounds use. Each inverse belongs to its velocity.
    rates = [(m[0], float(m[1])) for m in re.findall(r"(\S+) mm/day in (\d+)", velocity)]
    inverses = {b: float(a) for a, b in re.findall(r"(\S+) day/mm in (\d+)", inverse)}
    for rate, hours in rates:
        if str(int(hours)) in inverses:
            assert inverses[str(int(hours))] * float(rate) == pytest.approx(1.0, rel=0.02)
    assert w.page.locator("figure.empty .plot:visible").count() == 0, "a figure without data is one line of text"
    assert "82" in w.page.locator('figure[data-plot="angle"][data-station="G1"]').locator(".latest").inner_text()
    assert (w.complaints, w.hosts) == ([], {"127.0.0.1"})


def test_page_of_a_site_on_a_phone_is_short_and_acknowledges_with_one_tap(served, watch):
    base, db, ids, _ = served
    number = ids["hazard_alert"]
    with db.write() as c:
        c.execute(
            alert.update()
            .where(alert.c.id == number)
            .values(state="unacknowledged", acknowledged_at=None, acknowledged_by=None)
        )
    w = watch(width=390, height=844)
    w.page.goto(f"{base}/sites/north-bench")
    head = w.page.locator("#part-status")
    assert "G1 moves 21.4 mm/day over 2 d" in head.inner_text()
    assert "G1: 1 of 1 station is faster than creep" in head.inner_text()
    assert "7 mm/day" not in head.inner_text(), "only the velocity of the votes is shown"
    assert "Failure is possible from 2026-03-04 07:00 to 2026-03-12 07:00, middle" in head.inner_text()
    assert w.page.evaluate("document.documentElement.scrollHeight") <= 3 * 844
    folded = w.page.locator("details.fold")
    assert folded.count() >= 6
    assert folded.evaluate_all("parts => parts.filter(part => part.open).length") == 0
    w.page.get_by_role("link", name="Log in to acknowledge").first.click()
    w.fill_in("bo")
    # The login leads back to the same page.
    w.page.wait_for_url(f"{base}/sites/north-bench")
    w.page.get_by_role("button", name="I am on my way").click()
    w.page.wait_for_url(re.compile("told=.*acknowledged"))
    assert ask(db, find_alert, number).acknowledged_by == "bo"
    w.page.goto(f"{base}/alerts/{number}")
    # The printed page is dark on white and has no forms.
    w.page.emulate_media(media="print")
    assert w.page.evaluate("getComputedStyle(document.querySelector('.panel')).backgroundColor") == "rgb(255, 255, 255)"
    assert w.page.locator("main form:visible").count() == 0
    assert not w.page.get_by_role("heading", name="Add what you saw").is_visible()
    w.page.emulate_media(media="screen")
    w.page.goto(f"{base}/sites/north-bench#reports")
    assert w.page.get_by_label("What", exact=True).is_visible()
    # The server must not stop during a response.
    w.page.wait_for_load_state("networkidle")
    assert w.complaints == []


def test_new_level_appears_without_reload_or_scrolling(served, watch):
    base, db, *_ = served
    w = watch(height=500)
    w.page.goto(f"{base}/sites/north-bench")
    w.page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    w.page.evaluate("window.marked = true; window.scrollTo(0, 900)")
    w.page.wait_for_timeout(200)
    before = w.page.evaluate("window.scrollY")
    with db.write() as c:
        c.execute(site_state.update().where(site_state.c.site == "north-bench").values(level=3, observability="blind"))
    # The content security policy of the page forbids `wait_for_function` with a string.
    w.page.locator(".headline .level .big", has_text=re.compile("red", re.IGNORECASE)).wait_for(timeout=60_000)
    assert w.page.locator(".headline .sight .big").inner_text().strip().lower() == "blind"
    assert w.page.evaluate("window.marked") is True
    assert abs(w.page.evaluate("window.scrollY") - before) < 60
    assert w.complaints == []


def test_refresh_keeps_typed_and_chosen_values(served, watch):
    base, db, *_ = served
    w = watch(height=900)
    w.log_in(base, "ada", "/sites/north-bench/instruments")
    w.page.evaluate("window.marked = true")
    runs = w.page.locator("#anomalies li[id^=run-]")
    first = runs.nth(0).get_attribute("id")
    chosen = w.page.locator(f"[id='{first}'] select")
    w.page.locator("#anomalies > summary").click()
    chosen.select_option("movement")
    search = w.page.get_by_role("searchbox")
    search.press_sequentially("G")
    with db.write() as c:
        series = next(s for s in load_series(c, "north-bench") if s.station == "G2")
        add_anomalies(c, [AnomalyRow(series.id, story.NOW, "rules", 9.0, 1.0, 0.1, "step", True)], story.NOW)
        c.execute(site_state.update().where(site_state.c.site == "north-bench").values(observability="blind"))
    w.page.locator("#anomalies li[id^=run-G2]").wait_for(timeout=60_000)
    assert w.page.evaluate("window.marked") is True, "the page was not loaded again"
    assert runs.nth(0).get_attribute("id") != first, "the newest anomaly is first"
    assert chosen.input_value() == "movement", "the chosen value stays at its anomaly"
    assert runs.nth(0).locator("select").input_value() == "unknown", "the new anomaly has the default value"
    search.press_sequentially("2")
    assert search.input_value() == "G2", "the search field keeps focus and text"
    assert w.complaints == []


def answers(base):
    with socket.socket() as probe:
        return probe.connect_ex((urlsplit(base).hostname, urlsplit(base).port)) == 0


def test_page_warns_when_its_server_is_unreachable(served, watch):
    base, _, _, server = served
    w = watch()
    w.page.clock.install()
    w.page.goto(base)
    assert not w.page.locator("#stale").is_visible()
    server.stop()
    wait_for(lambda: not answers(base), description="the server's end")
    w.page.clock.run_for(45_000)
    w.page.locator("#stale").wait_for(state="visible", timeout=60_000)
    band = w.page.locator("#stale").inner_text()
    assert "not being refreshed" in band
    assert re.search(r"\d\d:\d\d:\d\d CET", band), "the time has a zone"


@pytest.mark.soak
def test_layout_is_stable_after_the_first_paint(served, watch):
    base, *_ = served
    w = watch()
    w.page.goto(f"{base}/sites/north-bench")
    w.page.evaluate(
        "window.shift = 0; new PerformanceObserver(l => { for (const e of l.getEntries()) window.shift += e.value; })"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    # The chart is drawn last.
    w.page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    w.page.wait_for_timeout(300)
    assert w.page.evaluate("window.shift") < 0.05


@pytest.mark.soak
def test_page_is_readable_without_scripts(served, chromium):
    base, *_ = served
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(base)
    text = page.locator("body").inner_text()
    assert "Scripts are off, so this page is not refreshed" in text
    assert "Geologist on site" in text
    context.close()


@pytest.mark.soak
def test_login_after_guesses_solves_a_proof_of_work(served, watch):
    base, *_ = served
    # This server accepts the forwarded address of a request from loopback.
    for n in range(8):
        form = {"name": "bo", "password": "wrong password"}
        httpx.post(
            f"{base}/login", data=form, headers={"X-Forwarded-For": f"198.51.100.{n}"}, trust_env=False, verify=False
        )
    w = watch()
    w.page.goto(base + "/login?to=/alerts")
    # The first answer contains the proof of work.
    for _ in range(2):
        w.fill_in("bo")
        w.page.wait_for_load_state()
    w.page.get_by_role("button", name="Log out").wait_for(timeout=90_000)
    assert (w.page.url, [c for c in w.complaints if "429" not in c]) == (base + "/alerts", [])


@pytest.mark.soak
def test_weekly_bulletin_is_opened_and_printed(served, watch, tmp_path):
    if (to_text := shutil.which("pdftotext")) is None:
        skip_missing("pdftotext (Debian package poppler-utils)")
    base, *_ = served
    w = watch()
    page = w.log_in(base, "cy", "/sites/north-bench")
    page.get_by_role("link", name="Reports", exact=True).click()
    page.get_by_role("link", name="Weekly bulletin, HTML").click()
    page.wait_for_url(re.compile("/weekly.html$"))
    page.pdf(path=str(tmp_path / "bulletin.pdf"), format="A4", prefer_css_page_size=True)
    printed = subprocess.run(
        [to_text, "-layout", str(tmp_path / "bulletin.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    assert printed.count("\f") <= 3, "number of pages"
    for words in (
        "Weekly bulletin: North bench, pit 4",
        "2026-02-22 07:05 to 2026-03-01 07:05",
        "ORANGE",
        "Geologist on site, no work below bench 3",
        "G1 moves 21.4 mm/day over 2 d",
        "Failure possible between 2026-03-04 07:00",
        "on site, haul road watched",
        "fresh crack above bench 3",
    ):
        assert words in printed, words
    assert page.locator("body").inner_text().split()[-1] in printed, "the digest is printed"
    assert (w.complaints, w.hosts) == ([], {"127.0.0.1"})
