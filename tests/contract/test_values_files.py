"""Every file reader of readings imports files with missing, invalid and unusual values."""

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


class ExampleFile(NamedTuple):
    """Example file of a reader.

    Attributes:
        head: Header of the file.
        spell: Returns the lines of one epoch from the tested value, its sigma and the time.
        suffix: Suffix of the file name.
        good: Series that are valid in every epoch.
        trap: Series of the tested value.
        lacks: Traps that do not apply, with the reason.
        options: Required options of `slopeward ingest`.
    """

    head: str
    spell: Callable[[str, str, str], str]
    suffix: str
    good: frozenset[str]
    trap: str
    lacks: dict[str, str]
    options: tuple[str, ...] = ()


POSITIONS = {t.TIMES: "its times are days", t.FILL_VALUE: "a displacement is counted from an origin"}
EXAMPLE_FILES = MappingProxyType(
    {
        "long": ExampleFile(
            "time,station,quantity,value,sigma\n",
            lambda token, sigma, time: f"{time},G1,temperature_degc,20.5,\n{time},G1,tilt_x_mrad,{token},{sigma}\n",
            ".csv",
            frozenset({"G1.temperature"}),
            "G1.tilt_x",
            {},
        ),
        "wide": ExampleFile(
            "time,a,b,error\n",
            lambda token, sigma, time: f"{time},20.5,{token},{sigma}\n",
            ".csv",
            frozenset({"G1.temperature"}),
            "G1.tilt_x",
            {},
            ("--mapping",),
        ),
        "gnss": ExampleFile(
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
        "rtklib": ExampleFile(
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
assert t.SIGMA not in {name for one in EXAMPLE_FILES.values() for name in one.lacks}
AT = datetime(2026, 3, 1, 6, tzinfo=UTC)
NOW = AT + timedelta(days=30)
READ = [name for name, reader in list_readers().items() if reader.content is Content.READINGS and name not in GRIDS]


def for_readers_with(trap):
    return pytest.mark.parametrize(
        "name", [n for n in READ if n not in EXAMPLE_FILES or trap not in EXAMPLE_FILES[n].lacks]
    )


@pytest.fixture
def import_rows(tmp_path):
    (tmp_path / "m.toml").write_text(TABLE)
    site = t.make_site()

    def read(name, rows, around=b"%b"):
        example = EXAMPLE_FILES[name]
        path = tmp_path / f"a{example.suffix}"
        path.write_bytes(around % (example.head + "".join(example.spell(*row) for row in rows)).encode())
        mapping = load_mapping(tmp_path / "m.toml") if "--mapping" in example.options else None
        origins = tuple((s.id, s.origin) for s in site.stations if s.origin is not None)
        options = ImportOptions(mapping, station="G1" if "--station" in example.options else None, origins=origins)
        with open_empty_database(site) as db:
            pipeline = Pipeline(db, {site.id: site}, lambda: NOW)
            result = FileImport(
                path,
                pipeline,
                site,
                lambda: NOW,
                mapping=mapping,
                accept_units=True,
                open_lines=lambda: open_readings(name)(path, options),
            ).run()
            with db.read() as c:
                stored = c.exec_driver_sql(
                    "SELECT s.station || '.' || s.quantity, o.value_raw, o.sigma, o.flags, o.observed_at "
                    "FROM observation o JOIN series s ON s.id = o.series_id ORDER BY o.observed_at"
                ).all()
        return result, stored

    return read


def valid_token(name):
    return "0.002" if name == "gnss" else "4.5"


@pytest.mark.parametrize("name", [n for n, reader in list_readers().items() if reader.content is Content.READINGS])
def test_every_reader_of_readings_has_an_example_file(name):
    assert name in EXAMPLE_FILES or name in GRIDS, f"{name}: no traps in this file"


def format_day(k):
    return f"{AT + timedelta(days=k):%Y-%m-%dT%H:%M:%SZ}"


@for_readers_with(t.VALUE)
def test_invalid_value_does_not_affect_other_values(name, import_rows):
    tokens = (
        ["NaN", "nan", "", "inf", "-inf"] if name == "gnss" else NO_VALUES
    )  # the only words that programs in C write
    result, stored = import_rows(name, [(token, "0.5", format_day(k)) for k, token in enumerate(tokens)])
    assert Counter(row[0] for row in stored) == dict.fromkeys(EXAMPLE_FILES[name].good, len(tokens))
    assert (result.rejected, result.missing) == (0, len(tokens))


@for_readers_with(t.SIGMA)
def test_value_with_an_invalid_sigma_is_stored_without_it(name, import_rows):
    sigmas = [*BAD_SIGMAS, "0.05"]
    result, stored = import_rows(name, [(valid_token(name), sigma, format_day(k)) for k, sigma in enumerate(sigmas)])
    assert result.rejected == 0
    stored_sigmas = [sigma for key, _, sigma, _, _ in stored if key == EXAMPLE_FILES[name].trap]
    assert stored_sigmas[:-1] == [None] * len(BAD_SIGMAS)
    assert stored_sigmas[-1] > 0.0


@pytest.mark.one_case_in(4)
@for_readers_with(t.SURROUNDED)
@pytest.mark.parametrize("around", AROUND)
def test_surrounding_nul_blanks_and_byte_order_mark_are_ignored(name, around, import_rows):
    if around.startswith(b"\xef\xbb\xbf") and name in {"gnss", "rtklib"}:
        pytest.skip("its first line is known by its first letters")
    plain, plain_stored = import_rows(name, [(valid_token(name), "0.05", t.TIME)])
    result, stored = import_rows(name, [(valid_token(name), "0.05", t.TIME)], around)
    assert stored == plain_stored
    assert (result.valid, result.rejected) == (plain.valid, 0)


@for_readers_with(t.TIMES)
def test_times_in_lower_case_and_with_leap_seconds_are_read(name, import_rows):
    times = ["2026-03-01t06:00:00z", "2026-03-01T06:59:60Z", "2026-03-01T08:00:00z"]
    result, stored = import_rows(name, [(valid_token(name), "0.05", time) for time in times])
    assert result.rejected == 0
    assert {row[4] for row in stored} == {f"2026-03-01T0{hour}:00:00.000000Z" for hour in (6, 7, 8)}


@for_readers_with(t.FILL_VALUE)
def test_fill_value_is_stored_flagged_and_counted(name, import_rows):
    rows = [
        (token, "", f"{AT + timedelta(hours=k):%Y-%m-%dT%H:%M:%SZ}")
        for k, token in enumerate(["4.5", "4.6", "7999", "4.5", "-9999", "4.4"])
    ]
    result, stored = import_rows(name, rows)
    flagged = [(value, FILL in flags) for key, value, _, flags, _ in stored if key == EXAMPLE_FILES[name].trap]
    assert flagged == [(4.5, False), (4.6, False), (7999.0, True), (4.5, False), (-9999.0, True), (4.4, False)]
    assert result.flags[FILL] == 2
