"""Write the mapping of a table, and its stations as the site file declares them, as TOML."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any, Final

from monitor.api.files import ImportOptions
from monitor.api.ingest import TableMapping, format_time_of_day
from monitor.api.sites import ELLIPSOID, QUANTITIES, Origin, TotalStation
from monitor.api.text import format_duration, format_iso
from monitor.features.table_import.guess.guess import SensorGuess
from monitor.features.table_import.guess.motion import PARTS, STEEP_MOST, list_in_space, moves
from monitor.features.table_import.guess.words import names_stable_ground

# Motion of the fastest tectonic plates: 150 mm a year.
DRIFT_MM_PER_DAY: Final = 0.4
# `max_silence` of a series, in usual intervals.
SILENCE: Final = 6.0
STAMP_REASONS: Final = {
    "counter": "it only rises: a sum since the beginning",
    "event": "each row is one tip; let the gauge send a zero every few hours, so that its silence is noticed",
}


def format_mapping(mapping: TableMapping, file: str) -> str:
    """Return a mapping as TOML that `load_mapping` reads."""
    layout, rule = mapping.layout, mapping.time
    table = {
        **({"starts": layout.starts} if layout.starts else {"delimiter": layout.delimiter}),
        "sheets": layout.sheets,
        "skip_rows": layout.skip_rows,
        "skip_after_header": layout.skip_after,
        "header": layout.header and None,
        "encoding": layout.encoding,
        "decimal": mapping.decimal,
        "thousands": mapping.thousands,
        "station": mapping.station,
        "missing": mapping.missing,
    }
    zone = None if rule.zone is None else rule.zone.key
    column = rule.columns if len(rule.columns) > 1 else rule.columns[0]
    parts = [
        f"# What the columns of {file} mean; use it with: slopeward ingest FILE --mapping THIS\n[table]\n",
        *_format_keys(table),
        "\n[time]\n",
        *_format_keys(
            {
                "column": column,
                "format": rule.format,
                "zone": zone,
                "clock": rule.clock or None,
                "era": rule.era or None,
                "date_counts_at": format_time_of_day(rule.date_counts_at) if rule.date_counts_at else None,
                "since": None if rule.since is None else rule.since.isoformat(),
            }
        ),
    ]
    for one in mapping.columns:
        parts += ["\n[[column]]\n", *_format_keys(asdict(one) | {"downward": one.downward or None})]
    return "".join(parts)


def _format_keys(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the keys that have a value."""
    given = ((key, value) for key, value in values.items() if value is False or value)
    return (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in given)


def format_stations(
    sensors: Sequence[SensorGuess],
    known: ImportOptions = ImportOptions(),  # noqa: B008 - frozen
    bases: Collection[str] = (),
    copied: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the stations as tables of a site file.

    Args:
        sensors: The series of the stations.
        known: Places and origins of stations that the file or an answer gives.
        bases: Stations on stable ground.
        copied: Stations of the site file without a logger, by the new station that has the same values.
    """
    blocks = []
    places, origins = {place.station: place for place in known.places}, dict(known.origins)
    in_space = list_in_space(sensors)
    for station in dict.fromkeys(s.station for s in sensors):
        own = [s for s in sensors if s.station == station]
        lines = ["[[station]]", f"id = {quote(station)}"]
        if (place := places.get(station)) is not None:
            lines += [f"latitude = {place.latitude:.8f}", f"longitude = {place.longitude:.8f}"]
            lines += [] if place.height_m is None else [f"height_m = {place.height_m:.4f}"]
        lines += [_format_origin(origins[station])] if station in origins else []
        instrument = own[0].instrument
        if station in copied:
            lines.append(f"reference = {quote(copied[station])}  # it has the same values: both are one witness")
        elif instrument:
            lines.append(f"logger = {quote(instrument)}  # all stations of this instrument are one witness")
        if station in bases:
            lines.append("on_slope = false  # stable ground: its name says so, and its record shows no sure motion")
        else:
            lines += [
                f"# reference = {quote(base)}  # if it is measured from there: all such stations are one witness"
                for base in sorted(bases)
                if station in in_space
            ]
            if names_stable_ground(station):
                why = "its record surely moves" if moves(own) else "no other station is there to be watched"
                lines.append(f"# on_slope = false  # its name says stable ground; {why}")
            in_frame = place is not None and station not in origins  # of the earth: plates drift in it
            lines += _format_direction(in_space[station], in_frame=in_frame) if station in in_space else []
        for sensor in _join_components(own, is_in_space=station in in_space):
            # Bounds count in the canonical unit. The mapping, not the site file, names the unit of the file.
            unit = sensor.unit if sensor.unit == "index" else QUANTITIES[sensor.quantity].unit
            lines += ["[[station.series]]", f"quantity = {quote(sensor.quantity)}", f"unit = {quote(unit)}"]
            if sensor.stamp:
                lines.append(f"stamp = {quote(sensor.stamp)}  # {STAMP_REASONS[sensor.stamp]}")
            if sensor.interval_s:
                silence_s = sensor.silence_s or SILENCE * sensor.interval_s
                lines += [f'interval = "{format_duration(max(1, round(sensor.interval_s)))}"']
                lines += [f'max_silence = "{format_duration(max(1, round(silence_s)))}"']
            if sensor.noise_mm > 0.0:
                lines.append(
                    f"noise_floor_mm = {sensor.noise_mm:.2g}  # one standard deviation of the noise in its record"
                )
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def format_total_stations(total_stations: Iterable[TotalStation]) -> str:
    """Return total stations as tables of a site file."""
    blocks = []
    for one in total_stations:
        place = (f"{name} = {getattr(one, name):.4f}" for name in ("east_m", "north_m", "up_m"))
        lines = ["[[total_station]]", f"id = {quote(one.id)}", *place]
        lines.append("# orientation = 0.0  # bearing from north at which the horizontal circle reads 0, in degrees")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _format_direction(own: Mapping[str, SensorGuess], *, in_frame: bool) -> Iterator[str]:
    """Yield azimuth and plunge with their errors, and a comment in place of a value that the record does not show."""
    motion = next(iter(own.values())).motion
    why = "its record is too short"
    if motion is not None:
        why = f"{motion.moved_mm:.3g} mm to the side in {motion.days:.3g} d"
        why = why if motion.is_sure else f"its record shows no sure motion ({why})"
    drifts = in_frame and motion is not None and motion.moved_mm <= DRIFT_MM_PER_DAY * motion.days
    why += ", no more than a plate of the earth drifts" if drifts else ""
    if motion is None or not motion.is_sure or motion.azimuth is None or drifts:
        yield f"# azimuth_deg = 205.0  # downslope, from north: {why}; until it is written, the horizontal speed counts"
        return
    yield f"azimuth_deg = {motion.azimuth[0]:.0f}  # ± {motion.azimuth[1]:.2g} as its record moves: {why}"
    if motion.plunge is not None:
        plunge, error = motion.plunge
        plunge_line = f"plunge_deg = {plunge:.0f}  # ± {error:.2g} below the horizon, as its record moves"
        yield plunge_line if error <= STEEP_MOST else f"# {plunge_line}; too unsure to count"


def _format_origin(origin: Origin) -> str:
    names = ("east_m", "north_m", "up_m") if origin.place is None else ("latitude", "longitude", "height_m")
    figures = zip(names, origin.place or origin.baseline_m or (), (9, 9, 4) if origin.place else (4, 4, 4), strict=True)
    # An axis that is not measured has no key.
    keys = ", ".join(f"{name} = {figure:.{places}f}" for name, figure, places in figures if figure is not None)
    above = "" if origin.height == ELLIPSOID else f', height = "{origin.height}"'
    return f"origin = {{{keys}{above}, since = {format_iso(origin.since)}}}"


def _join_components(sensors: Iterable[SensorGuess], *, is_in_space: bool) -> list[SensorGuess]:
    """Return the series of a station as the site file declares them: east, north and up in space are one series."""
    found: dict[str, SensorGuess] = {}
    for s in sensors:
        name = "displacement" if is_in_space and s.quantity in PARTS else s.quantity
        found.setdefault(name, replace(s, quantity=name))
    return list(found.values())


def quote(text: str) -> str:
    """Return a text as a string of TOML."""
    return json.dumps(text, ensure_ascii=False)
