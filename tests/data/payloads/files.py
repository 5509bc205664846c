"""One file of each reader of readings in which one value is a trap and the others are sound."""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

from tests.data.payloads.traps import FILLED, SIGMA, TIMES, VALUE

NO_VALUES = ("NaN", "nan", "null", "", "inf", "-inf", "-Infinity", "#N/A", "--")
BAD_SIGMAS = ("NaN", "-1", "x", "", "inf")
AROUND = (b"\xef\xbb\xbf%b", b"%b\0\0\0\0", b"\0\0%b\r\n")
MAPPING = """
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


POSITIONS = {TIMES: "its times are days", FILLED: "a displacement is counted from an origin"}
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
            POSITIONS | {VALUE: "a position is whole or none"},
            ("--station",),
        ),
    }
)
GRIDS = MappingProxyType({"grid": "cells that are none are masked where rasters are read"})
assert SIGMA not in {name for one in FILES.values() for name in one.lacks}
