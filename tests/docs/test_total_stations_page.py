"""The site file, the table, the mapping and the messages of the page about total stations work as the page says."""

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from monitor.features.table_import.guess.guess import guess
from monitor.features.table_import.guess.raw_table import read_raw_table
from monitor.features.table_import.guess.values import list_values
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reading import FileImport
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.parsing import parse_site
from tests.fixtures.waiting import REPOSITORY

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PAGE = (REPOSITORY / "docs/how-to/connect-total-stations.md").read_text(encoding="utf-8")


def list_blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def site():
    (block,) = [block for block in list_blocks("toml") if block.startswith("[site]")]
    return parse_site(block, "cut.toml")


def list_stored(database, station):
    query = (
        "select s.quantity, o.value_raw from observation o join series s on s.id = o.series_id "
        f"where s.station = '{station}' order by o.observed_at, s.quantity"
    )
    with database.read() as connection:
        return [(quantity, round(value, 1)) for quantity, value in connection.execute(text(query))]


def test_table_of_the_page_is_imported_as_displacement(database, site, tmp_path):
    table, _ = list_blocks("csv")
    (mapping,) = [block for block in list_blocks("toml") if block.startswith("[table]")]
    (tmp_path / "prisms.csv").write_text(table)
    (tmp_path / "prisms.toml").write_text(mapping)
    pipeline = Pipeline(database, {"cut": site}, lambda: NOW)
    rules = load_mapping(tmp_path / "prisms.toml")
    result = FileImport(tmp_path / "prisms.csv", pipeline, site, lambda: NOW, mapping=rules).run()
    assert (result.stored, result.rejected) == (12, 0)
    assert list_stored(database, "PR03")[3:] == [
        ("displacement_east", 21.4),
        ("displacement_north", -13.9),
        ("displacement_up", -4.5),
    ]


def test_distances_and_angles_of_the_page_become_displacement_of_a_new_site(tmp_path):
    _, table = list_blocks("csv")
    path = tmp_path / "polar.csv"
    path.write_text(table)
    result = guess(read_raw_table(path), {"zone": "UTC", "polar": "total station", "reference": "first"})
    assert not result.questions
    last_mm = {
        value.quantity: round(value.value, 1)
        for value in list_values(path, result.form, result.options)
        if value.station == "PR03" and not value.error
    }
    # From the first reading to the second one, as in the table of coordinates.
    expected = {"displacement_east": 20.9, "displacement_north": -14.2, "displacement_up": -7.2}
    assert last_mm == pytest.approx(expected, abs=0.3)


def test_messages_of_the_page_are_one_displacement(database, site):
    coordinates, polar = list_blocks("json")
    pipeline = Pipeline(database, {"cut": site}, lambda: NOW)
    for payload in (coordinates, polar):
        pipeline.store([BrokerMessage("slopeward/v1/cut/PR03/obs", payload.encode(), NOW, "live")])
    with database.read() as connection:
        assert connection.execute(text("select code, reason from rejected_message")).all() == []
    stored = list_stored(database, "PR03")
    assert stored[:3] == [("displacement_east", 21.4), ("displacement_north", -13.9), ("displacement_up", -4.5)]
    # A last digit of 0.1 mgon is 1.2 mm at 795 m.
    assert [value for _, value in stored[3:]] == pytest.approx([value for _, value in stored[:3]], abs=1.5)
