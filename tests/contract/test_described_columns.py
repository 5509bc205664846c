"""The `info` of columns contains the references and properties that storage needs."""

from sqlalchemy import BigInteger

from monitor.storage.column_types import Instant, Json
from monitor.storage.tables import load_metadata

COLUMNS = [column for table in load_metadata().sorted_tables for column in table.c]


def test_every_reference_by_name_exists() -> None:
    for column in COLUMNS:
        if "refers_to" in column.info:
            table, _, name = column.info["refers_to"].partition(".")
            assert name in load_metadata().tables[table].c, column
        if "sha256" in column.info:
            assert column.info["sha256"] in column.table.c, column


def test_every_id_of_a_series_refers_to_it() -> None:
    ids = [column for column in COLUMNS if column.name == "series_id"]
    assert len(ids) > 3
    assert all(column.info.get("refers_to") == "series.id" for column in ids)


def test_every_station_column_is_marked_for_renaming() -> None:
    # Alarms of other systems contain the station names of those systems.
    stations = [column for column in COLUMNS if column.name == "station" and column.table.name != "other_alarm"]
    assert len(stations) > 3
    assert all(column.info.get("names") == "station" for column in stations)


def test_only_instants_are_marked_as_own_clock() -> None:
    own = [column for column in COLUMNS if "own_clock" in column.info]
    assert len(own) > 5
    assert all(isinstance(column.type, Instant) for column in own)
    assert all(isinstance(column.type, Json) for column in COLUMNS if "own_clock_keys" in column.info)


def test_references_are_big_integers() -> None:
    for column in COLUMNS:
        if "refers_to" in column.info:
            assert isinstance(column.type, BigInteger), column
