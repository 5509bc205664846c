"""Coordinates of surveys: the importer asks whether they are displacements, and from which reading these count."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.toml_writer import format_stations
from monitor.ingest.files.lines import open_wide
from monitor.sites.records import Origin
from tests.data.payloads.guess_tables import write_table
from tests.fixtures.soak import in_soak

BEGIN = datetime(2025, 3, 4)
DAYS = 60
UTC_ZONE = {"zone": "UTC"}
ACCEPT = UTC_ZONE | {"coordinates": "coordinates", "reference": "first"}
SWISS = (2_600_100.0, 1_200_300.0, 512.0)
LOCAL = (411.2, 83.1, 97.3)
BESIDE_INSTRUMENT = (-250.0, 90.0, 3.0)
MINE = (4.25, 7.5, 1.25)


def write_points(path, head, place, *, unit_m=1.0, order=(0, 1, 2), is_newest_first=False):
    """Write daily surveys of two points; P1 moves 2, -1 and -0.5 mm a day, P2 rests."""
    rows = []
    for day in range(DAYS):
        for point, speeds_mm in (("P1", (2.0, -1.0, -0.5)), ("P2", (0.0, 0.0, 0.0))):
            shift = 0.0 if point == "P1" else 20.0
            axes = [place[k] + shift + speeds_mm[k] * day / 1000.0 for k in range(3)]
            cells = [f"{axes[k] / unit_m:.4f}" for k in order]
            rows.append(f"{point};{BEGIN + timedelta(days=day):%d.%m.%Y %H:%M};{';'.join(cells)}")
    return write_table(path, head, rows[::-1] if is_newest_first else rows)


def understand(path, answers, site_origins=None):
    return guess(read_raw_table(path), answers, site_origins=site_origins)


def read_values(path, found):
    """Return the displacement in mm by station, quantity and day."""
    values = {}
    with open_wide(path, found.options) as lines:
        for row, error in (judged for line in lines for judged in line.rows):
            assert error is None, error
            assert row["unit"] == "mm"
            values[row["station"], row["quantity"], (row["time"].replace(tzinfo=None) - BEGIN).days] = row["value"]
    return values


def find_question(found, key):
    return next(question for question in found.questions if question.key == key)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("place", [SWISS, BESIDE_INSTRUMENT, *in_soak(LOCAL)])
@pytest.mark.parametrize(
    ("head", "order"),
    [
        ("Point;Date;Easting [m];Northing [m];Height [m]", (0, 1, 2)),
        ("Point;Date;E [m];N [m];H [m]", (0, 1, 2)),
        ("Punkt;Datum;Hochwert [m];Rechtswert [m];Höhe [m]", (1, 0, 2)),
        ("Point;Date;Northing (m);Easting (m);Elevation (m)", (1, 0, 2)),
    ],
)
@pytest.mark.parametrize("is_newest_first", [False, True])
def test_coordinates_are_read_as_displacement_since_the_first_survey(tmp_path, place, head, order, is_newest_first):
    path = write_points(tmp_path / "t.csv", head, place, order=order, is_newest_first=is_newest_first)
    asked = understand(path, UTC_ZONE)
    assert asked.mapping is None
    assert find_question(asked, "coordinates").choices == ("coordinates", "displacements", "leave out")
    found = understand(path, ACCEPT)
    assert not found.questions
    values = read_values(path, found)
    assert values["P1", "displacement_east", DAYS - 1] == pytest.approx(2.0 * (DAYS - 1), abs=0.11)
    assert values["P1", "displacement_north", DAYS - 1] == pytest.approx(-1.0 * (DAYS - 1), abs=0.11)
    assert values["P1", "displacement_up", DAYS - 1] == pytest.approx(-0.5 * (DAYS - 1), abs=0.11)
    assert values["P2", "displacement_east", DAYS - 1] == pytest.approx(0.0, abs=0.11)
    assert {(sensor.station, sensor.unit) for sensor in found.sensors} == {("P1", "mm"), ("P2", "mm")}
    assert "origin = {east_m" in format_stations(found.sensors, found.file_options)


def test_names_of_coordinates_are_asked_about_also_near_the_origin_of_the_grid(tmp_path):
    path = write_points(tmp_path / "t.csv", "Point;Date;Easting [m];Northing [m];Height [m]", (0.0, 0.0, 0.0))
    assert find_question(understand(path, UTC_ZONE), "coordinates")


def test_a_grid_of_a_mine_is_asked_about_by_its_values(tmp_path):
    path = write_points(tmp_path / "t.csv", "Point;Date;E [m];N [m];H [m]", MINE)
    assert find_question(understand(path, UTC_ZONE), "coordinates")


def test_an_elevation_that_never_changes_is_the_place_of_a_station(tmp_path):
    rows = [f"P1;{BEGIN + timedelta(days=k):%d.%m.%Y %H:%M};512.3;{k}.5" for k in range(DAYS)]
    path = write_table(tmp_path / "t.csv", "Point;Date;Elevation (m);Crack (mm)", rows)
    found = understand(path, UTC_ZONE)
    assert [sensor.quantity for sensor in found.sensors] == ["crack_opening"]


def test_x_and_y_are_asked_for_their_direction_first(tmp_path):
    path = write_points(tmp_path / "t.csv", "Point;Date;X [m];Y [m];Z [m]", SWISS, order=(1, 0, 2))
    answers = UTC_ZONE | {"axes": "x north, y east"}
    assert [question.key for question in understand(path, UTC_ZONE).questions] == ["axes"]
    assert find_question(understand(path, answers), "coordinates")
    values = read_values(path, understand(path, ACCEPT | answers))
    assert values["P1", "displacement_east", 50] == pytest.approx(100.0, abs=0.11)


def test_feet_and_levelled_heights_alone_have_an_origin_of_their_axes(tmp_path):
    rows = [f"{BEGIN + timedelta(days=k):%d.%m.%Y %H:%M};{1700.0 - k / 304.8:.5f}" for k in range(DAYS)]
    path = write_table(tmp_path / "bolt.csv", "Date;Height [ft]", rows)
    found = understand(path, ACCEPT)
    ((station, origin),) = found.file_options.origins
    assert (station, origin.baseline_m) == ("bolt", (None, None, 518.16))
    assert read_values(path, found)["bolt", "displacement_up", 30] == pytest.approx(-30.0, abs=0.11)


def test_a_column_for_each_axis_of_each_point_has_an_origin_for_each_point(tmp_path):
    rows = [
        f"{BEGIN + timedelta(days=k):%d.%m.%Y %H:%M};{700 + k / 1000:.4f};{300:.4f};{710:.4f};{310 - k / 1000:.4f}"
        for k in range(DAYS)
    ]
    path = write_table(tmp_path / "t.csv", "Date;P1 E [m];P1 N [m];P2 E [m];P2 N [m]", rows)
    found = understand(path, ACCEPT)
    assert {station: origin.baseline_m for station, origin in found.file_options.origins} == {
        "P1": (700.0, 300.0, None),
        "P2": (710.0, 310.0, None),
    }
    assert read_values(path, found)["P2", "displacement_north", 40] == pytest.approx(-40.0, abs=0.11)


def test_each_answer_has_an_example_of_the_point_that_moved_most(tmp_path):
    path = write_points(tmp_path / "t.csv", "Point;Date;E [m];N [m];H [m]", LOCAL)
    question = find_question(understand(path, UTC_ZONE), "coordinates")
    assert question.examples["coordinates"] == "P1: from 411.2000 m to 411.3180 m is a displacement of 118.0 mm"
    assert question.examples["displacements"] == "P1: 411.2000 m is a displacement of 411,200.0 mm"


def test_displacement_counts_from_the_first_reading_on_or_after_a_date(tmp_path):
    path = write_points(tmp_path / "t.csv", "Point;Date;E [m];N [m];H [m]", LOCAL)
    assert find_question(understand(path, UTC_ZONE | {"coordinates": "coordinates"}), "reference").default == "first"
    found = understand(path, ACCEPT | {"reference": "2025-03-14"})
    values = read_values(path, found)
    assert values["P1", "displacement_east", 10] == pytest.approx(0.0, abs=0.11)
    assert values["P1", "displacement_east", 0] == pytest.approx(-20.0, abs=0.11)


@pytest.mark.parametrize("answer", ["yesterday", "2025-13-01", "2031-01-01", "site"])
def test_a_reference_that_is_none_is_refused_with_the_remedy(tmp_path, answer):
    path = write_points(tmp_path / "t.csv", "Point;Date;E [m];N [m];H [m]", LOCAL)
    with pytest.raises(ConfigError, match="'first'"):
        understand(path, ACCEPT | {"reference": answer})


def test_displacement_counts_from_the_origins_of_the_site_file(tmp_path):
    path = write_points(tmp_path / "t.csv", "Point;Date;E [m];N [m];H [m]", LOCAL)
    since = datetime(2020, 1, 1, tzinfo=UTC)
    origins = {
        "P1": Origin(since, baseline_m=(411.0, 83.1, 97.3)),
        "P2": Origin(since, baseline_m=(431.2, 103.1, 117.3)),
    }
    found = understand(path, ACCEPT | {"reference": "site"}, origins)
    assert read_values(path, found)["P1", "displacement_east", 0] == pytest.approx(200.0, abs=0.11)
    with pytest.raises(ConfigError, match="no origin for P2"):
        understand(path, ACCEPT | {"reference": "site"}, {"P1": origins["P1"]})


def test_displacements_and_columns_that_are_left_out_need_no_reference(tmp_path):
    path = write_points(tmp_path / "t.csv", "Point;Date;E [m];N [m];H [m]", LOCAL)
    kept = understand(path, UTC_ZONE | {"coordinates": "displacements"})
    assert not kept.questions
    assert {rule.quantity for rule in kept.mapping.columns} == {
        "displacement_east",
        "displacement_north",
        "displacement_up",
    }
    with pytest.raises(ConfigError, match="nothing to store"):
        understand(path, UTC_ZONE | {"coordinates": "leave out"})


def test_a_slope_distance_beside_coordinates_is_left_out(tmp_path):
    rows = [
        f"P1;{BEGIN + timedelta(days=k):%d.%m.%Y %H:%M};{700 + k / 1000:.4f};300.0000;{761.6 + k / 1100:.4f}"
        for k in range(DAYS)
    ]
    path = write_table(tmp_path / "t.csv", "Point;Date;Easting [m];Northing [m];Slope distance [m]", rows)
    found = understand(path, ACCEPT)
    assert {sensor.quantity for sensor in found.sensors} == {"displacement_east", "displacement_north"}
    assert "coordinates contain" in str(dict(found.facts)["Slope distance [m]"])


@pytest.mark.parametrize("place", [(4_369_812.1, 684_021.5, 4_579_904.9), (-2_994_000.0, 4_951_000.0, 2_674_000.0)])
def test_coordinates_from_the_centre_of_the_earth_are_refused(tmp_path, place):
    path = write_points(tmp_path / "t.csv", "Point;Date;X [m];Y [m];Z [m]", place)
    with pytest.raises(ConfigError, match="centre of the Earth"):
        understand(path, ACCEPT | {"axes": "x east, y north"})


BERNE = "46.95,7.45"
GRIDS = {
    # Position of the site, and a point near it in a grid of the area.
    "Swiss": ("46.95,7.45", SWISS),
    "UTM": ("46.2,8.9", (492_300.0, 5_116_400.0, 480.0)),
    "Gauss-Krüger": ("31.0,110.5", (37_452_000.0, 3_431_000.0, 210.0)),
    "British": ("54.6,-3.0", (335_000.0, 524_000.0, 300.0)),
}
EAST_NORTH = "Point;Date;Easting [m];Northing [m];Height [m]"


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("grid", GRIDS)
def test_exchanged_coordinates_of_a_grid_are_asked_about(tmp_path, grid):
    position, place = GRIDS[grid]
    answers = ACCEPT | {"place": position}
    usual = write_points(tmp_path / "usual.csv", EAST_NORTH, place)
    assert not understand(usual, answers).questions
    exchanged = write_points(tmp_path / "exchanged.csv", EAST_NORTH, place, order=(1, 0, 2))
    question = find_question(understand(exchanged, answers), "exchanged")
    assert "Easting [m]" in question.text
    assert f"easting {place[0]:,.1f} m" in question.examples["yes"]
    corrected = read_values(exchanged, understand(exchanged, answers | {"exchanged": "yes"}))
    assert corrected["P1", "displacement_east", DAYS - 1] == pytest.approx(2.0 * (DAYS - 1), abs=0.11)
    as_written = read_values(exchanged, understand(exchanged, answers | {"exchanged": "no"}))
    assert as_written["P1", "displacement_north", DAYS - 1] == pytest.approx(2.0 * (DAYS - 1), abs=0.11)


@pytest.mark.parametrize("place", [LOCAL, BESIDE_INSTRUMENT, MINE, (5_000.0, 10_000.0, 90.0)])
def test_coordinates_of_a_local_grid_are_not_compared_with_the_position_of_the_site(tmp_path, place):
    path = write_points(tmp_path / "t.csv", EAST_NORTH, place, order=(1, 0, 2))
    assert not understand(path, ACCEPT | {"place": BERNE}).questions


def test_the_position_of_an_existing_site_shows_exchanged_coordinates(tmp_path):
    path = write_points(tmp_path / "t.csv", EAST_NORTH, SWISS, order=(1, 0, 2))
    found = guess(read_raw_table(path), ACCEPT, site_place=(46.95, 7.45))
    assert [question.key for question in found.questions] == ["exchanged"]


def test_a_wrong_answer_about_x_and_y_is_noticed(tmp_path):
    path = write_points(tmp_path / "t.csv", "Point;Date;X [m];Y [m];Z [m]", SWISS, order=(1, 0, 2))
    answers = ACCEPT | {"place": BERNE}
    assert not understand(path, answers | {"axes": "x north, y east"}).questions
    assert find_question(understand(path, answers | {"axes": "x east, y north"}), "exchanged")


@pytest.mark.soak
@settings(max_examples=12, deadline=None)
@given(
    place=st.tuples(*([st.floats(-9e5, 9e5)] * 3)),
    speeds_mm=st.tuples(*([st.floats(-40.0, 40.0)] * 3)),
    head=st.sampled_from(["E [m];N [m];H [m]", "Easting (m);Northing (m);Height (m)", "East [m];North [m];Up [m]"]),
    spacing_m=st.floats(0.5, 300.0),
)
def test_coordinates_are_never_silently_displacements(tmp_path_factory, place, speeds_mm, head, spacing_m):
    rows = []
    for day in range(30):
        for n in range(3):
            axes = [place[k] + n * spacing_m + speeds_mm[k] * day / 1000.0 for k in range(3)]
            cells = ";".join(f"{value:.4f}" for value in axes)
            rows.append(f"P{n};{BEGIN + timedelta(days=day):%d.%m.%Y %H:%M};{cells}")
    path = write_table(tmp_path_factory.mktemp("grid") / "t.csv", f"Point;Date;{head}", rows)
    assert [question.key for question in understand(path, UTC_ZONE).questions] == ["coordinates"]
    values = read_values(path, understand(path, ACCEPT))
    for station in ("P0", "P1", "P2"):
        for axis, speed_mm in zip(("east", "north", "up"), speeds_mm, strict=True):
            moved_mm = values[station, f"displacement_{axis}", 29] - values[station, f"displacement_{axis}", 0]
            assert moved_mm == pytest.approx(29 * speed_mm, abs=0.21)


@settings(max_examples=12, deadline=None)
@given(speeds_mm=st.tuples(*([st.floats(-400.0, 400.0)] * 3)), unit=st.sampled_from(["m", "cm", "mm"]))
def test_displacements_since_the_first_survey_are_not_asked_about(tmp_path_factory, speeds_mm, unit):
    size = {"m": 1000.0, "cm": 10.0, "mm": 1.0}[unit]
    rows = []
    for day in range(30):
        cells = ";".join(f"{speed_mm * day / size:.4f}" for speed_mm in speeds_mm)
        rows.append(f"P1;{BEGIN + timedelta(days=day):%d.%m.%Y %H:%M};{cells}")
    head = f"Point;Date;E [{unit}];N [{unit}];H [{unit}]"
    path = write_table(tmp_path_factory.mktemp("moved") / "t.csv", head, rows)
    assert not understand(path, UTC_ZONE).questions
