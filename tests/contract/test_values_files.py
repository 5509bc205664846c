"""The walk over every reader of readings with the traps of a value, through the gate of files."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

import pytest

from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reader import Content, ImportOptions
from monitor.ingest.files.readers import list_readers, open_readings
from monitor.ingest.files.reading import FileImport
from monitor.ingest.files.temporary import open_empty_database
from monitor.ingest.pipeline import Pipeline
from monitor.readings.no_value import FILL
from tests.data.payloads import traps as t

NO_VALUES = ("NaN", "nan", "null", "", "inf", "-inf", "-Infinity", "#N/A", "--")
BAD_SIGMAS = ("NaN", "-1", "x", "", "inf")
AROUND = (b"\xef\xbb\xbf%b", b"%b\0\0\0\0", b"\0\0%b\r\n")
TABLE = """
[time]
column = "time"
zone = "UTC"
[[column]]
name = "a"
station = "G1"
quantity = "temperature"
unit = "degC"
[[column]]
name = "b"
station = "G1"
quantity = "tilt_x"
unit = "mrad"
sigma = "error"
"""


class Filed(NamedTuple):
    """What a reader is walked with: the lines of one epoch from trap, error and time; what is good; what it lacks."""

    head: str
    spell: Callable[[str, str, str], str]
    suffix: str
    good: frozenset[str]
    trap: str
    lacks: dict[str, str]
    options: tuple[str, ...] = ()


POSITIONS = {t.TIMES: "its times are days", t.FILL_VALUE: "a displacement is counted from an origin"}
FILES = MappingProxyType(
    {
        "long": Filed(
            "time,station,quantity,value,sigma\n",
            lambda token, sigma, time: f"{time},G1,temperature_degc,20.5,\n{time},G1,tilt_x_mrad,{token},{sigma}\n",
            ".csv",
            frozenset({"G1.temperature"}),
            "G1.tilt_x",
            {},
        ),
        "wide": Filed(
            "time,a,b,error\n",
            lambda token, sigma, time: f"{time},20.5,{token},{sigma}\n",
            ".csv",
            frozenset({"G1.temperature"}),
            "G1.tilt_x",
            {},
            ("--mapping",),
        ),
        "gnss": Filed(
            "",
            lambda token, sigma, time: (
                f"G001 26MAR{time[8:10]} 2026.1629 61100 2408 0 0.001 {token or 'nan'} -0.004 0.0 .0007 {sigma or 'x'} "
                ".003 0 0 0\n"
            ),
            ".tenv",
            frozenset({"G001.displacement_east", "G001.displacement_up"}),
            "G001.displacement_north",
            POSITIONS,
        ),
        "rtklib": Filed(
            "%  UTC  latitude(deg) longitude(deg) height(m) Q ns sdn(m) sde(m) sdu(m) sdne(m) sdeu(m) sdun(m) "
            "age ratio\n",
            lambda token, sigma, time: (
                f"{time[:10].replace('-', '/')} {time[11:19]}.000 46.200000000 8.900000000 1000.0000 1 8 "
                f"{sigma or 'x'} 0.001 0.002 0 0 0 0.00 24.3\n"
            ),
            ".pos",
            frozenset({"G1.displacement_east", "G1.displacement_up"}),
            "G1.displacement_north",
            POSITIONS | {t.VALUE: "a position is whole or none"},
            ("--station",),
        ),
    }
)
GRIDS = MappingProxyType(
    {
        "grid": "cells that are none are masked where rasters are read",
        "profile": "its tables are read as `wide`; its surveys: tests/features/profiles/test_files.py",
    }
)
assert t.SIGMA not in {name for one in FILES.values() for name in one.lacks}
AT = datetime(2026, 3, 1, 6, tzinfo=UTC)
NOW = AT + timedelta(days=30)
READ = [name for name, reader in list_readers().items() if reader.content is Content.READINGS and name not in GRIDS]


def has(trap):
    return pytest.mark.parametrize("name", [n for n in READ if n not in FILES or trap not in FILES[n].lacks])


@pytest.fixture
def gate(tmp_path):
    (tmp_path / "m.toml").write_text(TABLE)
    site = t.make_site()

    def read(name, rows, around=b"%b"):
        told = FILES[name]
        path = tmp_path / f"a{told.suffix}"
        path.write_bytes(around % (told.head + "".join(told.spell(*row) for row in rows)).encode())
        mapping = load_mapping(tmp_path / "m.toml") if "--mapping" in told.options else None
        origins = tuple((s.id, s.origin) for s in site.stations if s.origin is not None)
        said = ImportOptions(mapping, station="G1" if "--station" in told.options else None, origins=origins)
        with open_empty_database(site) as db:
            pipeline = Pipeline(db, {site.id: site}, lambda: NOW)
            result = FileImport(
                path,
                pipeline,
                site,
                lambda: NOW,
                mapping=mapping,
                accept_units=True,
                open_lines=lambda: open_readings(name)(path, said),
            ).run()
            with db.read() as c:
                stored = c.exec_driver_sql(
                    "SELECT s.station || '.' || s.quantity, o.value_raw, o.sigma, o.flags, o.observed_at "
                    "FROM observation o JOIN series s ON s.id = o.series_id ORDER BY o.observed_at"
                ).all()
        return result, stored

    return read


def sound(name):
    return "0.002" if name == "gnss" else "4.5"


@pytest.mark.parametrize("name", [n for n, reader in list_readers().items() if reader.content is Content.READINGS])
def test_every_reader_of_readings_has_its_traps(name):
    assert name in FILES or name in GRIDS, f"{name}: no traps in this file"


def at(k):
    return f"{AT + timedelta(days=k):%Y-%m-%dT%H:%M:%SZ}"


@has(t.VALUE)
def test_what_is_no_value_is_missing_for_itself_alone(name, gate):
    tokens = ["NaN", "nan", "", "inf", "-inf"] if name == "gnss" else NO_VALUES  # C writes no other words
    result, stored = gate(name, [(token, "0.5", at(k)) for k, token in enumerate(tokens)])
    assert Counter(row[0] for row in stored) == dict.fromkeys(FILES[name].good, len(tokens))
    assert (result.rejected, result.missing) == (0, len(tokens))


@has(t.SIGMA)
def test_an_error_that_is_none_counts_as_none_stated(name, gate):
    sigmas = [*BAD_SIGMAS, "0.05"]
    result, stored = gate(name, [(sound(name), sigma, at(k)) for k, sigma in enumerate(sigmas)])
    assert result.rejected == 0
    found = [sigma for key, _, sigma, _, _ in stored if key == FILES[name].trap]
    assert found[:-1] == [None] * len(BAD_SIGMAS)
    assert found[-1] > 0.0


@pytest.mark.one_case_in(4)
@has(t.SURROUNDED)
@pytest.mark.parametrize("around", AROUND)
def test_what_stands_around_is_no_content(name, around, gate):
    if around.startswith(b"\xef\xbb\xbf") and name in {"gnss", "rtklib"}:
        pytest.skip("its first line is known by its first letters")
    plain, as_it_is = gate(name, [(sound(name), "0.05", t.TIME)])
    result, stored = gate(name, [(sound(name), "0.05", t.TIME)], around)
    assert stored == as_it_is
    assert (result.valid, result.rejected) == (plain.valid, 0)


@has(t.TIMES)
def test_small_letters_and_a_leap_second_are_read(name, gate):
    times = ["2026-03-01t06:00:00z", "2026-03-01T06:59:60Z", "2026-03-01T08:00:00z"]
    result, stored = gate(name, [(sound(name), "0.05", time) for time in times])
    assert result.rejected == 0
    assert {row[4] for row in stored} == {f"2026-03-01T0{hour}:00:00.000000Z" for hour in (6, 7, 8)}


@has(t.FILL_VALUE)
def test_a_fill_is_kept_and_flagged_and_counted(name, gate):
    rows = [
        (token, "", f"{AT + timedelta(hours=k):%Y-%m-%dT%H:%M:%SZ}")
        for k, token in enumerate(["4.5", "4.6", "7999", "4.5", "-9999", "4.4"])
    ]
    result, stored = gate(name, rows)
    mine = [(value, FILL in flags) for key, value, _, flags, _ in stored if key == FILES[name].trap]
    assert mine == [(4.5, False), (4.6, False), (7999.0, True), (4.5, False), (-9999.0, True), (4.4, False)]
    assert result.flags[FILL] == 2
