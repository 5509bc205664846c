"""Tables as people have them: what each says, what is asked, and that the mapping reads it as it was meant."""

import json
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import sin
from types import MappingProxyType
from zoneinfo import ZoneInfo

import pytest

from monitor.errors import ConfigError, PayloadError
from monitor.features.table_import.guess import time_forms
from monitor.features.table_import.guess.guess import SensorGuess, guess
from monitor.features.table_import.guess.names import read_heading
from monitor.features.table_import.guess.preview import PreviewRequest, PreviewResult
from monitor.features.table_import.guess.preview import preview_file as understand_in_worker
from monitor.features.table_import.guess.questions import EACH, LEAVE_OUT
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.site_file import write_site
from monitor.features.table_import.guess.toml_writer import format_stations
from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.time_rule import TimeRule
from monitor.ingest.text.units import read_unit
from monitor.sites.parsing import parse_site
from monitor.sites.quantities import QUANTITIES, convert
from monitor.text.catalogue import use_language
from monitor.text.rendering import translate
from monitor.worker.records import plain_to_record, record_to_plain
from tests.data.payloads.guess_tables import read_rows, save_and_reload, write_table
from tests.data.payloads.hostile import damage
from tests.tables import tabulated

BEGIN = datetime(2025, 2, 3)
HOURS = 200
RISE = tuple(round(0.02 * k + random.Random(3).gauss(0, 0.3) * (k % 3), 2) for k in range(HOURS))
WARM = tuple(round(5 + 4 * sin(k / 24), 1) for k in range(HOURS))
TIMES = tuple(BEGIN + timedelta(hours=k) for k in range(HOURS))


def comma(value, places=2):
    return f"{value:.{places}f}".replace(".", ",")


# name -> file, its encoding and zone; series with their units; head, and how a row is written; answers
HABITS = MappingProxyType(
    {
        "German Excel, date and clock apart": (
            ("messung.csv", "cp1252", "Etc/GMT-1"),
            "Riss-1.crack_opening=mm messung.temperature=degC",
            "Messdaten Hang Süd;;;\r\nZeiten in MEZ;;;\r\n\r\nDatum;Uhrzeit;Riss 1 [mm];Lufttemperatur [°C]\r\n",
            lambda at, a, b: f"{at:%d.%m.%Y};{at:%H:%M};{comma(a)};{comma(b, 1)}\r\n",
        ),
        "American, AM and PM, inches": (
            ("export.csv", "utf-8", "UTC"),
            "Crackmeter-2.crack_opening=in export.temperature=degF",
            "Timestamp (UTC),Crackmeter 2 (in),Air Temp (F)\n",
            lambda at, a, b: f"{at:%m/%d/%Y %I:%M:%S %p},{a:.2f},{b:.1f}\n",
        ),
        "Italian, day first": (
            ("monitoraggio.csv", "utf-8-sig", "Europe/Rome"),
            "P1.displacement=mm monitoraggio.temperature=degC",
            "Data e ora;Spostamento P1 (mm);Temperatura (°C)\n",
            lambda at, a, b: f"{at:%d/%m/%Y %H:%M};{comma(a)};{comma(b, 1)}\n",
            {"zone": "Europe/Rome"},
        ),
        "French, a blank parts thousands": (
            ("releve.csv", "cp1252", "UTC"),
            "cible-4.displacement=mm",
            "Date;Déplacement cible 4 (mm)\n",
            lambda at, a, _: f"{at:%d/%m/%Y %H:%M};1\u00a0{comma(200 + a)}\n",
            {"zone": "UTC"},
        ),
        "Campbell TOA5": (
            ("Table1.dat", "utf-8", "UTC"),
            "Table1.crack_opening=mm Table1.temperature=degC",
            (
                '"TOA5","S1","CR1000","1234","Std.31","CPU:p","555","Table1"\n'
                '"TIMESTAMP","RECORD","Crack_mm_Avg","PTemp_C"\n"TS","RN","mm","Deg C"\n"","","Avg","Smp"\n'
            ),
            lambda at, a, b: f'"{at:%Y-%m-%d %H:%M:%S}",{at.hour},{a:.2f},{"NAN" if at.hour == 5 else b}\n',
            {"zone": "UTC"},
        ),
        "Excel text in UTF-16, tabs, components": (
            ("gnss.txt", "utf-16", "UTC"),
            "P1.displacement_east=mm P1.displacement_north=mm",
            "Zeit (UTC)\tP1 Ost [mm]\tP1 Nord [mm]\n",
            lambda at, a, b: f"{at:%Y-%m-%d %H:%M}\t{comma(a)}\t{comma(b)}\n",
        ),
        "a row for each station": (
            ("punkte.csv", "cp1252", "UTC"),
            "Sud-1.displacement=mm P2.displacement=mm",
            "Punkt;Datum;Verschiebung [mm]\n",
            lambda at, a, b: f"Süd 1;{at:%d.%m.%Y};{comma(a)}\nP2;{at:%d.%m.%Y};{comma(b)}\n" if at.hour == 0 else "",
            {"zone": "UTC"},
        ),
        "Chinese": (
            ("监测.csv", "gb18030", "Asia/Shanghai"),
            "S1.displacement=mm S2.displacement=mm S1.reservoir_level=m",
            "时间,位移1(mm),位移2(mm),库水位(m)\n",
            lambda at, a, b: f"{at:%Y/%m/%d},{a:.2f},{b:.1f},{150 + b:.2f}\n" if at.hour == 0 else "",
            {"zone": "Asia/Shanghai"},
        ),
        "columns of blanks": (
            ("north.txt", "utf-8", "UTC"),
            "Crack1.crack_opening=mm north.temperature=degC",
            "   Date     Time   Crack1_mm   Temp_C\n",
            lambda at, a, b: f"{at:%Y-%m-%d} {at:%H:%M:%S} {a:10.3f} {b:8.2f}\n",
            {"zone": "UTC"},
        ),
        "seconds, no units, -9999": (
            ("raw.csv", "utf-8", None),
            "a.crack_opening=mm b.crack_opening=mm",
            "epoch,crack_a,crack_b\n",
            lambda at, a, b: f"{at.replace(tzinfo=UTC).timestamp():.0f},{a},{-9999 if at.hour == 7 else b}\n",
            {"unit:crack_opening": "mm"},
        ),
        "no header": (
            ("plain.csv", "utf-8", None),
            "S2.crack_opening=mm",
            "",
            lambda at, a, _: f"{at:%Y-%m-%dT%H:%M:%SZ},{a}\n",
            {"quantity": "crack_opening", "unit": "mm"},
        ),
        "decimal years and error columns": (
            ("site.neu", "utf-8", None),
            "site.displacement_east=mm site.displacement_north=mm",
            "year  east_mm sigma_east north_mm sigma_north\n",
            lambda at, a, b: f"{2020 + (at - BEGIN).total_seconds() / 3.15e7:.6f} {a} .5 {b} .6\n",
        ),
    }
)


def spell_habit(habit):
    """Name of the file, its bytes, zone, series with their units, and the answers it needs."""
    (name, encoding, zone), series, head, line, *answers = HABITS[habit]
    text = head + "".join(map(line, TIMES, RISE, WARM))
    return name, text.encode(encoding), zone, dict(one.split("=") for one in series.split()), dict(*answers)


def understand(path, answers):
    found = guess(read_raw_table(path), answers)
    assert not found.questions, found.questions
    return found


@pytest.mark.parametrize("habit", HABITS)
def test_a_table_of_each_habit_is_read_as_it_was_meant(habit, tmp_path):
    name, raw, zone, series, answers = spell_habit(habit)
    path = tmp_path / name
    path.write_bytes(raw)
    found = understand(path, answers)
    assert {f"{s.station}.{s.quantity}": s.unit for s in found.sensors} == series
    assert (found.mapping.time.zone and found.mapping.time.zone.key) == zone
    assert save_and_reload(found.mapping, path) == found.mapping
    rows = read_rows(path, found.mapping)
    assert not [error for _, error in rows if error is not None]
    first = next(row for row, _ in rows)
    assert float(first["value"]) == pytest.approx(RISE[0] + (1200 if "thousands" in habit else 0))
    if not habit.startswith("decimal years"):
        assert first["time"].astimezone(UTC) == BEGIN.replace(tzinfo=ZoneInfo(zone or "UTC")).astimezone(UTC)
    assert "[[station.series]]" in format_stations(found.sensors)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        # every day of a fortnight fits both orders: the steps are even either way
        ("Date;Crack [mm]\n" + "".join(f"{d:02d}/05/2025 00:00;{d},5\n" for d in range(1, 13)), "dates"),
        ("Date;Pegel [mm]\n" + "".join(f"2025-01-{d:02d}T00:00Z;1,{d + 200}\n" for d in range(1, 29)), "decimal"),
        ("Date;Crack [mm]\n" + "".join(f"2025-01-{d:02d};{d}.5\n" for d in range(1, 29)), "zone"),
        ("time;P1;P2\n" + "".join(f"2025-01-{d:02d}T00:00Z;{d}.5;{d}.1\n" for d in range(1, 29)), "quantity"),
        (
            "time;point;displ. east 0 (m);displ. east (m)\n"
            + "".join(f"2025-01-{d:02d}T00:00Z;A;4;{d}.5\n" for d in range(1, 29)),
            "column:displacement_east",
        ),
    ],
)
def test_what_a_file_does_not_say_is_asked_and_never_chosen(tmp_path, text, key):
    path = tmp_path / "f.csv"
    path.write_text(text)
    found = guess(read_raw_table(path), {})
    assert key in {q.key for q in found.questions}
    assert found.mapping is None


def test_a_decimal_comma_among_commas_and_a_neutral_table_are_named(tmp_path):
    path = write_table(tmp_path / "f.csv", "Date,Crack [mm]", (f"{d:02d}.01.2025,{d},5" for d in range(1, 29)))
    with pytest.raises(ConfigError, match="semicolons"):
        guess(read_raw_table(path), {})
    path.write_text("time,station,quantity,value\n2025-01-01T00:00Z,A,rain_mm,1\n2025-01-02T00:00Z,A,rain_mm,1\n")
    with pytest.raises(ConfigError, match="neutral long form"):
        guess(read_raw_table(path), {})


def test_a_number_of_another_convention_is_refused_and_not_read_otherwise(tmp_path):
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        '[table]\ndelimiter = ";"\ndecimal = ","\nthousands = "."\n[time]\ncolumn = ["day", "clock"]\n'
        'format = "%d.%m.%Y %H:%M"\n'
        'zone = "UTC"\n[[column]]\nname = "v"\nstation = "A"\nquantity = "rain"\nunit = "mm"\n'
    )
    path = write_table(
        tmp_path / "f.csv",
        "day;clock;v;v",
        (f"01.02.2025;0{k}:00;{v};9" for k, v in enumerate(("1.234,5", "12.5", "7", "-,5"))),
    )
    rows = read_rows(path, load_mapping(mapping))
    assert [row["value"] for row, _ in rows] == ["1234.5", "12.5", "7", "-.5"]
    assert [error and error.code for _, error in rows] == [None, "not_number", None, None]


def test_columns_of_fixed_width_are_cut_at_their_starts(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("".join(f"2025-01-{d:02d} 00:00   {d:5.1f}{'' if d % 3 else '   1.5'}\n" for d in range(1, 29)))
    found = guess(
        read_raw_table(path),
        {"zone": "UTC", "quantity": "rain", "unit": "mm", "day": "00:00", "count": "rain of each interval"},
    )
    assert found.mapping.layout.starts
    assert len(read_rows(path, found.mapping)) == 28 + 9


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("seed", range(24))
def test_damage_ends_in_one_line(tmp_path, seed):
    rng = random.Random(seed)
    name, text, *_, answers = spell_habit(rng.choice(list(HABITS)))
    raw = bytearray(text[: rng.choice((0, 3, 50, 800, 6000))])
    for _ in range(len(raw) // rng.choice((3, 50, 1000)) + 1):
        if raw:
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    path = tmp_path / name
    path.write_bytes(damage(rng, bytes(raw)) if seed % 2 else bytes(raw))
    with suppress(ConfigError):  # nothing else may come
        found = guess(read_raw_table(path), answers)
        if found.mapping is not None:
            read_rows(path, found.mapping)


# quantity -> unit as a logger writes it, and what one of it is in the canonical unit
WRITTEN = {
    "pore_pressure": {
        "mmHg": 0.1333224,
        "kPa": 1.0,
        "psi": 6.894757,
        "m H₂O": 9.80665,
        "mWS": 9.80665,
        "cmH2O": 0.0980665,
    },
    "air_pressure": {"inHg": 33.86389, "hPa": 1.0, "mbar": 1.0},
    "earth_pressure": {"kN/m²": 1.0, "N/mm²": 1000.0},
    "temperature": {"°F": -17.222222, "K": -272.15, "Deg C": 1.0},
    "crack_opening": {"in": 25.4, "mil": 0.0254, "µm": 0.001, "\u03bcm": 0.001},
    "groundwater_level": {"ft": 0.3048},
    "strain": {"µε": 1.0, "µm/m": 1.0},
    "battery_voltage": {"V": 1.0},
    "velocity": {"mm/h": 24.0, "mm/Tag": 1.0},
    "tilt": {"mrad": 1.0, "arcsec": 0.004848137, '"': 0.004848137, "gon": 15.70796327, "mm/m": 1.0, "°": 17.45329252},
    "rain": {"l/m²": 1.0},
    "soil_moisture": {"m³/m³": 100.0, "% VWC": 1.0},
}


@tabulated(
    ("quantity", "written", "one"), [(q, unit, one) for q, units in WRITTEN.items() for unit, one in units.items()]
)
def test_units_as_loggers_write_them(quantity, written, one):
    unit = read_unit(f"[{written}]")
    assert read_heading(f"{quantity} A [{written}]").unit == unit
    assert convert(1.0, unit, QUANTITIES[quantity].unit) == pytest.approx(one, rel=1e-6)


def test_a_unit_that_is_not_known_is_named_with_the_nearest_and_raw_readings_are_left_out(tmp_path):
    path = tmp_path / "f.csv"
    rows = "".join(f"2025-01-{d:02d}T00:00Z;{d}.5;{2500 + d};{d}.1\n" for d in range(1, 29))
    path.write_text("time;Piezometer P1 [mH2Oo];Piezometer P2 [digits];Crack 1 [mm]\n" + rows)
    found = guess(read_raw_table(path), {})
    (question,) = found.questions
    assert "the header says 'mH2Oo'" in question.text
    assert question.choices[0] == "mH2O"
    assert "'digits' is a reading as it comes from the sensor" in dict(found.facts)["Piezometer P2 [digits]"]
    assert {s.quantity for s in guess(read_raw_table(path), {question.key: "mH2O"}).sensors} == {
        "pore_pressure",
        "crack_opening",
    }
    for unit, said in (
        ("Hz", "calibration sheet"),
        ("mmHgg", "units of kPa are: mmHg,"),
        ("mm/h", "cannot be converted"),
    ):
        with pytest.raises(ValueError, match=said):
            convert(1.0, unit, "kPa")


def test_columns_without_a_name_can_be_answered_one_by_one(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("".join(f"2025\t1\t{d}\t{h}\t0\t{d}.5\t{h}.25\n" for d in range(1, 29) for h in (0, 12)))
    found = guess(read_raw_table(path), {"zone": "UTC", "quantity": EACH})
    assert found.mapping is None
    assert {q.key: q.default for q in found.questions} == {"quantity:6": LEAVE_OUT, "quantity:7": LEAVE_OUT}
    found = guess(read_raw_table(path), {"zone": "UTC", "quantity:6": "rain", "quantity:7": LEAVE_OUT, "unit": "mm"})
    assert (found.mapping.time.columns, [c.name for c in found.mapping.columns]) == (("1", "2", "3", "4", "5"), ["6"])
    assert read_rows(path, found.mapping)[1][0]["time"] == datetime(2025, 1, 1, 12, tzinfo=ZoneInfo("UTC"))


def test_a_first_site_file_has_criteria_that_each_mover_can_answer_whichever_way_it_goes():
    day = 86400.0
    sensors = [SensorGuess("E", "displacement_up", "ft", 28 * day), SensorGuess("G", "displacement", "mm", day)]
    sensors += [SensorGuess("N", f"displacement_{part}", "mm", day) for part in ("east", "north", "up")]
    sensors += [
        SensorGuess("L", "displacement_los", "mm", 11 * day),
        SensorGuess("D", "displacement_distance", "mm", day),
    ]
    site = parse_site(write_site("s", (46.0, 8.0), "UTC", sensors), "s.toml")
    found = {}
    for c in (c for c in site.criteria if c.thresholds and c.role == "witness"):
        side = "over" if c.thresholds[0].over else "under"
        found.setdefault((c.kind.id, side, c.quantity), set()).update(c.stations)
    assert found == {
        ("velocity", "over", "displacement"): {"G", "N"},
        ("survey_rate", "over", "displacement"): {"G", "N"},
        ("survey_rate", "over", "displacement_los"): {"L"},
        ("survey_rate", "over", "displacement_distance"): {"D"},
        ("survey_rate", "over", "displacement_up"): {"E"},
        ("inverse_velocity", "under", "displacement"): {"G", "N"},
        ("rate", "under", "displacement"): {"G"},
        ("velocity", "over", "displacement_distance"): {"D"},
        ("rate", "under", "displacement_distance"): {"D"},
    }


DAYS = tuple(datetime(2024, 1, 1) + timedelta(days=k) for k in range(60))
MOVES = tuple(round(0.1 * k + random.Random(k).gauss(0, 0.1), 2) for k in range(60))
SMALL = tuple(round(0.3 + 0.01 * (k % 7), 2) for k in range(60))


def write(path, head, *columns, mark=","):
    rows = zip(DAYS, *columns, strict=True)
    path.write_text(head + "\n" + "".join(f"{at:%Y-%m-%d}{mark}{mark.join(map(str, row))}\n" for at, *row in rows))
    return path


# header -> series with the column of their error; each column of numbers moves, but where its name says an error
SAID = """
Date,Crack R1 (mm),Crack S1 (mm)
    R1.crack_opening, S1.crack_opening
Date,Crack N (mm),Crack S (mm)
    N.crack_opening, S.crack_opening
Date,Crack NE (mm),Crack SE (mm)
    NE.crack_opening, SE.crack_opening
Date,Crack R1 (mm),Sigma R1 (mm)
    R1.crack_opening = Sigma R1 (mm)
Date,Riss 1 [mm],Unsicherheit [mm]
    Riss-1.crack_opening = Unsicherheit [mm]
Date,N (mm),E (mm),U (mm),SN (mm),SE (mm),SU (mm)
    f.displacement_north = SN (mm), f.displacement_east = SE (mm), f.displacement_up = SU (mm)
Date,P1 E (mm),P1 N (mm),P2 E (mm),P2 N (mm)
    P1.displacement_east, P1.displacement_north, P2.displacement_east, P2.displacement_north
Date,E1 (mm),N1 (mm),U1 (mm)
    S1.displacement_east, S1.displacement_north, S1.displacement_up
Data,Estensimetro E1 (mm),Estensimetro N2 (mm)
    E1.crack_opening, N2.crack_opening
Date,Extensomètre E3 (mm),Piézomètre U2 (kPa),Pluviometro N1 (mm)
    E3.crack_opening, U2.pore_pressure, N1.rain
Date,Tilt X (mm/m),Tilt Y (mm/m),T2 tilt A (°),T2 tilt B (°),Klino 3 X (arcsec),Klino 3 Y (arcsec)
    f.tilt_x, f.tilt_y, T2.tilt_x, T2.tilt_y, Klino-3.tilt_x, Klino-3.tilt_y
Date,Tilt A (deg),Tilt B (deg),Tilt C (deg)
    A.tilt, B.tilt, C.tilt
Date,Crack 1 (mm),Temp 1 (°C),Battery (%),Quality,Alarm threshold (mm)
    Crack-1.crack_opening, Temp-1.temperature, f.battery_level
""".strip().splitlines()


def test_rain_beside_named_instruments_is_not_named_after_the_file(tmp_path):
    head = "Date,Fessurimetro F1 (mm),Fessurimetro F2 (mm),Pioggia (mm)"
    path = write(tmp_path / "fessurimetri_valle.csv", head, MOVES, MOVES, MOVES)
    found = understand(path, {"zone": "UTC", "day": "24:00", "count": "rain of each interval"})
    assert {(c.station, c.quantity) for c in found.mapping.columns} == {
        ("F1", "crack_opening"),
        ("F2", "crack_opening"),
        ("rain", "rain"),
    }


def test_rain_alone_is_the_station_with_the_name_of_the_file(tmp_path):
    path = write(tmp_path / "gauge.csv", "Date,Pioggia (mm)", MOVES)
    found = understand(path, {"zone": "UTC", "day": "24:00", "count": "rain of each interval"})
    assert [(c.station, c.quantity) for c in found.mapping.columns] == [("gauge", "rain")]


@pytest.mark.parametrize(("head", "series"), [*zip(SAID[::2], SAID[1::2], strict=True)])
def test_letters_are_names_of_instruments_but_where_a_full_set_or_a_word_says_otherwise(tmp_path, head, series):
    names, pairs = head.split(",")[1:], [one.partition(" = ") for one in series.strip().split(", ")]
    expected = {name: error or None for name, _, error in pairs}
    errors = {*expected.values()}
    path = write(tmp_path / "f.csv", head, *(SMALL if name in errors else MOVES for name in names))
    answers = {"zone": "UTC", "day": "24:00", "error": "standard deviations", "count": "rain of each interval"}
    found = understand(path, answers)
    assert {f"{c.station}.{c.quantity}": c.sigma for c in found.mapping.columns} == expected


def test_letters_that_may_mean_standard_deviations_are_one_question(tmp_path):
    head = "Date,N (mm),E (mm),U (mm),SN (mm),SE (mm),SU (mm)"
    look = read_raw_table(write(tmp_path / "f.csv", head, *([MOVES] * 3), *([SMALL] * 3)))
    (question,) = guess(look, {"zone": "UTC"}).questions
    assert question.key == "error"
    assert question.examples["standard deviations"] == "'SN (mm)': 0.3 is the standard deviation of 'N (mm)'"
    left_out = guess(look, {"zone": "UTC", "error": "leave out"})
    assert [(rule.quantity, rule.sigma) for rule in left_out.mapping.columns] == [
        (f"displacement_{axis}", None) for axis in ("north", "east", "up")
    ]
    measured = guess(look, {"zone": "UTC", "error": "measurements", "quantity:mm": "crack_opening"})
    assert {rule.name for rule in measured.mapping.columns} == set(head.split(",")[1:])
    each = guess(look, {"zone": "UTC", "error": EACH}).questions
    assert [(one.key, one.default) for one in each] == [
        (f"error:S{letter} (mm)", f"{letter} (mm)") for letter in ("N", "E", "U")
    ]


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ("Date,E1 (mm),E2 (mm)", "quantity:mm"),
        ("Date,S1 (mm),S2 (mm),S3 (mm)", "quantity:mm"),
        ("Date,E1 (mm),N1 (mm)", "quantity:mm"),
        ("Date,P1 X (mm),P1 Y (mm),P1 Z (mm)", "axes"),
        ("Date,Tilt A (deg),Tilt B (deg)", "tilt"),
        ("Date,Crack (mm),sd (mm)", "error:sd (mm)"),
        ("Date,Crack (mm),sd (mm) ", "quantity:mm"),  # a standard deviation is never negative
        ("Date,Crack R1 (mm),Error R2 (mm)", "error:Error R2 (mm)"),
    ],
)
def test_what_letters_leave_open_is_one_question_that_can_be_answered(tmp_path, head, key):
    sizes = {"sd (mm)": 9, "sd (mm) ": -9}
    columns = [tuple(v + sizes.get(name, 0) for v in MOVES) for name in head.split(",")[1:]]
    look = read_raw_table(write(tmp_path / "f.csv", head, *columns))
    (question,) = guess(look, {"zone": "UTC"}).questions
    assert question.key == key
    found = guess(look, {"zone": "UTC", key: question.choices[0]})
    assert not found.questions
    assert found.mapping is not None


def test_tilts_a_and_b_are_axes_or_instruments_as_a_person_says(tmp_path):
    look = read_raw_table(write(tmp_path / "f.csv", "Date,Tilt A (deg),Tilt B (deg)", MOVES, MOVES))
    series = [
        [f"{c.station}.{c.quantity}" for c in guess(look, {"zone": "UTC", "tilt": said}).mapping.columns]
        for said in ("two axes of one tiltmeter", "two instruments")
    ]
    assert series == [["f.tilt_x", "f.tilt_y"], ["A.tilt", "B.tilt"]]


@pytest.mark.parametrize("mark", [";", ","])
def test_serial_numbers_below_the_names_are_skipped(tmp_path, mark):
    path = write(tmp_path / "f.csv", mark.join(("Date", "Crack 1 (mm)", "Crack 2 (mm)")), MOVES, MOVES, mark=mark)
    head, *rows = path.read_text().splitlines()
    below = [mark.join(row) for row in (("serial", "10021", "10022"), ("", "1.2", "1.3"))]
    path.write_text("\n".join([head, *below, *rows, ""]))
    assert [error for _, error in read_rows(path, understand(path, {"zone": "UTC"}).mapping)] == [None] * 2 * len(DAYS)


def test_what_is_asked_and_understood_comes_from_the_worker_in_the_language_of_its_reader(tmp_path):
    path = write(tmp_path / "f.csv", "Time,Crack E1 (mm)", MOVES)
    found = understand_in_worker(PreviewRequest(str(path), "mine.csv", {}, is_new=False))
    back = plain_to_record(PreviewResult, json.loads(json.dumps(found, default=record_to_plain)))
    assert back == found
    with use_language("it"):
        said = [translate(text) for text in (back.questions[0].text, dict(back.facts)["Crack E1 (mm)"])]
    assert said[0].startswith("in quale fuso orario"), said
    assert "E1" in said[1]
    assert "crack" not in said[1], said


def test_a_zone_that_gainsays_the_header_is_asked_about(tmp_path):
    look = read_raw_table(write(tmp_path / "f.csv", "Timestamp (UTC),Crack (mm)", MOVES))
    (question,) = guess(look, {"zone": "Europe/Rome"}).questions
    assert (question.key, question.choices) == ("which zone", ("UTC", "Europe/Rome"))
    for zone in question.choices:
        found = guess(look, {"zone": "Europe/Rome", "which zone": zone})
        assert (found.questions, found.mapping.time.zone.key) == ((), zone)
    assert not guess(look, {"zone": "Etc/GMT"}).questions, "another name of the same clock"


MONTHS = {"de": "Jan Feb März", "de, three letters": "Jan Feb Mrz", "en": "January February March"}
MONTHS |= {"it": "gen feb mar", "fr": "janv. févr. mars", "es": "ene feb mar"}


@pytest.mark.parametrize("language", MONTHS)
@pytest.mark.parametrize("form", ["{d:02d}-{m}-{y:02d}", "{d}. {m} 20{y}", "{d:02d} {m} 20{y} 06:00"])
def test_months_are_read_by_name_as_spreadsheets_of_many_countries_write_them(tmp_path, language, form):
    cells = (form.format(d=at.day, m=MONTHS[language].split()[at.month - 1], y=at.year % 100) for at in DAYS)
    path = write_table(tmp_path / "f.csv", "Date;Crack 1 (mm)", (f"{c};{v}" for c, v in zip(cells, MOVES, strict=True)))
    answers = {"zone": "UTC"} | ({"times": "as they are"} if "y:02d" in form else {})
    rows = read_rows(path, understand(path, answers).mapping)
    hours = 6 if "06" in form else 0
    assert [row["time"].replace(tzinfo=None) for row, _ in rows] == [at + timedelta(hours=hours) for at in DAYS]


def test_midnight_may_be_the_end_of_a_day(tmp_path):
    cells = [(at - timedelta(hours=1), at.hour or 24) for at in TIMES]
    path = write_table(tmp_path / "f.csv", "Tag;Zeit;Riss 1 (mm)", (f"{at:%d.%m.%Y};{h:02d}:00;{h}" for at, h in cells))
    rows = read_rows(path, understand(path, {"zone": "UTC"}).mapping)
    assert [row["time"].replace(tzinfo=None) for row, _ in rows] == list(TIMES)


def test_a_footer_does_not_decide_the_decimal_mark(tmp_path):
    path = write(tmp_path / "f.csv", "Date,Crack 1 (mm)", MOVES)
    with path.open("a") as file:
        file.write('\nSource: Office, 2024\n"Checked, 3 May","12,5"\n')
    found = understand(path, {"zone": "UTC"})
    assert found.mapping.decimal == "."
    assert [error is None for _, error in read_rows(path, found.mapping)] == [True] * 60 + [False] * 2


def test_a_decimal_mark_that_many_cells_gainsay_is_asked(tmp_path):
    cells = [str(v).replace(".", ",") if k % 4 == 0 else v for k, v in enumerate(MOVES)]
    path = write(tmp_path / "f.csv", "Date;Crack 1 (mm)", cells, mark=";")
    assert [q.key for q in guess(read_raw_table(path), {"zone": "UTC"}).questions] == ["decimal"]


def test_words_and_far_numbers_that_mean_no_measurement_are_no_values(tmp_path):
    cracks = [-999 if k % 9 == 0 else v for k, v in enumerate(MOVES)]
    words = [("#N/A", "NA", "error")[k % 3] if k % 5 == 0 else v for k, v in enumerate(MOVES)]
    rain = ["<0.1" if k % 3 == 0 else v for k, v in enumerate(SMALL)]
    path = write(tmp_path / "f.csv", "Date,Crack 1 (mm),Crack 2 (mm),Rain (mm)", cracks, words, rain)
    found = understand(path, {"zone": "UTC", "day": "24:00", "count": "rain of each interval"})
    assert {"-999", "#N/A", "NA", "error", "<0.1"} <= set(found.mapping.missing)
    rows = read_rows(path, found.mapping)
    assert len(rows) == 180 - 7 - 12 - 20
    assert not [error for _, error in rows if error is not None]


# head, columns of a row: M moves, S is small, T adds up S; series with the column of the file
PLACES = MappingProxyType(
    {
        "groups above the names": (
            "Date,P1,,P2,\n,Crack (mm),Temp (°C),Crack (mm),Temp (°C)",
            "MSMS",
            "P1.crack_opening = 2; P1.temperature = 3; P2.crack_opening = 4; P2.temperature = 5",
        ),
        "components below the names": (
            "Date,P1,P1,P2,P2\n,East (mm),North (mm),East (mm),North (mm)",
            "MSMS",
            "; ".join(f"{p}.displacement_east = {p}; {p}.displacement_north = {p}#2" for p in ("P1", "P2")),
        ),
        "units below": (
            "Date,Crack 1,Temp\nYYYY-MM-DD,mm,°C",
            "MS",
            "Crack-1.crack_opening = Crack 1; f.temperature = Temp",
        ),
        "names, units and groups": (
            "Date,North,,South,\n,Crack,Temp,Crack,Temp\n,mm,°C,mm,°C",
            "MSMS",
            "North.crack_opening = 2; North.temperature = 3; South.crack_opening = 4; South.temperature = 5",
        ),
        "an index without a name": (",Crack 1 (mm)", "M", "Crack-1.crack_opening = 2"),
        "a blank line below the names": ("Date,Crack 1 (mm)\n", "M", "Crack-1.crack_opening = Crack 1 (mm)"),
        "words of the file as wide as the table": (
            "Project,Slope A,\nLogger,123,\nDate,Crack 1 [mm],Rain [mm]",
            "MS",
            "Crack-1.crack_opening = Crack 1 [mm]; rain.rain = Rain [mm]",
        ),
        "a total of the rain": ("Date,Rain (mm),Total rain (mm),Total (mm)", "STT", "f.rain = Rain (mm)"),
    }
)


@pytest.mark.parametrize("place", PLACES)
def test_names_and_units_are_found_where_they_stand(tmp_path, place):
    head, kinds, series = PLACES[place]
    sums = [round(sum(SMALL[: k + 1]), 2) for k in range(len(SMALL))]
    columns = [{"M": MOVES, "S": SMALL, "T": sums}[kind] for kind in kinds]
    path = write(tmp_path / "f.csv", head, *columns)
    found = understand(path, {"zone": "UTC", "day": "24:00"})
    columns_of = dict(one.split(" = ") for one in series.split("; "))
    assert {f"{c.station}.{c.quantity}": c.name for c in found.mapping.columns} == columns_of
    rows = read_rows(path, save_and_reload(found.mapping, path))
    assert len(rows) == len(columns_of) * len(DAYS)
    assert not [error for _, error in rows if error is not None]
    assert [float(row["value"]) for row, _ in rows[:: len(columns_of)]] == list(columns[0])


def test_units_behind_the_numbers_are_taken_off_and_others_refused(tmp_path):
    path = tmp_path / "f.csv"
    rows = zip(DAYS, MOVES, SMALL, strict=True)
    path.write_text(
        "Datum;Bodenfeuchte;Riss 1\n"
        + "".join(f"{at:%d.%m.%Y};{comma(b)}%;{'-999 mm' if at.day == 3 else f'{comma(a)} mm'}\n" for at, a, b in rows)
        + "01.03.2024;0,5%;1,2 cm\n"
    )
    mapping = save_and_reload(understand(path, {"zone": "UTC"}).mapping, path)
    assert [(c.quantity, c.unit, c.tail) for c in mapping.columns] == [
        ("soil_moisture", "%", "%"),
        ("crack_opening", "mm", "mm"),
    ]
    read = read_rows(path, mapping)
    assert [row["value"] for row, _ in read[:2]] == ["0.30", str(f"{MOVES[0]:.2f}")]
    assert len(read) == 2 * 61 - 2  # two days without a measurement
    assert read[-1][0]["value"] == "1,2 cm"  # no number: the gate refuses it


LONG = "Date,Station,Parameter,Value,Unit\n"


def lay_long(path, *units, parameters=("crack", "temperature")):
    columns = (MOVES, SMALL)
    path.write_text(
        LONG
        + "".join(
            f"{at:%Y-%m-%d},{place},{parameter},{columns[k][day]},{units[k]}\n"
            for day, at in enumerate(DAYS)
            for k, parameter in enumerate(parameters)
            for place in ("P1", "P2")
            if k == 0 or (place == "P1" and day % 7 == 0)
        )
    )
    return path


def test_values_of_several_kinds_in_one_column_are_told_apart(tmp_path):
    path = lay_long(tmp_path / "f.csv", "mm", "°C")
    found = understand(path, {"zone": "UTC"})
    assert {f"{s.station}.{s.quantity}": s.interval_s / 86400 for s in found.sensors} == {
        "P1.crack_opening": 1,
        "P2.crack_opening": 1,
        "P1.temperature": 7,
    }
    mapping = save_and_reload(found.mapping, path)
    assert mapping == found.mapping
    rows = read_rows(path, mapping)
    warm = [float(row["value"]) for row, _ in rows if row["quantity"] == "temperature"]
    assert (len(rows), warm) == (2 * 60 + 9, list(SMALL[::7]))
    with path.open("a") as file:
        file.write("2024-03-05,P1,crack,1.5,cm\n")
    assert [error.code for _, error in read_rows(path, mapping) if error is not None] == ["unit_mismatch"]
    with open_wide(path, ImportOptions(mapping)) as lines:
        assert sum(line.missing for line in lines) == 0


def test_kinds_without_words_are_asked_and_kinds_in_two_units_refused(tmp_path):
    found = guess(read_raw_table(lay_long(tmp_path / "f.csv", "", "", parameters=("PZ", "TT"))), {"zone": "UTC"})
    assert ["PZ, TT" in question.text for question in found.questions] == [True]
    with pytest.raises(ConfigError, match="several units"):
        guess(read_raw_table(lay_long(tmp_path / "f.csv", "mm", "cm", parameters=("crack", "crack"))), {"zone": "UTC"})


def test_names_of_sensors_in_a_column_say_what_each_measures(tmp_path):
    path = write_table(
        tmp_path / "f.csv",
        "Date,Sensor,Value",
        (f"{at:%Y-%m-%d},Crack 1,{a}\n{at:%Y-%m-%d},Temp 1,{b}" for at, a, b in zip(DAYS, MOVES, SMALL, strict=True)),
    )
    found = understand(path, {"zone": "UTC", "unit:crack_opening": "mm", "unit:temperature": "degC"})
    rows = read_rows(path, found.mapping)
    told = [(row["station"], row["quantity"], float(row["value"])) for row, _ in rows[:2]]
    assert told == [("Crack-1", "crack_opening", MOVES[0]), ("Temp-1", "temperature", SMALL[0])]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "cp1252"])
def test_encodings_with_and_without_a_mark(tmp_path, encoding):
    path = tmp_path / "f.csv"
    rows = "".join(f"{at:%d.%m.%Y};{comma(v)}\r\n" for at, v in zip(DAYS, MOVES, strict=True))
    path.write_bytes(f"Datum;Riss Süd 1 [mm]\r\n{rows}".encode(encoding))
    found = understand(path, {"zone": "UTC"})
    assert ([c.station for c in found.mapping.columns], len(read_rows(path, found.mapping))) == (["Sud-1"], 60)


def test_a_remark_now_and_then_at_the_end_of_a_line_loses_no_row(tmp_path):
    rows = zip(DAYS, MOVES, strict=True)
    path = write_table(
        tmp_path / "f.csv",
        "Date,Crack 1 (mm),Remark",
        (f"{at:%Y-%m-%d},{v}{',checked' if k % 9 == 0 else ''}" for k, (at, v) in enumerate(rows)),
    )
    assert [float(row["value"]) for row, _ in read_rows(path, understand(path, {"zone": "UTC"}).mapping)] == list(MOVES)


def test_hours_beside_the_day_of_the_year_are_no_minutes(tmp_path):
    path = tmp_path / "f.csv"
    for head, cells, step in (
        ("Hour", [f"{at.hour}" for at in TIMES], timedelta(hours=1)),
        ("HHMM", [f"{at.hour * 100}" for at in TIMES], timedelta(hours=1)),
        ("Hour,Minute", [f"{at.hour},30" for at in TIMES], timedelta(hours=1)),
    ):
        lines = [f"{at:%Y},{at:%-j},{c},{k}.5" for k, (at, c) in enumerate(zip(TIMES, cells, strict=True))]
        path.write_text(f"Year,DOY,{head},Crack 1 (mm)\n" + "\n".join(lines) + "\n")
        found = understand(path, {"zone": "UTC"})
        times = [row["time"].replace(tzinfo=None) for row, _ in read_rows(path, save_and_reload(found.mapping, path))]
        assert {b - a for a, b in pairwise(times)} == {step}
        assert times[0] - BEGIN == (timedelta(minutes=30) if "Minute" in head else timedelta())


def test_the_zone_of_one_column_of_times_is_not_that_of_another(tmp_path):
    path = tmp_path / "f.csv"
    hour = timedelta(hours=1)
    text = "".join(f"{at + hour:%d.%m.%Y %H:%M};{at:%d.%m.%Y %H:%M};{k},5\n" for k, at in enumerate(TIMES))
    path.write_text("Local time;UTC time;Riss 1 [mm]\n" + text)
    assert understand(path, {}).mapping.time.column == "UTC time"
    path.write_text("Local time;Zeit im Netz;Riss 1 [mm]\n" + text)
    assert [q.key for q in guess(read_raw_table(path), {}).questions] == ["zone"]


def test_clocks_with_an_h_and_signs_of_typographers_are_read(tmp_path):
    path = write_table(
        tmp_path / "f.csv",
        "Date;Heure;Fissure 1 (mm)",
        (f"{at:%d/%m/%Y};{at:%Hh%M};\u2212{k},5" for k, at in enumerate(TIMES)),
    )
    rows = read_rows(path, understand(path, {"zone": "UTC", "dates": "day first"}).mapping)
    assert [row["time"].replace(tzinfo=None) for row, _ in rows] == list(TIMES)
    assert [float(row["value"]) for row, _ in rows] == [-k - 0.5 for k in range(HOURS)]


def test_least_and_largest_values_are_no_sensors_of_their_own(tmp_path):
    head = "Date,C1 crack avg (mm),C1 crack min (mm),C1 crack max (mm),Crack Max (mm)"
    found = understand(write(tmp_path / "f.csv", head, MOVES, MOVES, MOVES, MOVES), {"zone": "UTC"})
    assert [c.name for c in found.mapping.columns] == ["C1 crack avg (mm)", "Crack Max (mm)"]
    assert dict(found.facts)["C1 crack min (mm)"] == "left out: of the same sensor as 'C1 crack avg (mm)'"


def test_points_before_three_digits_are_asked_about_beside_semicolons(tmp_path):
    path = write_table(
        tmp_path / "f.csv", "Datum;Pegel [mm]", (f"{at:%d.%m.%Y};1.{200 + k}" for k, at in enumerate(DAYS))
    )
    (question,) = guess(read_raw_table(path), {"zone": "UTC"}).questions
    assert (question.key, question.default) == ("decimal", "point")
    for said, value in (("comma", 1200.0), ("point", 1.2)):
        mapping = understand(path, {"zone": "UTC", "decimal": said}).mapping
        assert float(read_rows(path, mapping)[0][0]["value"]) == value


def test_times_with_and_without_an_offset_in_one_column_are_asked_about(tmp_path):
    path = write_table(
        tmp_path / "f.csv",
        "Time,Crack 1 (mm)",
        (f"{at:%Y-%m-%dT%H:%M:%S}{'+01:00' if k % 7 == 0 else ''},{k}.5" for k, at in enumerate(TIMES)),
    )
    assert [q.key for q in guess(read_raw_table(path), {}).questions] == ["zone"]
    rows = read_rows(path, understand(path, {"zone": "UTC"}).mapping)
    assert rows[1][0]["time"] - rows[0][0]["time"] == timedelta(hours=2)


@pytest.mark.parametrize("number", ["9" * 400, "1e999", "-inf"])
def test_a_number_without_end_is_no_time(tmp_path, number):
    path = tmp_path / "f.csv"
    lines = [f"{at:%Y-%m-%d},{number if k == 5 else k}\n" for k, at in enumerate(DAYS)]
    path.write_text("Date,Crack 1 (mm)\n" + "".join(lines))
    assert [c.quantity for c in understand(path, {"zone": "UTC"}).mapping.columns] == ["crack_opening"]


@pytest.mark.parametrize(
    ("mark", "encoding", "decimal"),
    [(",", "cp1252", "."), (",", "utf-16", "."), (";", "utf-8", ","), ("\t", "utf-8", ".")],
)
def test_the_neutral_form_in_another_spelling_is_understood_and_not_sent_back(tmp_path, mark, encoding, decimal):
    path = tmp_path / "f.csv"
    rows = [
        f"{at:%Y-%m-%dT%H:%M:%SZ},{station},{quantity},{k}.5\n"
        for k, at in enumerate(DAYS)
        for station, quantity in (("Süd", "displacement_mm"), ("G2", "rain_mm"))
    ]
    text = "".join(["time,station,quantity,value\n", *rows]).replace(",", mark).replace(".", decimal)
    path.write_bytes(text.encode(encoding))
    read = read_rows(path, understand(path, {}).mapping)
    assert [(row["station"], row["quantity"], row["unit"], row["value"]) for row, _ in read[:2]] == [
        ("Sud", "displacement", "mm", "0.5"),
        ("G2", "rain", "mm", "0.5"),
    ]


@pytest.mark.soak
def test_no_form_that_reads_a_text_is_passed_over_by_its_shape():
    """Also in the spellings that a form reads besides: blanks more and for zeros, no zeros, small letters, 24:00."""
    dates = time_forms.DATE_FORMS
    forms = [*dates, *time_forms.MONTH_FORMS, *time_forms.TIMED_FORMS]
    read, silent = 0, []
    for form in [*forms, *(f"{form} UTC" for form in dates), "%Y%m%d%H%M%S", "%d.%m.%Y %H:%M %z"]:
        for at in (datetime(2024, 3, 7, 4, 5, 6, 120_000, tzinfo=UTC), datetime(1999, 12, 31, 0, 0, tzinfo=UTC)):
            text = at.strftime(form)
            blanks = (text.replace("0", " "), text.replace("0", ""), text.replace(" ", "  ").lower())
            words = (text.replace("Mar", "März").replace("Dec", "décembre"), text.replace("00:00", "24:00"))
            for way in (text, *blanks, *words):
                with suppress(PayloadError):
                    expected = [TimeRule(("time",), form).read_naive(way)]
                    read += 1
                    silent += [(form, way)] if time_forms.parse_times([way], form) != expected else []
    assert silent == []
    assert read > 2500
