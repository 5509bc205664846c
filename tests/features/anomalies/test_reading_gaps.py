"""A gap in a regular series is stored, sends no notice, and is removed when late readings fill it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, func, select

from monitor.alerts.tables import alert
from monitor.cli.main import run_command
from monitor.features.anomalies import jobs as anomaly
from monitor.features.anomalies.queries.labels import load_runs
from monitor.features.anomalies.state import forget
from monitor.features.instruments.jobs import run as look_at_instruments
from monitor.ingest.queries.gaps import GapCandidate, load_gaps
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import format_iso
from tests.data import site_text
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service
from tests.features.anomalies.test_anomaly_quantities import HEAD, declare, draw
from tests.fixtures.databases import ON_BOTH

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = ServiceConfig.model_validate({})
STATIONS: dict[str, tuple[str, ...]] = {"T1": ("tilt_x",), "T2": ("tilt_x",), "C1": ("displacement",), "R1": ("rain",)}
FROM, TO = 24 * 20, 24 * 20 + 12  # hours between which T1 and R1 say nothing
BACK = TO + 40  # longer than the running state looks for late readings


@pytest.fixture
def site(database: Database) -> Site:
    parsed = declare(STATIONS)
    tell(database, save_site, parsed, "test", "test", START)
    return parsed


def add(database: Database, hours: Iterable[int], *stations: str, at: int | None = None) -> None:
    """Readings of hours, which came an hour after each, or all at once."""
    chosen = list(hours)
    rows = [
        one if at is None else replace(one, received_at=START + at * HOUR)
        for one in draw(STATIONS, range(max(chosen) + 1), lambda _, __, value: value)
        if one.station in (stations or STATIONS) and (one.observed_at - START) // HOUR in chosen
    ]
    tell(database, add_observations, rows, START + (max(chosen) if at is None else at) * HOUR)


def look(database: Database, site: Site, hour: int) -> None:
    now = START + hour * HOUR + timedelta(minutes=5)
    anomaly.run(database, CONFIG, site, now)
    look_at_instruments(database, CONFIG, site, now)


def named(database: Database, hour: int) -> list[tuple[str, float, float, int]]:
    now = START + hour * HOUR + timedelta(minutes=5)
    with database.read() as c:
        return [
            (g.station, (g.from_at - START) / HOUR, (g.to_at - START) / HOUR, g.missing)
            for g in load_gaps(c, "kinds", now - 14 * DAY, now)
        ]


def findings(database: Database) -> list[tuple[str, str]]:
    with database.read() as c:
        return [(r["state"], r["reason"]) for r in load_view(c, "instrument_findings", site="kinds", instrument="T1")]


@pytest.mark.soak
@pytest.mark.parametrize("at_once", [True, False])
def test_a_gap_is_stored_without_a_notice_and_late_readings_remove_it(database, site, at_once):
    add(database, range(FROM))
    if not at_once:
        look(database, site, FROM - 1)
    add(database, range(FROM, BACK), "T2", "C1")
    if not at_once:
        look(database, site, TO - 1)
        assert named(database, TO - 1) == [], "it is silent; nobody knows how long"
    add(database, range(TO, BACK), "T1", "R1")
    look(database, site, BACK)
    assert named(database, BACK) == [("T1", FROM - 1, TO, 12)], "rain comes when it rains"
    assert findings(database) == [("gap", "tilt x: 12 readings are missing until 2026-01-21 12:00 UTC")]
    with database.read() as c:
        assert load_runs(c, site, START, START + 30 * DAY) == []
        assert c.execute(select(func.count()).select_from(alert)).scalar() == 0
        (row,) = load_view(c, "reading_gaps", site="kinds")
    assert (row["station"], row["missing"], row["filled_at"]) == ("T1", 12, None)
    if at_once:
        forget(database, "kinds")
    look(database, site, BACK)
    assert named(database, BACK) == [("T1", FROM - 1, TO, 12)], "once"

    add(database, range(FROM + 5, FROM + 8), "T1", at=BACK + 1)  # a part of the backlog
    look(database, site, BACK + 1)
    assert named(database, BACK + 1) == [("T1", FROM - 1, FROM + 5, 5), ("T1", FROM + 7, TO, 4)]
    assert named(database, BACK) == [("T1", FROM - 1, TO, 12)], "as it was known then"
    add(database, [*range(FROM, FROM + 5), *range(FROM + 8, TO)], "T1", at=BACK + 2)
    look(database, site, BACK + 2)
    assert (named(database, BACK + 2), findings(database)) == ([], [])


@ON_BOTH
def test_many_gaps_are_stored_in_parts_without_loss_after_an_interruption(database, site, monkeypatch):
    """Ingest may write between any two parts; the service may die between them too."""
    parts: list[int] = []
    cut_after = [2]
    real = anomaly.add_gaps

    def keep(c: Connection, holes: Sequence[GapCandidate], now: datetime) -> int:
        if len(parts) == cut_after[0]:
            raise KeyboardInterrupt
        parts.append(len(holes))
        return real(c, holes, now)

    monkeypatch.setattr(anomaly, "GAPS_PER_TRANSACTION", 3)
    monkeypatch.setattr(anomaly, "add_gaps", keep)
    add(database, [hour for hour in range(301) if hour < 12 or hour % 24 not in {7, 8, 9, 10, 11}], "T1", "T2")
    with pytest.raises(KeyboardInterrupt):
        look(database, site, 300)
    assert (parts, len(named(database, 300))) == ([3, 3], 6)
    cut_after[0] = 99
    look(database, site, 300)
    found = named(database, 300)
    assert parts[2:] == [3] * 8
    assert len(found) == len(set(found)) == 24
    assert {(until - since, missing) for _, since, until, missing in found} == {(6.0, 5)}
    look(database, site, 301)
    assert named(database, 301) == found

    filled = [hour for hour in range(12, 300) if hour % 24 in {7, 8, 9, 10, 11}]
    filling = anomaly.fill_gaps

    def fill(c: Connection, holes: Sequence[GapCandidate], now: datetime) -> None:
        filling(c, holes, now)
        if len(parts) == cut_after[0]:
            raise KeyboardInterrupt
        cut_after[0] = len(parts)

    monkeypatch.setattr(anomaly, "add_gaps", real)
    monkeypatch.setattr(anomaly, "fill_gaps", fill)
    add(database, filled, "T1", "T2", at=302)
    with pytest.raises(KeyboardInterrupt):
        look(database, site, 302)
    assert len(named(database, 302)) == 21, "one part is done, the one after it was cut off as a whole"
    monkeypatch.setattr(anomaly, "fill_gaps", filling)
    look(database, site, 303)
    assert named(database, 303) == []


def test_the_command_lists_missing_readings(database, tmp_path, capsys):
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    site = declare(STATIONS)
    with database.write() as c:
        save_site(c, site, "test", "test", now - 30 * DAY)
        hours = [(now - k * HOUR, 0.01 * (k % 7)) for k in range(200, 0, -1) if not 50 < k < 60]
        add_observations(c, [Observation("kinds", "T1", "tilt_x", "mrad", at, at, value) for at, value in hours], now)
    anomaly.run(database, CONFIG, site, now)
    declared = HEAD + site_text.station("T1", site_text.series("tilt_x", "mrad"))
    service = str(write_service(tmp_path, database, declared))
    assert run_command(["anomalies", "list", "--site", "kinds", "--json", "--config", service]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["station"], r["kind"], r["missing"]) for r in found if r["kind"] == "gap"] == [("T1", "gap", 9)]
    assert run_command(["anomalies", "list", "--site", "kinds", "--config", service]) == 0
    assert "gap (9 readings missing)" in capsys.readouterr().out

    def count_gaps(*options: str) -> int:
        run_command(["anomalies", "list", "--site", "kinds", "--config", service, *options])
        return capsys.readouterr().out.count(" gap ")

    end = now - 50 * HOUR
    before_end, after_end = format_iso(end - HOUR), format_iso(end + HOUR)
    assert count_gaps("--since", before_end) == count_gaps("--until", after_end) == 1
    assert count_gaps("--since", after_end) == count_gaps("--until", before_end) == 0
    assert count_gaps("--days", "1") == 0
    assert count_gaps("--days", "1", "--until", after_end) == 1


def test_readings_that_are_set_aside_and_series_on_change_are_no_gaps(database, site):
    rows = [
        replace(one, flags=("out_of_range",) if one.station == "T1" and FROM <= hour < TO else one.flags)
        for one in draw(STATIONS, range(BACK), lambda _, __, value: value)
        if (hour := (one.observed_at - START) // HOUR) % 5 == 0 or one.station != "C1"
    ]
    tell(database, add_observations, rows, START + BACK * HOUR)
    look(database, site, BACK)
    assert ask(database, load_view, "reading_gaps", site="kinds") == []


def test_typed_readings_have_no_gaps(database: Database) -> None:
    plain = declare({"T1": ("tilt_x",)})
    (station,) = plain.stations
    typed = replace(station, series=tuple(replace(one, by_hand=True) for one in station.series))
    by_hand = replace(plain, stations=(typed,))
    tell(database, save_site, by_hand, "test", "test", START)
    add(database, range(FROM), "T1")
    add(database, range(TO, BACK), "T1")
    look(database, by_hand, BACK)
    assert named(database, BACK) == []
