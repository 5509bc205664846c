"""The anomaly job finds and names faults in every series that a station declares, without false alarms."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, event, select

from monitor.alerts.queries.maintenance import add_maintenance
from monitor.features.anomalies import jobs as anomaly
from monitor.features.anomalies.queries.budget import set_factor
from monitor.features.anomalies.queries.labels import add_label, load_runs
from monitor.features.anomalies.state import forget
from monitor.features.anomalies.tables import anomaly as anomaly_table
from monitor.features.instruments.jobs import run as look_at_instruments
from monitor.features.instruments.queries.board import load_board
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.readings.tables import series as series_table
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import format_iso
from tests.data import site_text
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_SQLITE
from tests.fixtures.soak import in_soak

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
FAULT = 24 * 28  # hour from which on something is wrong
CONFIG = ServiceConfig.model_validate({})
HEAD = site_text.head("kinds", latitude=46.2, longitude=8.9)
UNITS = dict.fromkeys(("displacement", "crack_opening", "rain"), "mm")
UNITS |= {"tilt_x": "mrad", "pore_pressure": "kPa", "temperature": "degC"}
TILTED, PRESSED = dict.fromkeys(("T1", "T2"), ("tilt_x",)), dict.fromkeys(("P1", "P2"), ("pore_pressure",))
MOVED = dict.fromkeys(("C1", "C2"), ("displacement", "crack_opening"))
STATIONS = TILTED | {"T3": ("tilt_x", "temperature")} | PRESSED | MOVED | {"R1": ("rain",)}
Fault = Callable[[str, int, float], float]


def declare(stations: dict[str, tuple[str, ...]], interval: str = "1h") -> Site:
    text = HEAD
    for name, quantities in stations.items():
        text += f'\n[[station]]\nid = "{name}"\n' + "".join(
            f'[[station.series]]\nquantity = "{q}"\nunit = "{UNITS[q]}"\ninterval = "{interval}"\nmax_silence = "1d"\n'
            for q in quantities
        )
    return parse_site(text, "kinds.toml")


def draw(stations: dict[str, tuple[str, ...]], hours: range, fault: Fault) -> Iterator[Observation]:
    """Hourly readings: tilt goes with the sun, pressure with rain now and then, and nothing moves much."""
    for name, quantities in stations.items():
        for quantity in quantities:
            noise = random.Random(f"{name} {quantity}")
            for hour in range(hours.stop):
                draws = noise.gauss(0.0, 1.0)
                sun = math.sin(hour * math.pi / 12.0)
                value = {
                    "tilt_x": 12.0 + 0.2 * sun + 0.05 * draws,
                    "pore_pressure": 55.0 + 3.0 * math.sin(hour / 200.0) + 0.02 * draws,
                    "displacement": 100.0 + 0.01 * hour + 0.5 * draws,
                    "crack_opening": 30.0 + 0.1 * draws,
                    "temperature": round(8.0 + 6.0 * sun, 1),
                    "rain": max(0.0, round(draws - 1.5, 1)),
                }[quantity]
                if hour not in hours:
                    continue
                at = START + hour * HOUR
                value = fault(f"{name} {quantity}", hour, value)
                yield Observation("kinds", name, quantity, UNITS[quantity], at, at + timedelta(minutes=1), value)


def spoil(series: str, hour: int, value: float) -> float:
    """The four cases of an audit of a site that was said to be well."""
    if series == "T1 tilt_x" and hour == FAULT:
        return value + 87.3  # five degrees
    if series == "T2 tilt_x" and hour >= FAULT:
        return value * math.degrees(1.0) / 1000.0  # it speaks in degrees
    if series == "P1 pore_pressure" and hour >= FAULT:
        return 56.125
    if series == "C1 crack_opening" and hour >= FAULT:
        return value + 37.0
    return value


def serve(database: Database, site: Site, stations: dict[str, tuple[str, ...]], hours: range, fault: Fault) -> None:
    rows = list(draw(stations, hours, fault))
    now = START + (hours.stop - 1) * HOUR + timedelta(minutes=5)
    tell(database, add_observations, rows, now)
    anomaly.run(database, CONFIG, site, now)
    look_at_instruments(database, CONFIG, site, now)


def begin(database: Database, stations: dict[str, tuple[str, ...]], fault: Fault) -> Site:
    """A site that has served forty days in which nothing was wrong."""
    site = declare(stations)
    tell(database, save_site, site, "test", "test", START)
    serve(database, site, stations, range(FAULT), fault)
    return site


def list_alarms(database: Database) -> dict[tuple[str, str], set[str]]:
    rows = ask(database, load_view, "anomalies", site="kinds", alerted=True)
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        found.setdefault((row["station"], row["quantity"]), set()).add(row["kind"])
    return found


@pytest.fixture
def site(database: Database) -> Site:
    parsed = declare(STATIONS)
    tell(database, save_site, parsed, "test", "test", START)
    return parsed


def test_faults_of_any_quantity_are_found_and_named_on_the_page(database: Database, site: Site) -> None:
    serve(database, site, STATIONS, range(FAULT), spoil)
    assert list_alarms(database) == {}, "nothing is wrong yet"
    for hour in range(FAULT, FAULT + 24, 3):
        serve(database, site, STATIONS, range(hour, hour + 3), spoil)
    found = list_alarms(database)
    assert found.keys() == {("T1", "tilt_x"), ("T2", "tilt_x"), ("P1", "pore_pressure"), ("C1", "crack_opening")}
    assert "spike" in found["T1", "tilt_x"]
    assert "unit" in found["T2", "tilt_x"]
    assert "stuck" in found["P1", "pore_pressure"]
    assert "step" in found["C1", "crack_opening"]
    with database.read() as c:
        said = {row["instrument"]: {f["reason"] for f in row["findings"]} for row in load_board(c, "kinds")}
        compared = {
            r["compared_with"].rpartition(", ")[2]
            for r in load_view(c, "anomalies", site="kinds", detector="rules", station="C1", quantity="crack_opening")
        }
    assert compared == {"at 2 times the thresholds of displacement"}
    # as its highest score called it, of the first reading: what stays is a step from the next one on
    wanted = {
        "T1": {"tilt x: detectors report spike"},
        "T2": {"tilt x: detectors report unit"},
        "P1": {"pore pressure: detectors report stuck"},
        "C1": {"crack opening: detectors report spike"},
    }
    assert {station: reasons for station, reasons in said.items() if reasons} == wanted


@pytest.mark.soak
def test_a_stuck_instrument_is_listed_while_its_readings_stay_equal(database: Database) -> None:
    """It is found once; three days later the board called it well, and it still stood."""
    ends = FAULT + 24 * 5

    def stop(series: str, hour: int, value: float) -> float:
        return 56.125 if series[:2] == "P1" and FAULT <= hour < ends else value

    site, said = begin(database, PRESSED, stop), []
    for hour in range(FAULT, ends, 12):
        serve(database, site, PRESSED, range(hour, hour + 12), stop)
        said.append(list_findings(database))
    assert (len(said[-1]), said[-1][0][:2]) == (1, ("P1", "stuck"))
    assert said[1:] == [said[-1]] * (len(said) - 1), "since the same instant"
    serve(database, site, PRESSED, range(ends, ends + 12), stop)
    assert list_findings(database) == [], "it moves again"


def list_findings(database: Database) -> list[tuple[str, str, str, str]]:
    board = ask(database, load_board, "kinds")
    return [(row["instrument"], f["state"], f["since"], f["reason"]) for row in board for f in row["findings"]]


def test_a_wrong_unit_is_listed_until_the_readings_are_as_before(database: Database) -> None:
    """It was forgotten after three days; then alarms of the changed noise called it now a step, now movement."""
    ends = FAULT + 24 * 5

    def change(series: str, hour: int, value: float) -> float:
        return value * 17.4533 if series[:2] == "T1" and FAULT <= hour < ends else value

    site, said = begin(database, TILTED, change), []
    for hour in range(FAULT, ends, 12):
        serve(database, site, TILTED, range(hour, hour + 12), change)
        said.append(list_findings(database))
    begins = format_iso(START + FAULT * HOUR)
    assert said == [[("T1", "unusable", begins, "tilt x: detectors report unit")]] * len(said)
    now = START + ends * HOUR
    with database.read() as c:
        kinds = [(r.station, r.kind) for r in load_runs(c, site, now - 2 * DAY, now)]
        assert len(load_view(c, "anomalies", site="kinds", alerted=True)) > len(kinds), "rules go on"
    assert set(kinds) <= {("T1", "unit")}, "whatever scores call it"
    for hour in range(ends, ends + 24 * 4, 12):
        serve(database, site, TILTED, range(hour, hour + 12), change)
    assert [one for one in list_findings(database) if "unit" in one[3]] == [], "it speaks as before"


@pytest.mark.soak
@pytest.mark.parametrize("word", ["work", "unit", *in_soak("dismissed", "other cause")])
def test_a_label_or_work_on_the_station_ends_a_wrong_unit(database: Database, word: str) -> None:
    """Who confirms that it is the unit leaves it on the board."""

    def change(series: str, hour: int, value: float) -> float:
        return value * 17.4533 if series[:2] == "T1" and hour >= FAULT else value

    site, ada = begin(database, TILTED, change), Actor("ada", "person")
    serve(database, site, TILTED, range(FAULT, FAULT + 12), change)
    at = START + (FAULT + 24) * HOUR
    with database.write() as c:
        if word == "work":
            add_maintenance(c, site.id, "T1", at, at + HOUR, ada, "logger set anew", at)
        else:
            run = load_runs(c, site, at - DAY, at)[0]
            verdict, cause = ("dismissed", "unknown") if word == "dismissed" else ("confirmed", "unit")
            add_label(c, site.id, run, verdict, "weather" if word == "other cause" else cause, ada, "", at)
    for hour in range(FAULT + 12, FAULT + 24 * 6, 12):
        serve(database, site, TILTED, range(hour, hour + 12), change)
    assert any(state == "unusable" for _, state, *_ in list_findings(database)) == (word == "unit")


@pytest.mark.soak
def test_a_lasting_fault_is_found_in_a_batch_that_is_twenty_days_late(database: Database) -> None:
    """The first look went 60 intervals back; what began before was never found."""
    stations = TILTED | PRESSED
    site, ends = declare(stations), FAULT + 24 * 20

    def spoil_both(series: str, hour: int, value: float) -> float:
        if hour < FAULT:
            return value
        return {"T1": value * 17.4533, "P1": 56.125}.get(series[:2], value)

    with database.write() as c:
        save_site(c, site, "test", "test", START)
        add_observations(c, list(draw(stations, range(FAULT), spoil_both)), START + FAULT * HOUR)
        add_observations(c, list(draw(stations, range(FAULT, ends), spoil_both)), START + ends * HOUR)
    assert "not scored: " in anomaly.run(database, CONFIG, site, START + ends * HOUR)
    look_at_instruments(database, CONFIG, site, START + ends * HOUR)
    first = list_findings(database)
    assert {(one[0], one[1]) for one in first} == {("T1", "unusable"), ("P1", "stuck")}
    assert {one[0]: one[2] for one in first}["T1"] == format_iso(START + FAULT * HOUR)
    forget(database, site.id)
    serve(database, site, stations, range(ends, ends + 24 * 5), spoil_both)
    assert list_findings(database) == first
    assert "not scored: " not in anomaly.run(database, CONFIG, site, START + (ends + 24 * 5) * HOUR)


@pytest.mark.soak
def test_a_factor_of_the_motion_raises_no_threshold_of_other_quantities(database: Database, site: Site) -> None:
    serve(database, site, STATIONS, range(FAULT), spoil)
    tell(database, set_factor, site, "rules", 1.4, Actor("ada", "person"), "tried", START + FAULT * HOUR)
    serve(database, site, STATIONS, range(FAULT, FAULT + 6), spoil)
    late = START + (FAULT + 1) * HOUR
    with database.read() as c:
        rows = [r for r in load_view(c, "anomalies", site="kinds", detector="rules") if r["at"] > format_iso(late)]
    assert {(r["quantity"] == "displacement", r["factor"]) for r in rows} == {(True, 1.4), (False, 1.0)}


@pytest.mark.soak
def test_other_quantities_leave_the_scores_of_the_motion_as_they_are(database: Database, site: Site) -> None:
    """To the last bit, threshold and words with them."""
    a = anomaly_table.c

    def list_rows() -> list[tuple[object, ...]]:
        with database.read() as c:
            query = select(s.station, a.at, a.detector, a.score, a.threshold, a.kind, a.alerted, a.compared_with).join(
                series_table, s.id == a.series_id
            )
            rows = c.execute(query.where(s.quantity == "displacement").order_by(s.station, a.at, a.detector))
            return [tuple(row) for row in rows]

    s = series_table.c
    serve(database, site, STATIONS, range(FAULT), spoil)
    serve(database, site, STATIONS, range(FAULT, FAULT + 24), spoil)
    with_others = list_rows()
    assert len(with_others) > 100
    tell(database, lambda c: c.execute(delete(anomaly_table)))
    forget(database, site.id)
    moves = [tuple(x for x in one.series if x.quantity == "displacement") for one in site.stations]
    stations = [replace(one, series=own) for one, own in zip(site.stations, moves, strict=True)]
    alone = replace(site, stations=tuple(stations))
    for hours in (FAULT, FAULT + 24):
        anomaly.run(database, CONFIG, alone, START + (hours - 1) * HOUR + timedelta(minutes=5))
    assert list_rows() == with_others


@pytest.mark.soak
@ON_SQLITE
def test_the_number_of_statements_does_not_grow_with_the_quantities(database: Database) -> None:
    asked: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _cursor, sql, *_: asked.append(sql))
    counts = []
    for stations, scores in (({"C1": ("displacement",)}, 2), (STATIONS, 18)):  # groups: one; five
        site = declare(stations)
        # of a fine resolution: where readings repeat, a check reads the series
        rows = list(draw(stations, range(900), lambda _, hour, value: value + 0.001 * (hour * 7919 % 1000) / 10))
        for hours in (range(896), range(896, 898), range(898, 900)):
            with database.write() as c:
                save_site(c, site, "test", "test", START)
                some = [one for one in rows if (one.observed_at - START) // HOUR in hours]
                add_observations(c, some, START + hours.stop * HOUR)
            asked.clear()
            said = anomaly.run(database, CONFIG, site, START + hours.stop * HOUR)
        assert f"rules: {scores} scores" in said
        counts.append(len(asked))
    assert counts[0] == counts[1] < 30
