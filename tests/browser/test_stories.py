"""Stories of several people in a real Chromium: a threshold changed by two, a hand-over, a bulletin."""

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.alerting.acts.change_control import require_in_force
from monitor.config.service import parse_service, parse_site
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.schema.tables import site_state
from monitor.store.service_state import stamp
from monitor.web.app import build
from tests.browser.test_web_browser import Watch, chromium, story
from tests.conftest import absent
from tests.data.servers.page_server import PageServer

__all__ = ("chromium",)  # a fixture
pytestmark = [pytest.mark.browser, pytest.mark.slow]
EXAMPLE = Path(__file__).resolve().parents[2] / "configs" / "sites" / "north-bench.toml"
TEAM = """
[[recipient]]
name = "team:geologists"
levels = ["yellow", "red"]
[[recipient]]
name = "Bo Lind"
people = ["bo"]
channels = ["email:bo@example.org"]
phone = "+41 79 123 45 67"
[[recipient]]
name = "Ada Berg"
people = ["ada"]
channels = ["email:ada@example.org"]
[[team]]
name = "geologists"
members = ["Bo Lind", "Ada Berg"]
"""
NOW = story.NOW + timedelta(minutes=5)
LAKE = story.LAKE[: story.LAKE.index("[[recipient]]")] + story.CREPT + TEAM


CREEPS = "it creeps by 0.01 mm/day since the flood"
PDFTOTEXT = shutil.which("pdftotext")


class Place:
    """The page over the story, a folder with the site files, and who opens it."""

    def __init__(self, chromium, folder, url):
        self.db, self.sites, self._chromium = Database(url), folder / "sites", chromium
        self.sites.mkdir()
        shutil.copy(EXAMPLE, self.sites / EXAMPLE.name)
        (self.sites / "lake-slope.toml").write_text(LAKE, encoding="utf-8")
        self.site = parse_site(LAKE, "lake-slope.toml")
        with self.db.write() as c:
            save_site(c, self.site, "ada", "a team", story.NOW - timedelta(days=30))
            c.execute(
                site_state.update().where(site_state.c.site == "lake-slope").values(config_sha256=self.site.version)
            )
        self._server = PageServer(self._build).__enter__()
        self.base = self._server.url
        self._opened = []

    def _build(self, url):
        config = parse_service(f'[web]\npublic_url = "{url}"\n[paths]\nsites = "{self.sites}"\n', "test")
        return build(config, self.db, lambda: NOW)

    def enter(self, name, **look):
        """Somebody signs in, on a device of their own."""
        with self.db.write() as c:
            stamp(c, "core", {"state": "running", "version": "x", "degraded": []}, NOW + timedelta(minutes=10))
        watch = Watch(self._chromium, **look)
        self._opened.append(watch)
        watch.page.set_default_timeout(15_000)
        watch.log_in(self.base, name)
        return watch

    def leave(self):
        """All devices are closed; nothing was asked of another host, and no page complained."""
        for watch in self._opened:
            assert watch.complaints == []
            assert watch.hosts == {"127.0.0.1"}
            assert watch.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 1
            watch.close()
        self._opened.clear()

    def stop(self):
        for watch in self._opened:
            watch.close()
        self._server.__exit__()
        self.db.close()


@pytest.fixture(scope="module")
def place(chromium, filled_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories")
    shutil.copy(filled_template("sqlite")[0], folder / "filled.db")
    place = Place(chromium, folder, f"sqlite:///{folder}/filled.db")
    yield place
    place.stop()


def test_a_threshold_is_changed_by_two_after_they_saw_what_it_would_have_done(place):
    ada = place.enter("ada").page
    ada.goto(f"{place.base}/sites/lake-slope")
    ada.get_by_role("link", name="Thresholds", exact=True).click()
    ada.wait_for_url(re.compile("/thresholds$"))
    ada.get_by_role("group", name="level-1").get_by_label("yellow, over").fill("5")
    ada.get_by_label("Why (stands in the history").fill(CREEPS)
    ada.get_by_label("Replay the last months").fill("1")
    ada.get_by_role("button", name="Propose it").click()
    ada.wait_for_url(re.compile("/proposals"))
    mine = ada.locator("section", has_text=CREEPS)
    assert "You wrote it: a second person approves it." in mine.inner_text()
    assert mine.get_by_role("button", name="in force").count() == 0
    bo = place.enter("bo").page
    bo.goto(f"{place.base}/sites/lake-slope/proposals")
    theirs = bo.locator("section", has_text=CREEPS)
    read_effect(theirs)
    theirs.get_by_label("Why it may go into force").fill("the curve of X1 is quiet")
    theirs.get_by_role("button", name="in force as bo").click()
    assert bo.get_by_role("status").inner_text() == "change No. 2 is in force; the service takes it within seconds"
    text = (place.sites / "lake-slope.toml").read_text(encoding="utf-8")
    changed = [line for was, line in zip(LAKE.splitlines(), text.splitlines(), strict=True) if was != line]
    assert changed == [
        "yellow = {over = 5.0}  # the width after the flood of 2021",
        'author = "ada"',
        f'reason = "{CREEPS}"',
    ]
    with place.db.read() as c:
        assert require_in_force(c, "lake-slope").source == text
    place.leave()


def read_effect(where):
    """What both see: yellow since the tenth of February with the file in force, never with the one proposed."""
    assert "yellow first: 2026-02-10 13:02 CET with A, never with B" in where.inner_text()


def test_a_weekly_bulletin_is_opened_and_printed(place, tmp_path):
    if PDFTOTEXT is None:
        absent("pdftotext (Debian package poppler-utils)")
    page = place.enter("cy").page
    page.goto(f"{place.base}/sites/north-bench")
    page.get_by_role("link", name="Reports", exact=True).click()
    page.get_by_role("link", name="Weekly bulletin, HTML").click()
    page.wait_for_url(re.compile("/weekly.html$"))
    page.pdf(path=str(tmp_path / "bulletin.pdf"), format="A4", prefer_css_page_size=True)
    printed = subprocess.run(
        [PDFTOTEXT, "-layout", str(tmp_path / "bulletin.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    assert printed.count("\f") <= 3, "pages"
    for words in (
        "Weekly bulletin: North bench, pit 4",
        "2026-02-22 07:05 to 2026-03-01 07:05",
        "ORANGE",
        "Geologist on site, no work below bench 3",
        "G1 moves 21.4 mm/day over 2 d",
        "Failure possible 2026-03-04 07:00",
        "on site, haul road watched",
        "fresh crack above bench 3",
    ):
        assert words in printed, words
    assert page.locator("body").inner_text().split()[-1] in printed, "the digest"
    place.leave()
