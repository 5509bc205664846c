"""An open page in a real Chromium follows changes: by the stream, after a restart, and without the stream."""

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import delete, update

from monitor.alerts.evaluation_tables import site_state
from monitor.people.tables import web_session
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from tests.browser.test_web_browser import chromium, watch  # noqa: F401 - fixtures
from tests.data.store_rows import tell
from tests.fixtures.waiting import REPOSITORY, free_port, wait_for
from tests.web.test_door import Clock, serving
from tests.web.test_rules import LOGIN_TO_READ

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SITE = "north-bench"
LEVEL_NAMES = ("green", "yellow", "orange", "red")
POLL_INTERVAL_S = 10.0
# Store the time at which the headline shows a level first.
RECORD_LEVELS = """() => {
  window.shownAt = {};
  const record = () => {
    const text = document.querySelector(".headline .level").textContent.toLowerCase();
    const level = ["green", "yellow", "orange", "red"].find((name) => text.includes(name));
    window.shownAt[level] ??= Date.now();
  };
  new MutationObserver(record).observe(document.getElementById("part-status"), {
    subtree: true, childList: true, characterData: true, attributes: true,
  });
}"""


class WebProcess:
    """The web process of the service on a database of its own, which can be stopped and started again."""

    def __init__(self, database_url):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environ = os.environ | {
            "SLOPEWARD_DATABASE__URL": database_url,
            "SLOPEWARD_WEB__PORT": str(self.port),
            "PYTHONPATH": str(REPOSITORY),
        }
        self._process = None

    def start(self):
        command = [sys.executable, "-m", "monitor.web.server"]
        self._process = subprocess.Popen(command, env=self._environ, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        wait_for(self._is_up, description="the web process")

    def stop(self):
        """Ask the process to end, and return the seconds that it took."""
        started_s = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        return time.monotonic() - started_s

    def _is_up(self):
        try:
            return httpx.get(f"{self.url}/login", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def service(filled_sqlite_url):
    process = WebProcess(filled_sqlite_url)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def database(filled_sqlite_url):
    with Database(filled_sqlite_url) as opened:
        tell(opened, write_heartbeat, "core", {"state": "running", "version": "x", "degraded": []}, datetime.now(UTC))
        yield opened


@pytest.fixture
def address(database):
    """Serve the page in this process, for tests that do not restart it."""
    with serving(database, lambda: datetime.now(UTC)) as served_address:
        yield served_address


class OpenPage:
    """The page of a site, with the answers of its stream of changes."""

    def __init__(self, page, url):
        self.page = page
        self.stream_answers = []
        self.refreshes = []
        page.on("response", self._record)
        page.goto(f"{url}/sites/{SITE}")
        page.evaluate(RECORD_LEVELS)

    def _record(self, response):
        if re.search(r"/changes(\?|$)", response.url):
            self.stream_answers.append(response.status)
        elif response.url.split("?")[0].endswith(f"/live/sites/{SITE}"):
            self.refreshes.append(response.status)

    def wait_for_stream(self, count):
        """Wait until the stream was opened for the `count`-th time, and the refresh that follows."""
        self.wait_until(lambda: self.stream_answers.count(200) >= count)

    def measure_delay_s(self, database, level):
        """Change the level of the site, and return the seconds until the page shows it."""
        self.page.evaluate("() => { window.shownAt = {}; }")
        with database.write() as c:
            c.execute(update(site_state).where(site_state.c.site == SITE).values(level=level))
        changed_at = time.time()
        name = LEVEL_NAMES[level]
        shown_ms = self.wait_until(lambda: self.page.evaluate("(name) => window.shownAt[name] ?? 0", name))
        return shown_ms / 1000 - changed_at

    def wait_until(self, condition):
        """Poll a condition while Playwright delivers events, and return its value."""

        def check():
            self.page.wait_for_timeout(20)
            return condition()

        return wait_for(check)


# The bound of two seconds holds on a quiet machine. Other tests run beside this one, so the usual bound is the interval
# at which a page without the stream polls.
DELAY_LIMITS_S = [POLL_INTERVAL_S, pytest.param(2.0, marks=pytest.mark.soak)]


@pytest.mark.soak
@pytest.mark.parametrize("limit_s", DELAY_LIMITS_S)
def test_a_level_appears_at_once_also_after_a_restart(service, database, watch, limit_s):  # noqa: F811
    opened = OpenPage(watch().page, service.url)
    opened.wait_for_stream(1)
    opened.page.evaluate("() => { window.isSamePage = true; }")
    delays_s = [opened.measure_delay_s(database, level) for level in (3, 1, 3)]
    assert statistics.median(delays_s) < limit_s, delays_s
    assert service.stop() < 20.0, "an open stream does not delay the end of the service"
    service.start()
    opened.wait_for_stream(2)
    delays_s = [opened.measure_delay_s(database, level) for level in (1, 3, 1)]
    assert statistics.median(delays_s) < limit_s, delays_s
    assert opened.page.evaluate("() => window.isSamePage")


@pytest.mark.soak
def test_a_change_during_a_restart_is_not_missed(service, database, watch):  # noqa: F811
    opened = OpenPage(watch().page, service.url)
    opened.wait_for_stream(1)
    opened.measure_delay_s(database, 3)
    service.stop()
    with database.write() as c:
        c.execute(update(site_state).where(site_state.c.site == SITE).values(level=1))
    service.start()
    opened.wait_until(lambda: opened.page.evaluate("() => 'yellow' in window.shownAt"))


@pytest.mark.soak
@pytest.mark.parametrize("limit_s", DELAY_LIMITS_S)
@pytest.mark.parametrize("way", ["refuse", "abort"])
def test_without_the_stream_the_page_polls_and_returns_to_it(address, database, chromium, way, limit_s):  # noqa: F811
    context = chromium.new_context(service_workers="block")
    page = context.new_page()

    def block(route):
        if way == "abort":
            route.abort()
        else:
            route.fulfill(status=503, headers={"Retry-After": "60"}, json={"error": "too many"})

    page.route(re.compile(r"/changes(\?|$)"), block)
    opened = OpenPage(page, address)
    delay_s = opened.measure_delay_s(database, 3)
    assert delay_s < 2.0 * POLL_INTERVAL_S
    assert 200 not in opened.stream_answers
    page.unroute(re.compile(r"/changes(\?|$)"))
    opened.wait_for_stream(1)
    delays_s = [opened.measure_delay_s(database, level) for level in (1, 3, 1)]
    assert statistics.median(delays_s) < limit_s, delays_s
    context.close()


def test_the_chart_loads_new_readings_after_a_change(address, database, watch):  # noqa: F811
    page = watch().page
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    opened = OpenPage(page, address)
    page.locator("#chart[data-drawn]").wait_for(timeout=60_000)
    opened.wait_for_stream(1)
    page.wait_for_timeout(3000)

    def count_chart_requests():
        return sum(re.search(r"/api/v1/sites/[^/]+/(panes|compare)/", url) is not None for url in requests)

    before = count_chart_requests()
    with database.write() as c:
        c.execute(update(site_state).where(site_state.c.site == SITE).values(evaluated_at=datetime.now(UTC)))
    opened.wait_until(lambda: count_chart_requests() > before)


@pytest.mark.soak
def test_with_the_stream_the_page_polls_less(address, watch):  # noqa: F811
    opened = OpenPage(watch().page, address)
    opened.wait_for_stream(1)
    opened.page.wait_for_timeout(1500)
    refreshes = len(opened.refreshes)
    opened.page.wait_for_timeout(2.2 * POLL_INTERVAL_S * 1000)
    assert len(opened.refreshes) == refreshes
    assert not opened.page.locator("#stale").is_visible()


SET_HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_page_closes_its_stream(filled_sqlite_url, watch):  # noqa: F811
    with Database(filled_sqlite_url) as database, serving(database, Clock()) as address:
        hub = address.app.state.change_hub
        page = watch().page
        page.goto(f"{address}/")
        wait_for(lambda: hub.stream_count == 1)
        page.evaluate(SET_HIDDEN, True)
        wait_for(lambda: hub.stream_count == 0)
        page.evaluate(SET_HIDDEN, False)
        wait_for(lambda: hub.stream_count == 1)
        page.goto("about:blank")
        wait_for(lambda: hub.stream_count == 0)


@pytest.mark.soak
def test_the_page_asks_for_a_login_when_the_session_ends(filled_sqlite_url, watch):  # noqa: F811
    with Database(filled_sqlite_url) as database, serving(database, Clock(), LOGIN_TO_READ) as address:
        opened = watch()
        opened.log_in(str(address), "ada", f"/sites/{SITE}")
        wait_for(lambda: address.app.state.change_hub.stream_count == 1)
        with database.write() as c:
            c.execute(delete(web_session))
        opened.page.get_by_label("Password").wait_for(timeout=60_000)


# Change details that the reader opened or closed to the state that the server sends.
MORPH_DETAILS = """() => {
  const makeList = (isFirstOpen, isSecondOpen, text) => {
    const list = document.createElement("div");
    for (const isOpen of [isFirstOpen, isSecondOpen]) {
      const details = document.createElement("details");
      details.open = isOpen;
      details.append(text);
      list.append(details);
    }
    return list;
  };
  const list = makeList(true, false, "old");
  morph(list, makeList(false, true, "new"));
  return [...list.children].map((details) => `${details.open} ${details.textContent}`);
}"""


@pytest.mark.soak
def test_details_stay_as_the_reader_left_them(chromium):  # noqa: F811
    page = chromium.new_page()
    script = (REPOSITORY / "monitor/web/static/live/morph.js").read_text(encoding="utf-8")
    page.add_script_tag(content=f"{script}; window.morph = morph;", type="module")
    page.wait_for_function("() => window.morph")
    assert page.evaluate(MORPH_DETAILS) == ["true new", "false new"]
    page.close()
