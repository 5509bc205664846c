"""Files of GNSS networks and loggers are read with the numbers of rows and dates of their documentation."""

import csv
import zipfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.tables import Layout, open_rows
from monitor.ingest.recognise import choose_reader
from tests.data.readers.gnss import list_positions


def days(*text):
    return tuple(datetime.fromisoformat(t).replace(tzinfo=UTC).date() for t in text)


@pytest.mark.parametrize(
    ("name", "rows", "first", "last"),
    [
        ("gnss-formats/MXTM.NA.tenv3", 548, "2017-06-15", "2019-05-04"),
        ("gnss-formats/LHAS.tenv", 3631, "1995-05-19", "2007-01-29"),
        ("gnss-formats/P156.pbo.final_igs08.pos", 3196, "2006-06-08", "2015-03-14"),
        ("gnss-formats/QUEM.pos", 3748, "2007-12-05", "2018-07-29"),
        ("gnss-cascadia-pbo-csv/P816.pbo.nam08.csv", 1154, "2013-09-06", "2017-03-25"),
        ("gnss-nepal2015-neu/KKN4.icd.final_igs08.pos.neu", 128, "2015-01-01", "2015-05-10"),
    ],
)
def test_positions_of_networks(name, rows, first, last, measured):
    path = measured(name)
    positions = list(list_positions(path))
    dates = sorted(p.at.date() for p in positions)
    assert (len(positions), (dates[0], dates[-1])) == (rows, days(first, last))
    assert {p.station for p in positions} == {path.name.split(".")[0][:4]}


def test_both_formats_of_a_network_have_the_same_positions(measured):
    """In 2003 a new instrument displaced Lhasa by 45 mm to the east. Both formats of the network agree on this."""
    series = [list(list_positions(measured(f"gnss-formats/LHAS.{form}"))) for form in ("tenv3", "tenv")]
    east = [[p.values[0] - rows[0].values[0] for p in rows] for rows in series]
    # The reference meridian of tenv differs, so the changes from day to day are compared.
    assert (
        max(abs((b - a) - (d - c)) for (a, b), (c, d) in zip(pairwise(east[0]), pairwise(east[1]), strict=True)) < 1e-4
    )


def test_one_table_in_three_formats_of_a_logger(tmp_path, measured):
    folder = "logger-formats"
    with open_rows(measured(f"{folder}/Station_Daily.dat"), Layout(skip_rows=1, skip_after=2)) as (names, rows):
        expected_rows = [{n: row[n] for n in names} for row in rows]
    assert len(expected_rows) == 57
    for name in ("TOB1_Station_Daily.dat", "CSIXML_Station_Daily.dat"):
        with open_rows(measured(f"{folder}/{name}")) as (_, rows):
            for row, plain in zip(rows, expected_rows, strict=True):
                assert row["TIMESTAMP"] == plain["TIMESTAMP"].replace(" ", "T")
                for column in ("Batt_Min", "Rain_Tot", "AirT_Max", "WaterLvl_Min", "RH_Max"):
                    assert float(row[column]) == pytest.approx(float(plain[column]), rel=2e-4, nan_ok=True), column
                assert str(row["AirT_TMx"]) == plain["AirT_TMx"].replace(" ", "T")
        assert {q.key for q in guess(read_raw_table(measured(f"{folder}/{name}")), {}).questions} == {"zone", "day"}


@pytest.mark.soak
def test_array_id_of_a_logger_without_leading_zeros(tmp_path, measured):
    path = measured("bowdoin-loggers/drucksens073303_final_storage_1.dat")
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        '[table]\nheader = false\n[time]\ncolumn = ["2", "3", "4"]\nformat = "year_day_hhmm"\nzone = "UTC"\n'
        '[[column]]\nname = "5"\nstation = "D073303"\nquantity = "temperature"\nunit = "degC"\n'
    )
    with path.open() as file:
        plain = next(row for row in csv.reader(file) if len(row) == 7 and 0 < int(row[3]) < 60)
    with open_wide(path, ImportOptions(load_mapping(mapping))) as lines:
        times = [row["time"] for line in lines for row, error in line.rows if error is None]
    assert len(times) > 50_000
    assert any((at.timetuple().tm_yday, at.hour, at.minute) == (int(plain[2]), 0, int(plain[3])) for at in times)


# File, rows, first and last day and step of its README, and the questions of the import.
# EXPECTED_FACTS contains texts that the summary of the file must include.
UNDERSTOOD = """
outang/monitoring_data.csv|1461|2016-07-01|2020-06-30|every 1 d|pattern:ATU#/mm, pattern:MJ#/mm, zone, day
bazimen-baijiabao/source_sample.xlsx|300|2017-10-14|2018-08-09|every 1 d|quantity, unit:rain, unit:reservoir_level, zone
lamosano/df.csv|161|2015-04-10|2020-02-03|every 11 d|quantity, unit:rain, zone
failure-curves/pftf_synthetic-6h.csv|397|2023-05-01|2023-08-08|every 6 h|unit:displacement
gnss-japan-18/G001neu9818.csv|3390|2009-01-02|2018-04-14|every 1 d|quantity, zone
gnss-cascadia-pbo-csv/P816.pbo.nam08.csv|1154|2013-09-06|2017-03-25|every 1 d|zone
bowdoin-loggers/drucksens094419_final_storage_1.dat|1517|2014-03-14|2015-07-26|every 30 min|quantity, zone
logger-formats/Station_Daily.dat|57|2014-04-11|2014-06-06|every 1 d|zone, day
usgs-mukilteo-rain-piezo/waMLP_rain.txt|11575|2015-09-02|2015-12-31|every 15 min|quantity, zone
usgs-mukilteo-rain-piezo/waMLP_14d.txt|1344|2015-12-18|2015-12-31|every 15 min|quantity, zone
tailings-pond-rain/envcanada_rainfall.csv|366|2020-01-01|2020-12-31|every 1 d|zone, day
dynaslope-markers/surficialdata.csv|1917|2015-06-18|2017-02-16|in a series|quantity, same, zone
insar-tdot/insar_timeseries.csv|11970|2022-01-10|2024-01-24|in a series|zone
""".strip().splitlines()
EXPECTED_FACTS = {
    "outang/monitoring_data.csv": {"RWL/m": "reservoir level in m", "Rainfall/mm": "rain in mm", "left out": "DP, RH"},
    "gnss-japan-18/G001neu9818.csv": {"left out": "lon, lat"},
    "gnss-cascadia-pbo-csv/P816.pbo.nam08.csv": {
        "North (mm)": "displacement north in mm, its error in 'North Std. Deviation (mm)'"
    },
    "bowdoin-loggers/drucksens094419_final_storage_1.dat": {"time": "year, day of the year"},
    "logger-formats/Station_Daily.dat": {
        "left out": "WaterLvl_TMn",
        "WaterLvl_Min": "water level in ft",
        "BaromPres_Max": "air pressure in mmHg",
    },
    "usgs-mukilteo-rain-piezo/waMLP_rain.txt": {"time": "YYYY MM DD hh mm"},
    "usgs-mukilteo-rain-piezo/waMLP_14d.txt": {"layout": "cells separated by tab"},
    "tailings-pond-rain/envcanada_rainfall.csv": {"total_rain_mm": "rain in mm", "left out": "cumul_rain"},
    "dynaslope-markers/surficialdata.csv": {"stations": "13 of them, named by column 'marker_name'"},
    "insar-tdot/insar_timeseries.csv": {"disp_mm": "displacement in mm"},
}


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("row", UNDERSTOOD)
def test_import_recognises_a_measured_file(row, measured):
    name, rows, first, last, step, questions = row.split("|")
    result = guess(read_raw_table(measured(name)), {})
    facts = dict(result.facts)
    assert facts["file"].startswith(f"{int(rows):,} rows of ")
    assert f"first reading {first} " in facts["time"]
    assert f"last reading {last} " in facts["time"]
    assert step in facts["sampling"]
    assert {q.key for q in result.questions} == {*questions.split(", ")}
    assert {key: text for key, text in EXPECTED_FACTS.get(name, {}).items() if text not in facts[key]} == {}


def test_extensometers_in_feet_with_the_month_first(tmp_path, measured):
    """The headers have no unit, so feet is an answer. A number above 12 shows which part of a date is the day."""
    with zipfile.ZipFile(measured("houston-extensometer/USGS_2020_Compaction.zip")) as archive:
        path = Path(archive.extract("TABLE10_EastEnd.txt", tmp_path))
    answers = {"zone": "America/Chicago", "quantity": "displacement_up", "unit": "ft"}
    result = guess(read_raw_table(path), answers)
    assert not result.questions
    assert result.mapping.time.format == "%m/%d/%Y"
    with open_wide(path, ImportOptions(result.mapping)) as lines:
        values = [float(row["value"]) for line in lines for row, error in line.rows if error is None]
    assert (values[0], values[3]) == (0.0, 0.016)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("gnss-formats/LHAS.tenv3", "gnss"),
        ("gnss-formats/QUEM.pos", "gnss"),
        ("gnss-cascadia-pbo-csv/P816.pbo.nam08.csv", "gnss"),
        ("benchmarks/S.csv", "long"),
        ("gnss-formats/USUD.icd.final_igs08.pos.neu", "gnss"),
        ("bowdoin-gnss15min/B1501_15min.dat", "rtklib"),
        ("egms/EGMS_L2b_022_0845_IW2_VV_2020_2024_1.zip", "egms"),
        ("egms/EGMS_L3_E45N17_100km_U_2020_2024_1.zip", "egms"),
    ],
)
def test_file_format_is_recognised_by_its_content(name, form, measured):
    assert choose_reader(measured(name)) == form
    if not name.endswith("csv"):
        with pytest.raises(ConfigError, match=f"--format {form}"):
            read_raw_table(measured(name))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("houston-extensometer/USGS_2020_Compaction.zip", "a zip of other files"),
        ("outang/monitoring_data.xlsx", "import it with slopeward ingest"),
        ("logger-formats/TOB1_Station_Daily.dat", "import it with slopeward ingest"),
        ("logger-formats/CSIXML_Station_Daily.dat", "import it with slopeward ingest"),
        ("payloads-ecowitt/payload_gw1000bpro.json", "this is JSON"),
    ],
)
def test_unreadable_file_is_refused_with_a_remedy(name, why, measured):
    with pytest.raises(ConfigError, match=why):
        choose_reader(measured(name))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sensorthings-groundwater/thing.json", "this is JSON"),  # invalid JSON
        ("outang/station_coords.csv", "no column holds a time"),
        ("dynaslope-markers/markerhistory.csv", "nothing to store"),
        ("benchmarks/S.csv", "neutral long form"),
        ("usgs-mukilteo-rain-piezo/thresh_in.txt", "no table that can be recognised"),
    ],
)
def test_file_without_readings_is_refused_with_a_reason(name, why, measured):
    with pytest.raises(ConfigError, match=why):
        guess(read_raw_table(measured(name)), {})


def test_values_of_a_failed_sensor_are_no_measurements(tmp_path, measured):
    lines = measured("bowdoin-loggers/drucksens073303_final_storage_1.dat").read_text().splitlines()
    (tmp_path / "end.dat").write_text("\n".join(lines[44_000:46_000]) + "\n")
    assert dict(guess(read_raw_table(tmp_path / "end.dat"), {}).facts)["no measurement"].startswith("-99999 × ")
