"""A site that begins: 24 rovers of whose noise nobody says a word, drawn from seeds."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta

from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from monitor.text.instants import parse_time

ROVERS = tuple(f"G{number:02}" for number in range(1, 25))
MOVERS = ("G01", "G09", "G17")  # one on each base
BEGIN = parse_time("2026-03-01T00:00:00Z")
# seconds, and the window of the velocity
PACES = {"5s": (5.0, "10m"), "1h": (3600.0, "1d"), "1d": (86400.0, "7d")}
Motion = Callable[[int], float]  # mm east at an epoch

_HEAD = """\
[site]
id = "new"
name = "New site"
latitude = 46.2
longitude = 8.9

[levels]
names = ["green", "yellow", "orange", "red"]

[[criterion]]
kind = "velocity"
stations = ["G*"]
direction = "norm"
yellow = {{over = 10.0, window = "{window}"}}
orange = {{over = 50.0, window = "{window}"}}
red = {{over = 200.0, window = "{window}"}}

[[recipient]]
name = "duty"
channels = ["log"]
levels = ["yellow", "orange", "red"]
"""
_STATION = """
[[station]]
id = "{name}"
latitude = 46.2
longitude = 8.9
reference = "B{base}"
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "{interval}"
{more}
"""


def write_site(pace: str, more: str = "") -> str:
    """24 rovers on three bases; `more` goes into the table of each series."""
    text = _HEAD.format(window=PACES[pace][1])
    for place, name in enumerate(ROVERS):
        text += _STATION.format(name=name, base=place // 8, interval=pace, more=more)
    return text


def make_site(pace: str, more: str = "") -> Site:
    """The same, read."""
    return parse_site(write_site(pace, more), "new.toml")


def stand(epoch: int) -> float:
    """Nothing moves."""
    return 0.0


def jump(size_mm: float, at: int) -> Motion:
    """A jump that lasts."""
    return lambda epoch: size_mm if epoch >= at else 0.0


def draw(
    pace: str, noise_mm: float, seed: int, *, epochs: int, motion: Motion = stand, silent_from: int | None = None
) -> Iterator[Observation]:
    """What the rovers say; the movers go with `motion`, and say nothing more from an epoch on."""
    dice = random.Random(f"{pace}{noise_mm}{seed}")
    for epoch in range(epochs):
        at = BEGIN + timedelta(seconds=epoch * PACES[pace][0])
        for name in ROVERS:
            moved = motion(epoch) if name in MOVERS else 0.0
            east, north, up = (dice.gauss(0.0, noise_mm * scale) for scale in (1.0, 1.0, 2.0))
            if name in MOVERS and silent_from is not None and epoch >= silent_from:
                continue
            for axis, value in (("east", east + moved), ("north", north), ("up", up)):
                yield Observation("new", name, f"displacement_{axis}", "mm", at, at, value)
