"""Resolve the names of stations, series and levels in a [[criterion]]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from monitor.errors import ConfigError
from monitor.sections import describe_unknown
from monitor.sites.kinds import Kind
from monitor.sites.records import Level, SeriesSpec, Station


@dataclass(frozen=True, slots=True)
class Places:
    """A [[criterion]] and what its names can refer to.

    Attributes:
        where: file and table for error messages, such as `site.toml: criterion[0]`.
        kind: kind of the criterion.
        raw: the table as written, with the bounds of the levels.
        levels: levels of the site, lowest first.
        stations: stations of the site.
        horizons_s: forecast horizons of the site, in seconds.
    """

    where: str
    kind: Kind
    raw: Mapping[str, Any]
    levels: Sequence[Level]
    stations: Sequence[Station]
    horizons_s: Sequence[float]


def find_level(name: str, levels: Sequence[Level], where: str) -> int:
    """Return the number of a level.

    Raises:
        ConfigError: the site has no such level.
    """
    for level in levels:
        if level.name == name:
            return level.number
    names = ", ".join(level.name for level in levels)
    raise ConfigError(f"{where}: {name!r} is no level; expected one of: {names}")


def find_series(text: str, stations: Sequence[Station], where: str) -> tuple[str, SeriesSpec]:
    """Return station id and series of `STATION.quantity`.

    If the series has a reference-corrected copy, the copy is returned.

    Raises:
        ConfigError: the station does not exist or has no such series.
    """
    station_id, _, quantity = text.partition(".")
    station = next((s for s in stations if s.id == station_id), None)
    if station is None or not quantity:
        unknown = describe_unknown(station_id, [station.id for station in stations]).replace("key", "station", 1)
        raise ConfigError(f"{where}: expected 'STATION.quantity', got {text!r}: {unknown}")
    spec = station.find_series(quantity)
    if spec is None:
        names = ", ".join(declared.quantity for declared in station.series) or "none"
        raise ConfigError(f"{where}: station {station_id!r} declares no series {quantity!r}; it has: {names}")
    if spec.corrected_as:
        return find_series(f"{spec.corrected_as}.{quantity}", stations, where)
    if spec.quantity != quantity:
        # A component of a series `displacement`.
        spec = SeriesSpec(
            station=spec.station,
            quantity=quantity,
            unit=spec.unit,
            interval_s=spec.interval_s,
            max_silence_s=spec.max_silence_s,
            noise_floor=spec.noise_floor,
        )
    return station_id, spec


def refuse_index(spec: SeriesSpec, where: str) -> None:
    """Reject a bound on a series without a unit.

    Raises:
        ConfigError: the unit of the series is `index`.
    """
    if spec.unit == "index":
        raise ConfigError(
            f"{where}: {spec.station}.{spec.quantity} has unit 'index': no threshold may use it; name another series, "
            "or declare its unit"
        )


def _describe_components(stations: Sequence[Station], quantity: str | None) -> str:
    """Return a hint for an error if the stations declare only components of a quantity, otherwise an empty text."""
    components = {
        spec.quantity for station in stations for spec in station.series if spec.quantity.startswith(f"{quantity}_")
    }
    if not components:
        return ""
    names = ", ".join(sorted(components))
    return f"; the file declares {names}: declare {quantity!r} once, which includes its components"


def match_stations(
    patterns: Sequence[str], stations: Sequence[Station], quantity: str | None, where: str
) -> tuple[str, ...]:
    """Resolve station names and globs to station ids.

    A glob matches stations on the slope that have the quantity. A name may also be a control station, and its station
    must have the quantity. If a series has a reference-corrected copy, the station of the copy is returned.

    Args:
        patterns: names and globs.
        stations: stations of the site.
        quantity: quantity that the stations must declare, or None.
        where: file and key, for errors.

    Raises:
        ConfigError: a name or glob matches no usable station.
    """
    matched_ids: set[str] = set()
    for pattern in patterns:
        is_glob = any(character in pattern for character in "*?[")
        matches = [station for station in stations if fnmatchcase(station.id, pattern)]
        if not matches:
            unknown = describe_unknown(pattern, [station.id for station in stations]).replace("key", "station", 1)
            raise ConfigError(f"{where}: no station matches: {unknown}")
        usable = [station for station in matches if quantity is None or station.find_series(quantity) is not None]
        if not usable:
            hint = _describe_components(matches, quantity)
            raise ConfigError(f"{where}: no station that matches {pattern!r} declares a series {quantity!r}{hint}")
        for station in usable:
            spec = None if quantity is None else station.find_series(quantity)
            if spec is not None:
                refuse_index(spec, where)
            if is_glob and not station.on_slope:
                continue
            corrected_as = "" if spec is None else spec.corrected_as
            matched_ids.add(corrected_as or station.id)
    if not matched_ids:
        raise ConfigError(f"{where}: {', '.join(patterns)} matches only control stations; name stations on the slope")
    return tuple(station.id for station in stations if station.id in matched_ids)
