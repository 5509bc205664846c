"""Units as a scale and the powers of base units: so an expression knows whether its parts fit together."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from monitor.api.sites import UNITS, is_raw

# what the canonical units and those of time come to: the scale, and the base units with their powers
_BASES: Final[dict[str, tuple[float, dict[str, int]]]] = {
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
    """A unit: `scale` of it in base units, and the powers of these by name, none of them 0."""

    scale: float
    powers: tuple[tuple[str, Fraction], ...] = ()

    def times(self, other: "Unit", power: Fraction = Fraction(1)) -> "Unit":
        """The product with a power of another unit."""
        found = dict(self.powers)
        for name, own in other.powers:
            found[name] = found.get(name, Fraction(0)) + own * power
        kept = tuple(sorted((name, own) for name, own in found.items() if own))
        return Unit(self.scale * other.scale ** float(power), kept)

    @property
    def name(self) -> str:
        """The base units as people write them; `a plain number` without any."""
        written = (name if power == 1 else f"{name}^{power}" for name, power in self.powers)
        return " ".join(written) or "a plain number"


PLAIN: Final = Unit(1.0)


def read_unit(text: str, own: Collection[str] = ()) -> Unit:
    """A unit, or a product of units such as `kPa/m` or `mm/degC`; raises ValueError: it is no unit.

    >>> read_unit("mm/degC").powers, round(read_unit("kPa/digit^2", ("digit",)).scale)
    ((('degC', Fraction(-1, 1)), ('m', Fraction(1, 1))), 1000)

    `text`: the unit; `own`: units of the site's own quantities, each a base unit of its own.
    """
    text = text.strip() or "1"
    if text in own and text not in UNITS:
        return Unit(1.0, ((text, Fraction(1)),))
    canonical, factor, _ = UNITS.get(text, (text, 1.0, 0.0))
    if canonical in _BASES:
        scale, powers = _BASES[canonical]
        return Unit(factor * scale, tuple(sorted((name, Fraction(power)) for name, power in powers.items())))
    found, place, pattern = PLAIN, 0, _compile_part(own)
    while place < len(text):
        part = pattern.match(text, place)
        if part is None or part[2] == text or bool(part[1]) != bool(place):
            raise ValueError(_explain_unit(text))
        sign = -1 if part[1] == "/" else 1
        found = found.times(read_unit(part[2], own), Fraction(sign * int(part[3] or 1)))
        place = part.end()
    return found


def _compile_part(own: Collection[str]) -> re.Pattern[str]:
    """Return the pattern of one factor of a product: its sign, its name and its exponent.

    A name can contain digits (`mmH2O`, or `Hz2` of a site file), so complete names are matched before names of letters
    with an exponent.
    """
    names = sorted((name for name in {*UNITS, *own} if "/" not in name and "*" not in name), key=len)
    complete_names = "|".join(re.escape(name) for name in reversed(names))
    return re.compile(rf"\s*([*/]?)\s*((?:{complete_names})(?![A-Za-z%])|[A-Za-z%]+)(?:\^?(-?\d))?")


def _explain_unit(text: str) -> str:
    """Return an error text for an unknown unit."""
    if is_raw(text):
        return f"unit {text!r} is unknown; declare the raw readings of the sensor as a [[quantity]] with this unit"
    return f"unit {text!r} is unknown; expected a unit such as mm, kPa, degC or day, or a product such as kPa/m"
