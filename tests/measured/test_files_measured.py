"""Files as networks and loggers deliver them, read with the facts that are known of them."""

import csv
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from monitor.ingest.files.gnss import read_positions
from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reader import Said
from monitor.ingest.files.tables import Layout, open_rows
from monitor.ingest.guess.guess import guess
from monitor.ingest.guess.look import look_at


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
    found = list(read_positions(path))
    assert len(found) == rows
    assert (min(p.at for p in found).date(), max(p.at for p in found).date()) == days(first, last)
    assert {p.station for p in found} == {path.name.split(".")[0][:4]}


def test_whole_and_broken_metres_are_one_position(measured):
    """A new instrument moved Lhasa by 45 mm to the east in 2003, in both forms of the network."""
    found = [list(read_positions(measured(f"gnss-formats/LHAS.{form}"))) for form in ("tenv3", "tenv")]
    east = [[p.values[0] - rows[0].values[0] for p in rows] for rows in found]
    # tenv goes on from another reference meridian: the same day by day
    assert (
        max(abs((b - a) - (d - c)) for (a, b), (c, d) in zip(pairwise(east[0]), pairwise(east[1]), strict=True)) < 1e-4
    )


def test_one_table_in_three_formats_of_a_logger(tmp_path, measured):
    folder = "logger-formats"
    with open_rows(measured(f"{folder}/Station_Daily.dat"), Layout(skip_rows=1, skip_after=2)) as (names, rows):
        told = [{n: row[n] for n in names} for row in rows]
    assert len(told) == 57
    for name in ("TOB1_Station_Daily.dat", "CSIXML_Station_Daily.dat"):
        with open_rows(measured(f"{folder}/{name}")) as (_, rows):
            for row, plain in zip(rows, told, strict=True):
                assert row["TIMESTAMP"] == plain["TIMESTAMP"].replace(" ", "T")
                for column in ("Batt_Min", "Rain_Tot", "AirT_Max", "WaterLvl_Min", "RH_Max"):
                    assert float(row[column]) == pytest.approx(float(plain[column]), rel=2e-4, nan_ok=True), (
                        name,
                        column,
                    )
                assert str(row["AirT_TMx"]) == plain["AirT_TMx"].replace(" ", "T")
        asked = {q.key for q in guess(look_at(measured(f"{folder}/{name}")), {}).questions}
        assert asked == {"zone", "unit:air_pressure", "quantity:ft"}


def test_array_id_of_a_logger_without_leading_zeros(tmp_path, measured):
    path = measured("bowdoin-loggers/drucksens073303_final_storage_1.dat")
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        '[table]\nheader = false\n[time]\ncolumn = ["2", "3", "4"]\nformat = "year_day_hhmm"\nzone = "UTC"\n'
        '[[column]]\nname = "5"\nstation = "D073303"\nquantity = "temperature"\nunit = "degC"\n'
    )
    with path.open() as file:
        plain = next(row for row in csv.reader(file) if len(row) == 7 and 0 < int(row[3]) < 60)
    with open_wide(path, Said(load_mapping(mapping))) as lines:
        times = [row["time"] for line in lines for row, error in line.rows if error is None]
    assert len(times) > 50_000
    assert any((at.timetuple().tm_yday, at.hour, at.minute) == (int(plain[2]), 0, int(plain[3])) for at in times)
