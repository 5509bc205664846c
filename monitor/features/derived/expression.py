"""Expressions over series of a site: read by Python's grammar, checked by dimension, computed with their error.

What is allowed: numbers, numbers with a unit as text (`"12 kPa/m"`), series (`G1.displacement_east`, or as text where
an id has a hyphen), `+ - * /`, `**` with a number, `min max abs sqrt sin cos mean lag rate fit`. Nothing is executed:
each part becomes a function of this module. The error of a value is that of its readings, to first order (JCGM
100:2008, 5.1.2: independent inputs).
"""

import ast
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from monitor.api.sites import convert
from monitor.api.text import parse_duration_s
from monitor.features.derived.samples import InputSamples, Sample, Series, Used, Value
from monitor.features.derived.stable_points import AXES, Correction, Prism, correct, read_how, read_place
from monitor.features.derived.units import PLAIN, Unit, read_unit

LONGEST: Final = 500  # characters
LONGEST_GENERATED: Final = 4000  # characters of the expression of a [[total_station]]
PARTS: Final = 200
_HYPHEN: Final = "an id with a hyphen stands in quotes: 'G-1.displacement_up'"
MOST_POWER: Final = 10.0
MOST_S: Final = 400 * 86400.0  # that an expression reaches back
_CONSTANT: Final = re.compile(r"\s*([+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)(?:\s+|(?=[^\W\d_]|[%°]))([^.]+)")
_Function = Callable[[Sequence[float]], tuple[float, Sequence[float]]]  # of values its value and its slopes


Compute = Callable[[InputSamples, float], Value | None]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an expression: its unit and how it is computed at an instant (None: something is missing)."""

    unit: Unit
    compute: Compute


@dataclass(frozen=True, slots=True)
class Expression:
    """What an expression comes to."""

    unit: Unit
    compute: Compute  # the value in base units
    inputs: tuple[Series, ...]  # in the order in which they are named
    units: tuple[Unit, ...]  # of each
    reach_s: float  # how far before its instant it reads
    windows_s: tuple[float, ...] = ()  # length of each window of `rate` and `fit`
    optional: frozenset[Series] = frozenset()  # inputs without which it can be computed


def read_expression(
    text: str, unit_of: Callable[[Series], str | None], own: Collection[str] = (), instead: str = ""
) -> Expression:
    """Read an expression; raises ValueError: in plain words, what is wrong.

    Args:
        text: the expression.
        unit_of: the unit in which a series is stored; None where nobody declares it.
        own: units of the site's own quantities.
        instead: what an unknown series is answered with: the series there are.
    """
    longest = LONGEST_GENERATED if text.startswith("corrected(") else LONGEST
    if len(text) > longest:
        raise ValueError(f"expected at most {longest} characters, got {len(text)}")
    try:
        tree = ast.parse(f"({text}\n)" if text.strip() else "", mode="eval")  # it may run over several lines
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(
            f"expected an expression such as G1.displacement_up - G2.displacement_up, got {text[:60]!r}; {_HYPHEN}"
        ) from None
    if sum(1 for _ in ast.walk(tree)) > PARTS:
        raise ValueError(f"expected at most {PARTS} parts")
    reader = _Reader(unit_of, own, instead)
    try:
        part = reader.read(tree.body)
    except OverflowError:
        raise ValueError("expected smaller numbers and exponents: it is beyond all that can be computed") from None
    if not reader.inputs:
        raise ValueError("expected a series in it, such as G1.displacement_up")
    units = tuple(reader.inputs.values())
    return Expression(
        part.unit,
        part.compute,
        tuple(reader.inputs),
        units,
        reader.reach_s,
        tuple(reader.windows_s),
        frozenset(reader.optional),
    )


def compute_sigma(used: Used) -> float | None:
    """Return the standard deviation of a value; None where that of a reading it depends on is unknown."""
    windows = [(item, factor) for item, factor in used.items() if not isinstance(item, Sample)]
    columns = {window.series: window.columns for window, _ in windows}
    squares: list[float] = []
    points: dict[Series, list[tuple[Sample, float]]] = {}
    for item, slope in used.items():
        if not isinstance(item, Sample):
            continue
        if item.series in columns:
            points.setdefault(item.series, []).append((item, slope))
            continue
        sigma = item.sigma if slope else 0.0
        if sigma is None:
            return None
        squares.append((slope * sigma) ** 2)
    for series, of_series in columns.items():
        mine = [(window, factor) for window, factor in windows if window.series == series]
        of_windows = of_series.square_errors(mine, points.get(series, []))
        if of_windows is None:
            return None
        squares += of_windows
    try:
        total = math.fsum(squares)
    except OverflowError:
        return None
    return math.sqrt(total) if math.isfinite(total) else None


class _Reader:
    def __init__(self, unit_of: Callable[[Series], str | None], own: Collection[str], instead: str) -> None:
        self._unit_of, self._own, self._instead = unit_of, own, instead
        self.inputs: dict[Series, Unit] = {}
        self.reach_s = 0.0
        self.windows_s: list[float] = []
        self.optional: set[Series] = set()

    def read(self, node: ast.expr, back_s: float = 0.0) -> Part:
        """A part; `back_s`: how far before the instant it is read."""
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as number):
                constant: Value = float(number), {}
                return Part(PLAIN, lambda _samples, _at_s: constant)
            case ast.Constant(value=str() as text):
                return self._read_text(text, back_s)
            case ast.Attribute(value=ast.Name(id=station), attr=quantity):
                return self._read_series((station, quantity), back_s)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as own, operand=operand):
                part = self.read(operand, back_s)
                return part if isinstance(own, ast.UAdd) else _join(part.unit, (part,), lambda v: (-v[0], (-1.0,)))
            case ast.BinOp(op=ast.Pow(), left=left, right=right):
                return self._read_power(self.read(left, back_s), right)
            case ast.BinOp(op=operator, left=left, right=right) if type(operator) in _OPERATORS:
                one, other = self.read(left, back_s), self.read(right, back_s)
                sign, power, function = _OPERATORS[type(operator)]
                if not power:
                    _require_alike(one, other, sign)
                return _join(one.unit.times(other.unit, Fraction(power)), (one, other), function)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _ONE or name in _MANY:
                return self._read_function(name, [self.read(arg, back_s) for arg in args])
            case ast.Call(func=ast.Name(id="lag"), args=[what, ast.Constant(value=str() as span)], keywords=[]):
                span_s = self._read_span(span)
                part = self.read(what, back_s + span_s)
                return Part(part.unit, lambda samples, at_s: part.compute(samples, at_s - span_s))
            case ast.Call(
                func=ast.Name(id="rate" | "fit"), args=[*what, ast.Constant(value=str() as span)], keywords=[]
            ):
                return self._read_line([self._name_series(one) for one in what], self._read_span(span), back_s)
            case ast.Call(func=ast.Name(id="corrected"), args=[*places, ast.Constant(value=str() as how)], keywords=[]):
                return self._read_correction(places, how, back_s)
        names = ", ".join((*_ONE, *_MANY, "lag", "rate", "fit"))
        raise ValueError(f"{ast.unparse(node)!r}: expected numbers, series, + - * / ** and {names}; {_HYPHEN}")

    def _read_text(self, text: str, back_s: float) -> Part:
        constant = _CONSTANT.fullmatch(text)
        if constant is None:
            station, _, quantity = text.strip().partition(".")
            return self._read_series((station, quantity), back_s)
        value, name = float(constant[1]), constant[2].strip()
        unit = read_unit(name, self._own)
        if name in {"degF", "K"}:  # alone they have a zero of their own
            value, unit = convert(value, name, "degC"), read_unit("degC")
        return Part(unit, lambda _samples, _at_s: (value * unit.scale, {}))

    def _read_series(self, series: Series, back_s: float) -> Part:
        unit = self._add_series(series, back_s)

        def compute(samples: InputSamples, at_s: float) -> Value | None:
            one = samples.find(series, at_s)
            return None if one is None else (one.value, {one: 1.0})

        return Part(unit, compute)

    def _add_series(self, series: Series, back_s: float) -> Unit:
        unit = self._unit_of(series)
        if unit is None:
            raise ValueError(f"{'.'.join(series)!r} is no series of this site; {self._instead}")
        if unit == "index":
            raise ValueError(f"{'.'.join(series)!r} has no unit (`index`): nothing can be calculated with it")
        self.inputs[series] = read_unit(unit, self._own)
        self.reach_s = max(self.reach_s, back_s)
        return self.inputs[series]

    def _read_correction(self, places: Sequence[ast.expr], how: str, back_s: float) -> Part:
        """Read `corrected(PRISM, PLACE, REFERENCE, PLACE, ..., HOW)`, which `[[total_station]]` generates."""
        series = [self._name_series(node) for node in places[::2]]
        tolerance_m, names = read_how(how)
        prisms = [
            Prism(station, read_place(ast.literal_eval(node)))
            for (station, _), node in zip(series, places[1::2], strict=True)
        ]
        correction = Correction(prisms[0], tuple(prisms[1:]), names, tolerance_m)
        axis = series[0][1].removeprefix("displacement").removeprefix("_")
        unit = self._add_series(series[0], back_s)
        if axis not in AXES:
            # Only the components of a prism are measured.
            for one in series[1:]:
                self._add_series(one, back_s)
            return Part(unit, lambda _samples, _at_s: None)
        for prism in correction.references:
            for component in AXES:
                self._add_series(prism.series(component), back_s)
                self.optional.add(prism.series(component))
        return Part(unit, lambda samples, at_s: correct(correction, axis, samples, at_s))

    @staticmethod
    def _read_span(text: str) -> float:
        span_s = parse_duration_s(text)
        if not 0.0 < span_s <= MOST_S:
            raise ValueError(f"{text!r}: expected a time up to 400 days")
        return span_s

    @staticmethod
    def _name_series(node: ast.expr) -> Series:
        match node:
            case ast.Attribute(value=ast.Name(id=station), attr=quantity):
                return station, quantity
            case ast.Constant(value=str() as text) if "." in text:
                station, _, quantity = text.strip().partition(".")
                return station, quantity
        raise ValueError(f"{ast.unparse(node)!r}: expected a series, such as G1.displacement_up")

    def _read_power(self, part: Part, node: ast.expr) -> Part:
        try:
            power = float(ast.literal_eval(node))
        except (TypeError, ValueError):
            raise ValueError(f"{ast.unparse(node)!r}: expected a number as the exponent") from None
        if not abs(power) <= MOST_POWER:
            raise ValueError(f"expected an exponent up to {MOST_POWER:g}, got {power:g}")
        share = Fraction(power).limit_denominator(12)
        if part.unit.powers and float(share) != power:
            raise ValueError(f"{power:g}: of a value with a unit, expected an exponent such as 2 or 0.5")
        return _join(PLAIN.times(part.unit, share), (part,), lambda v: _raise(v[0], power))

    def _read_function(self, name: str, parts: Sequence[Part]) -> Part:
        if not parts or (name in _ONE and len(parts) != 1):
            raise ValueError(f"{name}: expected {'one value' if name in _ONE else 'one value or more'}")
        if name in _MANY:
            for part in parts:
                _require_alike(parts[0], part, name)
            return _join(parts[0].unit, parts, _MANY[name])
        unit = parts[0].unit
        if name in {"sin", "cos"}:
            if unit.powers:
                raise ValueError(f"{name}: expected an angle, got {unit.name}")
            unit = PLAIN
        elif name == "sqrt":
            unit = PLAIN.times(unit, Fraction(1, 2))
        return _join(unit, parts, _ONE[name])

    def _read_line(self, series: Sequence[Series], span_s: float, back_s: float) -> Part:
        """The slope of a line by least squares: of a series over time, or of one over another, over a time."""
        if len(series) not in {1, 2}:
            raise ValueError("expected rate(SERIES, TIME) or fit(SERIES, OTHER, TIME)")
        what, over = series[0], series[1] if len(series) == 2 else None
        units = [self._add_series(one, back_s + span_s) for one in series]
        self.windows_s.append(span_s)

        def compute(samples: InputSamples, at_s: float) -> Value | None:
            # Arrays take longer to load than a command may take; most sites need none.
            from monitor.features.derived.windows import fit_line

            return fit_line(samples, what, over, at_s, span_s)

        return Part(units[0].times(units[-1] if over else Unit(1.0, (("s", Fraction(1)),)), Fraction(-1)), compute)


def _require_alike(one: Part, other: Part, where: str) -> None:
    if one.unit.powers != other.unit.powers:
        names = f"{one.unit.name} and {other.unit.name}"
        raise ValueError(f'{where}: {names} do not fit together; a number has its unit as in "5 mm"')


def _join(unit: Unit, parts: Sequence[Part], function: _Function) -> Part:
    """A function of several values, which gives its value and its slopes; what one lacks, all lack."""
    acts = [part.compute for part in parts]

    def compute(samples: InputSamples, at_s: float) -> Value | None:
        found: list[Value] = []
        for act in acts:
            if (one := act(samples, at_s)) is None:
                return None
            found.append(one)
        value, slopes = function([one[0] for one in found])
        used: Used = {}
        for slope, (_, own) in zip(slopes, found, strict=True):
            for reading, change in own.items():
                used[reading] = used[reading] + slope * change if reading in used else slope * change
        return value, used

    return Part(unit, compute)


def _raise(x: float, power: float) -> tuple[float, Sequence[float]]:
    if x < 0.0 and not power.is_integer():
        raise ValueError("a root of what is below 0")
    if x == 0.0 < power < 1.0:
        return 0.0, (math.inf,)
    return float(x**power), (float(power * x ** (power - 1.0)) if power else 0.0,)


def _pick(values: Sequence[float], picked: float) -> tuple[float, Sequence[float]]:
    place = values.index(picked)
    return picked, [float(k == place) for k in range(len(values))]


_OPERATORS: Final[dict[type[ast.operator], tuple[str, int, _Function]]] = {  # with the power of the unit of the second
    ast.Add: ("+", 0, lambda v: (v[0] + v[1], (1.0, 1.0))),
    ast.Sub: ("-", 0, lambda v: (v[0] - v[1], (1.0, -1.0))),
    ast.Mult: ("*", 1, lambda v: (v[0] * v[1], (v[1], v[0]))),
    ast.Div: ("/", -1, lambda v: (v[0] / v[1], (1.0 / v[1], -v[0] / v[1] ** 2))),
}
_ONE: Final[dict[str, _Function]] = {
    "abs": lambda v: (abs(v[0]), (math.copysign(1.0, v[0]),)),
    "sqrt": lambda v: (math.sqrt(v[0]), (0.5 / math.sqrt(v[0]) if v[0] else math.inf,)),
    "sin": lambda v: (math.sin(v[0]), (math.cos(v[0]),)),
    "cos": lambda v: (math.cos(v[0]), (-math.sin(v[0]),)),
}
_MANY: Final[dict[str, _Function]] = {
    "min": lambda v: _pick(v, min(v)),
    "max": lambda v: _pick(v, max(v)),
    "mean": lambda v: (math.fsum(v) / len(v), [1.0 / len(v)] * len(v)),
}
