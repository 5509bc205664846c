"""What the database works out of a long range rests on the same readings as what is read one by one."""

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
# which reading, word, hours after the begin
LATER = [(4, "-spike", 20), (5, "outlier", 20), (6, "outlier", 20), (6, "-outlier", 21), (7, "revised", 20)]
LATER += [(8, "-spike", 20), (8, "spike", 21), (9, "outlier", 90)]


def test_each_way_to_read_a_range_believes_the_same_flags_and_revisions(database):
    with database.write() as c:
        for k, flags in enumerate(ARRIVAL):
            at = T0 + k * HOUR
            add_observations(c, [Observation("north", "G1", "rain", "mm", at, at, float(k), flags=flags)], at)
        first, later = T0 + 10 * HOUR, T0 + 20 * HOUR
        add_observations(c, [Observation("north", "G1", "rain", "mm", first, later, 10.5)], later)
        series_id = find_series_id(c, "north", "G1", "rain")
        for k, flag, hours in LATER:
            add_flag(c, series_id, T0 + k * HOUR, flag, T0 + hours * HOUR)
    low, high = T0 - HOUR, T0 + 12 * HOUR
    with database.read() as c:
        for hours, expected in ((15, {0, 1, 2, 5, 6, 7, 9, 10}), (30, {0, 1, 2, 4, 6, 7, 9, 10.5})):
            known_at = T0 + hours * HOUR
            exact = [r for r in load_readings(c, series_id, low, high, known_at) if all(f in HARMLESS for f in r.flags)]
            assert {r.value for r in exact} == expected
            rows = [(r.observed_at, r.value) for r in exact]
            edges = [low + k * HOUR for k in range(13)]
            for found in (
                load_usable(c, [series_id], low, high, known_at)[series_id],
                load_first_usable(c, [series_id], edges, known_at)[series_id],
                [(one.first_at, one.total) for one in load_spans(c, [(series_id, 1.0)], edges, known_at)],
            ):
                assert [(parse_time(at), value) for at, value in found] == rows


def test_rain_of_a_counter_is_what_it_counted_up_in_each_step(database):
    spec = SeriesSpec("R1", "rain", "mm", interval_s=3600.0, max_silence_s=7200.0, noise_floor=0.1, stamp="counter")
    with database.write() as c:
        for k, value in enumerate((100.0, 101.0, 103.0, 103.0, 0.5, 2.5, 2.5)):  # reset between the fourth and fifth
            at = T0 + k * HOUR
            add_observations(c, [Observation("north", "R1", "rain", "mm", at, at, value)], at)
        series = load_series(c, "north")[0]
    found = ask(database, sum_rain, series, spec, [T0 + 2 * k * HOUR for k in range(4)], T0 + 9 * HOUR)
    assert found == {0: 3.0, 1: 0.5, 2: 2.0}


@pytest.mark.parametrize("stamp", ["event", "counter"])
def test_a_report_counts_a_dry_gauge_as_measured_while_it_is_not_silent(database, stamp):
    spec = SeriesSpec("R1", "rain", "mm", interval_s=3600.0, max_silence_s=5 * 86400.0, stamp=stamp)
    site = SimpleNamespace(series=lambda station, quantity: spec)
    with database.write() as c:
        add_observations(c, [Observation("north", "R1", "rain", "mm", T0, T0, 2.0)], T0)
        series = load_series(c, "north")
    with database.read() as c:
        (dry,) = _describe_rain(c, site, series, Period("bulletin", T0 + timedelta(days=2), T0 + timedelta(days=3)))
        silent = _describe_rain(c, site, series, Period("bulletin", T0 + timedelta(days=8), T0 + timedelta(days=9)))
    assert (dry["sum_mm"], dry["coverage"], silent) == (0.0, 1.0, [])


# ---- what the overview gathers of many sites: as few questions as for one ----
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SITES = 12


def fill(c):
    """Sites of two stations at the stage `slow`; in every third one neither shows it any more.

    In the last one nobody ever did.
    """
    now = {"level": 0, "level_source": "auto", "since": NOW, "evaluated_at": NOW, "observability": "full"}
    now |= {"reachable_level": 0, "witnesses_available": 1, "health": "ok", "movement_stage": "slow", "trend": "steady"}
    now |= {"newest_at": NOW, "config_sha256": "a" * 64, "state": Memory().to_json()}
    for k in range(SITES):
        site = f"s{k:02d}"
        add_site(c, site)
        c.execute(insert(site_state).values(site=site, **now))
        for station in ("A", "B"):
            series = {"site": site, "station": station, "quantity": "displacement_norm", "unit": "mm"}
            key = c.execute(insert(series_table).values(created_at=NOW, **series)).inserted_primary_key[0]
            silent = k % 3 == 0 or station == "B"
            for hour, stage in enumerate(("slow", "stable" if silent else "slow")):
                if k < SITES - 1:
                    at = NOW + timedelta(hours=hour)
                    seen = {"at": at, "data_until": at, "stage": stage, "trend": "steady", "reasons": "", "state": {}}
                    c.execute(insert(movement).values(series_id=key, **seen))


def test_the_stage_of_many_sites_is_found_by_few_queries(database):
    tell(database, fill)
    sent = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _u, statement, *_: sent.append(statement))
    with database.read() as c:
        cards = pages.load_cards(c)
        every = len(sent)
        one = pages.load_cards(c, "s03")
    lost = {f"s{k:02d}" for k in range(0, SITES, 3)}
    assert len(cards) == SITES
    assert {card.id: card.stage_seen_at for card in cards if card.stage_seen_at} == dict.fromkeys(lost, NOW)
    assert one[0].stage_seen_at == NOW
    assert every <= 5 + len(lost) + 1, "one more for each site of which nobody shows the stage, and no other"
