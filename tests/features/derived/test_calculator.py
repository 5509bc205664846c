"""Calculated series are computed outside of ingest: durable notes, order, budget, and equal values in any piece."""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import pytest

from monitor.alerts.queries.offsets import add_offset
from monitor.app.checks.site_files import SiteFolder
from monitor.features.derived import calculator as calculator_module
from monitor.features.derived import queue
from monitor.features.derived.calculator import Calculator
from monitor.features.derived.checks import CHECKS, CalculationStatus
from monitor.features.derived.cost import SHARE, estimate_cost
from monitor.features.derived.plans import plan_site
from monitor.features.derived.queries import Cause, load_pending
from monitor.features.derived.queue import SiteQueue, choose_site
from monitor.features.derived.values import compute_tasks
from monitor.ingest import calculations
from monitor.ingest.calculations import CalculationThread, WaitingValues
from monitor.ingest.message import BrokerMessage, StoredSites
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from tests.data import site_text
from tests.features.derived.test_derived import BASE, DISTANCE, HOUR, NOW, Bench, write
from tests.fixtures.databases import ON_BOTH
from tests.fixtures.soak import in_soak

TWICE = {"station": "P1", "quantity": "displacement", "unit": "mm", "expression": "2 * D1.crack_opening"}
RATE = {
    "station": "D1",
    "quantity": "displacement",
    "unit": "mm",
    "expression": "rate(G1.displacement_east, '12h') * '1 h' + 0.5 * rate(G1.displacement_east, '30h') * '1 h'",
}


def send_pairs(bench: Bench, hours: Iterator[int] | range, east: Callable[[int], float] = float) -> None:
    """Store a reading of G1 and of G2 for each hour without computing anything."""
    for hour in hours:
        for name, value in (("G1", east(hour)), ("G2", 0.0)):
            bench.send_together([(name, hour, {"displacement_east_mm": value})], compute=False)


def make_calculator(bench: Bench, **how: bool) -> Calculator:
    return Calculator(bench.db, {"bench": bench.site}, lambda: bench.now, **how)


def count_notes(bench: Bench) -> int:
    return len(bench.db.run_read(load_pending))


def drain(calculator: Calculator) -> int:
    """Compute everything that waits; returns the number of pieces."""
    pieces = 0
    calculator.load()
    while calculator.compute_piece() is not None:
        pieces += 1
    return pieces


@ON_BOTH
def test_a_crash_between_readings_and_values_loses_nothing(database: Database) -> None:
    bench = Bench(database, DISTANCE, TWICE)
    send_pairs(bench, range(3))
    assert (bench.read(), count_notes(bench)) == ({}, 6)
    drain(make_calculator(bench))
    assert bench.read() == {0.0: 0.0, 1.0: 1.0, 2.0: 2.0}
    assert bench.read("P1.displacement") == {0.0: 0.0, 1.0: 2.0, 2.0: 4.0}
    assert count_notes(bench) == 0


def test_a_crash_between_a_series_and_one_that_reads_it_loses_nothing(database: Database) -> None:
    bench = Bench(database, DISTANCE, TWICE)
    send_pairs(bench, range(3))
    crashed = make_calculator(bench)
    crashed.load()
    crashed.compute_piece()
    assert (len(bench.read()), len(bench.read("P1.displacement")), count_notes(bench)) == (3, 0, 6)
    drain(make_calculator(bench))
    assert bench.read("P1.displacement") == {0.0: 0.0, 1.0: 2.0, 2.0: 4.0}
    assert count_notes(bench) == 0


def test_a_piece_that_cannot_be_stored_waits_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(database, DISTANCE)
    send_pairs(bench, range(3))
    calculator = make_calculator(bench)
    calculator.load()

    def refuse(*_: object) -> None:
        raise calculator_module.StoreBusyError("locked")

    with monkeypatch.context() as patch, pytest.raises(calculator_module.StoreBusyError):
        patch.setattr(calculator_module, "store_values", refuse)
        calculator.compute_piece()
    assert (bench.read(), count_notes(bench)) == ({}, 6)
    drain(calculator)
    assert (len(bench.read()), count_notes(bench)) == (3, 0)


def test_late_readings_are_computed_together(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(database, DISTANCE)
    calculator, spans = make_calculator(bench), []

    def note_spans(c, site, tasks, *given):
        spans.append([task.span for task in tasks])
        return compute_tasks(c, site, tasks, *given)

    monkeypatch.setattr(calculator_module, "compute_tasks", note_spans)
    send_pairs(bench, range(48, 50))
    drain(calculator)
    spans.clear()
    send_pairs(bench, range(24))
    assert drain(calculator) == len(spans) == 1
    assert len(bench.read()) == 26
    send_pairs(bench, range(24))  # the same again is nothing new
    assert drain(calculator) == 0


def test_the_newest_values_come_before_the_past(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(database, DISTANCE)
    monkeypatch.setattr(calculator_module, "PIECE_S", 0.0005)
    send_pairs(bench, range(40))
    calculator = make_calculator(bench)
    calculator.load()
    calculator.compute_piece()
    first = bench.read()
    assert 0 < len(first) < 20
    assert max(first) == 39.0
    send_pairs(bench, range(40, 41))
    calculator.load()
    calculator.compute_piece()
    assert 40.0 in bench.read()
    assert 0.0 not in bench.read()
    drain(calculator)
    assert len(bench.read()) == 41


def write_other() -> str:
    return BASE.replace('"bench"', '"other"') + site_text.table("[[derived]]", **DISTANCE)


def test_a_site_with_much_to_compute_does_not_delay_another(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calculator_module, "PIECE_S", 0.0005)
    bench, other = Bench(database, DISTANCE), parse_site(write_other(), "other.toml")
    with database.write() as c:
        save_site(c, other, "Ada", "new", NOW)
    sites = {"bench": bench.site, "other": other}
    calculator = Calculator(database, sites, lambda: bench.now)
    send_pairs(bench, range(60))
    calculator.load()
    present, *past = (calculator.compute_piece() for _ in range(3))
    assert present == StoredSites(frozenset({"bench"}))
    assert past == [StoredSites(frozenset({"bench"}), frozenset({"bench"}))] * 2  # evaluated with lower priority
    bench.now += timedelta(seconds=1)
    payload = f'{{"time": "{NOW.isoformat()}", "displacement_east_mm": 4.0}}'.encode()
    messages = [BrokerMessage(f"slopeward/v1/other/{name}/obs", payload, bench.now, "live") for name in ("G1", "G2")]
    assert Pipeline(database, sites, lambda: bench.now).store(messages).sites == {"other"}
    calculator.load()
    came = [calculator.compute_piece() for _ in range(2)]
    assert StoredSites(frozenset({"other"}), frozenset()) in came


def test_processor_time_is_shared_evenly_by_sites_that_wait() -> None:
    used_s = {"heavy": 0.0, "light": 0.0}
    taken = []
    for _ in range(30):
        site_id = choose_site(["heavy", "light"], used_s)
        assert site_id is not None
        used_s[site_id] += {"heavy": 0.2, "light": 0.05}[site_id]
        taken.append(site_id)
    assert used_s["heavy"] == pytest.approx(used_s["light"], abs=0.21)
    assert choose_site(["heavy"], used_s) == "heavy"  # what one site does not need is left to the others
    assert choose_site([], used_s) is None


def test_another_process_stores_nothing_that_is_out_of_date(database: Database) -> None:
    bench = Bench(database, DISTANCE)
    send_pairs(bench, range(3))
    imported, service = make_calculator(bench, is_only=False), make_calculator(bench)
    imported.load()
    bench.send_together([("G1", 1, {"displacement_east_mm": 9.0, "solution": "corrected"})], compute=False)
    assert imported.compute_piece() == StoredSites(frozenset())
    assert bench.read() == {}  # a note appeared that it had not read
    service.load()
    imported.load()
    drain(service)
    assert imported.compute_piece() == StoredSites(frozenset())  # the notes are gone
    assert drain(imported) == 0
    assert bench.read() == {0.0: 0.0, 1.0: 9.0, 2.0: 2.0}


def test_notes_of_a_site_that_cannot_keep_up_stay_few(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(database, DISTANCE, TWICE)
    monkeypatch.setattr(calculator_module, "PIECE_S", 0.0005)
    monkeypatch.setattr(calculator_module, "COMPACT_EVERY_S", -1.0)
    send_pairs(bench, range(60))
    calculator = make_calculator(bench)
    calculator.load()
    calculator.compute_piece()
    assert count_notes(bench) <= 4 < 120
    assert {row.cause for row in bench.db.run_read(load_pending)} == {Cause.VALUES}
    drain(make_calculator(bench))  # after a crash
    assert (len(bench.read()), len(bench.read("P1.displacement")), count_notes(bench)) == (60, 60, 0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [0, *in_soak(1, 2)])
def test_a_window_that_is_kept_in_memory_gives_what_one_that_is_read_gives(database: Database, seed: int) -> None:
    """Values by one calculator that lives on, with late, corrected and offset readings, and by a new one each time."""
    rng = random.Random(seed)
    found: list[Mapping[float, float]] = []
    history = [(hour, round(rng.gauss(20.0, 3.0), 3)) for hour in range(60)]
    late = {rng.randrange(10, 40): rng.randrange(1, 9) for _ in range(6)}
    for is_new in (False, True):
        with database.write() as c:
            for table in ("observation", "series_latest", "offset_entry", "series", "calculation_pending"):
                c.exec_driver_sql(f"DELETE FROM {table}")
        bench = Bench(database, RATE)
        bench.now = NOW + 70 * HOUR
        calculator = make_calculator(bench)
        for step, (hour, value) in enumerate([*history, *((h, 7.0 + h) for h in sorted(late))]):
            is_late = step >= len(history)
            solution = {"solution": "corrected"} if is_late else {}
            if hour in late and not is_late:
                continue
            bench.send_together([("G1", hour, {"displacement_east_mm": value, **solution})], compute=False)
            if step == 45:
                with database.write() as c:
                    number = find_series_id(c, "bench", "G1", "displacement_east") or 0
                    facts = {"size": 4.0, "unit": "mm", "kind": "antenna", "reason": "a new antenna"}
                    author, later = Actor("Ada", "person"), bench.now
                    add_offset(c, number, at=NOW + 20 * HOUR, known_from=later, now=later, author=author, **facts)
            calculator = make_calculator(bench) if is_new else calculator
            drain(calculator)
        found.append(bench.read("D1.displacement"))
    assert found[0] == found[1]
    assert len(found[0]) > 40


def test_a_site_is_behind_while_its_newest_values_wait_and_not_for_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_site(parse_site(write(DISTANCE), "bench.toml")).each[0]
    waiting = SiteQueue()
    assert waiting.find_present_s() is None
    waiting.add(plan, [(NOW, NOW)], Cause.READINGS, None, 10.0)
    waiting.add(plan, [(NOW - 400 * HOUR, NOW - 300 * HOUR)], Cause.REDEFINED, None, 20.0)
    assert (waiting.find_present_s(), waiting.find_oldest_s()) == (10.0, 10.0)
    assert waiting.is_present(NOW)
    assert not waiting.is_present(NOW - HOUR)
    assert [task.span for task in waiting.take(9.0)] == [(NOW, NOW)]
    assert (waiting.find_present_s(), waiting.find_oldest_s()) == (None, 20.0)
    waiting.take(9.0)
    assert (bool(waiting), waiting.find_oldest_s()) == (False, None)


def test_the_evaluation_waits_for_newest_values_for_a_limited_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    calculator = Calculator(database, {}, lambda: NOW)
    thread = CalculationThread("calculated series", calculator, lambda _: None, SHARE)
    now_s = [1000.0]
    monkeypatch.setattr(calculations.time, "monotonic", lambda: now_s[0])
    thread._waiting = {"bench": WaitingValues(999.0, 999.0, "D1.crack_opening")}
    assert not thread.is_behind("bench")
    now_s[0] += calculations.BEHIND_S
    assert thread.is_behind("bench")
    assert not thread.is_behind("other")
    now_s[0] += calculations.BEHIND_LIMIT_S
    assert not thread.is_behind("bench")
    thread._waiting = {"bench": WaitingValues(999.0, None, "D1.crack_opening")}
    assert not thread.is_behind("bench")
    [late] = [check for check in CHECKS if check.fact_type is CalculationStatus]
    sites = {"bench": parse_site(write(DISTANCE), "bench.toml")}
    [finding] = late.run(CalculationStatus(sites, thread.list_waits_s))
    assert finding.is_wrong
    assert "D1.crack_opening takes most time" in finding.text


def test_values_are_announced_once_they_are_stored(database: Database) -> None:
    bench, came = Bench(database, DISTANCE), []
    send_pairs(bench, range(2))
    thread = CalculationThread("calculated series", make_calculator(bench), came.append, SHARE)
    assert thread._work()
    assert came == [StoredSites(frozenset({"bench"}), frozenset())]
    assert len(bench.read()) == 2


def test_check_prints_what_calculated_series_need_and_warns_above_the_budget(tmp_path) -> None:
    heavy = [
        {
            "station": "D1",
            "quantity": "displacement",
            "unit": "mm",
            "expression": " + ".join(["rate(F1.tilt_x, '15m') * '1 m' * '1 s'"] * 11),
        }
    ]
    fast = site_text.station("F1", site_text.series("tilt_x", "mrad", "1s"))
    [cost] = [check for check in CHECKS if check.id == "derived.cost"]
    light_site = parse_site(write(DISTANCE), "bench.toml")
    heavy_site = parse_site(
        BASE.replace('"bench"', '"heavy"') + fast + "".join(site_text.table("[[derived]]", **one) for one in heavy), "h"
    )
    service = ServiceConfig.model_construct()
    [light] = cost.run(SiteFolder(service, [light_site], {}))
    assert not light.is_wrong
    assert "1 calculated series give 0.017 values per minute" in light.text
    assert "of a budget of 50" in light.text
    share = estimate_cost(heavy_site)
    assert share is not None
    many = SiteFolder(service, [light_site, heavy_site, *[heavy_site] * int(SHARE / share.share + 1)], {})
    wrong = [finding for finding in cost.run(many) if finding.is_wrong]
    assert wrong
    assert all("D1.displacement needs most" in finding.text for finding in wrong)
    assert queue.estimate_value_s(plan_site(heavy_site).each[0]) > queue.estimate_value_s(plan_site(light_site).each[0])
