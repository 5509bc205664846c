"""What the names in a [[criterion]] refer to: stations, series, levels; what cannot be is refused in one line."""

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
    """One [[criterion]] in its site file."""

    where: str  # how errors call it: `site.toml: criterion[0]`
    kind: Kind  # its kind
    raw: Mapping[str, Any]  # the table as it was written, with the bound of each level
    levels: Sequence[Level]  # of the site, rising
    stations: Sequence[Station]  # of the site
    horizons_s: Sequence[float]  # that the site forecasts


def find_level(level: str, levels: Sequence[Level], where: str) -> int:
    """The number of a level; raises ConfigError."""
    for known in levels:
        if known.name == level:
            return known.number
    raise ConfigError(f"{where}: {level!r} is no level; expected one of: {', '.join(k.name for k in levels)}")


def find_series(text: str, stations: Sequence[Station], where: str) -> tuple[str, SeriesSpec]:
    """The station and declared series of `STATION.quantity`; raises ConfigError."""
    station_id, _, quantity = text.partition(".")
    station = next((s for s in stations if s.id == station_id), None)
    if station is None or not quantity:
        known = describe_unknown(station_id, [s.id for s in stations]).replace("key", "station", 1)
        raise ConfigError(f"{where}: expected 'STATION.quantity', got {text!r}: {known}")
    spec = station.find_series(quantity)
    if spec is None:
        names = ", ".join(s.quantity for s in station.series) or "none"
        raise ConfigError(f"{where}: station {station_id!r} declares no series {quantity!r}; it has: {names}")
    if spec.corrected_as:
        return find_series(f"{spec.corrected_as}.{quantity}", stations, where)
    return station_id, spec if spec.quantity == quantity else SeriesSpec(
        station=spec.station,
        quantity=quantity,
        unit=spec.unit,
        interval_s=spec.interval_s,
        max_silence_s=spec.max_silence_s,
        noise_floor=spec.noise_floor,
    )


def refuse_index(spec: SeriesSpec, where: str) -> None:
    """Refuse a bound on a covariate without a unit."""
    if spec.unit == "index":
        raise ConfigError(f"{where}: {spec.station}.{spec.quantity} has unit 'index': no threshold may use it")


def match_stations(
    patterns: Sequence[str], stations: Sequence[Station], quantity: str | None, where: str
) -> tuple[str, ...]:
    """Resolve names and globs.

    A glob takes the stations on the slope that have the quantity; a name must exist, have it, and may be a control.
    Where the motion of a reference is taken off, the station that has what is left is meant.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        glob = any(c in pattern for c in "*?[")
        found = [s for s in stations if fnmatchcase(s.id, pattern)]
        if not found:
            known = describe_unknown(pattern, [s.id for s in stations]).replace("key", "station", 1)
            raise ConfigError(f"{where}: no station matches: {known}")
        usable = [s for s in found if quantity is None or s.find_series(quantity) is not None]
        if not usable:
            raise ConfigError(f"{where}: no station that matches {pattern!r} declares a series {quantity!r}")
        for station in usable:
            spec = None if quantity is None else station.find_series(quantity)
            if spec is not None:
                refuse_index(spec, where)
            if station.on_slope or not glob:
                chosen[spec.corrected_as or station.id if spec is not None else station.id] = None
    if not chosen:
        raise ConfigError(f"{where}: {', '.join(patterns)} matches only control stations (on_slope = false)")
    return tuple(s.id for s in stations if s.id in chosen)
