"""Expressions of calculated series: known answers, comparison with a reference evaluator, units, and invalid input."""

import math
import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.features.derived.expression import MAX_NODES, compute_sigma, parse_expression
from monitor.features.derived.samples import InputSamples, Sample, Series
from monitor.features.derived.units import parse_unit
from tests.tables import tabulated

UNITS: Mapping[Series, str] = {
    ("G1", "displacement_east"): "mm",
    ("G1", "displacement_north"): "mm",
    ("G2", "displacement_east"): "mm",
    ("G-3", "displacement_east"): "mm",
    ("C1", "crack_opening"): "mm",
    ("T1", "temperature"): "degC",
    ("P1", "pore_pressure"): "kPa",
    ("B1", "air_pressure"): "hPa",
    ("W1", "water_level"): "m",
    ("K1", "tilt_x"): "mrad",
    ("V1", "reading"): "digit",
    ("R1", "rain"): "mm",
    ("X1", "score"): "index",
}
HOUR_S = 3600.0
AT_S = 100 * HOUR_S


def read_samples(rows: Mapping[str, Sequence[tuple[float, float]]], sigma: float | None, **how: float) -> InputSamples:
    """Readings by `STATION.quantity`: hours from the instant, and value in the unit of the series."""
    found: dict[Series, list[Sample]] = {place: [] for place in UNITS}
    for name, readings in rows.items():
        station, _, quantity = name.partition(".")
        scale = parse_unit(UNITS[station, quantity], ("digit",)).scale
        found[station, quantity] = [
            Sample((station, quantity), AT_S + hours * HOUR_S, value * scale, None if sigma is None else sigma * scale)
            for hours, value in readings
        ]
    return InputSamples(found, how.get("within_s", 1800.0), how.get("hold_s", 0.0))


def compute(text: str, unit: str, rows: Mapping[str, float], sigma: float | None = 0.0) -> tuple[float, float | None]:
    """Value and error of an expression over one reading each, in a unit."""
    expression = parse_expression(text, UNITS.get, ("digit",))
    samples = read_samples({name: [(0.0, value)] for name, value in rows.items()}, sigma)
    made = expression.compute(samples, AT_S)
    assert made is not None
    wanted = parse_unit(unit, ("digit",))
    assert expression.unit.powers == wanted.powers
    error = compute_sigma(made[1])
    return made[0] / wanted.scale, None if error is None else error / wanted.scale


G1E, G1N, G2E = "G1.displacement_east", "G1.displacement_north", "G2.displacement_east"


@tabulated(
    ("text", "unit", "rows", "answer"),
    [
        ("G1.displacement_east - G2.displacement_east", "mm", {G1E: 12.5, G2E: 2.25}, 10.25),
        ("G1.displacement_east + G2.displacement_east", "cm", {G1E: 12.5, G2E: 2.5}, 1.5),
        ("-G1.displacement_east", "mm", {G1E: 12.5}, -12.5),
        ("+G1.displacement_east * 2", "mm", {G1E: 12.5}, 25.0),
        ("2 * (G1.displacement_east - '3 mm') / 4", "mm", {G1E: 13.0}, 5.0),
        ("'G-3.displacement_east' / 2", "mm", {"G-3.displacement_east": 8.0}, 4.0),
        ("sqrt(G1.displacement_east**2 + G1.displacement_north**2)", "mm", {G1E: 3.0, G1N: 4.0}, 5.0),
        ("(G1.displacement_east**2 + G1.displacement_north**2) ** 0.5", "m", {G1E: 3.0, G1N: 4.0}, 0.005),
        ("abs(G1.displacement_east)", "mm", {G1E: -3.0}, 3.0),
        ("min(G1.displacement_east, G2.displacement_east)", "mm", {G1E: 3.0, G2E: -4.0}, -4.0),
        ("max(G1.displacement_east, G2.displacement_east, '5 mm')", "mm", {G1E: 3.0, G2E: -4.0}, 5.0),
        ("mean(G1.displacement_east, G2.displacement_east)", "mm", {G1E: 3.0, G2E: 5.0}, 4.0),
        ("'2 m' * sin(K1.tilt_x)", "mm", {"K1.tilt_x": 10.0}, 2000.0 * math.sin(0.01)),
        ("'2 m' * (1 - cos(K1.tilt_x))", "mm", {"K1.tilt_x": 100.0}, 2000.0 * (1.0 - math.cos(0.1))),
        ("'3 m' * K1.tilt_x", "mm", {"K1.tilt_x": 2.0}, 6.0),
        (
            "P1.pore_pressure - (B1.air_pressure - '1013 hPa')",
            "kPa",
            {"P1.pore_pressure": 40.0, "B1.air_pressure": 993.0},
            42.0,
        ),
        ("P1.pore_pressure / '9.81 kPa/m'", "m", {"P1.pore_pressure": 19.62}, 2.0),
        ("P1.pore_pressure / '9810 kg/m2/s2'", "m", {"P1.pore_pressure": 19.62}, None),
        ("W1.water_level * '9.81 kPa/m'", "kPa", {"W1.water_level": 2.0}, 19.62),
        (
            "C1.crack_opening - '0.02 mm/degC' * (T1.temperature - '20 degC')",
            "mm",
            {"C1.crack_opening": 5.0, "T1.temperature": 30.0},
            4.8,
        ),
        ("T1.temperature - '68 degF'", "degC", {"T1.temperature": 30.0}, 10.0),
        ("T1.temperature - '293.15 K'", "degC", {"T1.temperature": 30.0}, 10.0),
        (
            "'2e-6 kPa/digit^2' * V1.reading**2 - '0.05 kPa/digit' * V1.reading + '300 kPa'",
            "kPa",
            {"V1.reading": 8000.0},
            28.0,
        ),
        ("(V1.reading - '8500 digit') * '-0.1 kPa/digit'", "kPa", {"V1.reading": 8000.0}, 50.0),
        ("G1.displacement_east / G2.displacement_east", "1", {G1E: 3.0, G2E: 4.0}, 0.75),
        ("G1.displacement_east / G2.displacement_east", "%", {G1E: 3.0, G2E: 4.0}, 75.0),
        ("G1.displacement_east / '2 day'", "mm/day", {G1E: 3.0}, 1.5),
        ("G1.displacement_east * '1 1/h'", "mm/h", {G1E: 3.0}, 3.0),
        ("G1.displacement_east / '10 m'", "microstrain", {G1E: 3.0}, 300.0),
        (
            "'20 m' * (cos(K1.tilt_x) - 1) + G1.displacement_east",
            "mm",
            {"K1.tilt_x": 50.0, G1E: 30.0},
            20000.0 * (math.cos(0.05) - 1.0) + 30.0,
        ),
        ("G1.displacement_east ** -1", "1/m", {G1E: 4.0}, 250.0),
        ("(W1.water_level - '1.5 ft') * 2", "m", {"W1.water_level": 1.4572}, 2.0),
    ],
)
def test_expression_has_the_value_calculated_by_hand(text, unit, rows, answer):
    if answer is None:
        with pytest.raises(ValueError, match="unknown"):
            compute(text, unit, rows)
        return
    value, error = compute(text, unit, rows)
    assert (value, error) == (pytest.approx(answer, rel=1e-12, abs=1e-12), 0.0)


@tabulated(
    ("text", "rows", "error"),
    [
        ("G1.displacement_east - G2.displacement_east", {G1E: 1.0, G2E: 2.0}, math.sqrt(2.0)),
        ("G1.displacement_east - G1.displacement_east", {G1E: 1.0}, 0.0),
        ("2 * G1.displacement_east", {G1E: 1.0}, 2.0),
        ("mean(G1.displacement_east, G2.displacement_east)", {G1E: 1.0, G2E: 2.0}, math.sqrt(0.5)),
        ("max(G1.displacement_east, G2.displacement_east)", {G1E: 1.0, G2E: 2.0}, 1.0),
        ("sqrt(G1.displacement_east**2 + G1.displacement_north**2)", {G1E: 3.0, G1N: 4.0}, 1.0),
    ],
)
def test_the_error_is_that_of_the_readings(text: str, rows: Mapping[str, float], error: float) -> None:
    assert compute(text, "mm", rows, 1.0)[1] == pytest.approx(error)
    assert (compute(text, "mm", rows, None)[1] is None) == (error > 0.0)


def draw_text(rng: random.Random, depth: int) -> str:
    """A drawn expression of millimetres."""
    if depth == 0:
        return rng.choice([G1E, G1N, G2E, f"'{rng.uniform(-9, 9):.3f} mm'"])
    one, other = (f"({draw_text(rng, depth - 1)})" for _ in range(2))
    number = f"{rng.uniform(0.1, 3):.3f}"
    return rng.choice(
        [
            f"({one} + {other})",
            f"({one} - {other})",
            f"-({one})",
            f"{number} * {one}",
            f"{one} / {number}",
            f"min({one}, {other})",
            f"max({one}, {other})",
            f"mean({one}, {other})",
            f"abs({one})",
            f"sqrt({one}**2 + {other}**2)",
            f"'7 mm' * sin({one} / '50 mm')",
            f"{one} * ({other} / '4 mm')",
        ]
    )


@given(st.integers(0, 10**9), st.integers(0, 4))
def test_drawn_expressions_come_to_what_python_makes_of_them(seed: int, depth: int) -> None:
    rng = random.Random(seed)
    text = f"{draw_text(rng, depth)} + 0 * {G1E}"
    rows = {name: rng.uniform(-20.0, 20.0) for name in (G1E, G1N, G2E)}
    plain = text
    for name, value in rows.items():
        plain = plain.replace(name, f"({value!r})")
    plain = plain.replace(" mm'", ")").replace("'", "(")
    known = {
        "sqrt": math.sqrt,
        "sin": math.sin,
        "abs": abs,
        "min": min,
        "max": max,
        "mean": lambda *v: math.fsum(v) / len(v),
    }
    answer = eval(plain, {"__builtins__": {}}, known)
    value, error = compute(text, "mm", rows, 0.5)
    assert value == pytest.approx(answer, rel=1e-9, abs=1e-9)
    if error is not None and not any(one in text for one in ("min", "max", "abs", "sqrt")):
        total = 0.0
        for name in rows:  # by differences, where there is no kink
            up, down = (compute(text, "mm", rows | {name: rows[name] + step})[0] for step in (1e-5, -1e-5))
            total += ((up - down) / 2e-5 * 0.5) ** 2
        assert error == pytest.approx(math.sqrt(total), rel=1e-4, abs=1e-6)


@tabulated(
    ("text", "why"),
    [
        ("G1.displacement_east + P1.pore_pressure", "m and Pa do not fit"),
        ("G1.displacement_east + 5", "a plain number do not fit"),
        ("mean(G1.displacement_east, T1.temperature)", "do not fit"),
        ("sin(G1.displacement_east)", "expected an angle"),
        ("G9.displacement_east", "no series of this site; there are"),
        ("X1.score * 2", "index"),
        ("'5 mm'", "expected a series"),
        ("G1.displacement_east ** G2.displacement_east", "expected a number as the exponent"),
        ("G1.displacement_east ** 99", "up to 10"),
        ("G1.displacement_east ** 0.123", "such as 2 or 0.5"),
        ("__import__('os').system('id')", "expected numbers, series"),
        ("G1.displacement_east.__class__", "expected numbers, series"),
        ("(lambda: 1)()", "expected numbers, series"),
        ("[G1.displacement_east][0]", "expected numbers, series"),
        ("G1.displacement_east if 1 else 2", "expected numbers, series"),
        ("True * G1.displacement_east", "expected numbers, series"),
        ("G1.displacement_east %", "expected an expression"),
        ("rate(G1.displacement_east + G2.displacement_east, '1d')", "expected a series"),
        ("rate(G1.displacement_east, 'soon')", "not of the form"),
        ("lag(G1.displacement_east, '900d')", "up to 400 days"),
        ("abs(G1.displacement_east, G2.displacement_east)", "expected one value"),
        ("min()", "one value or more"),
        ("G1.displacement_east * '5 parsec'", "unknown"),
        ("+".join(["G1.displacement_east"] * 40), "at most 500"),
        ("(" * 240 + "1" + ")" * 240, "expected an expression"),
        ("-" * 400 + "G1.rain", f"at most {MAX_NODES}"),
    ],
)
def test_invalid_expression_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("(", r"\(")) as caught:
        parse_expression(text, UNITS.get, ("digit",), "there are: G1.displacement_east")
    assert "\n" not in str(caught.value)


def test_other_series_are_read_at_the_nearest_or_the_last_instant() -> None:
    rows = {G1E: [(0.0, 10.0)], "T1.temperature": [(-5.0, 1.0), (-0.4, 2.0), (0.3, 3.0)]}
    expression = parse_expression("G1.displacement_east + '1 mm/degC' * T1.temperature", UNITS.get)

    def find(**how: float) -> float | None:
        made = expression.compute(read_samples(rows, None, **how), AT_S)
        return None if made is None else round(made[0] * 1e3, 9)

    assert find(within_s=1800.0) == 13.0
    assert find(within_s=600.0) is None
    assert find(hold_s=3600.0) == 12.0
    assert find(hold_s=600.0) is None


def test_lag_rate_and_fit_read_earlier_values() -> None:
    times = [float(h) for h in range(-48, 1)]
    rows = {
        G1E: [(h, 100.0 + 2.0 * h) for h in times],
        "C1.crack_opening": [(h, 5.0 + 0.03 * math.sin(h)) for h in times],
        "T1.temperature": [(h, 10.0 + math.sin(h)) for h in times],
    }
    samples = read_samples(rows, 0.5)

    def find(text: str, unit: str) -> tuple[float, float]:
        expression = parse_expression(text, UNITS.get)
        made = expression.compute(samples, AT_S)
        assert made is not None
        assert expression.reach_s == 86400.0
        return made[0] / parse_unit(unit).scale, (compute_sigma(made[1]) or 0.0) / parse_unit(unit).scale

    assert find("G1.displacement_east - lag(G1.displacement_east, '1d')", "mm") == pytest.approx((48.0, math.sqrt(0.5)))
    rate, error = find("rate(G1.displacement_east, '1d')", "mm/day")
    assert rate == pytest.approx(48.0)
    spread = sum((h - 11.5) ** 2 for h in range(24)) / 576.0
    assert error == pytest.approx(0.5 / math.sqrt(spread))
    assert find("fit(C1.crack_opening, T1.temperature, '1d')", "mm/degC")[0] == pytest.approx(0.03)
    few = read_samples({G1E: [(-1.0, 1.0), (0.0, 2.0)]}, None)
    assert parse_expression("rate(G1.displacement_east, '1d')", UNITS.get).compute(few, AT_S) is None


@pytest.mark.parametrize("text", [f"W1.water_level * 1{'0' * 400}", "(((P1.pore_pressure**10)**10)**10)**10"])
def test_overflow_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected smaller numbers"):
        parse_expression(text, UNITS.get)


def test_expression_may_span_lines_and_unit_needs_no_space() -> None:
    text = "(G1.displacement_east**2 + G1.displacement_north**2) ** 0.5  # its way\n  + '0.5mm'"
    assert compute(text, "mm", {G1E: 0.0, G1N: 0.0}) == (0.5, None)
    assert compute(text, "mm", {G1E: 3.0, G1N: 4.0}) == (pytest.approx(5.5), 0.0)
    assert parse_expression("'12.rain'", {("12", "rain"): "mm"}.get).inputs == (("12", "rain"),)


@tabulated(
    ("text", "own_units", "powers"),
    [
        ("kPa/Hz2", ("Hz2",), {"Hz2": -1, "Pa": 1}),
        ("kPa/Hz2", ("Hz",), {"Hz": -2, "Pa": 1}),
        ("kPa/day", ("d",), {"Pa": 1, "s": -1}),
        ("mm/mmH2O", (), {"Pa": -1, "m": 1}),
        ("kPa / m * s^-1", (), {"Pa": 1, "m": -1, "s": -1}),
    ],
)
def test_product_can_contain_units_with_digits(text: str, own_units: Sequence[str], powers: Mapping[str, int]) -> None:
    assert dict(parse_unit(text, own_units).powers) == powers


@tabulated(
    ("text", "message"),
    [
        ("kPa/parsec", "unit 'parsec' is unknown; expected a unit such as mm, kPa"),
        ("digit", r"unit 'digit' is unknown; declare the raw readings of the sensor as a \[\[quantity\]\]"),
        ("mm kPa", "unit 'mm kPa' is unknown"),
        ("/m", "unit '/m' is unknown"),
        ("m/s^11", "is unknown"),
        ("index", "unit 'index' is unknown"),
    ],
)
def test_unknown_unit_is_refused_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_unit(text)
