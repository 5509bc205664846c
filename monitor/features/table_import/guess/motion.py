"""Whether each station of a record moves, and in which direction, for the comments and bounds of a first site file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import atan2, degrees, dist, fsum, hypot
from statistics import median
from typing import Final

from forecasting.kinematics.velocity import DAY_S, fit_velocity
from monitor.api.sites import MOTION_PREFIXES, convert
from monitor.features.table_import.guess.bounds import LevelWindow, measure_noise, merge_bounds, propose_bounds
from monitor.features.table_import.guess.guess import MotionGuess, SensorGuess
from monitor.features.table_import.guess.values import CheckedValue
from monitor.features.table_import.guess.words import names_stable_ground

PARTS: Final = ("displacement_east", "displacement_north", "displacement_up")
# Largest standard error of a plunge in degrees.
STEEP_MOST: Final = 15.0
# The record is divided into so many pieces. The median of a piece does not contain a spike.
PIECES: Final = (32, 16, 12)
# Steps times the squared share of their path that remains. By chance, one plane random walk in 8,000 reaches it.
SURE: Final = 9.0
# Points of a series that are kept.
KEPT_MOST: Final = 8192
LARGEST_MM: Final = 1e9
# No instrument measures less motion over a record.
NOTHING_MM: Final = 1e-3


class MotionReadings:
    """The readings of motion of a file; a part of them if a series has many."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, str], list[tuple[float, float]]] = {}
        # How many readings a series had, and every how many of them one is kept.
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, reading: CheckedValue) -> None:
        """Add a reading if it is one of motion."""
        if reading.error or reading.at is None or not reading.quantity.startswith(MOTION_PREFIXES):
            return
        try:
            value_mm = convert(float(reading.value), reading.unit, "mm")
        except (ValueError, TypeError):
            return
        key = reading.station, reading.quantity
        count, every = self._counts.get(key, (0, 1))
        points = self._points.setdefault(key, [])
        if count % every == 0 and abs(value_mm) < LARGEST_MM:
            points.append((reading.at.timestamp(), value_mm))
        if len(points) > KEPT_MOST:
            del points[1::2]
            every *= 2
        self._counts[key] = count + 1, every

    def estimate_motion(self, sensors: Iterable[SensorGuess]) -> tuple[SensorGuess, ...]:
        """Return the sensors, each with how its record moves and with bounds that fit this motion.

        East, north and up of a station are one motion.
        """
        sensors = tuple(sensors)
        in_space = list_in_space(sensors)
        motions: dict[tuple[str, ...], MotionGuess | None] = {}
        windows: dict[tuple[str, ...], tuple[LevelWindow, ...]] = {}
        noises: dict[tuple[str, ...], float] = {}
        for sensor in sensors:
            key = _name_motion(sensor, in_space)
            if key not in motions:
                components = [sorted(self._points.get((sensor.station, quantity), ())) for quantity in key[1:]]
                motions[key] = _find_motion(components)
                windows[key] = _propose_level_windows(components, sensor.interval_s)
                noises[key] = max((measure_noise(points) or 0.0 for points in components[:2]), default=0.0)
        return tuple(
            replace(sensor, motion=motions[key], windows=windows[key], noise_mm=noises[key])
            for sensor in sensors
            for key in [_name_motion(sensor, in_space)]
        )


def _propose_level_windows(
    components: Sequence[Sequence[tuple[float, float]]], interval_s: float | None
) -> tuple[LevelWindow, ...]:
    """Return the windows and bounds of a station; of its horizontal and its vertical motion the less sensitive ones."""
    if interval_s is None or not all(components):
        return ()
    horizontal = propose_bounds(components[:2], interval_s)
    if len(components) < 3:
        return horizontal
    return merge_bounds(horizontal, propose_bounds(components[2:], interval_s))


def _name_motion(sensor: SensorGuess, in_space: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return the station of a series, and the quantities that are one motion with it."""
    return sensor.station, *((sensor.quantity in PARTS and in_space.get(sensor.station)) or (sensor.quantity,))


def _find_motion(series: Sequence[Sequence[tuple[float, float]]]) -> MotionGuess | None:
    """Return the motion of a station along one line, or in east, north and up; None if the record is too short."""
    paths = [path for n in PIECES if all(series) and len(path := _find_path(series, n)) >= PIECES[-1]]
    if not paths:
        return None
    days = (max(one[-1][0] for one in series) - min(one[0][0] for one in series)) / DAY_S
    plane = 2 if len(series) > 1 else 1
    path = next((path for path in paths if _is_sure([p[:plane] for p in path])), paths[-1])
    moved_mm = hypot(*(b - a for a, b in zip(path[0][:plane], path[-1][:plane], strict=True)))
    rises = len(series) > 2 and any(_is_sure([p[2:] for p in path]) for path in paths)
    motion = MotionGuess(moved_mm, days, _is_sure([p[:plane] for p in path]), is_sure_in_height=rises)
    return motion if plane == 1 or not motion.is_sure else _point_motion(motion, path)


def _point_motion(motion: MotionGuess, path: Sequence[tuple[float, ...]]) -> MotionGuess:
    """Return a horizontal motion with its azimuth, and with its plunge if the path has heights."""
    east, north = ((b - a) / motion.moved_mm for a, b in zip(path[0][:2], path[-1][:2], strict=True))
    along = [(p[0] * east + p[1] * north) * DAY_S for p in path]
    # Motion across and downward per length along the path: these angles do not depend on the speed.
    errors = [0.0] * len(path)
    turn = fit_velocity(along, [p[0] * north - p[1] * east for p in path], errors)
    if turn is None:
        return motion
    azimuth = degrees(atan2(east, north) + turn.rate) % 360.0, degrees(turn.error)
    sink = fit_velocity(along, [-p[2] for p in path], errors) if len(path[0]) > 2 else None
    if sink is None:
        return replace(motion, azimuth=azimuth)
    plunge = degrees(atan2(sink.rate, 1)), degrees(sink.error / (1 + sink.rate**2))
    return replace(motion, azimuth=azimuth, plunge=plunge)


def _find_path(series: Sequence[Sequence[tuple[float, float]]], count: int) -> list[tuple[float, ...]]:
    """Return the medians of all series in equal parts of the time, without parts in which a series has no reading."""
    begin, end = min(one[0][0] for one in series), max(one[-1][0] for one in series)
    parts: list[list[list[float]]] = [[[] for _ in series] for _ in range(count)]
    for number, one in enumerate(series):
        for at, value in one:
            parts[min(count - 1, int(count * (at - begin) / ((end - begin) or 1.0)))][number].append(value)
    return [tuple(map(median, part)) for part in parts if all(part)]


def _is_sure(path: Sequence[tuple[float, ...]]) -> bool:
    """Return whether so much of the path remains at the end that scatter, a season or chance are unlikely.

    The share of a walk without direction that remains is the mean resultant length (Mardia and Jupp 2000, Directional
    Statistics, section 6.3). It assumes no law of the motion in time: a slope may creep, accelerate or jump.
    """
    length_mm = fsum(dist(a, b) for a, b in pairwise(path))
    remaining_mm = dist(path[0], path[-1])
    return remaining_mm > NOTHING_MM and (len(path) - 1) * (remaining_mm / length_mm) ** 2 >= SURE


def list_in_space(sensors: Iterable[SensorGuess]) -> dict[str, dict[str, SensorGuess]]:
    """Return the stations with east and north, and up if they have it, with the series of each component."""
    known = {(s.station, s.quantity): s for s in sensors}
    return {
        station: {q: known[station, q] for q in PARTS if (station, q) in known}
        for station in dict.fromkeys(station for station, _ in known)
        if all((station, q) in known for q in PARTS[:2])
    }


def moves(own: Iterable[SensorGuess]) -> bool:
    """Return whether a station moves for sure: horizontally, vertically or along a line."""
    return any(s.motion.is_sure or s.motion.is_sure_in_height for s in own if s.motion is not None)


def find_bases(sensors: Iterable[SensorGuess], *, others: bool = False) -> frozenset[str]:
    """Return the stations on stable ground: by their name, if they do not move for sure and another station is watched.

    The record alone is not enough: a station that rests today may be the first to move.

    Args:
        sensors: The series.
        others: Whether the site has other stations to watch.
    """
    motion = [s for s in sensors if s.quantity.startswith(MOTION_PREFIXES)]
    stations = {s.station for s in motion}
    still = {
        name
        for name in stations
        if names_stable_ground(name) and not moves(sensor for sensor in motion if sensor.station == name)
    }
    return frozenset(still) if others or stations - still else frozenset()
