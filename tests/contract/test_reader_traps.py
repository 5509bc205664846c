"""Every file reader refuses implausible times and changed headers, and stores them only on request."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from monitor.cli.main import run_command
from monitor.ingest.files.readers import Content, list_readers
from monitor.worker import compute
from tests.contract.test_readers import here, spell_grid, spell_licsbas, spell_mintpy, stored
from tests.data.servers.file_server import run_here

__all__ = ["here"]
PAST = datetime(2024, 3, 1, 6, tzinfo=UTC)
AHEAD = datetime.now(UTC).replace(month=1, day=5, hour=6, minute=0, second=0, microsecond=0) + timedelta(days=800)
EARLY = datetime(1940, 3, 1, 6, tzinfo=UTC)
COUNT = 6
RTKLIB = (
    "%  {}  latitude(deg) longitude(deg) height(m) Q ns sdn(m) sde(m) sdu(m) sdne(m) sdeu(m) sdun(m) age(s) ratio\n"
)
POINTS = "time,point,latitude,longitude,value\n"
PID = "pid,latitude,longitude,height_ortho"
CODE = "CODE,lat,lon,height,VEL"


def make_rtklib(days):
    rows = "".join(f"{at:%Y/%m/%d %H:%M:%S}.000 46.2 8.9 1410.1 1 8 .0003 .0002 .001 0 0 0 0 9\n" for at in days)
    return RTKLIB.format("UTC") + rows


def make_egms(days):
    head = ",".join([PID, *(f"{at:%Y%m%d}" for at in days)])
    rows = (",".join([f"p{k},46.{k},8.0,900", *(str(n + k) for n in range(COUNT))]) for k in range(2))
    return "\n".join([head, *rows, ""])


def make_wide_points(days):
    head = ",".join([CODE, *(f"D{at:%Y%m%d}" for at in days)])
    rows = (
        ",".join([f"A{k}", f"46.{k}", "8.0", "900", "365.2", *(f"{n + k}.5" for n in range(COUNT))]) for k in range(2)
    )
    return "\n".join([head, *rows, ""])


def make_grid(days):
    return spell_grid([(at - PAST) / timedelta(hours=1) for at in days], f"{PAST:%Y-%m-%d %H:%M:%S}")


def make_mintpy(days):
    return spell_mintpy([f"{at:%Y%m%d}" for at in days], 0.0)


def make_licsbas(days):
    return spell_licsbas([f"{at:%Y%m%d}" for at in days], 0.0)


def spell_rows(head, line):
    return lambda days: head + "".join(line(at, k) for k, at in enumerate(days))


LOS = ("--set", "desc", "--direction", "los-towards")
# Reader: function that returns a file of the given days, required options, and a contradicting header.
TRAPS = MappingProxyType(
    {
        "long": (
            spell_rows(
                "time,station,quantity,value\n", lambda at, k: f"{at:%Y-%m-%dT%H:%M:%SZ},G1,displacement_mm,{k}.4\n"
            ),
            (),
            "time,station,quantity,sigma\n",
        ),
        "wide": (
            spell_rows("Date;G1/mm\n", lambda at, k: f"{at:%Y-%m-%dT%H:%M:%S};{k}.4\n"),
            ("--mapping", "m.toml"),
            "Date;G1/cm\n",
        ),
        "gnss": (
            spell_rows(
                "site YYMMMDD yyyy.yyyy __MJD week d reflon _e0(m) __east(m) ____n0(m) _north(m) u0(m) ____up(m) "
                "_ant(m) sig_e(m) sig_n(m) sig_u(m) __corr_en __corr_eu __corr_nu\n",
                lambda at, k: (
                    f"G001 {at:%y%b%d}".upper() + f" 2024.1 61100 2408 0 8.9 4 .0{k} 5 .002 6 .004 .1 "
                    ".001 .001 .003 0 0 0\n"
                ),
            ),
            (),
            "site sec-J2000 __MJD year mm dd doy s-day ___e-ref(m) ___n-ref(m) ___v-ref(m)\n",
        ),
        "rtklib": (make_rtklib, ("--station", "P1"), RTKLIB.format("GPST")),
        "egms": (make_egms, (), f"{PID},20240301,20240302\n"),
        "insar-wide": (make_wide_points, (*LOS, "--unit", "mm"), f"{CODE},D20240301,D20240302\n"),
        "insar-points": (
            spell_rows(POINTS, lambda at, k: f"{at:%Y-%m-%dT%H:%M:%SZ},p1,46.0,8.0,-{k}.4\n"),
            (*LOS, "--unit", "mm"),
            "time,point,longitude,value\n",
        ),
        "grid": (make_grid, ("--quantity", "rain"), None),  # an array without lines
        "insar-grid": (make_grid, LOS, None),
        "mintpy": (make_mintpy, (), None),
        "licsbas": (make_licsbas, ("--set", "desc"), None),
        "profile": (
            spell_rows("Date,A_0.5,A_1.5\n", lambda at, k: f"{at:%Y-%m-%dT%H:%M:%SZ},{k}.4,0.1\n"),
            ("--station", "I1", "--unit", "mm"),
            "Date,A_0.5,A_2.5\n",
        ),
    }
)
ALL = pytest.mark.parametrize("name", list_readers())
OF_LINES = pytest.mark.parametrize("name", [n for n in list_readers() if n not in TRAPS or TRAPS[n][2] is not None])


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(compute, "run", run_here)


def list_days(begin):
    return [begin + timedelta(days=k) for k in range(COUNT)]


def write_file(name, content):
    path = Path(f"EGMS_L2b_a{list_readers()[name].suffixes[0]}")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def ingest_file(name, path, *more):
    return run_command(["ingest", str(path), "--site", "bench", "--format", name, *TRAPS[name][1], *more])


def test_every_reader_has_a_file_with_a_contradicting_header():
    assert set(TRAPS) == set(list_readers())


@ALL
def test_a_record_of_the_past_is_stored_without_a_question(name, here, capsys):
    assert ingest_file(name, write_file(name, TRAPS[name][0](list_days(PAST)))) == 0, capsys.readouterr().err
    assert stored() >= COUNT


@pytest.mark.one_case_in(3)
@ALL
@pytest.mark.parametrize("begin", [AHEAD, EARLY], ids=["ahead of now", "before 1950"])
def test_record_with_implausible_times_is_stored_only_on_request(name, begin, here, capsys):
    path = write_file(name, TRAPS[name][0](list_days(begin)))
    assert ingest_file(name, path) in {1, 4}
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert any(word in error for word in ("ahead of now", "before 1950", "future", "before 1981")), error
    assert stored() == 0
    if list_readers()[name].content is Content.READINGS and begin is AHEAD:
        assert ingest_file(name, path, "--accept-times", "--accept-units") == 0, capsys.readouterr().err
        assert stored() >= COUNT


@OF_LINES
def test_repeated_header_loses_no_row(name, here, capsys):
    content = TRAPS[name][0](list_days(PAST))
    head, *rows = content.splitlines(keepends=True)
    half = len(rows) // 2
    assert ingest_file(name, write_file(name, "".join([head, *rows[:half], head, *rows[half:]]))) == 0, (
        capsys.readouterr().err
    )
    assert stored() >= COUNT


@OF_LINES
def test_a_part_with_another_head_is_refused_with_its_line(name, here, capsys):
    content = TRAPS[name][0](list_days(PAST))
    _, *rows = content.splitlines(keepends=True)
    assert ingest_file(name, write_file(name, content + TRAPS[name][2] + "".join(rows))) == 1
    reason = "starts a second table" if name == "profile" else "begins another part"
    assert f"line {len(rows) + 2} {reason}" in capsys.readouterr().err
