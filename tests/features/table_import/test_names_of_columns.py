"""What a name says: units where units stand, depths, parts of a motion, and never a word as a station."""

import random
import re
from datetime import datetime, timedelta

import pytest

from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.names import (
    is_no_measurement,
    is_term_of_field,
    may_count_downward,
    read_heading,
)
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.ingest.files.lines import open_long
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.units import find_header_doubts
from monitor.sites.quantities import QUANTITIES, is_unit_of
from tests.data.payloads.guess_tables import read_valid_rows, write_table
from tests.tables import tabulated

BEGIN = datetime(2025, 2, 3)
WORDS = {
    "Crack": "crack_opening",
    "Piezometer": "pore_pressure",
    "Rainfall": "rain",
    "Displacement": "displacement",
    "Groundwater level": "groundwater_level",
    "Temperature": "temperature",
    "Soil moisture": "soil_moisture",
}
UNITS = ("mm", "cm", "kPa", "hPa", "m", "degC", "%")
PLACES = ("{name} [{unit}]", "{name} ({unit})", "{name}/{unit}", "{name}_{unit}", "{name} （{unit}）")


def lay(path, head, *columns, rows=40, mark=","):
    lines = [
        mark.join([f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M}", *(str(column(k)) for column in columns)])
        for k in range(rows)
    ]
    return read_raw_table(write_table(path, head, lines))


def rise(k):
    return round(0.1 * k + 1, 2)


@tabulated(
    ("header", "quantity"),
    [
        ("Strain S1 (mm)", None),
        ("Terrain height (m)", "displacement_up"),
        ("Déplacement du terrain (mm)", "displacement"),
        ("Drainage D1 (mm)", None),
        ("Bregenz crack C1 (mm)", "crack_opening"),
        ("Precipice crack C1 (mm)", "crack_opening"),
        ("Brissago Verschiebung (mm)", "displacement"),
        ("Geneve crack C1 (mm)", "crack_opening"),
        ("Blake crack C1 (mm)", "crack_opening"),
        ("Orange prism (mm)", None),
        ("TotRain (mm)", "rain"),
        ("eventrainin (in)", "rain"),
        ("Tagesregensumme (mm)", "rain"),
        ("Rissaufnehmer R1 (mm)", "crack_opening"),
        ("altezza_neve (cm)", "snow_depth"),
        ("Lake road crack C1 (mm)", None),
        ("Rainier G1 displacement (mm)", "displacement"),
        ("Stage 3 displacement (mm)", None),
        ("Lake level (m)", "reservoir_level"),
    ],
)
def test_a_word_within_another_word_and_a_place_are_no_water(header, quantity):
    assert read_heading(header).quantity == quantity


def test_a_pressure_that_counts_from_a_vacuum_is_asked_about():
    name = read_heading("Pore pressure P1 (psia)")
    assert (name.quantity, name.unit, name.foreign) == ("pore_pressure", None, "psia")


@pytest.mark.parametrize("header", ["Piezo abs. P1 (kPa)", "Total pore pressure (kPa)", "Piezo uncorrected (kPa)"])
def test_a_pressure_with_that_of_the_air_in_it_is_asked_about(header):
    assert (read_heading(header).quantity, read_heading(header).unit) == (None, "kPa")


@pytest.mark.parametrize(
    ("header", "quantity"),
    [
        ("Air pressure (hPa)", "air_pressure"),
        ("Pressure (hPa)", None),
        ("p_mbar_Avg", None),
        ("Tensiometer (hPa)", None),
        ("P1 (mbar)", None),
        ("Wasserdruck (mbar)", None),
    ],
)
def test_a_unit_of_pressure_does_not_settle_whose_pressure_it_is(header, quantity):
    assert read_heading(header).quantity == quantity


@tabulated(
    ("header", "is_depth"),
    [
        *((f"Groundwater level [{unit}]", True) for unit in ("mbgl", "m BTOC", "mbmp", "m u. ROK", "m unter POK")),
        *((f"Livello falda [m {words}]", True) for words in ("da p.c.", "dal piano campagna", "da bocca pozzo")),
        *((f"Niveau nappe [m {words}]", True) for words in ("sous repère", "sous TN")),
        ("Nivel freático [m bajo brocal]", True),
        ("Groundwater depth (m)", True),
        ("Grundwassertiefe (m)", True),
        ("Profundidad del nivel (m)", True),
        *((f"Water level {name} (m)", False) for name in ("BP1", "B.P. 4", "MP 3", "depth 12 m")),
        ("Grundwasserstand [m ü. NN]", False),
        ("Livello falda [m s.l.m.]", False),
        ("Pegel Unterwasser (m)", False),
    ],
)
def test_words_for_below_a_mark_count_downward_in_any_language(header, is_depth):
    assert may_count_downward(header, read_heading(header).quantity) is is_depth


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_counts_where_units_stand_and_says_nothing_else(tmp_path, word, unit):
    quantity = WORDS[word]
    if not is_unit_of(unit, quantity):
        return
    for place in PLACES:
        if unit == "%" and "_" in place:
            continue
        name = read_heading(place.format(name=f"{word} B7", unit=unit))
        assert (name.quantity, name.unit, name.station[-2:]) == (quantity, unit, "B7"), place
    found = guess(lay(tmp_path / "f.csv", f"Time (UTC),{word} B7\n-,{unit}", rise), {})
    assert [(s.quantity, s.unit) for s in found.sensors] == [(quantity, unit)]


@tabulated(
    ("header", "said"),
    [
        ("Piezo 5 m", ("pore_pressure", None, "5m")),
        ("Piezometer P1 (5 m) [kPa]", ("pore_pressure", "kPa", "P1-5m")),
        ("Soil moisture 30 cm", ("soil_moisture", None, "30cm")),
        ("Soil moisture @ 30 cm (%)", ("soil_moisture", "%", "30cm")),
        ("Temperature -2.5 m [°C]", ("temperature", "degC", "2-5m")),
        ("Displacement in borehole 3", ("displacement", None, "borehole-3")),
        ("Displacement in X (mm)", ("displacement", "mm", "X")),
        ("Crack 3 mm", ("crack_opening", "mm", "Crack-3")),  # no instrument stands 3 mm deep
        ("Crack gauge CG-2 in", ("crack_opening", "in", "CG-2")),
        # heights of water, snow as water, and indices
        ("Gage height, feet", ("water_level", "ft", "")),
        ("Wasserhöhe [cm]", ("water_level", "cm", "")),
        ("Hauteur d'eau (m)", ("water_level", "m", "")),
        ("Pond level (m)", ("water_level", "m", "")),
        ("Corresponding value (m)", (None, "m", "Corresponding")),
        ("Ellipsoid height (m)", ("displacement_up", "m", "Ellipsoid")),
        ("Snow water equivalent (mm)", (None, "mm", "Snow-equivalent")),
        ("Snow depth (cm)", ("snow_depth", "cm", "")),
        ("Press_kPa(1)", (None, "kPa", "Press-1")),
        ("Crack_mm(2)", ("crack_opening", "mm", "Crack-2")),
        ("Crack [mm](1)", ("crack_opening", "mm", "Crack-1")),
        ("Coherence (1)", ("coherence", "1", "")),
        ("Piezometer P3 kPa", ("pore_pressure", "kPa", "P3")),
        ("G1_displacement_east_mm", ("displacement_east", "mm", "G1")),
        ("Wasserstand BL-3 [m]", ("water_level", "m", "BL-3")),
        ("Niveau nappe (m)", ("groundwater_level", "m", "")),
        ("Crack gauge CG-2 (in)", ("crack_opening", "in", "CG-2")),
        ("Pression interstitielle P1 (kPa)", ("pore_pressure", "kPa", "P1")),
        ("Piezometro PZ1 [m s.l.m.]", ("groundwater_level", "m", "PZ1")),
        ("ATU1/mm", (None, "mm", "ATU1")),
        ("Tilt_X_deg", ("tilt_x", "deg", "")),
        ("Rain_mm_Tot", ("rain", "mm", "")),
    ],
)
def test_a_name_says_quantity_unit_and_station_and_a_length_behind_a_number_is_a_depth(header, said):
    name = read_heading(header)
    assert (name.quantity, name.unit, name.station) == said


@tabulated("share", ["1/10", "1/100", "1 / 10", "0.1", "0,01", "x0.1"])
@tabulated("unit", ["mm", "kPa", "mm/h"])
@tabulated("form", ["Crack 2 {}", "Crack 2 ({})", "Crack_{}", "Crack 2 [{}]", "{} crack", "Riss in {}"])
def test_a_share_of_a_unit_is_another_unit_and_asked_about(form, unit, share):
    name = read_heading(form.format(f"{share} {unit}"))
    assert (name.unit, unit in name.foreign) == (None, True)
    assert read_heading(form.format(unit)).unit == unit  # whole, it is read


def test_a_small_depth_is_no_share_of_a_unit():
    assert (read_heading("Soil moisture 0.1 m [%]").unit, read_heading("Rain 0.01 in tips (in)").unit) == ("%", "in")


def test_a_depth_is_no_unit_that_gainsays_a_mapping(tmp_path):
    head = "Time (UTC),Soil moisture 30 cm,Piezo 5 m (kPa),Piezo 10 m (kPa)"
    found = guess(lay(tmp_path / "f.csv", head, rise, rise, lambda k: 9 - k / 50), {"unit:soil_moisture": "%"})
    assert {(s.station, s.quantity) for s in found.sensors} == {
        ("30cm", "soil_moisture"),
        ("5m", "pore_pressure"),
        ("10m", "pore_pressure"),
    }
    assert list(find_header_doubts(found.mapping.columns)) == []


@tabulated("quantity", QUANTITIES)
def test_a_quantity_or_a_unit_alone_is_no_station(quantity):
    assert is_term_of_field(quantity)
    assert not is_term_of_field(f"{quantity}_7")
    for text in ("mm", "kPa", "Deg C", "Rain", "Niederschlag", "pore pressure"):
        assert is_term_of_field(text)
    for text in ("P1", "A", "7", "Upper", "North", "Süd"):
        assert not is_term_of_field(text)


@pytest.mark.parametrize(
    "head",
    ["Rainfall Amount (mm)", "Rain (mm)", "mm", "Tipping bucket rain (mm)", "Precip North (mm)", "Rain depth [mm]"],
)
def test_two_files_of_one_gauge_each_are_two_stations(tmp_path, head):
    answers = {"quantity:mm": "rain", "zone": "UTC"}
    stations = [
        [s.station for s in guess(lay(tmp_path / name, f"Time,{head}", lambda k: k % 3), answers).sensors]
        for name in ("north.csv", "south.csv")
    ]
    assert stations == [["north"], ["south"]], "one would replace the readings of the other"


def test_words_that_tell_columns_of_one_quantity_apart_are_stations(tmp_path):
    head = "Time (UTC),Crack upper (mm),Crack lower (mm),Temp upper (°C),Battery (V)"
    found = guess(lay(tmp_path / "wall.csv", head, rise, lambda k: 5 - k / 9, lambda k: k % 7, lambda k: 12.5), {})
    assert {(s.station, s.quantity) for s in found.sensors} == {
        ("upper", "crack_opening"),
        ("lower", "crack_opening"),
        ("upper", "temperature"),
        ("wall", "battery_voltage"),
    }


def test_a_column_of_quantities_or_units_names_no_stations(tmp_path):
    look = lay(tmp_path / "gauge.csv", "Time (UTC),Sensor,Rain (mm)", lambda k: "Rain", lambda k: k % 3)
    assert [s.station for s in guess(look, {}).sensors] == ["gauge"]


PARTS = """Longitudinal Displacement [m]; Transverse Displacement [m]; Querverschiebung [m]; spost. trasversale (m);
Displacement increment [m]; Incremental displacement (m); Verschiebung Zuwachs [m]; Daily displacement (m);
Spostamento giornaliero [m]; Displacement 24h (m); Displacement change [m]"""


@pytest.mark.parametrize("header", re.split(r";\s+", PARTS))
def test_a_part_of_a_motion_is_asked_about_alone_and_never_the_motion(tmp_path, header):
    assert not is_no_measurement(header)
    look = lay(tmp_path / "f.csv", f"Time (UTC),{header},Other [m]", rise, lambda k: 7 - k / 9)
    found = guess(look, {"quantity:m": "displacement"})
    (question,) = found.questions
    assert (question.key, "displacement" in question.choices) == (f"quantity:{header}", False)
    found = guess(look, {"quantity:m": "leave out", question.key: "displacement_downslope"})
    assert [s.quantity for s in found.sensors] == ["displacement_downslope"]


@pytest.mark.parametrize("header", ["Daily(mm)", "Hourly (mm)", "Increment (mm)", "Monthly rain (mm)", "24 h [mm]"])
def test_words_of_a_time_alone_are_no_part_of_a_motion(header):
    assert not read_heading(header).is_part


SETTINGS = ("Antenna height (m)", "Instrument height [m]", "Displacement limit (mm)", "Alarm level (mm)", "Soglia [mm]")


@tabulated("header", ["Longitude", "lon", "Lat (deg)", "Elevation (m)", "alt", *SETTINGS])
def test_a_place_is_still_no_measurement(header):
    assert is_no_measurement(header)


WATER = """Distance to water (m); distance_to_water_m; Dist. to water level (ft); Abstand zum Wasser [m]; DTGW (m);
Distanza dall'acqua (m); Distance de l'eau (m)"""


@pytest.mark.parametrize("header", re.split(r";\s+", WATER))
def test_a_distance_to_water_counts_downward(tmp_path, header):
    name = read_heading(header)
    assert name.quantity == "groundwater_level"
    assert may_count_downward(header, name.quantity)
    assert not may_count_downward("Distance to prism (m)", "displacement_distance")


@pytest.mark.parametrize("seed", range(12))
def test_answers_column_by_column_drop_none_whatever_the_columns_are_called(tmp_path, seed):
    rng = random.Random(seed)
    titles = rng.sample(["mm", "rain", "A (mm)", "B (mm)", "C", "m", "displacement total", "D [kPa]"], 5)
    look = lay(tmp_path / "f.csv", ";".join(["Time (UTC)", *titles]), *([rise] * 5), mark=";")
    answers, asked = {}, []
    for _ in range(20):
        found = guess(look, answers)
        if not found.questions:
            break
        for question in found.questions:
            assert question.key not in answers, "an answer is kept"
            if "each on its own" in question.choices:
                answers[question.key] = "each on its own"
            else:
                asked.append(question.key)
                answers[question.key] = next(c for c in question.choices if c != "leave out")
    else:
        pytest.fail("it asks for ever")
    assert len(found.sensors) == 5, (titles, answers)
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("spell", "mark"),
    [
        (lambda v: f"{v:.6E}".replace("E", "D"), ","),
        (lambda v: f"{v:.6e}".replace("e", "d"), ","),
        (lambda v: f"{v:.2f}-", ","),
        (lambda v: f"{v:.2f}-".replace(".", ","), ";"),
        (lambda v: f"\u2212{v:.2f}", ","),
    ],
)
def test_numbers_of_old_programs_are_read(tmp_path, spell, mark):
    look = lay(tmp_path / "f.csv", f"Time (UTC){mark}Crack 1 (mm)", lambda k: spell(1500.25 + k), mark=mark)
    sign = -1 if set(spell(1.0)) & {"-", "\u2212"} else 1
    rows = read_valid_rows(look.path, guess(look, {}).mapping)
    assert [abs(float(row["value"])) for row in rows] == [1500.25 + k for k in range(40)]
    assert all((float(row["value"]) < 0) == (sign < 0) for row in rows)
    path = tmp_path / "long.csv"
    number = spell(2.5).replace(",", ".")
    path.write_text(f"time,station,quantity,value\n2025-01-01T00:00Z,A,crack_opening_mm,{number}\n")
    with open_long(path, ImportOptions()) as lines:
        assert abs(float(next(lines).rows[0][0]["value"])) == 2.5


def test_axes_of_a_displacement_are_asked_about_and_never_one_of_them_the_motion(tmp_path):
    """Of the columns of a node one was offered as its displacement: the motion along the others would be lost."""
    lines = [
        f"{BEGIN + timedelta(hours=k):%Y-%m-%d %H:%M},D1,{0.1 * k:.1f},{0.2 * k:.1f},{-0.1 * k:.1f}" for k in range(40)
    ]
    for name in ("displacement_{}_mm", "Displacement {} [mm]", "Verschiebung {} (mm)"):
        head = ",".join(["Date", "device", *(name.format(axis) for axis in "xyz")])
        table = read_raw_table(write_table(tmp_path / "f.csv", head, lines))
        assert [question.key for question in guess(table, {"zone": "UTC"}).questions] == ["axes"]
        found = guess(table, {"zone": "UTC", "axes": "x north, y east"})
        assert {s.quantity for s in found.sensors} == {f"displacement_{side}" for side in ("north", "east", "up")}


def test_east_and_north_of_a_displacement_are_no_two_instruments_and_four_sides_are_four(tmp_path):
    for name in ("Displacement {} (mm)", "displacement_{}_mm", "Verschiebung {} [mm]"):
        table = lay(tmp_path / "f.csv", ",".join(["Date", *map(name.format, "EN")]), rise, rise)
        found = guess(table, {"zone": "UTC"}).sensors
        assert {(s.station, s.quantity) for s in found} == {("f", "displacement_east"), ("f", "displacement_north")}
        table = lay(tmp_path / "g.csv", ",".join(["Date", *map(name.format, "NESW")]), rise, rise, rise, rise)
        assert {s.quantity for s in guess(table, {"zone": "UTC"}).sensors} == {"displacement"}


def test_a_depth_below_the_ground_and_degrees_are_read_as_they_are_typed(tmp_path):
    table = lay(tmp_path / "f.csv", "日時,地下水位(GL-m),Temperatura (ºC),Fisurómetro 2 (mm)", rise, rise, rise)
    found = guess(table, {"zone": "Asia/Tokyo"})
    units = {"groundwater_level": "m", "temperature": "degC", "crack_opening": "mm"}
    assert {s.quantity: s.unit for s in found.sensors} == units
    assert [rule.downward for rule in found.mapping.columns] == [True, False, False]
