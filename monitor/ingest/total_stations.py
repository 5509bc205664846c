"""Displacement from coordinates, and from the distances and angles of total stations.

Coordinates and polar readings are never stored. Readers of files and decoders of messages replace them by displacement
since the origin that the site file gives the station.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from monitor.errors import PayloadError
from monitor.ingest.references import PART
from monitor.sites.ground import EARTH_RADIUS_M
from monitor.sites.records import Origin, TotalStation
from monitor.text.message import Figure, NameList, Template, Term

# Displacement by coordinate, in the order of the axes of an origin.
DISPLACEMENT_OF: Final[Mapping[str, str]] = {
    "position_east": "displacement_east",
    "position_north": "displacement_north",
    "position_up": "displacement_up",
}
SLOPE_DISTANCE: Final = "slope_distance"
HORIZONTAL_ANGLE: Final = "horizontal_angle"
ZENITH_ANGLE: Final = "zenith_angle"
POLAR: Final = (SLOPE_DISTANCE, HORIZONTAL_ANGLE, ZENITH_ANGLE)
# Canonical unit of each quantity that becomes displacement.
POSITION_UNITS: Final[Mapping[str, str]] = {
    **dict.fromkeys(DISPLACEMENT_OF, "m"),
    SLOPE_DISTANCE: "m",
    HORIZONTAL_ANGLE: "mrad",
    ZENITH_ANGLE: "mrad",
}
_MM_PER_M: Final = 1000.0
# A number that may stand for a missing measurement is a coordinate if it is nearer to the origin.
_FARTHEST_FROM_ORIGIN_MM: Final = 5_000.0
_AXIS_KEYS: Final = ("east_m", "north_m", "up_m")
_NO_ORIGIN: Final = Template(
    "position.no_origin",
    "{station} has no origin for {names}, so its coordinates cannot become displacement. Add it to the [[station]] in "
    "the site file; from this reading it would be {origin}",
)
_INCOMPLETE: Final = Template(
    "position.incomplete",
    "{station}: {names} missing; a position needs slope_distance, horizontal_angle and zenith_angle of one instant",
)
_NO_TOTAL_STATION: Final = Template(
    "position.no_total_station",
    "no [[total_station]] of the site file measures {station}, so its distance and angles cannot become displacement",
)
_BAD_DISTANCE: Final = Template("position.distance", "{station}: slope distance {value}: expected more than 0 m")
_FILL: Final = Template(
    "position.fill", "{station}: {quantity} {value} is a code for a missing measurement, and far from the origin"
)
_GIVEN_TWICE: Final = Template(
    "position.twice", "{station}: {names} given as displacement and as a position of the same instant; send one of them"
)

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PositionReading:
    """A coordinate, distance or angle in the canonical unit of its quantity.

    Attributes:
        sigma: standard deviation. None if it is not known.
        step: value of the last digit. None if it is not known.
        may_be_fill: whether the number is one that instruments write for a missing measurement. A coordinate such as
            999.999 may be both.
    """

    value: float
    sigma: float | None = None
    step: float | None = None
    may_be_fill: bool = False


@dataclass(frozen=True, slots=True)
class DisplacementReading:
    """Displacement of one axis since the origin of the station, in mm."""

    quantity: str
    value_mm: float
    sigma_mm: float | None = None
    step_mm: float | None = None


def is_position(quantity: str) -> bool:
    """Return whether a quantity is a coordinate or polar reading, which is never stored.

    >>> [is_position(name) for name in ("position_up", "zenith_angle", "displacement_up")]
    [True, True, False]
    """
    return quantity in POSITION_UNITS


def find_frame(origin: Origin, total_station: TotalStation | None) -> str:
    """Return the text of what displacement is measured from. It changes if the origin or the instrument changes.

    Args:
        origin: the origin of the station.
        total_station: the instrument of polar readings. None for coordinates.
    """
    return origin.frame if total_station is None else f"{origin.frame}{PART}{total_station.frame}"


def compute_displacements(
    station: str,
    at: datetime,
    readings: Mapping[str, PositionReading],
    origin: Origin | None,
    total_station: TotalStation | None,
) -> list[DisplacementReading]:
    """Compute the displacement of a station from its coordinates or polar readings of one instant.

    Coordinates are preferred if a station has both: the instrument computed them from the same distance and angles.

    Args:
        station: id of the station, for error messages.
        at: the instant.
        readings: readings by quantity.
        origin: the origin of the station.
        total_station: the instrument that measures the station.

    Raises:
        PayloadError: no_origin, no_total_station, incomplete_position, bad_place, or fill for a code of a missing
            measurement.
    """
    coordinates = {quantity: readings[quantity] for quantity in DISPLACEMENT_OF if quantity in readings}
    if not coordinates:
        coordinates = _convert_polar(station, readings, total_station)
    baseline_m = (None, None, None) if origin is None or origin.baseline_m is None else origin.baseline_m
    zero_m = dict(zip(DISPLACEMENT_OF, baseline_m, strict=True))
    missing = [quantity for quantity in coordinates if zero_m[quantity] is None]
    if missing:
        text = format_origin({quantity: reading.value for quantity, reading in coordinates.items()}, at)
        names = NameList(tuple(missing))
        raise PayloadError("no_origin", _NO_ORIGIN(station=station, names=names, origin=text))
    displacements = []
    for quantity, reading in coordinates.items():
        value_mm = (reading.value - (zero_m[quantity] or 0.0)) * _MM_PER_M
        if reading.may_be_fill and abs(value_mm) > _FARTHEST_FROM_ORIGIN_MM:
            raise PayloadError(
                "fill", _FILL(station=station, quantity=Term(quantity), value=Figure(reading.value, "g"))
            )
        sigma_mm = None if reading.sigma is None else reading.sigma * _MM_PER_M
        step_mm = None if reading.step is None else reading.step * _MM_PER_M
        displacements.append(DisplacementReading(DISPLACEMENT_OF[quantity], value_mm, sigma_mm, step_mm))
    return displacements


def format_origin(coordinates_m: Mapping[str, float], at: datetime) -> str:
    """Format an origin as it is written in a site file.

    >>> format_origin({"position_east": 1100.0012, "position_up": 490.5}, datetime(2026, 3, 1, 8, tzinfo=UTC))
    'origin = {east_m = 1100.0012, up_m = 490.5000, since = 2026-03-01T08:00:00Z}'
    """
    keys = [
        f"{key} = {coordinates_m[quantity]:.4f}"
        for quantity, key in zip(DISPLACEMENT_OF, _AXIS_KEYS, strict=True)
        if quantity in coordinates_m
    ]
    return f"origin = {{{', '.join(keys)}, since = {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}}}"


def refuse_double(station: str, given: Iterable[str], computed: Iterable[DisplacementReading]) -> None:
    """Reject displacement that is given directly and as a position of the same instant.

    Raises:
        PayloadError: double_value.
    """
    double = sorted(set(given) & {reading.quantity for reading in computed})
    if double:
        raise PayloadError("double_value", _GIVEN_TWICE(station=station, names=NameList(tuple(double))))


# ---- polar readings --------------------------------------------------------------------------------------------
def compute_coordinates_m(
    total_station: TotalStation, distance_m: float, horizontal_rad: float, zenith_rad: float
) -> Vector:
    """Compute east, north and up of a prism, in metres.

    The height contains the curvature of the Earth and the refraction of the line of sight if the instrument has a
    coefficient of refraction: h = s cos z + (1 - k) (s sin z)^2 / (2 R). Readings in the second face of the instrument
    (zenith angle above 180 degrees) need no special case.
    """
    bearing_rad = total_station.orientation_rad + horizontal_rad
    horizontal_m = distance_m * math.sin(zenith_rad)
    up_m = distance_m * math.cos(zenith_rad)
    if total_station.refraction is not None:
        up_m += (1.0 - total_station.refraction) * horizontal_m**2 / (2.0 * EARTH_RADIUS_M)
    return (
        total_station.east_m + horizontal_m * math.sin(bearing_rad),
        total_station.north_m + horizontal_m * math.cos(bearing_rad),
        total_station.axis_height_m + up_m,
    )


def _convert_polar(
    station: str, readings: Mapping[str, PositionReading], total_station: TotalStation | None
) -> dict[str, PositionReading]:
    """Return the coordinates of polar readings, with their errors to first order."""
    missing = [quantity for quantity in POLAR if quantity not in readings]
    if missing:
        raise PayloadError("incomplete_position", _INCOMPLETE(station=station, names=NameList(tuple(missing))))
    if total_station is None:
        raise PayloadError("no_total_station", _NO_TOTAL_STATION(station=station))
    distance_m = readings[SLOPE_DISTANCE].value
    if not distance_m > 0.0:
        raise PayloadError("bad_place", _BAD_DISTANCE(station=station, value=Figure(distance_m, "g")))
    sigmas = _propagate(readings, total_station, lambda reading: reading.sigma)
    steps = _propagate(readings, total_station, lambda reading: reading.step)
    values_m = _compute(total_station, {quantity: readings[quantity].value for quantity in POLAR})
    may_be_fill = any(readings[quantity].may_be_fill for quantity in POLAR)
    return {
        quantity: PositionReading(value_m, sigma, step, may_be_fill)
        for quantity, value_m, sigma, step in zip(DISPLACEMENT_OF, values_m, sigmas, steps, strict=True)
    }


def _compute(total_station: TotalStation, values: Mapping[str, float]) -> Vector:
    """Compute coordinates from polar readings in their canonical units (m, mrad)."""
    return compute_coordinates_m(
        total_station, values[SLOPE_DISTANCE], values[HORIZONTAL_ANGLE] / 1000.0, values[ZENITH_ANGLE] / 1000.0
    )


def _propagate(
    readings: Mapping[str, PositionReading],
    total_station: TotalStation,
    get_size: Callable[[PositionReading], float | None],
) -> tuple[float | None, ...]:
    """Return the size of the error of each coordinate, from that of the three readings. None if one is not known."""
    sizes = {quantity: get_size(readings[quantity]) for quantity in POLAR}
    if any(size is None for size in sizes.values()):
        return (None, None, None)
    values = {quantity: readings[quantity].value for quantity in POLAR}
    centre = _compute(total_station, values)
    squares = [0.0, 0.0, 0.0]
    for quantity, size in sizes.items():
        shifted = _compute(total_station, {**values, quantity: values[quantity] + (size or 0.0)})
        for axis in range(3):
            squares[axis] += (shifted[axis] - centre[axis]) ** 2
    return tuple(math.sqrt(square) for square in squares)
