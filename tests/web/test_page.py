"""Texts and figures of the page for the filled database, on both kinds of database."""

import logging
import re
import socket
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from detection.imagery.footprints.records import MAKING, NOT_MADE
from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.queries.evaluations import find_state, save_memory
from monitor.alerts.tables import alert, alert_event
from monitor.decision.records import Condition, Memory
from monitor.features.scenes.tables import scene
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.sites.tables import site
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from monitor.text.instants import epoch_s
from monitor.web.app import build_app
from monitor.web.parts import collect
from monitor.web.parts.templating import ENVIRONMENT
from monitor.web.server import PageServer
from tests.data.store_rows import tell
from tests.fixtures.waiting import wait_for
from tests.markup import flatten_html
from tests.web.served import NOW, client, database, filled, serving, story

__all__ = ["client", "database", "filled"]  # fixtures
CONFIGURED = (Path(__file__).resolve().parents[2] / "configs/sites/north-bench.toml").read_text()


def test_overview_shows_level_observability_reachable_level_and_action(client):
    text = client.get("/").text
    assert "Geologist on site, no work below bench 3" in text
    assert "Only <b>yellow</b> can be reached at every instrument." in " ".join(text.split())
    # The site with the higher level is first.
    assert text.index("North bench") < text.index("Lake slope")
    for word in ("Orange", "Full", "Degraded"):
        assert word.lower() in text.lower()
    assert "<dt>Stage</dt><dd>progressive</dd>" in flatten_html(text)
    assert "Nothing is being evaluated" not in text
    assert "of open alerts could not be delivered" in text
    late = "older readings are still being stored"
    assert [late in client.get(f"/sites/{name}").text for name in ("lake-slope", "north-bench")] == [True, False]
    assert text.count(late) == 1


def test_page_names_motion_that_no_criterion_with_a_vote_reads(client, monkeypatch):
    warning = "No criterion with a vote reads"
    assert warning not in client.get("/sites/north-bench").text
    advice = CONFIGURED.replace('kind = "velocity"', 'kind = "velocity"\nrole = "advice"')
    monkeypatch.setattr(collect, "find_declaration", lambda *_: parse_site(advice, "north-bench.toml"))
    text = client.get("/sites/north-bench").text
    assert f"{warning} G1.displacement, G2.displacement: motion there raises no level." in text
    assert text.index("What we see") < text.index(warning) < text.index("<dt>Newest reading")


def test_overview_lists_quiet_sites(database, monkeypatch):
    with database.write() as c:
        c.execute(update(site_state).where(site_state.c.site == "lake-slope").values(level=0, observability="full"))
        c.execute(update(alert).where(alert.c.site == "lake-slope").values(closed_at=NOW))
    with serving(database, NOW) as browser:
        assert "quiet site" not in browser.get("/").text, "with few sites, each has a card"
        monkeypatch.setattr("monitor.web.parts.collect.MOST_CARDS", 1)
        text = browser.get("/").text
    assert "1 quiet site" in text
    assert re.search(r"1 quiet site.*Lake slope", text, re.DOTALL)


def test_page_states_that_a_site_is_in_shadow_mode(client, database):
    assert "Shadow mode" not in client.get("/").text + client.get("/sites/north-bench").text
    with database.write() as c:
        c.execute(update(site).where(site.c.id == "north-bench").values(shadow=True))
        c.execute(update(alert_event).where(alert_event.c.alert_id == 1).values(shadow=True))
    assert "Shadow mode" in client.get("/").text
    assert "Its messages go only to the people of the trial" in client.get("/sites/north-bench").text
    assert "Only the people of the trial were notified" in client.get("/alerts/1").text
    assert {row["site"]: row["shadow"] for row in client.get("/api/v1/sites").json()}["north-bench"] is True


@pytest.mark.parametrize(
    ("at", "state", "words"),
    [(timedelta(minutes=-5), "running", "core process is silent"), (timedelta(), "stopped", "service was stopped")],
)
def test_every_page_shows_that_evaluation_has_stopped(client, database, at, state, words):
    tell(database, write_heartbeat, "core", {"state": state}, NOW + at)
    for path in ("/", "/sites/north-bench", "/alerts", "/alerts/1", "/login"):
        assert words in client.get(path).text, path
    assert client.get("/health").status_code == 503
    assert words in client.get("/live/overview").json()["parts"]["banner"]


@pytest.mark.parametrize("picture", ["preview", "change"])
def test_only_pictures_of_the_scene_are_served_also_for_relative_paths(
    client, database, tmp_path, monkeypatch, picture
):
    monkeypatch.chdir(tmp_path)
    digest = story.HASHES["scene"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shown.png").write_bytes(b"\x89PNG picture")
    (tmp_path / "secret.png").write_bytes(b"secret")
    address = f"/api/v1/sites/north-bench/scenes/{digest}/{picture}.png"
    names = {"../secret.png": 404, "/etc/hostname": 404, "none.png": 404, "out/shown.png": 200, "shown.png": 200}
    for name, status in names.items():
        change = {"outputs": {"picture": name}, "warnings": ["season or radiometry differs"]}
        run = {"outputs": {"preview": name, "bounds": [8.89, 46.19, 8.91, 46.21]}, "change": change}
        out = "out" if name.startswith("out/") else str(tmp_path / "out")
        with database.write() as c:
            c.execute(update(scene).where(scene.c.scene_hash == digest).values(out_dir=out, run=run))
        assert client.get(address).status_code == status, name
    page = client.get("/sites/north-bench").text
    assert (f'href="{address}"' in page) == (picture == "change")
    assert "season or radiometry differs" in page
    assert "flat ground (3 degrees)" in page


def test_page_shows_that_a_picture_is_being_made(client, database, tmp_path):
    digest, out = story.HASHES["scene"], tmp_path / "out"
    out.mkdir()
    bounds = [8.89, 46.19, 8.91, 46.21]
    run = {"outputs": {"preview": str(out / "preview.png"), "bounds": bounds}, "model_hash": "m" * 64}
    with database.write() as c:
        c.execute(update(scene).where(scene.c.scene_hash == digest).values(out_dir=str(out), run=run))
    address, page = f"/api/v1/sites/north-bench/scenes/{digest}/preview.png", f"/sites/north-bench/scenes/{digest}"
    item = f"/api/v1/sites/north-bench/stac/items/{digest}"

    def look():
        shown = address in client.get(page).text
        (row,) = (r for r in client.get("/api/v1/sites/north-bench/scenes").json() if r["scene_hash"] == digest)
        return shown, row["bounds"], "preview" in client.get(item).json()["assets"]

    (out / MAKING).write_text("{}")
    assert look() == (False, None, False)
    assert "The picture of this scene is being made" in client.get(page).text
    assert "The picture of this scene is being made" in client.get(f"{page}/outlines").text
    assert client.get(address).json() == {"error": "the picture of this scene is being made"}
    assert client.get(address.replace("preview", "change")).json() == {"error": "this scene has no picture"}
    (out / NOT_MADE).write_text("{}")
    assert look() == (False, None, False), "the image could not be made"
    assert client.get(address).json() == {"error": "this scene has no picture"}
    assert "This scene has no picture" in client.get(f"{page}/outlines").text
    (out / MAKING).unlink()
    (out / NOT_MADE).unlink()
    assert look() == (False, None, False), "the image was deleted"
    (out / "preview.png").write_bytes(b"\x89PNG picture")
    assert look() == (True, bounds, True)


def test_empty_database_is_no_error(database_url):
    with closing(Database(database_url)) as database, serving(database, datetime(2026, 3, 1, tzinfo=UTC)) as c:
        first = flatten_html(c.get("/").text).partition("No site yet")[2]
        ways = re.findall(r'<summary>(.*?)</summary>|<a class="button" href="(.*?)"', first)
        expected = ["Try the demo", "/files", "Connect an instrument", "Write a site file"]
        assert [one or other for one, other in ways][:4] == expected
        assert "never run on this database" in c.get("/").text
        assert (c.get("/health").status_code, c.get("/api/v1/sites").json()) == (503, [])
        for path in ("/alerts", "/notifications", "/metrics"):
            assert c.get(path).status_code == 200


def test_unproven_criterion_is_marked_beside_its_role(client, database):
    site = story.load_story_sites()[0]
    assert "in the site file, but not proven on this site" not in client.get(f"/sites/{site.id}").text
    reason = "velocity-1 counts as advice only: no test of rules is stored for this site; to test it, run x"
    condition = Condition("health", 2, epoch_s(NOW), reason)
    # The condition of the newest decision has no open alert, because a person may have closed the alert.
    with database.write() as c:
        memory = Memory.read(find_state(c, site.id).state)
        memory = replace(memory, conditions={f"health:{site.criteria[0].id}:unproven": condition, **memory.conditions})
        save_memory(c, site.id, memory, site.version, NOW)
    assert client.get(f"/sites/{site.id}").text.count("witness in the site file, but not proven on this site") == 1


def test_landslides_of_scenes_are_listed_apart_from_instruments(client, database):
    at = story.NOW
    rows = [Observation("north-bench", f"F-{k:012d}", "ndvi", "1", at, at, 0.3 + 0.01 * k) for k in range(12)]
    tell(database, add_observations, rows, at)
    text = flatten_html(client.get("/sites/north-bench").text)
    assert text.count("<summary>12 landslides followed from scene to scene</summary>") == 1
    instruments, landslides = re.findall(r"<optgroup.*?</optgroup>", text)
    assert 'value="G1"' in instruments
    assert 'value="F-' not in instruments
    assert landslides.count('value="F-') == 12
    # The list of stations without a position does not name them either.
    assert ", F-0" not in text


def test_present_and_raised_state_are_in_api_and_page(client):
    site_facts = client.get("/api/v1/sites/north-bench").json()
    assert site_facts["level"] > 0
    assert isinstance(site_facts["when_raised"], str | None)
    assert site_facts["level_name"] in site_facts["now"]
    assert re.search(r"Now: .*alert since .* ago", client.get("/sites/north-bench").text, re.DOTALL)


def test_failure_window_and_forecast_are_shown_in_one_sentence_with_their_ages(client):
    page = client.get("/sites/north-bench").text
    (outlook,) = re.findall(r'<p class="outlook(?: urgent)?">(.*?)</p>', page, re.DOTALL)
    sentence = " ".join(re.sub(r"<[^>]+>", "", outlook).split())
    window = (
        r"Failure is possible from \S+ \S+ to \S+ \S+, middle \S+ \S+ \(from the acceleration of G\d on data .* old\); "
    )
    forecast = (
        r"before that, the forecast for G\d is a change of \S+ to \S+ mm in .* by .* "
        r"\(80 % interval, on data .* old\)\."
    )
    assert re.fullmatch(window + forecast, sentence), sentence


# ---- the log of the web process ----
def test_address_of_the_page_is_logged_after_its_port_is_open(tmp_path, caplog):
    database = Database(f"sqlite:///{tmp_path}/page.db")
    caplog.set_level(logging.INFO, "slopeward.web")

    def make(config):
        return PageServer(build_app(config, database), config.web)

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = load_service(None, {"SLOPEWARD_WEB__PORT": str(port)})
        with pytest.raises(SystemExit):
            make(config).run()
        assert "the page is at" not in caplog.text
    server = make(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        wait_for(lambda: f"the page is at http://127.0.0.1:{port}" in caplog.text)
    finally:
        server.should_exit = True
        thread.join(10)
        database.close()


@pytest.mark.parametrize("witnesses", [0, 1])
@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("reachable", range(1, 3))
def test_level_in_force_is_not_described_as_unreachable(level, reachable, witnesses):
    names = ("green", "yellow", "orange", "red")
    card = SimpleNamespace(
        start=None,
        top_level=3,
        levels=[SimpleNamespace(name=name) for name in names],
        status=SimpleNamespace(level=level, reachable_level=reachable, witnesses_available=witnesses),
    )
    text = str(ENVIRONMENT.get_template("situation.html").module.reach(card))
    assert ("The highest level that can be reached is" in text) == (level < reachable and not witnesses)
    assert "can request red" in text
