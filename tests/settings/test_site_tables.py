"""Tables of site files: keys, bounds, defaults and descriptions are derived from the records."""

import re
from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from monitor.errors import ConfigError
from monitor.sections import Key, derive_table, find_tables, make_record
from monitor.sites.first_site import write_first_site
from monitor.sites.parsing import parse_site
from monitor.sites.schema import LevelsTable, LevelTable, make_site_file_model
from tests.data.site_text import criterion, head, series, station
from tests.tables import tabulated

TABLES = [*find_tables(make_site_file_model()), ("[levels]", LevelsTable), ("[levels.NAME]", LevelTable)]
# Added to a bound of each kind, the result is a value that the bound rejects.
BEYOND = {"ge": -1.0, "gt": 0.0, "le": 1.0, "lt": 0.0}
BOUNDED = [
    (head, table, field.alias or name, getattr(rule, bound) + step)
    for head, table in TABLES
    for name, field in table.model_fields.items()
    for rule in field.metadata
    for bound, step in BEYOND.items()
    if hasattr(rule, bound)
]


@dataclass(frozen=True, slots=True)
class Pump:
    """A record with three keys and a field that is not in the file."""

    rest_s: Annotated[float, Key("pause between two runs")] = 60.0
    rate: Annotated[float | None, Key("flow in l/s", ge=0.0)] = None
    depths: Annotated[tuple[float, ...], Key("depths of the filters", str, "")] = ()
    serial_number: str = ""


def test_table_is_derived_from_record():
    table = derive_table(Pump, extra=(int, Field(1, description="a further key")))
    assert table.written_keys() == ["rest", "rate", "depths", "extra"]
    given = table.model_validate({"rest": "2h", "rate": 3, "depths": "4 5"})
    depths = tuple(map(float, given.depths.split()))
    assert make_record(Pump, given, depths=depths, serial_number="x") == Pump(7200.0, 3.0, (4.0, 5.0), "x")
    assert make_record(Pump, table.model_validate({}), depths=()) == Pump()
    for wrong in ({"rest": 5}, {"rate": -1}, {"depths": 3.0}, {"serial_number": "x"}):
        with pytest.raises(ValidationError):
            table.model_validate(wrong)


def test_every_key_has_description():
    keys = [(head, name, field) for head, table in TABLES for name, field in table.model_fields.items()]
    assert len(keys) > 120
    assert len(BOUNDED) > 25
    assert not [(head, name) for head, name, field in keys if not field.description]


@tabulated(("head", "table", "key", "beyond"), BOUNDED)
def test_value_beyond_bound_is_rejected_at_its_key(head, table, key, beyond):
    assert head.startswith("[")
    with pytest.raises(ValidationError) as error:
        table.model_validate({key: beyond})
    assert (key,) in {fault["loc"] for fault in error.value.errors()}


@tabulated("value", ["true", "false"])
@tabulated(
    ("old", "key"),
    [
        ("{over = 2.0", r"yellow.*over"),
        ("{hits = 3", r"dwell.*hits"),
        ("latitude = ", "site: latitude"),
        ("noise_floor_mm = ", "noise_floor_mm"),
    ],
)
def test_boolean_is_rejected_as_number(value, old, key):
    text = write_first_site("s1")
    assert old in text
    new = re.sub(rf"{re.escape(old.rpartition('=')[0])}= ?[-\d.]+", f"{old.rpartition('=')[0]}= {value}", text, count=1)
    with pytest.raises(ConfigError, match=rf"{key}: expected .*, got (?i:{value})"):
        parse_site(new, "x.toml")


@pytest.mark.parametrize("old", ['yellow = {over = 2.0, window = "7d"}', 'dwell = {hits = 3, of = 4, within = "6h"}'])
def test_value_instead_of_table_is_rejected(old):
    text = write_first_site("s1")
    assert old in text
    with pytest.raises(ConfigError, match=r"criterion\[0\]\.\w+: expected a table, got 3"):
        parse_site(text.replace(old, f"{old.partition(' ')[0]} = 3"), "x.toml")


def test_first_site_file_describes_each_key_once():
    lines = write_first_site("s1").splitlines()
    assert sum("# expected sampling interval" in line for line in lines) == 1
    assert next(line for line in lines if line.startswith("timezone")).endswith("stored times are UTC")


def read(forecast, quantity="displacement_downslope"):
    site = head("bench", timezone="UTC", levels={"names": ["green", "red"]}, forecast={"horizons": ["1d"]})
    text = f"{site}{forecast}\n" + station("G1", series(quantity, "mm", "1d", max_silence="3d"))
    return parse_site(text, "bench.toml").forecast


def test_forecast_keys_are_read_into_plan():
    plan = read('models = ["lstm", "pretrained-lstm"]\nstart_from = "old-bench"\nreplay = ["old-bench"]')
    assert (plan.start_from, plan.replay) == ("old-bench", ("old-bench",))
    assert read('models = ["pretrained-lstm"]\nreplay = ["old-bench"]').replay == ("old-bench",)


@tabulated(
    ("intervals", "written", "days"),
    [
        (["1h"], {}, 1.0),
        (["7d"], {}, 21.0),
        (["1h", "6d"], {}, 18.0),
        (["7d"], {"valid_for": "1d"}, 1.0),
    ],
)
def test_vote_is_valid_for_longest_max_silence(intervals, written, days):
    stations = [
        station(f"G{number}", series("displacement", "mm", interval)) for number, interval in enumerate(intervals)
    ]
    speed = criterion("velocity", stations=["G*"], yellow={"over": 1.0, "window": "60d"}, **written)
    assert parse_site(head("bench") + "".join(stations) + speed, "b").criteria[0].valid_for_s == days * 86400.0


@pytest.mark.parametrize(
    ("forecast", "message"),
    [
        ('start_from = "old"', "forecast.start_from: only networks use this key"),
        ('models = ["pretrained-lstm"]\nstart_from = "old"', "starts with shipped weights"),
        ('models = ["gru", "graph-gru"]\nstart_from = "old"', "graph-gru reads all stations of one site together"),
        ('models = ["gru"]\nreplay = ["old"]', "forecast.replay: only a network that starts with trained weights"),
        ('models = ["gru"]\nstart_from = "old"\nreplay = ["bench"]', "bench is this site, whose record is always used"),
        ('zero_shot = "/srv/fracast"', r"^bench\.toml: forecast: key 'zero_shot' was removed: .*; delete the key$"),
    ],
)
def test_forecast_keys_without_effect_are_rejected(forecast, message):
    with pytest.raises(ConfigError, match=message) as error:
        read(forecast)
    assert len(error.value.faults) == 1
