"""Coordinates and polar readings of total stations become displacement, in messages and in files."""

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from monitor.errors import ConfigError, PayloadError
from monitor.features.table_import.guess.preview import FileOptions
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reader import ImportOptions, add_places
from monitor.ingest.files.readers import open_readings
from monitor.ingest.files.reading import FileImport
from monitor.ingest.files.sandboxed_conversion import open_converted
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.replay import replay_rejected
from monitor.ingest.total_stations import PositionReading, compute_coordinates_m, compute_displacements
from monitor.settings.service import ComputeSection
from monitor.sites.parsing import parse_site
from monitor.sites.records import Origin, TotalStation
from monitor.worker.records import plain_to_record

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
HEAD = """
[site]
id = "cut"
name = "Cut"
latitude = 46.0
longitude = 9.0
"""
PRISM = """
[[station]]
id = "{id}"
{origin}
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
"""
INSTRUMENT = """
[[total_station]]
id = "TS1"
east_m = 500.0
north_m = 1500.0
up_m = 448.4
instrument_height_m = 1.6
orientation = 30.0
angle_unit = "gon"
prisms = ["PR*"]
"""
ORIGIN = "origin = {east_m = 1100.0, north_m = 2020.0, up_m = 490.0, since = 2026-03-01T00:00:00Z}"


def make_site(origin=ORIGIN, *, more="", station="PR03"):
    return parse_site(HEAD + PRISM.format(id=station, origin=origin) + more, "cut.toml")


def send(pipeline, sample, *, station="PR03"):
    payload = json.dumps({"time": (NOW - timedelta(hours=1)).isoformat(), **sample}).encode()
    return pipeline.store([BrokerMessage(f"slopeward/v1/cut/{station}/obs", payload, NOW, "live")])


def list_stored(database):
    query = "select s.quantity, o.value_raw from observation o join series s on s.id = o.series_id order by 1, 2"
    with database.read() as connection:
        return [(quantity, round(value, 4)) for quantity, value in connection.execute(text(query))]


def list_rejected(database):
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text("select code, reason from rejected_message"))]


# ---- messages --------------------------------------------------------------------------------------------------
def test_coordinates_in_a_message_become_displacement_since_the_origin(database):
    pipeline = Pipeline(database, {"cut": make_site()}, lambda: NOW)
    send(pipeline, {"position_east_m": 1100.0123, "position_north_m": 2019.99, "position_up_m": 490.001})
    assert list_stored(database) == [
        ("displacement_east", 12.3),
        ("displacement_north", -10.0),
        ("displacement_up", 1.0),
    ]
    assert list_rejected(database) == []


def test_units_and_errors_of_coordinates_are_converted(database):
    pipeline = Pipeline(database, {"cut": make_site()}, lambda: NOW)
    value = {"value": 110001.5, "unit": "cm", "sigma": 0.1}
    send(pipeline, {"values": {"position_east": value}})
    assert list_stored(database) == [("displacement_east", 15.0)]
    with database.read() as connection:
        assert connection.execute(text("select sigma from observation")).scalar() == pytest.approx(1.0)


def test_station_without_origin_is_rejected_with_the_origin_to_declare(database):
    pipeline = Pipeline(database, {"cut": make_site("")}, lambda: NOW)
    send(pipeline, {"position_east_m": 1100.5, "position_up_m": 490.25, "tilt_x_mrad": 2.0})
    assert list_stored(database) == [("tilt_x", 2.0)]
    ((code, reason),) = list_rejected(database)
    assert code == "no_origin"
    assert "origin = {east_m = 1100.5000, up_m = 490.2500, since = 2026-03-10T11:00:00Z}" in reason


def test_rejected_coordinates_are_stored_after_the_origin_was_declared(database):
    send(Pipeline(database, {"cut": make_site("")}, lambda: NOW), {"position_east_m": 1100.5})
    assert list_stored(database) == []
    pipeline = Pipeline(database, {"cut": make_site()}, lambda: NOW)
    assert replay_rejected(pipeline, lambda: NOW + timedelta(hours=1), dry_run=False).stored == 1
    assert list_stored(database) == [("displacement_east", 500.0)]


def test_origin_of_one_axis_converts_this_axis_only(database):
    site = make_site("origin = {up_m = 490.0, since = 2026-03-01T00:00:00Z}")
    pipeline = Pipeline(database, {"cut": site}, lambda: NOW)
    send(pipeline, {"position_up_m": 489.9})
    assert list_stored(database) == [("displacement_up", -100.0)]
    send(pipeline, {"position_up_m": 489.9, "position_east_m": 1100.0})
    assert [code for code, _ in list_rejected(database)] == ["no_origin"]


def test_changed_origin_is_a_question_and_no_jump(database):
    send(Pipeline(database, {"cut": make_site()}, lambda: NOW), {"position_east_m": 1100.1})
    moved = make_site(ORIGIN.replace("1100.0", "1000.0"))
    send(Pipeline(database, {"cut": moved}, lambda: NOW), {"position_east_m": 1100.2})
    assert list_stored(database) == [("displacement_east", 100.0)]
    assert [code for code, _ in list_rejected(database)] == ["other_frame"]


def test_displacement_beside_coordinates_of_one_instant_is_rejected(database):
    pipeline = Pipeline(database, {"cut": make_site()}, lambda: NOW)
    send(pipeline, {"position_east_m": 1100.1, "displacement_east_mm": 5.0})
    assert list_stored(database) == [("displacement_east", 5.0)]
    assert [code for code, _ in list_rejected(database)] == ["double_value"]


def test_fill_value_never_becomes_motion(database):
    pipeline = Pipeline(database, {"cut": make_site()}, lambda: NOW)
    send(pipeline, {"position_east_m": -9999.0})
    assert list_stored(database) == []
    assert [code for code, _ in list_rejected(database)] == ["fill"]


def test_coordinate_equal_to_a_fill_value_is_motion_near_the_origin(database):
    pipeline = Pipeline(database, {"cut": make_site(ORIGIN.replace("1100.0", "1000.0"))}, lambda: NOW)
    send(pipeline, {"position_east_m": 999.999})
    assert list_stored(database) == [("displacement_east", -1.0)]


@pytest.mark.parametrize("listed", [False, True])
def test_json_paths_read_coordinates(database, listed):
    if listed:
        decoder = """
[[decoder]]
topic = "cut/up"
name = "json"
each = "points"
time = "at"
device = "id"
quantity = "what"
value = "v"
unit = "u"
[decoder.series]
E = "position_east_m"
N = "position_north_m"
"""
        items = [
            {"id": "PR03", "at": "2026-03-10T11:00:00Z", "what": w, "v": v, "u": "m"}
            for w, v in (("E", 1100.02), ("N", 2020.01))
        ]
    else:
        decoder = """
[[decoder]]
topic = "cut/up"
name = "json"
each = "points"
time = "at"
device = "id"
[decoder.series]
E = "position_east_m"
N = "position_north_m"
"""
        items = [{"id": "PR03", "at": "2026-03-10T11:00:00Z", "E": "1100.02", "N": "2020.01"}]
    pipeline = Pipeline(database, {"cut": make_site(more=decoder)}, lambda: NOW)
    pipeline.store([BrokerMessage("cut/up", json.dumps({"points": items}).encode(), NOW, "live")])
    assert list_rejected(database) == []
    assert list_stored(database) == [("displacement_east", 20.0), ("displacement_north", 10.0)]


# ---- polar readings --------------------------------------------------------------------------------------------
ORIENTATION_RAD = math.radians(27.0)  # 30 gon


def observe_prism(east_m, north_m, up_m, *, setup=(500.0, 1500.0, 450.0), orientation_rad=ORIENTATION_RAD):
    """Distance, horizontal and zenith angle (rad) of a prism, computed from its coordinates."""
    east, north, up = (a - b for a, b in zip((east_m, north_m, up_m), setup, strict=True))
    horizontal = math.hypot(east, north)
    return math.hypot(horizontal, up), math.atan2(east, north) - orientation_rad, math.atan2(horizontal, up)


@pytest.mark.parametrize(
    ("unit", "per_rad"), [("gon", 200 / math.pi), ("deg", 180 / math.pi), ("rad", 1.0), ("mrad", 1000.0)]
)
def test_polar_readings_become_displacement_in_every_unit(database, unit, per_rad):
    pipeline = Pipeline(database, {"cut": make_site(more=INSTRUMENT)}, lambda: NOW)
    distance, horizontal, zenith = observe_prism(1100.03, 2019.98, 490.01)
    send(
        pipeline,
        {
            "slope_distance_m": distance,
            f"horizontal_angle_{unit}": horizontal * per_rad,
            f"zenith_angle_{unit}": zenith * per_rad,
        },
    )
    assert list_rejected(database) == []
    assert list_stored(database) == [
        ("displacement_east", pytest.approx(30.0, abs=1e-3)),
        ("displacement_north", pytest.approx(-20.0, abs=1e-3)),
        ("displacement_up", pytest.approx(10.0, abs=1e-3)),
    ]


def test_second_face_gives_the_same_coordinates():
    instrument = TotalStation("TS1", 500.0, 1500.0, 450.0, orientation=27.0)
    distance, horizontal, zenith = observe_prism(1100.0, 2020.0, 490.0)
    first = compute_coordinates_m(instrument, distance, horizontal, zenith)
    second = compute_coordinates_m(instrument, distance, horizontal + math.pi, 2 * math.pi - zenith)
    assert first == pytest.approx((1100.0, 2020.0, 490.0), abs=1e-9)
    assert second == pytest.approx(first, abs=1e-9)


def test_curvature_and_refraction_raise_a_distant_point():
    plain = TotalStation("TS1", 0.0, 0.0, 0.0)
    refracted = TotalStation("TS1", 0.0, 0.0, 0.0, refraction=0.13)
    level = (1000.0, 0.0, math.pi / 2)
    difference_m = compute_coordinates_m(refracted, *level)[2] - compute_coordinates_m(plain, *level)[2]
    assert difference_m == pytest.approx(0.0683, abs=1e-4)  # 6.8 cm at 1 km, as in textbooks of surveying


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        ({"slope_distance_m": 700.0}, "incomplete_position"),
        ({"slope_distance_m": 0.0, "horizontal_angle_deg": 1.0, "zenith_angle_deg": 90.0}, "bad_place"),
        ({"slope_distance_m": 700.0, "horizontal_angle_mm": 1.0, "zenith_angle_deg": 90.0}, "unit_mismatch"),
    ],
)
def test_unusable_polar_readings_are_rejected(database, sample, code):
    pipeline = Pipeline(database, {"cut": make_site(more=INSTRUMENT)}, lambda: NOW)
    send(pipeline, sample)
    assert list_stored(database) == []
    assert code in [code for code, _ in list_rejected(database)]


def test_polar_readings_need_a_total_station(database):
    pipeline = Pipeline(database, {"cut": make_site()}, lambda: NOW)
    send(pipeline, {"slope_distance_m": 700.0, "horizontal_angle_deg": 1.0, "zenith_angle_deg": 90.0})
    assert [code for code, _ in list_rejected(database)] == ["no_total_station"]


def test_errors_of_polar_readings_are_propagated():
    instrument = TotalStation("TS1", 0.0, 0.0, 0.0)
    readings = {
        "slope_distance": PositionReading(1000.0, 0.001),
        "horizontal_angle": PositionReading(0.0, 0.005),
        "zenith_angle": PositionReading(1000.0 * math.pi / 2, 0.002),
    }
    origin = Origin(SINCE, baseline_m=(0.0, 1000.0, 0.0))
    east, north, up = compute_displacements("P", NOW, readings, origin, instrument)
    assert (east.sigma_mm, north.sigma_mm, up.sigma_mm) == pytest.approx((5.0, 1.0, 2.0), rel=1e-3)


def test_coordinates_without_any_origin_raise():
    with pytest.raises(PayloadError, match="no origin for position_up"):
        compute_displacements("P", NOW, {"position_up": PositionReading(1.0)}, None, None)


# ---- files -----------------------------------------------------------------------------------------------------
MAPPING = """
[table]
delimiter = ";"
station = "Point"
[time]
column = "Time"
zone = "UTC"
[[column]]
name = "E"
quantity = "position_east"
unit = "m"
[[column]]
name = "N"
quantity = "position_north"
unit = "m"
"""


def write_table(tmp_path, rows, mapping=MAPPING, head="Point;Time;E;N"):
    table, file = tmp_path / "prisms.csv", tmp_path / "mapping.toml"
    table.write_text("\n".join([head, *rows]) + "\n")
    file.write_text(mapping)
    return table, load_mapping(file)


def read_table(table, mapping, site):
    with open_readings("wide")(table, add_places(ImportOptions(mapping), site)) as lines:
        return [checked for line in lines for checked in line.rows]


def test_coordinates_in_a_table_become_displacement(tmp_path):
    table, mapping = write_table(tmp_path, ["PR03;2026-03-02 08:00;1100.0205;2019.9900"])
    rows = read_table(table, mapping, make_site())
    assert [error for _, error in rows] == [None, None]
    assert [row["quantity"] for row, _ in rows] == ["displacement_east", "displacement_north"]
    assert [row["value"] for row, _ in rows] == pytest.approx([20.5, -10.0])
    assert [row["step"] for row, _ in rows] == pytest.approx([0.1, 0.1])
    assert {row["epoch0"] for row, _ in rows} == {"2026-03-01T00:00:00.000000Z"}


def test_table_without_origins_names_the_option(tmp_path):
    table, mapping = write_table(tmp_path, ["PR03;2026-03-02 08:00;1100.0205;2019.9900"])
    with pytest.raises(ConfigError, match="--answer reference=first"):
        read_table(table, mapping, make_site(""))


def test_new_prism_without_origin_does_not_block_the_others(tmp_path, database):
    rows = [f"{name};2026-03-02 0{hour}:00;1100.0205;2019.99" for hour in (7, 8, 9) for name in ("PR03", "PR09")]
    table, mapping = write_table(tmp_path, rows)
    site = make_site()
    pipeline = Pipeline(database, {"cut": site}, lambda: NOW)
    result = FileImport(table, pipeline, site, lambda: NOW, mapping=mapping).run()
    assert (result.stored, result.rejected, set(result.reasons)) == (6, 6, {"no_origin"})
    assert {quantity for quantity, _ in list_stored(database)} == {"displacement_east", "displacement_north"}


def test_file_with_another_origin_is_refused(tmp_path, database):
    table, mapping = write_table(tmp_path, ["PR03;2026-03-02 08:00;1100.0205;2019.9900"])
    site = make_site()
    FileImport(table, Pipeline(database, {"cut": site}, lambda: NOW), site, lambda: NOW, mapping=mapping).run()
    other = make_site(ORIGIN.replace("2020.0", "2000.0"))
    pipeline = Pipeline(database, {"cut": other}, lambda: NOW)
    with pytest.raises(ConfigError, match="nothing of it was stored"):
        FileImport(table, pipeline, other, lambda: NOW, mapping=mapping).run()


def test_long_table_of_coordinates_is_converted(tmp_path):
    table = tmp_path / "long.csv"
    table.write_text("time,station,quantity,value\n2026-03-02T08:00:00Z,PR03,position_up_m,490.0032\n")
    with open_readings("long")(table, add_places(ImportOptions(), make_site())) as lines:
        ((row, error),) = [checked for line in lines for checked in line.rows]
    assert (error, row["quantity"], row["value"]) == (None, "displacement_up", pytest.approx(3.2))


POLAR_MAPPING = """
[table]
delimiter = ";"
station = "Point"
[time]
column = "Time"
zone = "UTC"
[[column]]
name = "SD"
quantity = "slope_distance"
unit = "m"
[[column]]
name = "Hz"
quantity = "horizontal_angle"
unit = "gon"
[[column]]
name = "V"
quantity = "zenith_angle"
unit = "gon"
"""


def test_polar_table_is_converted_with_its_last_digit(tmp_path):
    distance, horizontal, zenith = observe_prism(1100.03, 2019.98, 490.01)
    gon = 200 / math.pi
    row = f"PR03;2026-03-02 08:00;{distance:.4f};{horizontal * gon:.4f};{zenith * gon:.4f}"
    table, mapping = write_table(tmp_path, [row], POLAR_MAPPING, "Point;Time;SD;Hz;V")
    rows = read_table(table, mapping, make_site(more=INSTRUMENT))
    assert [error for _, error in rows] == [None] * 3
    assert [row["value"] for row, _ in rows] == pytest.approx([30.0, -20.0, 10.0], abs=1.0)
    # A digit of 0.1 mgon is 1.2 mm at 795 m.
    assert max(row["step"] for row, _ in rows) == pytest.approx(1.25, abs=0.1)
    with pytest.raises(ConfigError, match=r"\[\[total_station\]\]"):
        read_table(table, mapping, make_site())


# ---- site file -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('prisms = ["PR*"]', 'prisms = ["XX*"]', "prisms: unknown station 'XX"),
        ('prisms = ["PR*"]', 'references = ["R1", "R2"]', "references: unknown station 'R1'"),
        ('prisms = ["PR*"]', 'angle_unit = "turns"', "angle_unit"),
        ("east_m = 500.0", "", "east_m"),
        ('prisms = ["PR*"]', INSTRUMENT.replace("TS1", "TS2"), "belongs to TS1 and TS2"),
    ],
)
def test_faults_of_total_stations_are_named(old, new, expected):
    with pytest.raises(ConfigError, match="total_station") as refused:
        make_site(more=INSTRUMENT.replace('angle_unit = "gon"', "", 1).replace(old, new, 1))
    assert expected in str(refused.value)


@pytest.mark.parametrize("mapping", [MAPPING, POLAR_MAPPING])
def test_sandboxed_worker_converts_a_table(tmp_path, mapping):
    """Files of sources are read in a worker process, with the origins and instruments of the site file."""
    if mapping is MAPPING:
        head, row = "Point;Time;E;N", "PR03;2026-03-02 08:00;1100.0300;2019.9800"
    else:
        distance, horizontal, zenith = observe_prism(1100.03, 2019.98, 490.01)
        head = "Point;Time;SD;Hz;V"
        row = f"PR03;2026-03-02 08:00;{distance:.6f};{horizontal * 200 / math.pi:.6f};{zenith * 200 / math.pi:.6f}"
    table, rules = write_table(tmp_path, [row], mapping, head)
    options = add_places(ImportOptions(rules), make_site(more=INSTRUMENT))
    with open_converted(table, "wide", options, ComputeSection(), NOW) as converted, converted.readings() as lines:
        rows = [checked for line in lines for checked in line.rows]
    assert [error for _, error in rows] == [None] * len(rows)
    assert [row["value"] for row, _ in rows][:2] == pytest.approx([30.0, -20.0], abs=0.02)


@pytest.mark.parametrize("baseline_m", [(1.0, 2.0, 3.0), (None, None, 490.0)])
def test_origin_crosses_from_a_worker(baseline_m):
    stated = FileOptions(origins=(("PR03", Origin(SINCE, baseline_m=baseline_m)),))
    origin = {"since": SINCE.isoformat(), "place": None, "baseline_m": list(baseline_m), "height": "ellipsoid"}
    plain = {"station": None, "time": None, "places": [], "origins": [["PR03", origin]]}
    assert plain_to_record(FileOptions, plain) == stated
