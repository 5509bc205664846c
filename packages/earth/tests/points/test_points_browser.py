"""Satellite points on the map in a real Chromium: squares from afar, points near by, one with its series, by keys."""

from datetime import timedelta

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from monitor.settings.service import load_service
from monitor.storage.service_state import write_heartbeat
from packages.earth.tests.points.test_point_looks import (
    CONFIG,
    COUNT,
    DATES,
    SITE,
    bench,  # noqa: F401
    draw,
    take,
    write,
)
from slopeward_earth.points import forecasts as point_forecasts
from slopeward_earth.points import map_squares as point_map
from slopeward_earth.points.store import maps as point_maps
from tests.browser.test_axe_browser import run as run_axe
from tests.browser.test_map_browser import launch, open_map, pytestmark, watch  # noqa: F401
from tests.fixtures.databases import ON_SQLITE
from tests.web.served import serving

AT = DATES[119] + timedelta(days=3)


def wait_for(page, layer, least):
    """Until so many marks of a layer are drawn; the page allows no script that could look for itself."""
    for _ in range(100):
        if page.evaluate(f"SlopewardMap.shown.queryRenderedFeatures({{ layers: ['{layer}'] }}).length") >= least:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"no {least} {layer} are drawn")


@pytest.mark.soak
@ON_SQLITE
def test_squares_become_points_and_one_tells_its_series(bench, watch, tmp_path, monkeypatch):  # noqa: F811
    for where in (point_map, point_maps):
        monkeypatch.setattr(where, "POINTS_MOST", 100)
    monkeypatch.setattr(point_map, "FEW", 20)
    take(bench, write(tmp_path / "a.csv", np.round(draw(), 1), 120), AT)
    point_map.run(bench, CONFIG, SITE, AT)
    point_forecasts.run(bench, CONFIG, SITE, AT)
    with bench.write() as c:
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, AT)
    with serving(bench, AT + timedelta(minutes=5), load_service(None, {})) as client:
        w = watch(width=760, height=900)
        page, base = w.page, str(client.base_url).rstrip("/")
        view = open_map(w, f"{base}/sites/bench")
        with page.expect_response("**/points.geojson*"):
            page.evaluate("SlopewardMap.shown.jumpTo({ center: [8.057, 46.04], zoom: 10.5 })")
        key, chosen = page.locator(".mapkey"), page.locator(".mapchosen")
        expect(key).to_contain_text(f"each square: median of its points; {COUNT} points")
        expect(key).to_contain_text("away from the satellite")
        expect(key).to_contain_text(f"from {DATES[0]:%Y-%m-%d} to {DATES[119]:%Y-%m-%d}, mm/year")
        wait_for(page, "squares", 6)
        at = "SlopewardMap.shown.queryRenderedFeatures({ layers: ['squares'] })[0].geometry.coordinates[0][0]"
        page.evaluate(f"SlopewardMap.shown.jumpTo({{ center: {at} }})")
        view.locator("canvas").focus()
        page.keyboard.press("Enter")
        expect(chosen).to_contain_text("Square of")
        expect(chosen).to_contain_text("Median")
        page.evaluate("SlopewardMap.shown.jumpTo({ center: [8.0025, 46.0], zoom: 16 })")
        expect(key).to_contain_text("every point is shown")
        wait_for(page, "points", 4)
        page.evaluate("SlopewardMap.shown.jumpTo({ center: [8.0025, 46.0] })")
        view.locator("canvas").focus()
        page.keyboard.press("Enter")
        expect(chosen).to_contain_text("Radar point p045")
        expect(chosen).to_contain_text("mm/year (")
        picture = chosen.get_by_role("img")
        expect(picture).to_have_attribute("aria-label", f"{chosen.locator('figcaption').inner_text()}")
        expect(chosen.locator("figcaption")).to_contain_text("interval of 80 %")
        assert chosen.locator("polygon.fan").count() == 1
        assert chosen.get_by_role("link").get_attribute("href") == "/sites/bench/instruments#points"
        assert (run_axe(Axe(), page), w.complaints, w.hosts) == ([], [], {"127.0.0.1"})
