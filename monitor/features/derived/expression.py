"""Expressions over series of a site: parse them, check their units, and compute values with their error.

An expression has the syntax of Python. It can contain numbers, numbers with a unit in quotes (`"12 kPa/m"`), series
(`G1.displacement_east`, in quotes if an id has a hyphen), `+ - * /`, `**` with a number, and the functions `min max
abs sqrt sin cos mean lag rate fit`. The text is never executed: each part becomes a function of this module. The error
of a value is propagated from its readings to first order, as for independent inputs (JCGM 100:2008, 5.1.2).
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
from monitor.features.derived.units import PLAIN_NUMBER, Unit, parse_unit

MAX_LENGTH: Final = 500  # characters
MAX_GENERATED_LENGTH: Final = 4000  # characters of an expression that a [[total_station]] generates
MAX_NODES: Final = 200  # nodes of the syntax tree
_HYPHEN: Final = "an id with a hyphen must be in quotes: 'G-1.displacement_up'"
MAX_EXPONENT: Final = 10.0
MAX_SPAN_S: Final = 400 * 86400.0  # of `lag`, `rate` and `fit`
# A number and a unit. Without a space between them, the unit starts with a letter, % or °. A text with a dot after the
# number, such as `12.rain`, is a series.
_CONSTANT: Final = re.compile(r"\s*([+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)(?:\s+|(?=[^\W\d_]|[%°]))([^.]+)")
_Function = Callable[[Sequence[float]], tuple[float, Sequence[float]]]
"""Computes from the values of its arguments a value, and the derivative of the value by each argument."""
Compute = Callable[[InputSamples, float], Value | None]
"""Computes a value in base units from the readings, at an instant in epoch seconds; None if a reading is missing."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an expression: its unit, and the function that computes it."""

    unit: Unit
    compute: Compute


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression.

    Attributes:
        unit: Unit of the value.
        compute: Function that computes the value.
        inputs: Series that the expression reads, in the order in which it names them.
        units: Unit of each input.
        reach_s: How far before the instant of a value its oldest reading can be, seconds.
        windows_s: Length of each window of `rate` and `fit`, seconds.
        optional: Inputs without which a value can be computed.
    """

    unit: Unit
    compute: Compute
    inputs: tuple[Series, ...]
    units: tuple[Unit, ...]
    reach_s: float
    windows_s: tuple[float, ...] = ()
    optional: frozenset[Series] = frozenset()


def parse_expression(
    text: str, find_unit: Callable[[Series], str | None], own_units: Collection[str] = (), hint: str = ""
) -> Expression:
    """Parse an expression and check its units.

    Args:
        text: The expression.
        find_unit: Returns the unit in which a series is stored; None if the site file does not declare the series.
        own_units: Units of the quantities that the site file declares.
        hint: End of the error text about an unknown series, such as the series of the site.

    Raises:
        ValueError: The expression is not valid. The text is one line.
    """
    max_length = MAX_GENERATED_LENGTH if text.startswith("corrected(") else MAX_LENGTH
    if len(text) > max_length:
        raise ValueError(f"expected at most {max_length} characters, got {len(text)}")
    try:
        # The parentheses allow an expression on several lines.
        tree = ast.parse(f"({text}\n)" if text.strip() else "", mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(
            f"expected an expression such as G1.displacement_up - G2.displacement_up, got {text[:60]!r}; {_HYPHEN}"
        ) from None
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise ValueError(f"expected at most {MAX_NODES} parts")
    parser = _Parser(find_unit, own_units, hint)
    try:
        part = parser.parse(tree.body)
    except OverflowError:
        raise ValueError("expected smaller numbers and exponents: the result is too large to compute") from None
    if not parser.inputs:
        raise ValueError("expected a series in the expression, such as G1.displacement_up")
    return Expression(
        unit=part.unit,
        compute=part.compute,
        inputs=tuple(parser.inputs),
        units=tuple(parser.inputs.values()),
        reach_s=parser.reach_s,
        windows_s=tuple(parser.windows_s),
        optional=frozenset(parser.optional),
    )


def compute_sigma(used: Used) -> float | None:
    """Return the standard deviation of a value in base units; None if a reading that it depends on has none."""
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
    for series, series_columns in columns.items():
        series_windows = [(window, factor) for window, factor in windows if window.series == series]
        series_squares = series_columns.square_errors(series_windows, points.get(series, []))
        if series_squares is None:
            return None
        squares += series_squares
    try:
        total = math.fsum(squares)
    except OverflowError:
        return None
    return math.sqrt(total) if math.isfinite(total) else None


class _Parser:
    """Parse the nodes of a syntax tree, and collect which series they read. The arguments are those of the function."""

    def __init__(self, find_unit: Callable[[Series], str | None], own_units: Collection[str], hint: str) -> None:
        self._find_unit = find_unit
        self._own_units = own_units
        self._hint = hint
        self.inputs: dict[Series, Unit] = {}
        self.reach_s = 0.0
        self.windows_s: list[float] = []
        self.optional: set[Series] = set()

    def parse(self, node: ast.expr, back_s: float = 0.0) -> Part:
        """Return the part of an expression that a node describes.

        Args:
            back_s: How far before the instant of a value the part is computed, seconds.
        """
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as number):
                constant: Value = float(number), {}
                return Part(PLAIN_NUMBER, lambda _samples, _at_s: constant)
            case ast.Constant(value=str() as text):
                return self._parse_text(text, back_s)
            case ast.Attribute(value=ast.Name(id=station), attr=quantity):
                return self._parse_series((station, quantity), back_s)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.parse(operand, back_s)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                part = self.parse(operand, back_s)
                return _combine(part.unit, (part,), lambda v: (-v[0], (-1.0,)))
            case ast.BinOp(op=ast.Pow(), left=left, right=right):
                return self._parse_power(self.parse(left, back_s), right)
            case ast.BinOp(op=operator, left=left, right=right) if type(operator) in _OPERATORS:
                first = self.parse(left, back_s)
                second = self.parse(right, back_s)
                sign, power, function = _OPERATORS[type(operator)]
                if not power:
                    _require_same_dimension(first, second, sign)
                return _combine(first.unit.multiply(second.unit, Fraction(power)), (first, second), function)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
                return self._parse_function(name, [self.parse(arg, back_s) for arg in args])
            case ast.Call(func=ast.Name(id="lag"), args=[argument, ast.Constant(value=str() as span)], keywords=[]):
                span_s = self._parse_span(span)
                part = self.parse(argument, back_s + span_s)
                return Part(part.unit, lambda samples, at_s: part.compute(samples, at_s - span_s))
            case ast.Call(
                func=ast.Name(id="rate" | "fit"), args=[*nodes, ast.Constant(value=str() as span)], keywords=[]
            ):
                return self._parse_line(
                    [self._parse_series_name(node) for node in nodes], self._parse_span(span), back_s
                )
            case ast.Call(func=ast.Name(id="corrected"), args=[*places, ast.Constant(value=str() as how)], keywords=[]):
                return self._parse_correction(places, how, back_s)
        names = ", ".join((*_FUNCTIONS, "lag", "rate", "fit"))
        raise ValueError(f"{ast.unparse(node)!r}: expected numbers, series, + - * / ** and {names}; {_HYPHEN}")

    def _parse_text(self, text: str, back_s: float) -> Part:
        constant = _CONSTANT.fullmatch(text)
        if constant is None:
            station, _, quantity = text.strip().partition(".")
            return self._parse_series((station, quantity), back_s)
        value, name = float(constant[1]), constant[2].strip()
        unit = parse_unit(name, self._own_units)
        if name in {"degF", "K"}:
            # Alone, these units are temperatures with another zero. In a product they are differences.
            value, unit = convert(value, name, "degC"), parse_unit("degC")
        return Part(unit, lambda _samples, _at_s: (value * unit.scale, {}))

    def _parse_series(self, series: Series, back_s: float) -> Part:
        unit = self._add_series(series, back_s)

        def compute(samples: InputSamples, at_s: float) -> Value | None:
            sample = samples.find(series, at_s)
            return None if sample is None else (sample.value, {sample: 1.0})

        return Part(unit, compute)

    def _add_series(self, series: Series, back_s: float) -> Unit:
        unit = self._find_unit(series)
        if unit is None:
            raise ValueError(f"{'.'.join(series)!r} is no series of this site; {self._hint}")
        if unit == "index":
            raise ValueError(f"{'.'.join(series)!r} cannot be used in an expression: it has no unit (`index`)")
        self.inputs[series] = parse_unit(unit, self._own_units)
        self.reach_s = max(self.reach_s, back_s)
        return self.inputs[series]

    def _parse_correction(self, places: Sequence[ast.expr], how: str, back_s: float) -> Part:
        """Parse `corrected(PRISM, PLACE, REFERENCE, PLACE, ..., HOW)`, which `[[total_station]]` generates."""
        series = [self._parse_series_name(node) for node in places[::2]]
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
            for reference in series[1:]:
                self._add_series(reference, back_s)
            return Part(unit, lambda _samples, _at_s: None)
        for prism in correction.references:
            for component in AXES:
                self._add_series(prism.series(component), back_s)
                self.optional.add(prism.series(component))
        return Part(unit, lambda samples, at_s: correct(correction, axis, samples, at_s))

    @staticmethod
    def _parse_span(text: str) -> float:
        span_s = parse_duration_s(text)
        if not 0.0 < span_s <= MAX_SPAN_S:
            raise ValueError(f"{text!r}: expected a duration up to 400 days")
        return span_s

    @staticmethod
    def _parse_series_name(node: ast.expr) -> Series:
        match node:
            case ast.Attribute(value=ast.Name(id=station), attr=quantity):
                return station, quantity
            case ast.Constant(value=str() as text) if "." in text:
                station, _, quantity = text.strip().partition(".")
                return station, quantity
        raise ValueError(f"{ast.unparse(node)!r}: expected a series, such as G1.displacement_up")

    def _parse_power(self, part: Part, node: ast.expr) -> Part:
        try:
            power = float(ast.literal_eval(node))
        except (TypeError, ValueError):
            raise ValueError(f"{ast.unparse(node)!r}: expected a number as the exponent") from None
        if not abs(power) <= MAX_EXPONENT:
            raise ValueError(f"expected an exponent up to {MAX_EXPONENT:g}, got {power:g}")
        exponent = Fraction(power).limit_denominator(12)
        if part.unit.powers and float(exponent) != power:
            raise ValueError(f"a value with a unit cannot have the exponent {power:g}; expected one such as 2 or 0.5")
        return _combine(PLAIN_NUMBER.multiply(part.unit, exponent), (part,), lambda v: _raise_to_power(v[0], power))

    def _parse_function(self, name: str, parts: Sequence[Part]) -> Part:
        if not parts or (name in _UNARY_FUNCTIONS and len(parts) != 1):
            raise ValueError(f"{name}: expected {'one value' if name in _UNARY_FUNCTIONS else 'one value or more'}")
        if name in _VARIADIC_FUNCTIONS:
            for part in parts:
                _require_same_dimension(parts[0], part, name)
            return _combine(parts[0].unit, parts, _VARIADIC_FUNCTIONS[name])
        unit = parts[0].unit
        if name in {"sin", "cos"}:
            if unit.powers:
                raise ValueError(f"{name}: expected an angle, got {unit.name}")
            unit = PLAIN_NUMBER
        elif name == "sqrt":
            unit = PLAIN_NUMBER.multiply(unit, Fraction(1, 2))
        return _combine(unit, parts, _UNARY_FUNCTIONS[name])

    def _parse_line(self, series: Sequence[Series], span_s: float, back_s: float) -> Part:
        """Return the part of `rate` or `fit`: the slope of a line by least squares, over time or over a second series.

        Args:
            series: The series, and for `fit` the second series.
            span_s: Length of the window of readings, seconds.
            back_s: How far before the instant of a value the window ends, seconds.
        """
        if len(series) not in {1, 2}:
            raise ValueError("expected rate(SERIES, DURATION) or fit(SERIES, OTHER, DURATION)")
        units = [self._add_series(name, back_s + span_s) for name in series]
        over = series[1] if len(series) == 2 else None
        over_unit = units[1] if len(series) == 2 else Unit(1.0, (("s", Fraction(1)),))
        self.windows_s.append(span_s)

        def compute(samples: InputSamples, at_s: float) -> Value | None:
            # The import of numpy would slow down every command, and most sites have no `rate` or `fit`.
            from monitor.features.derived.windows import fit_line

            return fit_line(samples, series[0], over, at_s, span_s)

        return Part(units[0].multiply(over_unit, Fraction(-1)), compute)


def _require_same_dimension(first: Part, second: Part, where: str) -> None:
    if first.unit.powers != second.unit.powers:
        names = f"{first.unit.name} and {second.unit.name}"
        raise ValueError(f'{where}: {names} do not fit together; write a number with its unit, such as "5 mm"')


def _combine(unit: Unit, parts: Sequence[Part], function: _Function) -> Part:
    """Return the part that applies a function to the values of other parts. It has no value if one of them has none."""

    def compute(samples: InputSamples, at_s: float) -> Value | None:
        arguments: list[Value] = []
        for part in parts:
            argument = part.compute(samples, at_s)
            if argument is None:
                return None
            arguments.append(argument)
        value, slopes = function([argument[0] for argument in arguments])
        # Chain rule: a reading can be used by several arguments.
        used: Used = {}
        for slope, (_, used_by_argument) in zip(slopes, arguments, strict=True):
            for reading, change in used_by_argument.items():
                used[reading] = used[reading] + slope * change if reading in used else slope * change
        return value, used

    return Part(unit, compute)


def _raise_to_power(x: float, power: float) -> tuple[float, Sequence[float]]:
    if x < 0.0 and not power.is_integer():
        raise ValueError("the root of a negative value")
    if x == 0.0 < power < 1.0:
        return 0.0, (math.inf,)
    return float(x**power), (float(power * x ** (power - 1.0)) if power else 0.0,)


def _select(values: Sequence[float], value: float) -> tuple[float, Sequence[float]]:
    """Return one of several values. Only the derivative by this value is 1."""
    position = values.index(value)
    return value, [float(k == position) for k in range(len(values))]


# Sign; power with which the unit of the second operand enters the product, 0 for sums; function.
_OPERATORS: Final[dict[type[ast.operator], tuple[str, int, _Function]]] = {
    ast.Add: ("+", 0, lambda v: (v[0] + v[1], (1.0, 1.0))),
    ast.Sub: ("-", 0, lambda v: (v[0] - v[1], (1.0, -1.0))),
    ast.Mult: ("*", 1, lambda v: (v[0] * v[1], (v[1], v[0]))),
    ast.Div: ("/", -1, lambda v: (v[0] / v[1], (1.0 / v[1], -v[0] / v[1] ** 2))),
}
_UNARY_FUNCTIONS: Final[dict[str, _Function]] = {
    "abs": lambda v: (abs(v[0]), (math.copysign(1.0, v[0]),)),
    "sqrt": lambda v: (math.sqrt(v[0]), (0.5 / math.sqrt(v[0]) if v[0] else math.inf,)),
    "sin": lambda v: (math.sin(v[0]), (math.cos(v[0]),)),
    "cos": lambda v: (math.cos(v[0]), (-math.sin(v[0]),)),
}
_VARIADIC_FUNCTIONS: Final[dict[str, _Function]] = {
    "min": lambda v: _select(v, min(v)),
    "max": lambda v: _select(v, max(v)),
    "mean": lambda v: (math.fsum(v) / len(v), [1.0 / len(v)] * len(v)),
}
_FUNCTIONS: Final = (*_UNARY_FUNCTIONS, *_VARIADIC_FUNCTIONS)
