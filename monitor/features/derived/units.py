"""Units as a scale and the powers of base units, to check that the parts of an expression fit together."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from monitor.api.sites import UNITS, is_raw

# Scale in base units, and powers of the base units, of the canonical units and of the units of time.
_BASE_UNITS: Final[dict[str, tuple[float, dict[str, int]]]] = {
    "mm": (1e-3, {"m": 1}),
    "m": (1.0, {"m": 1}),
    "mm/day": (1e-3 / 86400.0, {"m": 1, "s": -1}),
    "mm/s2": (1e-3, {"m": 1, "s": -2}),
    "mrad": (1e-3, {}),
    "microstrain": (1e-6, {}),
    "%": (1e-2, {}),
    "1": (1.0, {}),
    "kPa": (1e3, {"Pa": 1}),
    "hPa": (1e2, {"Pa": 1}),
    "degC": (1.0, {"degC": 1}),
    "V": (1.0, {"V": 1}),
    "dBm": (1.0, {"dBm": 1}),
    "s": (1.0, {"s": 1}),
    "min": (60.0, {"s": 1}),
    "h": (3600.0, {"s": 1}),
    "day": (86400.0, {"s": 1}),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as a multiple of a product of base units.

    Attributes:
        scale: How many base units the unit is.
        powers: Name and power of each base unit, in order of the names. No power is 0.
    """

    scale: float
    powers: tuple[tuple[str, Fraction], ...] = ()

    def multiply(self, other: "Unit", power: Fraction = Fraction(1)) -> "Unit":
        """Return the product of this unit and a power of another unit."""
        powers = dict(self.powers)
        for name, other_power in other.powers:
            powers[name] = powers.get(name, Fraction(0)) + other_power * power
        nonzero_powers = tuple(sorted((name, value) for name, value in powers.items() if value))
        return Unit(self.scale * other.scale ** float(power), nonzero_powers)

    @property
    def name(self) -> str:
        """The base units with their powers, such as `m s^-1`; `a plain number` if there are none."""
        factors = (name if power == 1 else f"{name}^{power}" for name, power in self.powers)
        return " ".join(factors) or "a plain number"


PLAIN_NUMBER: Final = Unit(1.0)


def parse_unit(text: str, own_units: Collection[str] = ()) -> Unit:
    """Return a unit, or a product of units such as `kPa/m` or `mm/degC`.

    >>> parse_unit("mm/degC").powers, round(parse_unit("kPa/digit^2", ("digit",)).scale)
    ((('degC', Fraction(-1, 1)), ('m', Fraction(1, 1))), 1000)

    Args:
        text: The unit.
        own_units: Units of the quantities that the site file declares. Each is a base unit.

    Raises:
        ValueError: The text is no unit.
    """
    text = text.strip() or "1"
    if text in own_units and text not in UNITS:
        return Unit(1.0, ((text, Fraction(1)),))
    canonical, factor, _ = UNITS.get(text, (text, 1.0, 0.0))
    if canonical in _BASE_UNITS:
        scale, powers = _BASE_UNITS[canonical]
        return Unit(factor * scale, tuple(sorted((name, Fraction(power)) for name, power in powers.items())))
    return _parse_product(text, own_units)


def _parse_product(text: str, own_units: Collection[str]) -> Unit:
    """Return a product of units. Each factor except the first one follows `*` or `/`."""
    pattern = _compile_factor(own_units)
    product = PLAIN_NUMBER
    position = 0
    while position < len(text):
        factor = pattern.match(text, position)
        is_first = position == 0
        # A factor that is the whole text was not recognised by `parse_unit`.
        if factor is None or factor["name"] == text or is_first != (factor["operator"] == ""):
            raise ValueError(_explain_unit(text))
        exponent = int(factor["exponent"] or 1)
        sign = -1 if factor["operator"] == "/" else 1
        product = product.multiply(parse_unit(factor["name"], own_units), Fraction(sign * exponent))
        position = factor.end()
    return product


def _compile_factor(own_units: Collection[str]) -> re.Pattern[str]:
    """Return the pattern of one factor of a product.

    A name can contain digits (`mmH2O`, or `Hz2` of a site file), so complete names are matched before names of letters
    with an exponent.
    """
    names = sorted((name for name in {*UNITS, *own_units} if "/" not in name and "*" not in name), key=len)
    complete_names = "|".join(re.escape(name) for name in reversed(names))
    return re.compile(
        rf"\s*(?P<operator>[*/]?)\s*(?P<name>(?:{complete_names})(?![A-Za-z%])|[A-Za-z%]+)(?:\^?(?P<exponent>-?\d))?"
    )


def _explain_unit(text: str) -> str:
    """Return an error text for an unknown unit."""
    if is_raw(text):
        return f"unit {text!r} is unknown; declare the raw readings of the sensor as a [[quantity]] with this unit"
    return f"unit {text!r} is unknown; expected a unit such as mm, kPa, degC or day, or a product such as kPa/m"
