"""Summaries of long ranges are computed from the same readings as single reads."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import event, insert

from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.queries import overview as pages
from monitor.decision.records import Memory
from monitor.features.movement.tables import movement
from monitor.features.reports.facts import _describe_rain
from monitor.features.reports.period import Period
from monitor.readings.queries.extremes import load_first_usable, load_spans, load_usable
from monitor.readings.queries.observations import find_series_id, load_readings, load_series
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import HARMLESS, Observation
from monitor.readings.tables import series as series_table
from monitor.sites.records import SeriesSpec
from monitor.text.instants import parse_time
from monitor.web.routes.site.rain_sums import sum_rain
from tests.data.store_rows import add_flag, ask, tell
from tests.delivery.outbox import add_site

T0 = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ARRIVAL = [(), ("late",), ("late", "backfill"), ("spike",), ("late", "spike"), (), (), (), ("spike",), (), ()]
# Number of the reading, flag, and hours after T0 at which the flag was set.
LATER_FLAGS = [(4, "-spike", 20), (5, "outlier", 20), (6, "outlier", 20), (6, "-outlier", 21), (7, "revised", 20)]
LATER_FLAGS += [(8, "-spike", 20), (8, "spike", 21), (9, "outlier", 90)]


def test_all_queries_of_a_range_use_the_same_flags_and_revisions(database):
    with database.write() as connection:
        for number, flags in enumerate(ARRIVAL):
            observed_at = T0 + number * HOUR
            add_observations(
                connection,
                [Observation("north", "G1", "rain", "mm", observed_at, observed_at, float(number), flags=flags)],
                observed_at,
            )
        first, later = T0 + 10 * HOUR, T0 + 20 * HOUR
        add_observations(connection, [Observation("north", "G1", "rain", "mm", first, later, 10.5)], later)
        series_id = find_series_id(connection, "north", "G1", "rain")
        for number, flag, hours in LATER_FLAGS:
            add_flag(connection, series_id, T0 + number * HOUR, flag, T0 + hours * HOUR)
    low, high = T0 - HOUR, T0 + 12 * HOUR
    with database.read() as connection:
        for hours, expected in ((15, {0, 1, 2, 5, 6, 7, 9, 10}), (30, {0, 1, 2, 4, 6, 7, 9, 10.5})):
            known_at = T0 + hours * HOUR
            exact = [
                reading
                for reading in load_readings(connection, series_id, low, high, known_at)
                if all(reading_flag in HARMLESS for reading_flag in reading.flags)
            ]
            assert {reading.value for reading in exact} == expected
            rows = [(reading.observed_at, reading.value) for reading in exact]
            edges = [low + number * HOUR for number in range(13)]
            for summary in (
                load_usable(connection, [series_id], low, high, known_at)[series_id],
                load_first_usable(connection, [series_id], edges, known_at)[series_id],
                [(span.first_at, span.total) for span in load_spans(connection, [(series_id, 1.0)], edges, known_at)],
            ):
                assert [(parse_time(observed_at), value) for observed_at, value in summary] == rows


def test_rain_of_a_counter_is_the_sum_of_its_increments(database):
    spec = SeriesSpec("R1", "rain", "mm", interval_s=3600.0, max_silence_s=7200.0, noise_floor=0.1, stamp="counter")
    with database.write() as connection:
        for number, value in enumerate(
            (100.0, 101.0, 103.0, 103.0, 0.5, 2.5, 2.5)
        ):  # the counter was reset between the fourth and the fifth reading
            observed_at = T0 + number * HOUR
            add_observations(
                connection, [Observation("north", "R1", "rain", "mm", observed_at, observed_at, value)], observed_at
            )
        series = load_series(connection, "north")[0]
    sums = ask(database, sum_rain, series, spec, [T0 + 2 * number * HOUR for number in range(4)], T0 + 9 * HOUR)
    assert sums == {0: 3.0, 1: 0.5, 2: 2.0}


@pytest.mark.parametrize("stamp", ["event", "counter"])
def test_report_counts_a_dry_gauge_as_measured_unless_it_is_silent(database, stamp):
    spec = SeriesSpec("R1", "rain", "mm", interval_s=3600.0, max_silence_s=5 * 86400.0, stamp=stamp)
    site = SimpleNamespace(series=lambda station, quantity: spec)
    with database.write() as connection:
        add_observations(connection, [Observation("north", "R1", "rain", "mm", T0, T0, 2.0)], T0)
        series = load_series(connection, "north")
    with database.read() as connection:
        (dry,) = _describe_rain(
            connection, site, series, Period("bulletin", T0 + timedelta(days=2), T0 + timedelta(days=3))
        )
        silent = _describe_rain(
            connection, site, series, Period("bulletin", T0 + timedelta(days=8), T0 + timedelta(days=9))
        )
    assert (dry["sum_mm"], dry["coverage"], silent) == (0.0, 1.0, [])


# ---- the overview of many sites needs about as many queries as that of one site ----
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SITES = 12


def fill(connection):
    """Store sites with two stations and the stage `slow`.

    In every third site no station has that stage now. In the last site no station ever had it.
    """
    state_values = {"level": 0, "level_source": "auto", "since": NOW, "evaluated_at": NOW, "observability": "full"}
    state_values |= {
        "reachable_level": 0,
        "witnesses_available": 1,
        "health": "ok",
        "movement_stage": "slow",
        "trend": "steady",
    }
    state_values |= {"newest_at": NOW, "config_sha256": "a" * 64, "state": Memory().to_json()}
    for number in range(SITES):
        site = f"s{number:02d}"
        add_site(connection, site)
        connection.execute(insert(site_state).values(site=site, **state_values))
        for station in ("A", "B"):
            series = {"site": site, "station": station, "quantity": "displacement_norm", "unit": "mm"}
            series_id = connection.execute(insert(series_table).values(created_at=NOW, **series)).inserted_primary_key[
                0
            ]
            is_silent = number % 3 == 0 or station == "B"
            for hour, stage in enumerate(("slow", "stable" if is_silent else "slow")):
                if number < SITES - 1:
                    stage_at = NOW + timedelta(hours=hour)
                    movement_values = {
                        "at": stage_at,
                        "data_until": stage_at,
                        "stage": stage,
                        "trend": "steady",
                        "reasons": "",
                        "state": {},
                    }
                    connection.execute(insert(movement).values(series_id=series_id, **movement_values))


def test_stages_of_many_sites_are_loaded_by_few_queries(database):
    tell(database, fill)
    statements = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _u, statement, *_: statements.append(statement))
    with database.read() as connection:
        cards = pages.load_cards(connection)
        query_count = len(statements)
        single_card = pages.load_cards(connection, "s03")
    sites_without_stage = {f"s{number:02d}" for number in range(0, SITES, 3)}
    assert len(cards) == SITES
    assert {card.id: card.stage_seen_at for card in cards if card.stage_seen_at} == dict.fromkeys(
        sites_without_stage, NOW
    )
    assert single_card[0].stage_seen_at == NOW
    assert query_count <= 5 + len(sites_without_stage) + 1, (
        "one more for each site of which nobody shows the stage, and no other"
    )
