"""Built-in quantities with canonical unit and expected range, and the conversion between units."""

import difflib
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from monitor.sites.units import UNITS
from monitor.text.names import split_table

# Limit of numbers in configuration files. No instrument measures such a value.
LARGEST: Final = 1e12


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured quantity.

    Attributes:
        name: name in site files.
        unit: canonical unit. Values are stored in it.
        low: lowest plausible value. Values outside the range are stored and flagged.
        high: highest plausible value.
        physical: ends of the range (`low`, `high`) that are physical limits. Forecasts stay within them.
        may_fall: largest possible fall below the newest value, over any time.
    """

    name: str
    unit: str
    low: float
    high: float
    physical: tuple[str, ...] = ()
    may_fall: float = inf


# Prefixes of quantities that measure the motion of a station.
MOTION_PREFIXES: Final = ("displacement", "crack_opening")


class PhysicalLimits(NamedTuple):
    """Physical limits of a series, in its unit. `may_fall` and `may_rise` are relative to the newest reading."""

    low: float = -inf
    high: float = inf
    may_fall: float = inf
    may_rise: float = inf


ENDS: Final = ("low", "high")
LOW: Final = ("low",)
BATTERY_VOLTAGE: Final = "battery_voltage"
# Computed by the device.
BATTERY_LEVEL: Final = "battery_level"
# Of the radio link.
SIGNAL_STRENGTH: Final = "signal_strength"
# Quantities that describe the instrument and not the slope.
HOUSEKEEPING: Final = frozenset({BATTERY_VOLTAGE, BATTERY_LEVEL, SIGNAL_STRENGTH})
# Prefixes of quantities that measure ground motion.
GROUND_MOTION_PREFIXES: Final = ("displacement", "crack", "tilt", "strain")
# Prefix of quantities at one depth of a profile.
DEPTH_PREFIX: Final = "depth_"
PRESSURES: Final = ("pore_pressure", "earth_pressure")
LEVELS: Final = ("water_level", "groundwater_level", "reservoir_level")
# Prefixes of quantities that forecasts and detectors treat as motion.
MODELLED_MOTION_PREFIXES: Final = ("displacement", "crack")
QUANTITIES: Final[dict[str, Quantity]] = {
    q.name: q
    for q in (
        *(
            Quantity(f"displacement{c}", "mm", -1e6, 1e6)
            for c in ("", "_east", "_north", "_up", "_downslope", "_los", "_distance")
        ),
        Quantity("velocity", "mm/day", -1e6, 1e6),
        Quantity("velocity_p95", "mm/day", 0.0, 1e6, LOW),
        Quantity("moving_share", "%", 0.0, 100.0, ENDS),
        Quantity("tilt", "mrad", -1600.0, 1600.0, ENDS),
        Quantity("tilt_x", "mrad", -1600.0, 1600.0, ENDS),
        Quantity("tilt_y", "mrad", -1600.0, 1600.0, ENDS),
        Quantity("strain", "microstrain", -1e6, 1e6),
        # Estimate: three cracks measured by hand closed by 19 to 40 mm in a month (docs/explanation/forecasting.md).
        Quantity("crack_opening", "mm", -1e5, 1e5, may_fall=50.0),
        Quantity("pore_pressure", "kPa", -110.0, 20000.0, LOW),
        Quantity("earth_pressure", "kPa", -110.0, 50000.0),
        Quantity("water_level", "m", -11000.0, 9000.0, ENDS),
        Quantity("groundwater_level", "m", -11000.0, 9000.0, ENDS),
        Quantity("reservoir_level", "m", -500.0, 9000.0, ENDS),
        Quantity("soil_moisture", "%", 0.0, 100.0, ENDS),
        Quantity("rain", "mm", 0.0, 500.0, LOW),
        Quantity("snow_depth", "m", 0.0, 30.0, LOW),
        Quantity("temperature", "degC", -90.0, 80.0),
        Quantity("air_pressure", "hPa", 300.0, 1100.0),
        Quantity("acceleration", "mm/s2", -1e6, 1e6),
        Quantity("coherence", "1", 0.0, 1.0, ENDS),
        Quantity("ndvi", "1", -1.0, 1.0, ENDS),
        Quantity("scene_probability", "1", 0.0, 1.0, ENDS),
        Quantity(BATTERY_VOLTAGE, "V", 0.0, 1000.0),
        Quantity(BATTERY_LEVEL, "%", 0.0, 100.0, ENDS),
        Quantity(SIGNAL_STRENGTH, "dBm", -200.0, 50.0),
    )
}
# Quantities that scenes give for the position of a station.
SCENE_QUANTITIES: Final = frozenset({"coherence", "ndvi", "scene_probability"})
# Quantities of the area of a station on a velocity map: mean velocity, 95th percentile of the absolute velocity, and
# share of the area that moves.
VELOCITY_MAP_QUANTITIES: Final = ("velocity", "velocity_p95", "moving_share")
# Velocity map quantities that only exist for an area.
ZONE_QUANTITIES: Final = frozenset({"velocity_p95", "moving_share"})


def measures_motion(quantity: str) -> bool:
    """Return whether a quantity measures ground motion: displacement, cracks, tilt, strain, velocity maps.

    >>> [measures_motion(name) for name in ("displacement_up", "tilt_x", "velocity_p95", "rain")]
    [True, True, True, False]
    """
    return quantity.startswith(GROUND_MOTION_PREFIXES) or quantity in VELOCITY_MAP_QUANTITIES


# Prefix of station ids for landslides that are tracked on scenes. These stations have no instruments.
LANDSLIDE_PREFIX: Final = "F-"
# Units of raw readings, before a calibration is applied. They cannot be converted.
RAW_UNITS: Final = frozenset(
    split_table("""
        hz; khz; hz2; khz2; digit; digits; dig; counts; count; cnt; adc; raw; b-units; lu; linear units; mv/v; ma;
        ohm; ohms; kohm
    """)
)
# Units that are used as suffix of a name, such as `_kpa` and `_mm_per_day`.
_SUFFIX_UNITS: Final = split_table("""
    mm/day; mm/h; m/day; mm/yr; mm/s2; m/s2; mm; cm; m; mrad; urad; rad; deg; kPa; Pa; MPa; bar; psi; hPa; mbar;
    degC; K; degF; microstrain; V; mV; dBm; g; index; in; ft; um; mil; gon; arcsec; mmHg; inHg; cmH2O; mH2O
""")
# Entries for a trace of precipitation: an amount too small to measure.
_TRACES: Final = frozenset({"t", "tr", "tr.", "trace", "traces"})
# Pairs of suffix and unit, longest suffix first: `_m_per_day` also ends with `_day`.
SUFFIXES: Final[tuple[tuple[str, str], ...]] = tuple(
    sorted(
        {"pct": "%", "percent": "%", **{unit.lower().replace("/", "_per_"): unit for unit in _SUFFIX_UNITS}}.items(),
        key=lambda item: -len(item[0]),
    )
)
# Factors between canonical units.
_FACTORS: Final = {("m", "mm"): 1000.0, ("mm", "m"): 1e-3, ("hPa", "kPa"): 0.1, ("kPa", "hPa"): 10.0}


def convert(value: float, unit: str, canonical: str) -> float:
    """Convert a value to the canonical unit of its quantity.

    >>> convert(0.0124, "m", "mm"), convert(1.0, "bar", "kPa")
    (12.4, 100.0)

    Raises:
        ValueError: the unit is unknown or does not fit.
    """
    if unit == canonical:
        return value
    if unit not in UNITS:
        raise ValueError(explain_unit(unit, canonical))
    base, factor, offset = UNITS[unit]
    if base == canonical:
        return value * factor + offset
    factor_between = _FACTORS.get((base, canonical))
    if factor_between is None:
        raise ValueError(f"unit {unit!r} cannot be converted to {canonical!r}")
    return (value * factor + offset) * factor_between


def explain_unit(unit: str, canonical: str) -> str:
    """Return an error text for an unknown unit, with the units that fit, most similar first.

    >>> explain_unit("mmH20", "kPa")[:55], explain_unit("digits", "kPa")[:31]
    ("unit 'mmH20' is unknown; units of kPa are: mmH2O, mmHg,", "unit 'digits' is a raw reading ")
    """
    if is_raw(unit):
        return (
            f"unit {unit!r} is a raw reading of a sensor; convert it to {canonical} with the calibration sheet of the "
            "instrument, in the logger or before the import"
        )
    return f"unit {unit!r} is unknown; units of {canonical} are: {', '.join(_sort_units(canonical, unit))}"


def list_units(quantity: str, like: str = "") -> tuple[str, ...]:
    """Return the units of a built-in quantity, those most similar to `like` first."""
    return _sort_units(QUANTITIES[quantity].unit, like)


def is_raw(unit: str) -> bool:
    """Return whether a unit stands for raw readings, before a calibration is applied."""
    return unit.strip().lower() in RAW_UNITS


def _sort_units(canonical: str, like: str) -> tuple[str, ...]:
    fitting = [unit for unit in UNITS if _fits(unit, canonical)]
    similar = difflib.get_close_matches(like, fitting, n=3, cutoff=0.4)
    return tuple(dict.fromkeys((*similar, *fitting)))


def _fits(unit: str, canonical: str) -> bool:
    base = UNITS[unit][0]
    return base == canonical or (base, canonical) in _FACTORS


def is_unit_of(unit: str, quantity: str) -> bool:
    """Return whether a unit fits a built-in quantity. False if the unit or the quantity is unknown.

    >>> is_unit_of("cm", "displacement"), is_unit_of("degC", "rain"), is_unit_of("mm", "colour")
    (True, False, False)
    """
    if unit not in UNITS or quantity not in QUANTITIES:
        return False
    return _fits(unit, QUANTITIES[quantity].unit)


def convert_difference(size: float, unit: str, canonical: str) -> float:
    """Convert a difference, such as a step or a standard deviation. The zero of the scale (degC, K) has no effect.

    >>> convert_difference(5.0, "K", "degC")
    5.0

    Raises:
        ValueError: the unit is unknown or does not fit.
    """
    if unit == canonical:
        return size
    return convert(size, unit, canonical) - convert(0.0, unit, canonical)


def read_trace(value: object, quantity: str) -> float | None:
    """Return 0.0 for a table cell that means a trace of rain or snow, else None.

    >>> read_trace("T", "rain"), read_trace("T", "temperature"), read_trace("0.2", "rain")
    (0.0, None, None)
    """
    is_trace = isinstance(value, str) and quantity in {"rain", "snow_depth"} and value.strip().lower() in _TRACES
    return 0.0 if is_trace else None


def split_suffix(name: str) -> tuple[str, str] | None:
    """Split a name such as `rain_mm` into quantity and unit. None if the name has no unit suffix.

    >>> split_suffix("displacement_east_mm"), split_suffix("pore_pressure_kpa"), split_suffix("rain")
    (('displacement_east', 'mm'), ('pore_pressure', 'kPa'), None)
    """
    lowered = name.lower()
    for suffix, unit in SUFFIXES:
        if lowered.endswith("_" + suffix) and len(lowered) > len(suffix) + 1:
            return name[: -len(suffix) - 1], unit
    return None
