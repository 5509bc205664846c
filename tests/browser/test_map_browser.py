"""Maps in Chromium: what they draw, which server they use, and what replaces them without WebGL."""

import re
import threading
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from detection.imagery.tiles.records import ReliefRequest
from detection.imagery.tiles.relief import make_relief
from monitor.alerts.evaluation_tables import site_state
from monitor.decision.keys import VoteKey
from monitor.decision.records import Memory, Vote
from monitor.features.scenes.queries.outlines import load_outlines
from monitor.features.scenes.tables import scene
from monitor.settings.service import load_service
from monitor.sites.tables import site
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from monitor.text.instants import epoch_s
from monitor.web.parts import templating
from tests.browser.test_axe_browser import run as run_axe
from tests.browser.test_web_browser import CHROMIUM, Watch, story
from tests.data.filled import DRAWN as ADDRESS
from tests.data.filled import make_drawable
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import skip_missing, wait_for
from tests.web.served import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DRAWN = 60_000
# A busy machine is slow, not wrong.
expect.set_options(timeout=DRAWN)


@pytest.fixture(scope="module")
def launch():
    """Return a function that starts Chromium once, with WebGL in software or without any."""
    if CHROMIUM is None:
        skip_missing("Chromium")
    from playwright.sync_api import sync_playwright

    drawing = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    bare = ["--disable-gpu", "--disable-3d-apis"]
    with sync_playwright() as p:
        browsers = {}

        def find_browser(*, is_bare):
            if is_bare not in browsers:
                arguments = ["--no-sandbox", *(bare if is_bare else drawing)]
                browsers[is_bare] = p.chromium.launch(executable_path=CHROMIUM, args=arguments)
            return browsers[is_bare]

        yield find_browser
        for browser in browsers.values():
            browser.close()


@pytest.fixture
def served(filled_sqlite_url, tmp_path):
    """Serve the filled database with votes, the relief of a generated elevation model and a file of tiles."""
    from detection.imagery.data.generate import write_scene

    folder = tmp_path / "scenes" / "north-bench"
    folder.mkdir(parents=True)
    (tmp_path / "tiles").mkdir()
    write_scene(tmp_path / "scene", 7, center_lon=8.9, center_lat=46.2, size_px=128)
    for out in (folder / ".relief.pmtiles", tmp_path / "tiles" / "land.pmtiles"):
        assert make_relief(ReliefRequest(tmp_path / "scene" / "dem.tif", out)).error == ""
    db = Database(filled_sqlite_url)
    votes = {"G1": 2, "E1": 3}
    memory = Memory(
        votes={VoteKey("v", s): Vote(n, epoch_s(story.NOW), epoch_s(story.NOW) + 86400, "x") for s, n in votes.items()}
    )
    with db.write() as c:
        c.execute(site_state.update().where(site_state.c.site == "north-bench").values(state=memory.to_json()))
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, story.NOW + timedelta(hours=1))
    environment = {"SLOPEWARD_PATHS__INBOX": str(tmp_path / "inbox"), "SLOPEWARD_MAP__TILES": str(tmp_path / "tiles")}
    with serving(db, story.NOW + timedelta(minutes=5), load_service(None, environment)) as client:
        yield str(client.base_url).rstrip("/"), db
    db.close()


@pytest.fixture
def watch(launch):
    opened = []

    def make(*, bare=False, **options):
        browser_page = Watch(launch(is_bare=bare), **options)
        opened.append(browser_page)
        browser_page.requests = []
        browser_page.page.on("request", lambda r: browser_page.requests.append(r.url))
        return browser_page

    yield make
    for browser_page in opened:
        browser_page.close()


def scroll_to_map(page):
    """Open the fold of the map, which an open alert closes, and scroll to the map."""
    page.evaluate("for (const one of document.querySelectorAll('details.panel:has([data-map])')) one.open = true")
    page.locator("[data-map]").scroll_into_view_if_needed()


def open_map(w, address):
    w.page.goto(address, timeout=DRAWN)
    scroll_to_map(w.page)
    w.page.locator(".mapview[data-drawn]").wait_for(timeout=DRAWN)
    return w.page.locator(".mapview")


def settle(page, drawn="SlopewardMap.shown"):
    """Wait until a map neither moves nor loads, and everything that it shows is drawn."""
    page.evaluate(f"new Promise(done => {{ {drawn}.once('idle', () => done()); {drawn}.triggerRepaint(); }})")


def count_colours(page):
    """Return the number of different colours in a screenshot of the map. A map that drew nothing has few."""
    import io

    from PIL import Image

    return len(Image.open(io.BytesIO(page.locator(".mapview").screenshot())).convert("RGB").getcolors(1 << 24))


@pytest.mark.soak
def test_map_of_a_site_draws_stations_and_requests_no_other_host(served, watch):
    base, _ = served
    w = watch(height=1200)
    view = open_map(w, f"{base}/sites/north-bench")
    expect(w.page.locator("#part-map")).to_be_hidden()
    w.page.wait_for_load_state("networkidle")
    # The relief alone has hundreds of greys.
    assert count_colours(w.page) > 500
    ranges = [url for url in w.requests if url.endswith(".pmtiles")]
    assert {url.rsplit("/", 1)[1] for url in ranges} == {"relief.pmtiles", "land.pmtiles"}
    assert not [url for url in w.requests if "glyph" in url or "font" in url]
    stations, chosen = w.page.get_by_label("Station of the map"), w.page.locator(".mapchosen")
    assert stations.locator("option").all_inner_texts()[1:] == ["E1: red", "G1: orange", "G2", "C1"]
    # At this zoom all markers overlap.
    w.page.evaluate("SlopewardMap.shown.setZoom(SlopewardMap.shown.getZoom() - 4)")
    settle(w.page)
    named = "SlopewardMap.shown.queryRenderedFeatures({ layers: ['station-names', 'station-asks'] })"
    assert set(w.page.evaluate(f"{named}.map(f => f.properties.station)")) == {"E1", "G1", "G2", "C1"}, (
        "every name is visible"
    )
    stations.select_option("E1")
    expect(chosen).to_contain_text("requests red")
    expect(chosen).to_contain_text("crack opening")
    assert chosen.get_by_role("link", name="in the table").get_attribute("href") == "#station-E1"
    assert w.page.locator(".mapview canvas").get_attribute("aria-label").startswith("Map of the site")
    stations.select_option("G1")
    # The map moves to the station.
    settle(w.page)
    stations.select_option("")
    box = view.bounding_box()
    w.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(chosen).to_contain_text("7 ± 0.4 mm/day")
    expect(chosen).to_contain_text("205° (azimuth of the site file)")
    place = w.page.locator(".mapplace")
    view.locator("canvas").focus()
    before = place.inner_text()
    w.page.keyboard.press("ArrowRight")
    expect(place).not_to_have_text(before)
    w.page.locator(".maptools summary").click()
    w.page.get_by_label("Radar points", exact=True).uncheck()
    expect(w.page.locator(".mapkey")).not_to_contain_text("radar points")
    w.page.get_by_label("Ground", exact=True).uncheck()
    w.page.evaluate(
        "() => { window.restyled = new Promise(done => SlopewardMap.shown.once('style.load', () => done())); }"
    )
    # The map is drawn again in the other theme, and hidden layers stay hidden.
    w.page.locator("#theme").click()
    w.page.evaluate("window.restyled")
    for layer in ("ground:relief", "points"):
        assert w.page.evaluate(f"SlopewardMap.shown.getLayoutProperty('{layer}', 'visibility')") == "none"

    assert (w.complaints, w.hosts) == ([], {"127.0.0.1"})


@pytest.mark.soak
def test_map_loads_on_scrolling_and_is_left_out_without_webgl(served, watch):
    base, _ = served
    w = watch(width=390, height=844, scheme="light")
    w.page.goto(f"{base}/sites/north-bench")
    w.page.wait_for_load_state("networkidle")
    assert not [url for url in w.requests if "maplibre" in url]
    scroll_to_map(w.page)
    w.page.locator(".mapview[data-drawn]").wait_for(timeout=DRAWN)
    w.page.wait_for_load_state("networkidle")
    assert w.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert (w.page.locator(".maptools[open]").count(), w.complaints) == (0, [])
    w = watch(bare=True)
    w.page.goto(f"{base}/sites/north-bench")
    scroll_to_map(w.page)
    w.page.wait_for_load_state("networkidle")
    expect(w.page.locator("#part-map")).to_be_visible()
    assert w.page.locator(".mapview").count() == 0
    situation, grid = (w.page.locator(name).bounding_box() for name in (".headline", ".site-grid"))
    assert situation["width"] == pytest.approx(grid["width"], abs=2), "the situation has the width of the map as well"
    assert not [url for url in w.requests if "maplibre" in url]
    assert w.complaints == []


@pytest.mark.soak
def test_stations_are_drawn_without_map_tiles(served, watch, monkeypatch):
    monkeypatch.setitem(templating.ENVIRONMENT.globals, "serves", lambda address: address != "GET /api/v1/map/tiles")
    base, _ = served
    w = watch(height=1200)
    open_map(w, f"{base}/sites/north-bench")
    w.page.wait_for_load_state("networkidle")
    named = "SlopewardMap.shown.queryRenderedFeatures({ layers: ['stations'] }).map(f => f.properties.station)"
    assert {"E1", "G1", "G2"} <= set(w.page.evaluate(named))
    assert not [url for url in w.requests if "pmtiles" in url or "zones" in url or url.endswith("bench/map")]
    assert w.complaints == []


@pytest.mark.soak
def test_overview_map_groups_sites_with_their_highest_level(served, watch):
    base, db = served
    tell(db, lambda c: c.execute(site.update().values(latitude=46.2, longitude=8.9)))
    w = watch(height=900)
    was_requested = threading.Event()
    w.page.on("request", lambda r: was_requested.set() if "sites.geojson" in r.url else None)
    open_map(w, base)
    assert was_requested.is_set()
    w.page.wait_for_load_state("networkidle")
    expect(w.page.locator(".sitesmap details")).to_have_attribute("open", "")
    group = w.page.evaluate("window.SlopewardMap.shown.queryRenderedFeatures({ layers: ['groups'] })[0].properties")
    assert (group["point_count"], group["worst"][1:]) == (2, "2orange")
    assert group["blind"] >= 1
    phone = watch(width=390, height=844)
    phone.page.goto(base)
    phone.page.wait_for_load_state("networkidle")
    expect(phone.page.locator(".sitesmap .mapview")).to_be_hidden()
    assert not [url for url in phone.requests if "maplibre" in url]
    phone.page.locator("summary", has_text="Map of the sites").click()
    phone.page.locator(".mapview[data-drawn]").wait_for(timeout=DRAWN)
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert w.complaints == phone.complaints == []


@pytest.mark.soak
def test_outline_is_drawn_corrected_and_stored(filled_sqlite_url, tmp_path, watch):
    db = Database(filled_sqlite_url)
    make_drawable(db, tmp_path)
    tell(
        db,
        write_heartbeat,
        "core",
        {"state": "running", "version": "x", "degraded": []},
        story.NOW + timedelta(hours=1),
    )
    with serving(db, story.NOW + timedelta(minutes=5)) as client:
        w = watch(width=390, height=1500)
        page = w.log_in(str(client.base_url).rstrip("/"), "bo", ADDRESS)
        page.locator(".mapview[data-drawn]").wait_for(timeout=DRAWN)
        view, message = page.locator(".mapview"), page.locator("#drawing .trouble")
        page.get_by_role("button", name="Draw an outline").click()
        at = view.bounding_box()
        x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
        for dx, dy in ((-60, 40), (60, 40), (300, 40)):
            page.mouse.click(x + min(dx, 80), y + dy)
        page.get_by_role("button", name="Undo").click()
        expect(message).to_have_text("Corners: 2")
        page.locator(".mapview canvas").focus()
        page.keyboard.press("ArrowUp")
        # Enter adds the third corner below the cross.
        page.keyboard.press("Enter")
        expect(message).to_have_text("Corners: 3")
        # A click on the first corner, which moved down with the map, closes the outline.
        page.mouse.click(x - 60, y + 50)
        expect(message).to_contain_text("Drag them")
        # The middle between the first two corners becomes a corner.
        page.mouse.move(x, y + 50)
        page.mouse.down()
        page.mouse.move(x, y + 80, steps=3)
        page.mouse.up()
        expect(message).to_contain_text("Corners: 4")
        assert run_axe(Axe(), page) == []
        page.get_by_role("region", name="Picture", exact=True).get_by_label("Note").fill("fresh scar")
        page.get_by_role("button", name="Store as bo").click()
        expect(message).to_contain_text("is stored")
        expect(page.locator("#drawn")).to_contain_text("fresh scar")
        page.get_by_role("button", name="Correct footprint p2").click()
        page.get_by_role("radio", name="no landslide, but looks like one").check()
        page.get_by_role("button", name="Store as bo").click()
        expect(page.locator("#found")).to_contain_text("dismissed: bo")
        corrected, drawn, _ = ask(db, load_outlines, "north-bench")
        assert (corrected.kind, corrected.from_polygon_id) == ("not_landslide", "p2")
        assert (drawn.kind, drawn.by, len(drawn.geometry["coordinates"][0])) == ("landslide", "bo", 5)
        assert (w.complaints, w.hosts) == ([], {"127.0.0.1"})
    db.close()


def write_scene_images(db, folder):
    """Write images of both scenes of the filled database with tiles. The earlier is blue and the later is red."""
    import numpy as np
    import rasterio
    from affine import Affine

    from detection.imagery.footprints.scene_tiles import make_tiles
    from detection.imagery.tiles.records import SceneTilesRequest

    place = {"driver": "GTiff", "crs": "EPSG:4326", "transform": Affine(1e-4, 0, 8.89, 0, -1e-4, 46.215)}
    place |= {"dtype": "uint8", "width": 256, "height": 256}
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    none = np.zeros_like(ramp)
    # A constant band cannot be stretched.
    none[0, :20] = 1
    for name, bands in (("before", (none, none, ramp)), ("scene", (ramp, none, none))):
        out = folder / f"results-{name}"
        out.mkdir()
        image = out / "20260225.tif"
        with rasterio.open(image, "w", count=3, **place) as file:
            file.write(np.stack(bands))
            for index, band in enumerate(("red", "green", "blue"), start=1):
                file.set_band_description(index, band)
        with rasterio.open(out / "prob.tif", "w", count=1, **place) as file:
            file.write(np.full((1, 256, 256), 180, np.uint8))
        assert make_tiles(SceneTilesRequest(image, story.NOW, out / "prob.tif", out)).error == ""
        with db.write() as c:
            c.execute(
                scene.update()
                .where(scene.c.scene_hash == story.HASHES[name])
                .values(
                    out_dir=str(out), run={"threshold": 0.5, "outputs": {"bounds": [8.89, 46.1894, 8.9156, 46.215]}}
                )
            )


def colour_at(page, share):
    """Return the colour of the map below its middle, at a share of its width."""
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(page.locator(".swipe").screenshot())).convert("RGB")
    return picture.getpixel((int(picture.width * share), int(picture.height * 0.7)))


def is_mostly(colour, channel):
    """Return whether a channel of a colour is the brightest and the others are not all equal to it."""
    return colour[channel] == max(colour) > min(colour)


@pytest.mark.soak
def test_handle_compares_two_dates_and_requests_no_other_host(served, watch, tmp_path):
    base, db = served
    write_scene_images(db, tmp_path)
    w = watch(width=640, height=700)
    open_map(w, f"{base}/sites/north-bench/scenes/{story.HASHES['scene']}")
    w.page.wait_for_load_state("networkidle")
    slider = w.page.get_by_label("Earlier image on the left")
    slider.focus()
    # The handle moves with the arrow keys.
    for _ in range(10):
        slider.press("ArrowRight")
    assert w.page.locator(".swipebar").evaluate("bar => bar.style.left") == "60%"
    blue, red = 2, 0
    wait_for(lambda: is_mostly(colour_at(w.page, 0.5), blue), description="the earlier image left of the handle")
    wait_for(lambda: is_mostly(colour_at(w.page, 0.64), red), description="the later image right of the handle")
    bar = w.page.locator(".swipebar").bounding_box()
    view = w.page.locator(".swipe").bounding_box()
    w.page.mouse.move(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    w.page.mouse.down()
    w.page.mouse.move(view["x"] + view["width"] * 0.2, bar["y"] + bar["height"] / 2, steps=4)
    w.page.mouse.up()
    assert slider.input_value() == "20"
    requested_scenes = {m[1] for url in w.requests if (m := re.search(r"/scenes/(\w+)/tiles/\d", url))}
    assert requested_scenes == {story.HASHES["scene"], story.HASHES["before"]}
    assert not [url for url in w.requests if "/probability/" in url], "tiles of hidden layers are not requested"
    opacity = w.page.get_by_label("Opacity of the probability")
    with w.page.expect_response(re.compile("/probability/")):
        opacity.fill("60")
    assert all(url.startswith((base, "data:", "blob:" + base)) for url in w.requests)
    w.page.get_by_label("Landslides shown").select_option("gone")
    drawn = "SlopewardScene.map.getStyle().layers.filter(l => /^age/.test(l.id) && l.layout?.visibility === 'visible')"
    assert w.page.evaluate(f"{drawn}.map(l => l.id)") == ["age-gone"]
    assert "probability of a landslide (0 to 1)" in w.page.locator(".mapkey").inner_text()
    w.page.emulate_media(color_scheme="dark")
    w.page.set_viewport_size({"width": 390, "height": 900})
    settle(w.page, "SlopewardScene.map")
    assert run_axe(Axe(), w.page) == []
    assert w.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 1
    bare = watch(bare=True)
    bare.page.goto(f"{base}/sites/north-bench/scenes/{story.HASHES['scene']}")
    expect(bare.page.locator("figcaption")).to_have_count(2)
    expect(bare.page.locator("#part-map")).to_be_visible()
