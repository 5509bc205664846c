"""A replay has the inputs that the service would have had: late, corrected, flagged and shifted readings."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from monitor.alerts.evaluate import load_inputs
from monitor.alerts.queries.events import add_event, confirm_event
from monitor.alerts.queries.offsets import confirm_offset, revoke_offset
from monitor.alerts.queries.reports import add_report
from monitor.alerts.replay.backtest import BacktestOptions, run_backtest
from monitor.alerts.replay.history import History, VisibilityRule
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation, ObserverReport, SiteEvent
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s
from tests.data.site_text import FOUR, bounds, criterion, head, series, station
from tests.data.store_rows import add_flag, ask, enter_offset
from tests.fixtures.databases import ON_BOTH

START = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AHEAD = timedelta(minutes=4)
DAYS = 12
SITE = (
    head("slope", longitude=9.0, timezone="Europe/Zurich", levels=FOUR)
    + station("G1", series("displacement", "mm", max_silence="6h", noise_floor_mm=1.0), reference="A")
    + station("P1", series("pore_pressure", "kPa", max_silence="6h"))
    + criterion("velocity", stations=["G1"], **bounds(yellow="4 1d", orange="12 12h"))
    + criterion("report", kinds=["crack"], level="yellow")
)


@pytest.fixture
def site():
    return parse_site(SITE, "slope.toml")


@pytest.fixture
def light(sqlite_url):
    with Database(sqlite_url) as db:
        yield db


def fill(db, site):
    """Twelve days of a station and a pore pressure with everything that can happen to a row."""
    luck = Random(3)
    batches = {}

    def say(station, quantity, unit, at, came, value, **more):
        item = Observation(site.id, station, quantity, unit, at, came, value, **more)
        batches.setdefault(came, []).append(item)

    for i in range(DAYS * 24):
        at = START + i * HOUR
        late = timedelta(hours=luck.uniform(1, 90)) if luck.random() < 0.1 else timedelta(seconds=luck.uniform(1, 99))
        if 100 <= i < 110:
            late = START + 140 * HOUR - at  # a logger that was cut off says all at once
        if i >= 240:
            late = -AHEAD  # a clock a little ahead
        for part, value in (("east", i * 0.2), ("north", i * -0.1), ("up", 0.0)):
            say("G1", f"displacement_{part}", "mm", at, at + late, value + luck.gauss(0, 1), solution="rapid")
        if luck.random() < 0.3:
            later = timedelta(hours=luck.choice((9, 72)))
            for part in ("east", "north", "up"):
                say("G1", f"displacement_{part}", "mm", at, at + later, i * 0.2, solution="final")
        if luck.random() < 0.05:  # a clock that is ahead
            say("G1", "displacement_east", "mm", at + timedelta(hours=30), at + HOUR, 0.0, flags=("future",))
        if i < 60 or i > 200:
            say("P1", "pore_pressure", "kPa", at, at + late, 40.0 + luck.gauss(0, 1))
    with db.write() as c:
        save_site(c, site, "test", "test", START)
        for came in sorted(batches):
            add_observations(c, batches[came], came)
        series_id = find_series_id(c, site.id, "G1", "displacement_east")
        ada = Actor("Ada")
        offset = enter_offset(c, series_id, START + 70 * HOUR, 5.0, START + 90 * HOUR)
        revoke_offset(c, offset, ada, "was wrong", START + 200 * HOUR)
        other = enter_offset(c, series_id, START + 120 * HOUR, -4.0, START + 125 * HOUR)
        confirm_offset(c, other, Actor("Bo"), "field book", START + 170 * HOUR)
        for hours, flag in ((60, "doubtful"), (150, "-doubtful")):
            add_flag(c, series_id, START + 50 * HOUR, flag, START + hours * HOUR)
        crack = ObserverReport(site.id, START + 30 * HOUR, "crack", "a crack", "Ada")
        add_report(c, crack, START + 44 * HOUR, actor=ada, credential="Ada")
        blast = SiteEvent(site.id, START + 80 * HOUR, START + 82 * HOUR, "blasting", "blast")
        add_event(c, blast, START + 70 * HOUR, "Ada", via="mqtt")


@ON_BOTH
def test_replay_has_the_inputs_of_the_service_at_each_time(database, site):
    fill(database, site)
    luck = Random(5)
    to_at = START + timedelta(days=DAYS)
    looks = sorted(START + timedelta(hours=luck.uniform(20, DAYS * 24)) for _ in range(25))
    looks += [START + hour * HOUR - part * AHEAD for hour in (250, 251, 280) for part in (1.0, 0.9, 0.1, 0.0)]
    looks = [*sorted(looks), to_at]
    seen = set()
    with database.read() as c:
        history = History(c, [site], looks[0], to_at, VisibilityRule("received"))
        for now in looks:
            history.move(epoch_s(now))
            found = history.find_inputs(site)
            wanted, _ = load_inputs(c, site, now, draining=False)
            one, other = found.to_json(), wanted.to_json()
            for key, rows in other["readings"].items():
                assert one["readings"][key] == rows, (now, key)
            assert one == other, now
            rows = found.readings.get("G1.displacement_east", ())
            seen |= {"offset" for r in rows if r.offset_applied} | {"flag" for r in rows if "doubtful" in r.flags}
            seen |= {"revision" for r in rows if r.revision} | {"future" for r in rows if "future" in r.flags}
            seen |= {"report"} if found.reports else set()
            seen |= {"event"} if found.events else set()
            seen |= {"confirmed" if offset.second_by else "alone" for offset in found.offsets}
            seen |= {"unsigned"} if found.unsigned else set()
    assert seen == {"offset", "flag", "revision", "future", "report", "event", "alone", "confirmed", "unsigned"}, (
        "the interesting cases occur"
    )


def test_unchanged_readings_are_the_same_object(light, site):
    """Warm decisions compare by identity."""
    fill(light, site)
    with light.read() as c:
        history = History(c, [site], START, START + timedelta(days=DAYS), VisibilityRule("received"))
        history.move(epoch_s(START + 100 * HOUR))
        one = history.find_inputs(site).readings.get("P1.pore_pressure", ())
        first = history.find_inputs(site).readings["G1.displacement_up"]
        history.move(epoch_s(START + 100 * HOUR + timedelta(seconds=1)))
        again = history.find_inputs(site).readings["G1.displacement_up"]
    assert again is first
    assert one == (), "no criterion reads it: it is not held"


def test_visibility_rule_determines_known_readings(database, site):
    """A history that was imported in one piece is invisible by reception, and all there by epoch."""
    place, came = (site.id, "G1", "displacement", "mm"), START + timedelta(days=200)
    rows = [Observation(*place, START + i * HOUR, came, i * 0.6) for i in range(DAYS * 24)]
    with database.write() as c:
        save_site(c, site, "test", "test", START)
        add_observations(c, rows, START)
    to_at = START + timedelta(days=DAYS)

    def levels(known):
        card = run_backtest(database, site, START, to_at, terms=BacktestOptions(known=known))
        return {s.level for s in card.runs[0].levels}, dict(card.known)

    nothing, said = levels(VisibilityRule("received"))
    assert (nothing, said["rows"]) == ({0}, 0)
    moving, said = levels(VisibilityRule("auto"))
    assert max(moving) >= 2
    assert (said["rows_by_reception"], said["rows_by_epoch"]) == (0, len(rows))
    assert levels(VisibilityRule("observed", latency_s=60.0))[0] == moving
    with database.read() as c:
        history = History(c, [site], START, to_at, VisibilityRule("observed", latency_s=7200.0))
        history.move(epoch_s(START + 10 * HOUR))
        (newest,) = {v.observed_s for v in history.find_inputs(site).newest.values()}
    assert newest == epoch_s(START + 8 * HOUR), "two hours of latency"


def test_end_of_an_imported_record_counts_from_its_epochs(light, site):
    """A record that ends on the day of its import; what the instrument sends afterwards counts from its reception."""
    place, came = (site.id, "G1", "displacement", "mm"), START + timedelta(days=DAYS)
    rows = [Observation(*place, START + i * HOUR, came, i * 0.6) for i in range(DAYS * 24)]
    live = Observation(*place, came + HOUR, came + 2 * HOUR, 1.0)
    with light.write() as c:
        save_site(c, site, "test", "test", START)
        add_observations(c, rows, came)
        add_observations(c, [live], came + 2 * HOUR)
    with light.read() as c:
        history = History(c, [site], START, came + timedelta(days=1), VisibilityRule("auto"))
        end = DAYS * 24
        for hours, newest in ((end - 5, end - 5), (end + 1, end - 1), (end + 2, end + 1)):
            history.move(epoch_s(START + hours * HOUR))
            assert history.find_inputs(site).newest["G1.displacement"].observed_s == epoch_s(START + newest * HOUR)
        assert (history.rows, history.by_reception) == (len(rows) + 1, 1)


def test_correction_keeps_its_delay_if_epochs_count(light, site):
    came = START + timedelta(days=300)
    with light.write() as c:
        save_site(c, site, "test", "test", START)
        for hours, value, solution in ((0, 1.0, "rapid"), (10, 4.0, "final")):
            row = (site.id, "G1", "displacement", "mm", START, came + hours * HOUR, value, None, solution)
            add_observations(c, [Observation(*row)], came)

    def value_at(hours):
        with light.read() as c:
            history = History(c, [site], START, START + timedelta(days=4), VisibilityRule("auto"))
            history.move(epoch_s(START + hours * HOUR))
            view = history.find_inputs(site)
        return view.readings["G1.displacement"][-1].value

    assert (value_at(9.5), value_at(10.5)) == (1.0, 4.0)


def test_two_site_files_are_compared_and_progress_is_reported(light, site):
    fill(light, site)
    other = parse_site(SITE.replace('level = "yellow"', 'level = "orange"'), "slope.toml")
    to_at = START + timedelta(days=3)
    shown = []
    card = run_backtest(light, site, START, to_at, other=other, on_progress=shown.append)
    assert ([r.name for r in card.runs], shown, shown[-1]) == (["A", "B"], sorted(shown), 1.0)
    assert card.runs[0].levels != card.runs[1].levels
    assert card.differences()


def test_memory_contains_windows_and_not_the_history(light, site):
    """Rows that came after they had left every window count for the newest epoch and are not kept."""
    came = START + timedelta(days=40)
    place, s = (site.id, "G1", "displacement", "mm"), timedelta(seconds=1)
    rows = [Observation(*place, START + i * HOUR, came + i // 100 * s, i * 0.1) for i in range(30 * 24)]
    with light.write() as c:
        save_site(c, site, "test", "test", START)
        add_observations(c, rows, came)
    with light.read() as c:
        history = History(c, [site], START, came + timedelta(days=1), VisibilityRule("received"))
        assert history.next_arrival_s() == epoch_s(came)
        assert history.waiting < 20, "one for each instant of arrival"
        history.move(epoch_s(came + timedelta(hours=1)))
        view = history.find_inputs(site)
    assert view.readings["G1.displacement"] == ()
    assert view.newest["G1.displacement"].observed_s == epoch_s(rows[-1].observed_at)


@pytest.mark.soak
@ON_BOTH
def test_replay_knows_a_late_event_from_when_people_knew_it(database, site):
    """A past earthquake explains its steps in a replay; what the service itself decided then does not change."""
    fill(database, site)
    quake, told = START + 90 * HOUR, START + timedelta(days=400)
    with database.write() as c:
        item = SiteEvent(site.id, quake, quake, "earthquake", "M 5", 0.2)
        past = add_event(c, item, told, "Ada", via="command", known_from=quake + HOUR)

    def find_known(mode, now):
        with database.read() as c:
            history = History(c, [site], START, START + timedelta(days=DAYS), VisibilityRule(mode))
            history.move(epoch_s(now))
            return [e.received_s for e in history.find_inputs(site).events if e.kind == "earthquake"]

    for mode in ("auto", "observed"):
        assert find_known(mode, quake + HOUR / 2) == []
        assert find_known(mode, quake + 2 * HOUR) == [epoch_s(quake + HOUR)]
    assert find_known("received", quake + 2 * HOUR) == []

    def find_words(mode, now):
        with database.read() as c:
            history = History(c, [site], START, told + 3 * HOUR, VisibilityRule(mode))
            history.move(epoch_s(now))
            replayed = [e.confirmed_by for e in history.find_inputs(site).events if e.kind == "earthquake"]
            live = [
                e.confirmed_by for e in load_inputs(c, site, now, draining=False)[0].events if e.kind == "earthquake"
            ]
            assert mode != "received" or replayed == live, "a replay knows who stood behind it then"
            return replayed

    with database.write() as c:
        fresh = add_event(c, SiteEvent(site.id, told, told, "earthquake", "M 4"), told, "feed", via="mqtt")
        confirm_event(c, fresh, Actor("Bo"), "felt", told + HOUR)
        confirm_event(c, past, Actor("Ada"), "catalogue", told)
    assert find_words("auto", quake + 2 * HOUR) == [("Ada",)], "who adds a past event says since when it was known"
    for mode in ("auto", "received"):
        assert (find_words(mode, told + HOUR / 2)[:1], find_words(mode, told + 2 * HOUR)[:1]) == ([()], [("Bo",)])
    known = ask(database, load_inputs, site, quake + 2 * HOUR, draining=False)[0].events
    assert not [e for e in known if e.kind == "earthquake"]
