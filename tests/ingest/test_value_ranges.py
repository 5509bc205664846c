"""A file of which most values of a series are out of range is refused with the reason."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import UnitDoubtError
from monitor.ingest.files.reading import FileImport
from monitor.ingest.files.value_ranges import RangeCheck
from monitor.ingest.pipeline import Pipeline
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SITE = parse_site(
    """
[site]
id = "cut"
name = "Cut"
latitude = 46.0
longitude = 9.0
[[station]]
id = "P1"
[[station.series]]
quantity = "pore_pressure"
unit = "kPa"
interval = "1h"
high = 400.0
[[station.series]]
quantity = "temperature"
unit = "degC"
interval = "1h"
""",
    "cut.toml",
)


def write_table(path, values, *, quantity="pore_pressure_kpa"):
    lines = ["time,station,quantity,value"]
    for hour, value in enumerate(values):
        lines.append(f"{(NOW - timedelta(hours=200 - hour)).isoformat()},P1,{quantity},{value}")
        lines.append(f"{(NOW - timedelta(hours=200 - hour)).isoformat()},P1,temperature_degc,{5 + hour % 3}")
    path.write_text("\n".join(lines) + "\n")
    return path


def import_table(path, database, **accepted):
    pipeline = Pipeline(database, {"cut": SITE}, lambda: NOW)
    return FileImport(path, pipeline, SITE, lambda: NOW, **accepted).run()


def test_file_with_most_values_of_a_series_out_of_range_is_refused(tmp_path, database):
    path = write_table(
        tmp_path / "a.csv", [900 + hour % 5 for hour in range(11)] + [100 + hour % 5 for hour in range(9)]
    )
    with pytest.raises(UnitDoubtError, match=r"11 of 20 values of P1.* are out of range") as refused:
        import_table(path, database)
    assert "400 kPa" in str(refused.value)
    assert "901 kPa" in str(refused.value) or "900 kPa" in str(refused.value)
    with database.read() as connection:
        assert connection.exec_driver_sql("select count(*) from observation").scalar() == 0


def test_half_of_a_series_out_of_range_is_stored_and_flagged(tmp_path, database):
    path = write_table(
        tmp_path / "a.csv", [900 + hour % 5 for hour in range(10)] + [100 + hour % 5 for hour in range(10)]
    )
    result = import_table(path, database, accept_units=False)
    assert result.flags["out_of_range"] == 10


@pytest.mark.parametrize("accepted", [{"accept_units": True}, {"accept_ranges": True}])
def test_accepted_values_out_of_range_are_stored_and_flagged(tmp_path, database, accepted):
    path = write_table(tmp_path / "a.csv", [900 + hour % 5 for hour in range(20)])
    result = import_table(path, database, **accepted)
    assert (result.stored, result.flags["out_of_range"]) == (40, 20)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_series_is_refused_exactly_if_more_than_half_is_out_of_range(outs):
    check = RangeCheck()
    check.add(
        Observation("cut", "P1", "pore_pressure", "kPa", NOW, NOW, 1.0, flags=("out_of_range",) if is_out else ())
        for is_out in outs
    )
    assert bool(check.find_doubts({"cut": SITE})) == (outs.count(True) > outs.count(False))
