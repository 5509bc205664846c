"""The displacement of a prism is its motion, however the instrument is set up. Mutants break the law."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.errors import PayloadError
from monitor.ingest import total_stations
from monitor.ingest.total_stations import PositionReading, compute_displacements
from monitor.sites.records import Origin, TotalStation

AT = datetime(2026, 3, 1, tzinfo=UTC)
COORDINATES = ("position_east", "position_north", "position_up")
EARTH_RADIUS_M = 6_371_000.0


@dataclass(frozen=True)
class Survey:
    """An instrument, a prism, and how far the prism has moved."""

    instrument: TotalStation
    prism_m: tuple[float, float, float]
    motion_m: tuple[float, float, float]
    second_face: bool = False

    @property
    def place_m(self):
        return tuple(a + b for a, b in zip(self.prism_m, self.motion_m, strict=True))

    def read_coordinates(self):
        return {name: PositionReading(value) for name, value in zip(COORDINATES, self.place_m, strict=True)}

    def read_polar(self):
        """Return distance and angles of the moved prism, from the geometry alone."""
        axis = (self.instrument.east_m, self.instrument.north_m, self.instrument.axis_height_m)
        east, north, up = (a - b for a, b in zip(self.place_m, axis, strict=True))
        horizontal = math.hypot(east, north)
        if self.instrument.refraction is not None:
            up -= (1.0 - self.instrument.refraction) * horizontal**2 / (2.0 * EARTH_RADIUS_M)
        circle = math.atan2(east, north) - self.instrument.orientation_rad
        zenith = math.atan2(horizontal, up)
        if self.second_face:
            circle, zenith = circle + math.pi, 2.0 * math.pi - zenith
        return {
            "slope_distance": PositionReading(math.hypot(horizontal, up)),
            "horizontal_angle": PositionReading(1000.0 * (circle % (2.0 * math.pi))),
            "zenith_angle": PositionReading(1000.0 * zenith),
        }

    def find_motion_mm(self, readings):
        origin = Origin(AT, baseline_m=self.prism_m)
        found = compute_displacements("P", AT, readings, origin, self.instrument)
        assert [one.quantity for one in found] == [f"displacement_{axis}" for axis in ("east", "north", "up")]
        return [one.value_mm for one in found]


OFFSET = st.floats(-3000.0, 3000.0)
SMALL = st.floats(-5.0, 5.0)


@st.composite
def surveys(draw):
    grid_m = draw(st.sampled_from([(0.0, 0.0, 0.0), (2_600_000.0, 1_200_000.0, 500.0), (-4.0, 5_000_000.0, 0.0)]))
    unit, full_circle = draw(
        st.sampled_from([("deg", 360.0), ("gon", 400.0), ("rad", 2 * math.pi), ("mrad", 2000 * math.pi)])
    )
    instrument = TotalStation(
        "TS",
        *grid_m,
        instrument_height_m=draw(st.floats(0.0, 3.0)),
        orientation=draw(st.floats(0.0, 1.0)) * full_circle,
        angle_unit=unit,
        refraction=draw(st.sampled_from([None, 0.0, 0.13])),
    )
    east, north = draw(OFFSET), draw(OFFSET)
    assume(math.hypot(east, north) > 20.0)
    up = draw(st.floats(-300.0, 300.0))
    prism_m = tuple(a + b for a, b in zip(grid_m, (east, north, up), strict=True))
    return Survey(instrument, prism_m, (draw(SMALL), draw(SMALL), draw(SMALL)), draw(st.booleans()))


@settings(deadline=None)
@given(surveys())
def test_displacement_is_the_motion_of_the_prism(survey):
    expected = [1000.0 * value for value in survey.motion_m]
    assert survey.find_motion_mm(survey.read_coordinates()) == pytest.approx(expected, abs=1e-3)
    assert survey.find_motion_mm(survey.read_polar()) == pytest.approx(expected, abs=1e-2)


@settings(deadline=None)
@given(surveys(), st.sets(st.sampled_from(total_stations.POLAR), min_size=1, max_size=2))
def test_part_of_a_position_is_never_motion(survey, names):
    readings = {name: reading for name, reading in survey.read_polar().items() if name in names}
    with pytest.raises(PayloadError, match="missing"):
        survey.find_motion_mm(readings)


# ---- mutants ---------------------------------------------------------------------------------------------------
EXAMPLE = Survey(
    TotalStation("TS", 500.0, 1500.0, 448.4, 1.6, 30.0, "gon", refraction=0.13),
    (1100.0, 2020.0, 490.0),
    (0.05, -0.03, -0.02),
)
ORIGINAL = total_stations.compute_coordinates_m


def swap_axes(instrument, distance_m, horizontal_rad, zenith_rad):
    east, north, up = ORIGINAL(instrument, distance_m, horizontal_rad, zenith_rad)
    return north, east, up


def ignore_orientation(instrument, distance_m, horizontal_rad, zenith_rad):
    return ORIGINAL(instrument, distance_m, horizontal_rad - instrument.orientation_rad, zenith_rad)


def take_zenith_for_elevation(instrument, distance_m, horizontal_rad, zenith_rad):
    return ORIGINAL(instrument, distance_m, horizontal_rad, math.pi / 2.0 - zenith_rad)


def take_slope_distance_for_horizontal(instrument, distance_m, horizontal_rad, zenith_rad):
    return ORIGINAL(instrument, distance_m / math.sin(zenith_rad), horizontal_rad, zenith_rad)


def turn_counter_clockwise(instrument, distance_m, horizontal_rad, zenith_rad):
    return ORIGINAL(instrument, distance_m, -horizontal_rad, zenith_rad)


def forget_curvature(instrument, distance_m, horizontal_rad, zenith_rad):
    east, north, up = ORIGINAL(instrument, distance_m, horizontal_rad, zenith_rad)
    return east, north, up - 0.87 * (distance_m * math.sin(zenith_rad)) ** 2 / (2.0 * EARTH_RADIUS_M)


MUTANTS = (
    swap_axes,
    ignore_orientation,
    take_zenith_for_elevation,
    take_slope_distance_for_horizontal,
    turn_counter_clockwise,
    forget_curvature,
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_law_finds_each_mutant(monkeypatch, mutant):
    expected = [1000.0 * value for value in EXAMPLE.motion_m]
    assert EXAMPLE.find_motion_mm(EXAMPLE.read_polar()) == pytest.approx(expected, abs=1e-2)
    monkeypatch.setattr(total_stations, "compute_coordinates_m", mutant)
    assert EXAMPLE.find_motion_mm(EXAMPLE.read_polar()) != pytest.approx(expected, abs=1e-2)
