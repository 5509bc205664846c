"""Gaps in regular series: stored without a notice, and removed when late readings fill them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, func, select

from monitor.alerts.tables import alert
from monitor.cli.main import run_command
from monitor.features.anomalies import jobs as anomaly_jobs
from monitor.features.anomalies.queries.labels import load_runs
from monitor.features.anomalies.state import forget
from monitor.features.instruments.jobs import run as check_instruments
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
# Hours since START. T1 and R1 send no readings from GAP_START to GAP_END.
GAP_START = 24 * 20
GAP_END = GAP_START + 12
# After this time the running state no longer accepts readings for the gap.
LATE = GAP_END + 40


@pytest.fixture
def site(database: Database) -> Site:
    parsed = declare(STATIONS)
    tell(database, save_site, parsed, "test", "test", START)
    return parsed


def add(database: Database, hours: Iterable[int], *stations: str, at: int | None = None) -> None:
    """Store the readings of some hours. `draw` has each received a minute later; with `at`, all are received then."""
    chosen = list(hours)
    rows = [
        reading if at is None else replace(reading, received_at=START + at * HOUR)
        for reading in draw(STATIONS, range(max(chosen) + 1), lambda _, __, value: value)
        if reading.station in (stations or STATIONS) and (reading.observed_at - START) // HOUR in chosen
    ]
    tell(database, add_observations, rows, START + (max(chosen) if at is None else at) * HOUR)


def run_jobs(database: Database, site: Site, hour: int) -> None:
    """Run the jobs that find gaps, five minutes after an hour."""
    now = START + hour * HOUR + timedelta(minutes=5)
    anomaly_jobs.run(database, CONFIG, site, now)
    check_instruments(database, CONFIG, site, now)


def list_gaps(database: Database, hour: int) -> list[tuple[str, float, float, int]]:
    """Return the gaps known at an hour.

    Returns:
        Station, hour of the last reading before the gap, hour of the first reading after it, and number of missing
        readings.
    """
    now = START + hour * HOUR + timedelta(minutes=5)
    with database.read() as c:
        return [
            (gap.station, (gap.from_at - START) / HOUR, (gap.to_at - START) / HOUR, gap.missing)
            for gap in load_gaps(c, "kinds", now - 14 * DAY, now)
        ]


def list_findings(database: Database) -> list[tuple[str, str]]:
    """Return state and reason of the findings about instrument T1."""
    with database.read() as c:
        return [
            (row["state"], row["reason"]) for row in load_view(c, "instrument_findings", site="kinds", instrument="T1")
        ]


@pytest.mark.soak
@pytest.mark.parametrize("at_once", [True, False])
def test_a_gap_is_stored_without_a_notice_and_late_readings_remove_it(database, site, at_once):
    add(database, range(GAP_START))
    if not at_once:
        run_jobs(database, site, GAP_START - 1)
    add(database, range(GAP_START, LATE), "T2", "C1")
    if not at_once:
        run_jobs(database, site, GAP_END - 1)
        assert list_gaps(database, GAP_END - 1) == [], "T1 is still silent: the end of the gap is unknown"
    add(database, range(GAP_END, LATE), "T1", "R1")
    run_jobs(database, site, LATE)
    assert list_gaps(database, LATE) == [("T1", GAP_START - 1, GAP_END, 12)], (
        "rain has no regular interval, so R1 has no gap"
    )
    assert list_findings(database) == [("gap", "tilt x: 12 readings are missing until 2026-01-21 12:00 UTC")]
    with database.read() as c:
        assert load_runs(c, site, START, START + 30 * DAY) == []
        assert c.execute(select(func.count()).select_from(alert)).scalar() == 0
        (row,) = load_view(c, "reading_gaps", site="kinds")
    assert (row["station"], row["missing"], row["filled_at"]) == ("T1", 12, None)
    if at_once:
        # The next run builds the running state again from the database.
        forget(database, "kinds")
    run_jobs(database, site, LATE)
    assert list_gaps(database, LATE) == [("T1", GAP_START - 1, GAP_END, 12)], (
        "a second run must not store the gap again"
    )

    add(database, range(GAP_START + 5, GAP_START + 8), "T1", at=LATE + 1)  # a part of the missing readings
    run_jobs(database, site, LATE + 1)
    assert list_gaps(database, LATE + 1) == [("T1", GAP_START - 1, GAP_START + 5, 5), ("T1", GAP_START + 7, GAP_END, 4)]
    assert list_gaps(database, LATE) == [("T1", GAP_START - 1, GAP_END, 12)], (
        "an earlier time shows the gap as it was known then"
    )
    add(database, [*range(GAP_START, GAP_START + 5), *range(GAP_START + 8, GAP_END)], "T1", at=LATE + 2)
    run_jobs(database, site, LATE + 2)
    assert (list_gaps(database, LATE + 2), list_findings(database)) == ([], [])


@ON_BOTH
def test_many_gaps_are_stored_in_parts_without_loss_after_an_interruption(database, site, monkeypatch):
    """Other transactions may run between two parts, and the service may stop there."""
    part_sizes: list[int] = []
    stop_after = [2]  # number of parts after which the service stops
    add_gaps = anomaly_jobs.add_gaps

    def add_until_stop(c: Connection, gaps: Sequence[GapCandidate], now: datetime) -> int:
        if len(part_sizes) == stop_after[0]:
            raise KeyboardInterrupt
        part_sizes.append(len(gaps))
        return add_gaps(c, gaps, now)

    monkeypatch.setattr(anomaly_jobs, "GAPS_PER_TRANSACTION", 3)
    monkeypatch.setattr(anomaly_jobs, "add_gaps", add_until_stop)
    add(database, [hour for hour in range(301) if hour < 12 or hour % 24 not in {7, 8, 9, 10, 11}], "T1", "T2")
    with pytest.raises(KeyboardInterrupt):
        run_jobs(database, site, 300)
    assert (part_sizes, len(list_gaps(database, 300))) == ([3, 3], 6)
    stop_after[0] = 99
    run_jobs(database, site, 300)
    gaps = list_gaps(database, 300)
    assert part_sizes[2:] == [3] * 8
    assert len(gaps) == len(set(gaps)) == 24
    assert {(until - since, missing) for _, since, until, missing in gaps} == {(6.0, 5)}
    run_jobs(database, site, 301)
    assert list_gaps(database, 301) == gaps

    missing_hours = [hour for hour in range(12, 300) if hour % 24 in {7, 8, 9, 10, 11}]
    fill_gaps = anomaly_jobs.fill_gaps
    filled_parts: list[int] = []

    def fill_until_stop(c: Connection, gaps: Sequence[GapCandidate], now: datetime) -> None:
        fill_gaps(c, gaps, now)
        filled_parts.append(len(gaps))
        if len(filled_parts) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(anomaly_jobs, "add_gaps", add_gaps)
    monkeypatch.setattr(anomaly_jobs, "fill_gaps", fill_until_stop)
    add(database, missing_hours, "T1", "T2", at=302)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(database, site, 302)
    assert len(list_gaps(database, 302)) == 21, "the first part is stored, and the second was rolled back completely"
    monkeypatch.setattr(anomaly_jobs, "fill_gaps", fill_gaps)
    run_jobs(database, site, 303)
    assert list_gaps(database, 303) == []


def test_the_command_lists_missing_readings(database, tmp_path, capsys):
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    site = declare(STATIONS)
    with database.write() as c:
        save_site(c, site, "test", "test", now - 30 * DAY)
        hours = [(now - k * HOUR, 0.01 * (k % 7)) for k in range(200, 0, -1) if not 50 < k < 60]
        add_observations(c, [Observation("kinds", "T1", "tilt_x", "mrad", at, at, value) for at, value in hours], now)
    anomaly_jobs.run(database, CONFIG, site, now)
    declared = HEAD + site_text.station("T1", site_text.series("tilt_x", "mrad"))
    service = str(write_service(tmp_path, database, declared))
    assert run_command(["anomalies", "list", "--site", "kinds", "--json", "--config", service]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["station"], row["kind"], row["missing"]) for row in rows if row["kind"] == "gap"] == [("T1", "gap", 9)]
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


def test_flagged_readings_and_series_sent_on_change_are_no_gaps(database, site):
    rows = []
    for reading in draw(STATIONS, range(LATE), lambda _, __, value: value):
        hour = (reading.observed_at - START) // HOUR
        if reading.station == "C1" and hour % 5 != 0:
            # C1 sends every fifth hour only.
            continue
        if reading.station == "T1" and GAP_START <= hour < GAP_END:
            rows.append(replace(reading, flags=("out_of_range",)))
        else:
            rows.append(reading)
    tell(database, add_observations, rows, START + LATE * HOUR)
    run_jobs(database, site, LATE)
    assert ask(database, load_view, "reading_gaps", site="kinds") == []


def test_series_typed_by_hand_have_no_gaps(database: Database) -> None:
    automatic = declare({"T1": ("tilt_x",)})
    (station,) = automatic.stations
    typed_station = replace(station, series=tuple(replace(spec, by_hand=True) for spec in station.series))
    typed_site = replace(automatic, stations=(typed_station,))
    tell(database, save_site, typed_site, "test", "test", START)
    add(database, range(GAP_START), "T1")
    add(database, range(GAP_END, LATE), "T1")
    run_jobs(database, typed_site, LATE)
    assert list_gaps(database, LATE) == []
