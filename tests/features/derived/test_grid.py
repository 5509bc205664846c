"""Calculated series with `every`: in whatever order readings come, what a slow calculation makes of all of them."""

import random
from collections.abc import Callable, Mapping
from datetime import timedelta

import numpy as np
import pytest

from monitor.features.derived import values
from monitor.features.derived.calculator import Calculator
from monitor.features.derived.inputs import SiteInputs
from monitor.storage.engine import Database
from tests.features.derived.test_derived import DISTANCE, NOW, Bench

Find = Callable[[str, float], float | None]
Rows = dict[str, dict[float, float]]  # by series and hours the value

UNITS = {"displacement": "mm", "displacement_up": "mm", "water_level": "m", "crack_opening": "mm"}
# station, quantity, expression, alignment, every (hours), and the same by hand: at(series, hours before)
SERIES = [
    ("D1", "crack_opening", DISTANCE["expression"], {"within": 1.5}, 2, lambda at: at("G1.e") - at("G2.e")),
    (
        "P1",
        "water_level",
        "(P1.pore_pressure - (B1.air_pressure - '1000 hPa')) / '10 kPa/m'",
        {"hold": 5},
        2,
        lambda at: (at("P1.p") - (at("B1.p") - 1000.0) / 10.0) / 10.0,
    ),
    ("B1", "displacement", "lag(P1.water_level, '4h') * 2", {"hold": 5}, 2, lambda at: 2e3 * at("P1.water_level", 4)),
    ("D1", "displacement", "-D1.crack_opening", {"within": 1.5}, 3, lambda at: -at("D1.crack_opening")),
    (
        "P1",
        "displacement",
        "P1.pore_pressure * '1 mm/kPa' + D1.crack_opening",
        {"hold": 3},
        0,
        lambda at: at("P1.p") + at("D1.crack_opening"),
    ),
    ("P1", "crack_opening", "2 * P1.displacement", {"within": 0.75}, 3, lambda at: 2 * at("P1.displacement")),
    ("B1", "crack_opening", "rate(G2.displacement_east, '6h') * '1 h'", {"within": 0.5}, 3, None),
]
MEASURED = {
    "G1.e": ("displacement_east_mm", 1),
    "G2.e": ("displacement_east_mm", 1),
    "P1.p": ("pore_pressure_kpa", 1),
    "B1.p": ("air_pressure_hpa", 6),
}
FIRST = {"D1.crack_opening": "G1.e", "P1.water_level": "P1.p", "B1.crack_opening": "G2.e", "P1.displacement": "P1.p"}
BEFORE = {
    "B1.displacement": "P1.water_level",
    "D1.displacement": "D1.crack_opening",
    "P1.crack_opening": "P1.displacement",
}


def declare() -> list[Mapping[str, object]]:
    tables = []
    for station, quantity, expression, how, every, _ in SERIES:
        facts = {key: f"{round(value * 60)}m" for key, value in how.items()} | ({"every": f"{every}h"} if every else {})
        tables.append(
            {"station": station, "quantity": quantity, "unit": UNITS[quantity], "expression": expression} | facts
        )
    return tables


def compute_slowly(rows: Rows) -> Rows:
    """What follows from all readings, by their definition; instants in hours."""
    known = dict(rows)
    for station, quantity, _, how, every, by_hand in SERIES:
        name = f"{station}.{quantity}"
        first = (FIRST | BEFORE)[name]
        found: dict[float, float] = {}

        def find(series: str, hours: float, how: Mapping[str, float] = how) -> float | None:
            if "hold" in how:
                return max(
                    (h for h in known[series] if h <= hours + 1e-9 and hours - h <= how["hold"] + 1e-9), default=None
                )
            near = [h for h in known[series] if abs(h - hours) <= how["within"] + 1e-9]
            return min(near, key=lambda h: (round(abs(h - hours), 6), h), default=None)

        last = max(known[first], default=-99.0)
        for hours in [h for h in range(-60, 1, every) if h <= last + 1e-9] if every else sorted(known[first]):
            if by_hand is None:
                window = {h: v for h, v in known[first].items() if hours - 6 + 1e-9 < h <= hours + 1e-9}
                if len(window) >= 3 and max(window) - min(window) >= 3 - 1e-9:
                    found[hours] = float(np.polyfit([*window], [*window.values()], 1)[0])
                continue

            def at(series: str, before: float = 0.0, hours: float = hours) -> float:
                return known[series][find(series, hours - before)]

            try:
                found[hours] = by_hand(at)
            except KeyError:  # nothing stands for it
                continue
        known[name] = found
    return {name: values for name, values in known.items() if name not in rows}


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("seed", range(5))
def test_any_order_and_batching_comes_to_what_all_readings_say(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    rows: Rows = {}
    for name, (_, step) in MEASURED.items():
        jitter = rng.choice([[0.0], [0.0, 0.25, -0.25, 0.5], [0.3]])
        gap = rng.randrange(-28, -4)
        times = {
            round(h + rng.choice(jitter), 2) for h in range(-36, 0, step) if not gap <= h < gap + rng.choice([0, 3, 9])
        }
        rows[name] = {h: round(rng.gauss(20.0, 3.0), 3) for h in sorted(times)}
    sent = [(name, h, {MEASURED[name][0]: v}) for name, values in rows.items() for h, v in values.items()]
    for one in rng.sample(sent, 5):
        rows[one[0]][one[1]] = value = round(rng.gauss(20.0, 3.0), 3)
        sent.append((one[0], one[1], {MEASURED[one[0]][0]: value, "solution": "corrected"}))
    order = rng.choice(["in order", "nearly", "any", "by series"])
    if order == "any":
        rng.shuffle(sent)
    elif order != "by series":
        sent.sort(key=lambda one: one[1] + (rng.uniform(0.0, 4.0) if order == "nearly" else 0.0))
    bench = Bench(database, *declare())
    while sent:
        size = rng.choice([1, 2, 5, 40])
        bench.send_together([(name.partition(".")[0], h, values) for name, h, values in sent[:size]])
        del sent[:size]
    for name, wanted in compute_slowly(rows).items():
        found = bench.read(name)
        assert found == pytest.approx(wanted, abs=1e-6), (name, order)
        assert not any("bad" in one.flags for one in bench.rows)


def test_a_value_is_computed_once_and_readings_between_load_no_inputs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(database, DISTANCE | {"every": "6h"})
    made: list[float] = []
    compute_value, load = values._compute_value, SiteInputs.load
    monkeypatch.setattr(values, "_compute_value", lambda *given: made.append(given[3]) or compute_value(*given))
    looked: list[int] = []
    monkeypatch.setattr(SiteInputs, "load", lambda *given: looked.append(1) or load(*given))
    calculator = Calculator(database, {"bench": bench.site}, lambda: bench.now)
    for minute in range(-24 * 60, 0, 30):
        bench.now = NOW + timedelta(minutes=minute)
        messages = [(name, minute / 60, {"displacement_east_mm": 3.0}) for name in ("G1", "G2")]
        bench.send_together(messages, compute=False)
        calculator.load()
        calculator.compute_piece()
    assert (len(bench.read()), len(made), len(looked)) == (4, 4, 4)
    spec = bench.site.series("D1", "crack_opening")
    assert spec is not None
    assert (spec.interval_s, spec.max_silence_s) == (6 * 3600.0, 18 * 3600.0)
    bench.declare(DISTANCE | {"every": "12h"})
    bench.renew()
    bench.read()
    assert [bool(one.flags) for one in bench.rows] == [False, True, False, True]
