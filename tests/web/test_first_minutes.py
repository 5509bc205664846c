"""A site without data is starting: neither green nor blind, until a criterion can judge its first readings."""

from datetime import timedelta

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.overview import load_cards
from monitor.app.checks.table import ServiceState, assess_service
from monitor.cli.service.status import _read_site_status, make_table
from monitor.storage.service_state import write_heartbeat
from tests.data.watched_slope import HOUR, WatchedSlope
from tests.web.served import serving
from tests.web.test_simulated import Page

FIRST_BOUND = timedelta(hours=8)  # the shortest window of the site file


@pytest.fixture
def slope(database):
    return WatchedSlope(database)


def publish(slope, *stations):
    """Store one reading of some stations, and evaluate the site."""
    slope.now += HOUR
    for name in stations:
        slope.publish(name, slope.rng.gauss(0.0, 0.3), slope.now)
    return evaluate_site(slope.database, slope.site, slope.now, "data")


def load_card(slope):
    with slope.database.read() as c:
        return load_cards(c, "bench", now=slope.now)[0]


def read_places(slope):
    """Return the text of every place that shows the state of the site."""
    with slope.database.write() as c:
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, slope.now)
    card = load_card(slope)
    with serving(slope.database, slope.now) as client:
        places = {path: Page(client.get(path).text).words for path in ("/", "/sites/bench")}
        for path in ("/api/v1/sites", "/api/v1/sites/bench", "/api/v1/sites.geojson", "/health"):
            places[path] = client.get(path).text
        for path, part in (("/live/overview", "cards"), ("/live/sites/bench", "status")):
            places[path] = Page(client.get(path).json()["parts"][part]).words
    table = make_table([card], slope.now, lambda _: "UTC")
    places["status"] = " ".join(next(iter(column.cells)) for column in table.columns)
    return places


def check_starting(places):
    for path, text in places.items():
        lowered = text.lower()
        assert "starting" in lowered, path
        if path.startswith("/api") or path == "/health":
            assert '"blind"' not in lowered, path
        else:
            words = set(lowered.replace(",", " ").split())
            assert not {"green", "blind"} & words, (path, text)


def judge(slope):
    """Return the verdict of `slopeward status`."""
    with slope.database.write() as c:
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, slope.now)
    stamps = {"core": (slope.now, {"state": "running"})}
    return assess_service(stamps, [_read_site_status(load_card(slope), slope.now)], slope.now, 60.0)


def test_a_site_that_was_never_evaluated_is_starting(slope):
    places = read_places(slope)
    check_starting(places)
    assert "0 of 2 stations have sent a first reading" in places["/sites/bench"]
    assert "as soon as 8 h of readings are stored" in places["/sites/bench"]
    assert judge(slope).state == ServiceState.DEGRADED


def test_first_readings_say_what_is_awaited_and_from_when_levels_are_judged(slope):
    evaluate_site(slope.database, slope.site, slope.now, "start")
    check_starting(read_places(slope))
    publish(slope, "G1")
    start = load_card(slope).start
    assert (start.received, start.awaited) == (("G1",), ("G2",))
    assert start.judged_from == slope.now + FIRST_BOUND
    places = read_places(slope)
    check_starting(places)
    assert "1 of 2 stations have sent a first reading; no reading yet from G2" in places["/sites/bench"]
    assert "levels are judged from about 09:00 UTC on, when 8 h of readings are stored" in places["/sites/bench"]
    publish(slope, "G1", "G2")
    assert load_card(slope).start.awaited == ()


def test_a_site_starts_until_a_criterion_on_motion_can_judge(slope):
    evaluate_site(slope.database, slope.site, slope.now, "start")
    states = []
    for _ in range(12):
        result = publish(slope, "G1", "G2")
        states.append((load_card(slope).start is not None, bool(result.decision.memory.votes)))
    assert all(starting != judged for starting, judged in states)
    assert states[0] == (True, False)
    assert states[-1] == (False, True)
    assert "green" in read_places(slope)["/sites/bench"].lower()


def test_no_level_is_shown_as_judged_while_the_site_is_starting(slope):
    evaluate_site(slope.database, slope.site, slope.now, "start")
    publish(slope, "G1", "G2")
    with serving(slope.database, slope.now) as client:
        site = Page(client.get("/sites/bench").text).words
        movement = Page(client.get("/sites/bench/movement").text).words
        ribbon = client.get("/api/v1/sites/bench/ribbon").json()["ribbon"]
    assert site.count("2 of 2 stations have sent a first reading") == 1
    assert "Stage not known yet" in site
    assert "No level is judged yet: 2 of 2 stations have sent a first reading" in movement
    assert "nothing requests a higher level" not in movement
    assert ribbon == []


@pytest.mark.parametrize("evaluated", [False, True])
def test_a_site_without_any_reading_is_blind_after_its_limit_of_silence(slope, evaluated):
    if evaluated:
        evaluate_site(slope.database, slope.site, slope.now, "start")
    for hours in range(1, 9):
        slope.now += HOUR
        if evaluated:
            evaluate_site(slope.database, slope.site, slope.now, "tick")
        card = load_card(slope)
        assert (card.start is not None) == (hours <= 6), hours
    assert card.sight == "blind"
    assert judge(slope).state == ServiceState.BLIND


def test_a_site_whose_only_instrument_fell_silent_is_not_starting(slope):
    evaluate_site(slope.database, slope.site, slope.now, "start")
    publish(slope, "G1")
    slope.now += timedelta(hours=6, minutes=1)
    evaluate_site(slope.database, slope.site, slope.now, "tick")
    assert load_card(slope).start is None
    assert load_card(slope).sight == "blind"


def test_a_site_with_a_record_of_months_does_not_start_again(slope):
    slope.live(40, looks=1)
    assert load_card(slope).start is None
    slope.now += timedelta(days=3)
    evaluate_site(slope.database, slope.site, slope.now, "tick")
    assert load_card(slope).start is None
