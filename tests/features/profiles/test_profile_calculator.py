"""Depth profiles are computed outside of ingest: durable notes, order, bounded pieces, equal values in any piece."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from monitor.alerts.queries.offsets import add_offset
from monitor.app.checks.table import run_alarm_checks
from monitor.errors import StoreBusyError
from monitor.features.derived.queries import load_pending as load_calculations
from monitor.features.profiles import calculator as calculator_module
from monitor.features.profiles import compute, window
from monitor.features.profiles.calculator import ProfileCalculator
from monitor.features.profiles.checks import WaitingProfiles
from monitor.features.profiles.declare import list_profiles
from monitor.features.profiles.parts import build_parts
from monitor.features.profiles.queries import load_pending
from monitor.features.profiles.redefined import run
from monitor.ingest.message import StoredSites
from monitor.readings.queries.observations import find_series_id
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from tests.data import site_text
from tests.features.profiles.test_profiles import DAY, NOW, PROBE, Bench, survey
from tests.fixtures.databases import ON_BOTH
from tests.fixtures.soak import with_soak
from tests.fixtures.waiting import wait_for

HALF = {"station": "I2", "quantity": "crack_opening", "unit": "mm", "expression": "I1.displacement / 2"}
NOTHING = StoredSites(frozenset(), frozenset())
STRING = {
    "station": "I2",
    "kind": "thermistor",
    "unit": "degC",
    "depths_m": [0.5, 1.0, 2.0],
    "interval": "7d",
}


def make_calculator(bench: Bench, **how: bool) -> ProfileCalculator:
    return ProfileCalculator(bench.db, {"bench": bench.site}, lambda: bench.now, **how)


def drain(calculator: ProfileCalculator) -> list[StoredSites]:
    """Compute everything that waits; return the result of each piece."""
    pieces: list[StoredSites] = []
    calculator.load()
    while (piece := calculator.compute_piece()) is not None:
        pieces.append(piece)
    return pieces


def count_notes(bench: Bench) -> int:
    return len(bench.db.run_read(load_pending))


def read_counts(bench: Bench) -> dict[float, tuple[float, int]]:
    """Depths and revision by day."""
    return {(one.observed_at - NOW) / DAY: (round(one.value), one.revision) for one in bench.load("depth_count")}


def send_weeks(bench: Bench, weeks: Sequence[int], slip_mm: float = 3.0) -> None:
    """Store a survey for each week without computing anything."""
    rng = random.Random(8)
    [profile, *_] = list_profiles(bench.site)
    for week in weeks:
        bench.send(7 * week, compute=False, **survey(profile, rng, slip_mm * week))


@ON_BOTH
def test_a_crash_between_readings_and_profiles_loses_nothing(database: Database) -> None:
    bench = Bench(database, PROBE)
    send_weeks(bench, range(3))
    assert (bench.read("slip_depth"), count_notes(bench)) == ([], 3)
    drain(make_calculator(bench))
    assert read_counts(bench) == {0.0: (20, 0), 7.0: (20, 0), 14.0: (20, 0)}
    assert bench.read("slip_depth")[-1]["slip_depth_m"] == 5.25
    assert count_notes(bench) == 0


def test_the_newest_profile_comes_first_and_a_crash_in_the_past_computes_the_rest_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calculator_module, "PIECE_S", 0.0)
    bench = Bench(database, PROBE)
    send_weeks(bench, range(6))
    crashed = make_calculator(bench)
    crashed.load()
    assert crashed.compute_piece() == StoredSites(frozenset({"bench"}))
    assert [*read_counts(bench)] == [35.0]
    assert crashed.compute_piece() == StoredSites(frozenset({"bench"}), frozenset({"bench"}))  # lower priority
    assert [*read_counts(bench)] == [28.0, 35.0]
    assert 0 < count_notes(bench) <= 6
    drain(make_calculator(bench))
    assert read_counts(bench) == {7.0 * week: (20, 0) for week in range(6)}
    assert count_notes(bench) == 0


def test_a_note_is_deleted_while_older_surveys_wait(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calculator_module, "PIECE_S", 0.0)
    bench = Bench(database, PROBE | {"window": "8d"})
    send_weeks(bench, range(6))
    calculator = make_calculator(bench)
    calculator.load()
    counts = []
    while calculator.compute_piece() is not None:
        counts.append(count_notes(bench))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0
    assert len({*counts}) > 3


def test_profiles_are_received_when_they_are_stored(database: Database) -> None:
    bench = Bench(database, PROBE)
    send_weeks(bench, range(1))
    bench.now += timedelta(minutes=3)
    drain(make_calculator(bench))
    assert {one.received_at for one in bench.load("displacement")} == {bench.now}


def test_a_survey_with_missing_depths_is_computed_after_ten_minutes_also_after_a_restart(database: Database) -> None:
    bench = Bench(database, PROBE)
    [profile] = list_profiles(bench.site)
    send_weeks(bench, range(2))
    drain(make_calculator(bench))
    values = survey(profile, random.Random(1))
    del values[profile.name_quantity("a0", 9)]
    bench.send(14, compute=False, **values)
    calculator = make_calculator(bench)
    assert drain(calculator) == [NOTHING]
    assert (14.0 in read_counts(bench), count_notes(bench)) == (False, 1)
    assert calculator.list_waiting() == {}  # a depth that may never arrive holds no level
    bench.now += timedelta(minutes=9)
    assert drain(make_calculator(bench)) == [NOTHING]
    bench.now += timedelta(minutes=2)
    assert [piece.sites for piece in drain(calculator)] == [{"bench"}]
    assert (read_counts(bench)[14.0], count_notes(bench)) == ((19, 0), 0)


def test_a_piece_that_cannot_be_stored_waits_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(database, PROBE)
    send_weeks(bench, range(2))
    calculator = make_calculator(bench)
    calculator.load()

    def refuse(*_: object, **__: object) -> None:
        raise StoreBusyError("locked")

    with monkeypatch.context() as patch, pytest.raises(StoreBusyError):
        patch.setattr(calculator_module, "add_observations", refuse)
        calculator.compute_piece()
    assert (read_counts_or_none(bench), count_notes(bench)) == (None, 2)
    drain(calculator)
    assert (len(read_counts(bench)), count_notes(bench)) == (2, 0)


def read_counts_or_none(bench: Bench) -> dict[float, tuple[float, int]] | None:
    with bench.db.read() as c:
        is_stored = find_series_id(c, "bench", "I1", "depth_count") is not None
    return read_counts(bench) if is_stored else None


def test_a_borehole_that_fails_does_not_keep_another_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(database, PROBE, STRING)
    string = list_profiles(bench.site)[1]
    send_weeks(bench, range(1))
    bench.send(
        1, "I2", "degC", compute=False, **{string.name_quantity("temperature", place): 1.0 for place in range(3)}
    )
    list_parts = compute.list_parts

    def fail_on_probe(profile: Any, *given: Any) -> Any:
        if profile.kind == "probe":
            raise ValueError("odd readings")
        return list_parts(profile, *given)

    monkeypatch.setattr(compute, "list_parts", fail_on_probe)
    drain(make_calculator(bench))
    assert [one.value for one in bench.load("depth_count", "I2")] == [3.0]
    assert count_notes(bench) == 0
    assert "the profiles of bench/I1 are not computed" in caplog.text


def test_another_process_stores_nothing_that_is_out_of_date(database: Database) -> None:
    bench = Bench(database, PROBE)
    send_weeks(bench, range(2))
    imported, service = make_calculator(bench, is_only=False), make_calculator(bench)
    imported.load()
    send_weeks(bench, range(2, 3))
    assert imported.compute_piece() == NOTHING
    assert read_counts_or_none(bench) is None  # a note appeared that it had not read
    service.load()
    imported.load()
    drain(service)
    assert imported.compute_piece() == NOTHING  # the notes are gone
    assert drain(imported) == []
    assert read_counts(bench) == {0.0: (20, 0), 7.0: (20, 0), 14.0: (20, 0)}


def test_a_site_is_behind_while_its_newest_profile_waits_and_not_for_the_past(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calculator_module, "PIECE_S", 0.0)
    bench = Bench(database, PROBE)
    send_weeks(bench, range(4))
    calculator = make_calculator(bench)
    calculator.load()
    waiting = calculator.list_waiting()["bench"]
    assert waiting.present_since_s == waiting.since_s
    assert waiting.dearest == "I1"
    calculator.compute_piece()
    assert calculator.list_waiting()["bench"].present_since_s is None
    drain(calculator)
    assert calculator.list_waiting() == {}


def test_the_service_computes_and_reports_profiles_that_are_late(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, came = Bench(database, PROBE), []
    send_weeks(bench, range(2))
    sites = {"bench": bench.site}
    [part] = build_parts(database, None, sites, lambda: bench.now, came.append)  # type: ignore[arg-type]
    [seen] = part.subjects
    assert isinstance(seen, WaitingProfiles)
    assert [one.is_wrong for one in run_alarm_checks(seen)] == [False]
    [late] = run_alarm_checks(WaitingProfiles(sites, lambda: {"bench": (600.0, "I1")}))
    assert late.is_wrong
    assert "those of I1 longest" in late.text
    part.start()
    part.on_readings()
    wait_for(lambda: not count_notes(bench))
    part.stop(30.0)
    assert came[0] == StoredSites(frozenset({"bench"}))
    assert len(read_counts(bench)) == 2


def test_a_series_that_reads_a_profile_is_noted_when_the_profile_is_stored(database: Database) -> None:
    bench = Bench(database, PROBE, criterion=site_text.table("[[derived]]", **HALF))
    send_weeks(bench, range(2))
    assert database.run_read(load_calculations) == []
    drain(make_calculator(bench))
    assert {name for row in database.run_read(load_calculations) for name in row.series} == {"I1.displacement"}


def test_notes_of_a_borehole_without_a_profile_are_deleted(database: Database) -> None:
    bench = Bench(database, PROBE)
    send_weeks(bench, range(2))
    bench.declare(STRING)
    assert drain(make_calculator(bench)) == []
    assert count_notes(bench) == 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", with_soak(0, 1))
def test_surveys_that_are_held_in_memory_give_what_surveys_that_are_read_give(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Values by one calculator that lives on, in pieces of one survey or block, and by a new one for each message.

    Readings arrive late, are corrected, get an offset, and depths are read again soon after a survey.
    """
    instrument = {
        "station": "I1",
        "kind": "in_place",
        "unit": "mm",
        "first_m": 1.0,
        "last_m": 12.0,
        "every_m": 1.0,
        "interval": "1h",
        "window": "9h",
    }
    found = []
    for is_new in (False, True):
        rng = random.Random(seed)
        monkeypatch.setattr(calculator_module, "PIECE_S", 60.0 if is_new else 0.0)
        monkeypatch.setattr(window, "BLOCK_READINGS", 5000 if is_new else 36)
        with database.write() as c:
            for table in ("observation", "series_latest", "offset_entry", "series", "profile_pending", "service_state"):
                c.exec_driver_sql(f"DELETE FROM {table}")
        bench = Bench(database, instrument)
        [profile] = list_profiles(bench.site)
        names = [profile.name_quantity("a", place) for place in range(12)]
        hours = [*range(30)]
        late = rng.sample(hours, 6)
        messages = [(hour, False) for hour in hours if hour not in late] + [(hour, False) for hour in late]
        messages += [(hour + 0.2, True) for hour in rng.sample(hours, 4)]
        calculator = make_calculator(bench)
        for step, (hour, is_partial) in enumerate(messages):
            some = rng.sample(names, 3) if is_partial else names
            values = {name: round(rng.gauss(0.5 * hour * (name == names[4]), 0.1), 3) for name in some}
            bench.send(hour / 24.0, compute=False, **values)
            if step == 20:
                with database.write() as c:
                    number = find_series_id(c, "bench", "I1", names[4]) or 0
                    facts = {"size": 1.0, "unit": "mm", "kind": "rezero", "reason": "a new probe"}
                    author = Actor("Ada", "person")
                    add_offset(c, number, at=NOW + DAY / 2, known_from=bench.now, now=bench.now, author=author, **facts)
            if is_new:
                calculator = make_calculator(bench)
            drain(calculator)
        bench.now += DAY
        before = read_all(bench)
        run(database, None, bench.site, bench.now)  # the offset has the past computed again
        drain(calculator)
        found.append((before, read_all(bench)))
    assert found[0] == found[1]
    assert len(found[0][0]) > 80


def read_all(bench: Bench):
    """All values of the profile, by quantity and instant; the last digits count how often a value was revised."""
    return {
        (name, one.observed_at): (round(one.value, 4), one.sigma, one.flags, one.extra)
        for name in ("depth_count", "displacement", "slip_rate")
        for one in bench.load(name)
    }
