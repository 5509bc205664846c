"""In Chromium, a calculated channel and a depth profile are drawn and described, and agree with SQL."""

import json
import random
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from sqlalchemy import text

from monitor.features.profiles.declare import list_profiles
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.service_state import write_heartbeat
from tests.browser.test_axe_browser import run as run_axe
from tests.browser.test_map_browser import launch, pytestmark, watch  # noqa: F401
from tests.data import site_text
from tests.features.profiles.test_profiles import DAY, NOW, PROBE, survey
from tests.fixtures.databases import ON_SQLITE
from tests.web.served import serving


def write():
    site = site_text.head("bench", levels=site_text.THREE)
    for name in ("G1", "G2"):
        site += site_text.station(name, site_text.series("displacement", "mm", noise_floor=0.1), azimuth_deg=90.0)
    site += "".join(site_text.station(name, latitude=46.0, longitude=8.0) for name in ("D1", "I1"))
    apart = {"station": "D1", "quantity": "crack_opening", "unit": "mm"}
    apart["expression"] = "G1.displacement_east - G2.displacement_east"
    return site + site_text.table("[[derived]]", **apart) + site_text.table("[[profile]]", **PROBE)


@pytest.mark.soak
@ON_SQLITE
def test_calculated_channel_and_profile_agree_with_sql(database, watch):  # noqa: F811
    site, rng = parse_site(write(), "bench.toml"), random.Random(1)
    probe, at = list_profiles(site)[0], NOW
    with database.write() as c:
        save_site(c, site, "Ada", "new", NOW)
    pipeline = Pipeline(database, {"bench": site}, lambda: at)

    def send(station, values):
        payload = json.dumps({"time": at.isoformat(), **values}).encode()
        assert pipeline.store([BrokerMessage(f"slopeward/v1/bench/{station}/obs", payload, at, "live")]).rejected == 0

    for day in range(22):
        at = NOW + day * DAY
        for station, pace in (("G1", 3.0), ("G2", 1.0)):
            parts = {"displacement_east_mm": pace * day, "displacement_north_mm": 0.0, "displacement_up_mm": 0.0}
            send(station, parts)
        if day % 7 == 0:
            send("I1", {f"{name}_mm": value for name, value in survey(probe, rng, 3.0 * day / 7).items()})
    pipeline.complete()
    with database.write() as c:
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, at)
    with database.read() as c:
        apart = c.execute(text("SELECT value, unit FROM latest_observation WHERE station = 'D1'")).one()
        slip = c.execute(text("SELECT slip_depth_m FROM slip_depth ORDER BY observed_at DESC LIMIT 1")).scalar_one()
    assert (round(apart.value, 9), apart.unit, slip) == (42.0, "mm", 5.25)
    with serving(database, at + timedelta(minutes=5)) as client:
        w = watch(width=1100, height=1300)
        page, base = w.page, str(client.base_url).rstrip("/")
        page.goto(f"{base}/sites/bench")
        row = page.locator("#station-D1")
        expect(row).to_contain_text("crack opening 42 mm")
        with page.expect_response("**/panes/D1/crack_opening*") as answer:
            page.get_by_role("combobox").first.select_option("D1")
        assert answer.value.status == 200
        page.get_by_role("link", name="Depth profiles").click()
        expect(page.get_by_role("main")).to_contain_text("slips at 5.25 m")
        images = page.get_by_role("img")
        assert [image.get_attribute("aria-label").split(":")[0] for image in images.all()] == ["I1", "I1"]
        # The zero reading has no rate.
        assert [image.locator("path").count() for image in images.all()] == [4, 3]
        assert run_axe(Axe(), page) == []
        assert w.complaints == []
        assert w.hosts == {"127.0.0.1"}
