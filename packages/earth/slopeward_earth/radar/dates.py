"""Radar images of one ground: from which orbit they were taken, and in which unit their backscatter is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import BandMissingError, ManifestError, RadiometryError, SceneError
from detection.imagery.raster.raster import inspect
from detection.imagery.raster.reading.bands import choose_band, find_content
from detection.imagery.scene.radar_bands import POLARISATIONS
from detection.imagery.scene.scene import Scene, find_date, read_scene
from monitor.api.text import Template

_NO_ORBIT: Final = Template(
    "radar.no_orbit", "nothing says that all images are of one orbit: where they are not, slopes seem to change"
)()
UNITS: Final = ("power", "db", "amplitude")
KEYS: Final = ("orbit", "track", "look", "units", "incidence_deg")
ORBITS: Final = ("ascending", "descending")
LOOKS: Final = ("left", "right")
# How processors spell what the key says.
TAGS: Final = {
    "orbit": ("ORBIT", "ORBIT_DIRECTION", "ORBIT_PASS", "PASS", "PASS_DIRECTION", "FLIGHT_DIRECTION"),
    "track": ("TRACK", "RELATIVE_ORBIT", "RELATIVE_ORBIT_NUMBER", "REL_ORBIT"),
    "look": ("LOOK", "LOOK_DIRECTION", "ANTENNA_DIRECTION", "ANTENNA_POINTING"),
    "units": ("UNITS", "UNIT", "SCALE"),
    "incidence_deg": ("INCIDENCE_DEG", "INCIDENCE_ANGLE"),
    "polarisation": ("POLARISATION", "POLARIZATION"),
}
SPELLED: Final = {"linear": "power", "intensity": "power", "linear power": "power", "decibels": "db", "decibel": "db"}
# Sentinel-1 repeats its 175 orbits; the product's name holds the absolute one.
SENTINEL1: Final = re.compile(r"S1([ABCD])_\w\w_\w{4}_\w{4}_\d{8}T\d{6}_\d{8}T\d{6}_(\d{6})_")
FIRST_ORBIT: Final = {"A": 73, "B": 27, "C": 172, "D": 42}
# Sentinel-1C was moved in June 2026: after this absolute orbit its numbers begin elsewhere.
MOVED_AFTER, MOVED_FIRST = 8018, 99
ORBITS_OF_CYCLE: Final = 175
# Dates of one orbit are taken at one time of the day; of the other direction, half a day away.
APART_S: Final = 1200.0
INCIDENCE_APART_DEG: Final = 2.0
# Calibrated backscatter: beyond this it is something else.
POWER_MOST, DB_LEAST, DB_MOST = 10.0, -60.0, 30.0


@dataclass(frozen=True, slots=True)
class RadarDate:
    """One radar image."""

    path: Path  # as it was named
    file: Path  # its raster
    index: int  # number of the band
    at: datetime | None  # when it was taken; None: nobody says it
    metadata: Mapping[str, Any]  # what is known of its geometry and unit, by the names of `KEYS`, and the polarisation


def read_radar(path: Path, band: int | None = None) -> RadarDate:
    """Read what a radar image is: a raster with tags, or a folder whose `scene.toml` has bands such as VV.

    `band`: of a raster with several; None: by the names of its bands.

    Raises:
        SceneError: no such band, or something is said of it that cannot be.
        RadiometryError: several bands may be the backscatter.
    """
    if path.is_dir():
        return of_scene(read_scene(path))
    facts = inspect(path)
    names = [_find_polarisation(text or "") for text in facts.descriptions]
    if band is None:
        band = next((names.index(name) + 1 for name in POLARISATIONS if name in names), None)
    if band is None:
        band = choose_band(path, facts, "backscatter", "Give --band N")
    if not 1 <= band <= facts.count:
        raise BandMissingError(f"{path}: band {band} was asked for, the file has {facts.count}")
    tags = {key.upper(): value for key, value in facts.tags.items()}
    declared = {key: tags[name] for key, names in TAGS.items() for name in reversed(names) if name in tags}
    if names[band - 1]:
        declared["polarisation"] = names[band - 1]
    return RadarDate(path, path, band, find_date(path, facts.tags), _read_metadata(path, declared, path.name))


def _find_polarisation(name: str) -> str:
    """Return the polarisation that the name of a band contains, "" for none or for another quantity.

    >>> [_find_polarisation(name) for name in ("VV", "vh (dB)", "Sigma0_VV_db", "gamma0-HH", "coherence VV", "angle")]
    ['VV', 'VH', 'VV', 'HH', '', '']
    """
    if find_content(name) not in (None, "backscatter"):
        return ""
    words = re.split(r"[^A-Z0-9]+", name.strip().upper())
    return next((word[:2] for word in words if word[:2] in POLARISATIONS), "")


def of_scene(scene: Scene) -> RadarDate:
    """The radar image of a scene; raises SceneError: it has no band of a polarisation, or its table [sar] is wrong."""
    bands = {name.upper(): band for name, band in scene.bands.items()}
    name = next((one for one in POLARISATIONS if one in bands), None)
    if name is None:
        raise BandMissingError(f"{scene.path}: no band {', '.join(POLARISATIONS)}; found: {', '.join(scene.bands)}")
    if unknown := sorted(set(scene.sar) - set(KEYS)):
        raise ManifestError(f"{scene.path}: unknown key {unknown[0]!r} in [sar]; expected: {', '.join(KEYS)}")
    metadata = _read_metadata(scene.path, {**scene.sar, "polarisation": name}, scene.path.name)
    return RadarDate(scene.path, bands[name].path, bands[name].index, scene.acquired_at, metadata)


def _read_metadata(path: Path, declared: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is said, checked; a word that a tag has for something else says nothing."""
    found: dict[str, Any] = {}
    for key, known in (("orbit", ORBITS), ("look", LOOKS), ("units", UNITS)):
        if key not in declared:
            continue
        value = str(declared[key]).strip().lower()
        value = SPELLED.get(value, value)
        if meant := [one for one in known if value and one.startswith(value)]:  # such as `asc`, or `R`
            found[key] = meant[0]
        elif path.is_dir():
            raise ManifestError(f"{path}: {key} = {declared[key]!r} of [sar] is none of: {', '.join(known)}")
    for key in ("track", "incidence_deg"):
        if key in declared:
            try:
                found[key] = float(declared[key])
            except (TypeError, ValueError):
                if path.is_dir():
                    raise ManifestError(f"{path}: {key} = {declared[key]!r} of [sar] is no number") from None
    if "polarisation" in declared:
        found["polarisation"] = str(declared["polarisation"]).strip().upper()
    if "track" not in found and (match := SENTINEL1.search(name)):
        orbit = int(match[2])
        moved = match[1] == "C" and orbit > MOVED_AFTER
        found["track"] = float((orbit - (MOVED_FIRST if moved else FIRST_ORBIT[match[1]])) % ORBITS_OF_CYCLE + 1)
    return found


def find_difference(one: RadarDate, other: RadarDate) -> str | None:
    """Why two images cannot be compared, or None: another geometry makes slopes lie elsewhere and shine otherwise."""
    for key in ("orbit", "track", "look", "polarisation"):
        first, second = one.metadata.get(key), other.metadata.get(key)
        if first is not None and second is not None and first != second:
            number = "g" if isinstance(first, float) else ""
            return f"{key} {first:{number}} and {second:{number}}"
    angle, other_angle = (date.metadata.get("incidence_deg") for date in (one, other))
    if angle is not None and other_angle is not None and abs(angle - other_angle) > INCIDENCE_APART_DEG:
        return f"incidence {angle:g} and {other_angle:g} degrees"
    if any(not date.at or date.at.time() == time() for date in (one, other)) or one.at is None or other.at is None:
        return None
    apart = abs((one.at - other.at).total_seconds()) % 86_400
    if min(apart, 86_400 - apart) > APART_S and not (one.metadata.get("track") and other.metadata.get("track")):
        return f"taken at {one.at:%H:%M} and {other.at:%H:%M} UTC, so not from one orbit"
    return None


def check_dates(before: Sequence[RadarDate], after: Sequence[RadarDate]) -> list[str]:
    """Refuse images that cannot be compared; what nobody can prove is said.

    Raises SceneError: another orbit, side, polarisation or incidence; or one of before is later than one of after.
    """
    for one, other in product(before, after):
        if one.at is not None and other.at is not None and one.at > other.at:
            raise SceneError(f"{one.path} was taken after {other.path}: exchange before and after")
    first, *others = (*before, *after)
    for other in others:
        if why := find_difference(first, other):
            raise SceneError(f"{first.path} and {other.path}: {why}; take images of one orbit and one polarisation")
    if not all({"orbit", "track"} & set(date.metadata) for date in (first, *others)):
        return [_NO_ORBIT]
    return []


def find_units(date: RadarDate, values: NDArray[np.floating], given: str | None = None) -> tuple[str, str]:
    """In which unit backscatter is, and why: said, else found by its sign and size.

    Raises RadiometryError: it is no calibrated backscatter, or not in the unit that is said.
    """
    stated = given or date.metadata.get("units")
    if stated and not values.size:
        return stated, "as said"
    if not values.size:
        raise RadiometryError(f"{date.path}: no valid value, so its unit cannot be found; say --units")
    below, middle = float(np.mean(values < 0)), float(np.median(values))
    low, high = (float(one) for one in np.percentile(values, [1, 99]))
    if stated:
        if not (low >= DB_LEAST and high <= DB_MOST if stated == "db" else below <= 0.5):
            raise RadiometryError(f"{date.path}: said to be {stated}, but its values go from {low:.4g} to {high:.4g}")
        return stated, "as said"
    if below > 0.5 and low >= DB_LEAST and high <= DB_MOST:
        return "db", f"found: {below:.0%} of the values are below 0, median {middle:.1f}"
    if below <= 0.01 and middle <= POWER_MOST:
        return "power", f"found: nothing below 0, median {middle:.3g}"
    raise RadiometryError(
        f"{date.path}: median {middle:.4g}, {below:.0%} below 0: neither calibrated power (0 to about 3) nor dB "
        "(-40 to 10); calibrate it, or say --units power, db or amplitude"
    )


def to_power(values: NDArray[np.floating], units: str) -> NDArray[np.float64]:
    """Backscatter as linear power; NaN where a value has none.

    >>> [round(float(one), 3) for one in to_power(np.array([-10.0, 3.0]), "db")]
    [0.1, 1.995]
    """
    found = np.asarray(values, np.float64)
    if units == "db":
        return np.asarray(10.0 ** (np.clip(found, -200.0, 200.0) / 10.0))
    power = np.where(found > 0, found, np.nan)
    return np.asarray(power**2 if units == "amplitude" else power)
