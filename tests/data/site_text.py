"""Pieces of site files: head, stations and series, for tests that add the criteria they are about."""

import json
from datetime import date, timedelta
from typing import Any, Final

from monitor.features.demo.slope import SlopeModel
from monitor.features.demo.story import write_duration, write_stations

THREE: Final = {"names": ["green", "yellow", "red"]}
FOUR: Final = {"names": ["green", "yellow", "orange", "red"], "auto_lower": ["yellow"]}


def head(site: str, name: str = "", latitude: float = 46.0, longitude: float = 8.0, **more: Any) -> str:
    """`[site]`; a table of `more` (`levels={...}`) follows it."""
    tables = {key: table for key, table in more.items() if isinstance(table, dict)}
    facts = {"id": site, "name": name or site.capitalize(), "latitude": latitude, "longitude": longitude} | more
    return _spell("[site]", {k: v for k, v in facts.items() if k not in tables}) + "".join(
        _spell(f"[{key}]", table) for key, table in tables.items()
    )


def station(name: str, *series: str, **facts: Any) -> str:
    """`[[station]]` with its series."""
    return _spell("[[station]]", {"id": name} | facts) + "".join(series)


def series(quantity: str, unit: str, interval: str = "1h", **facts: Any) -> str:
    """`[[station.series]]`."""
    return _spell("[[station.series]]", {"quantity": quantity, "unit": unit, "interval": interval} | facts)


def criterion(kind: str, /, **facts: Any) -> str:
    """`[[criterion]]`; bounds are dicts: `yellow={"over": 6.0, "window": "1d"}`."""
    return _spell("[[criterion]]", {"kind": kind} | facts)


def bounds(**levels: str) -> dict[str, dict[str, Any]]:
    """Bounds of a criterion, each a value and its window: `bounds(yellow="6 1d", red="80 8h")`."""
    said = {level: text.split() for level, text in levels.items()}
    return {level: {"over": float(over), "window": window} for level, (over, window) in said.items()}


def table(heading: str, /, **facts: Any) -> str:
    """Any other table: `table("[fusion]", top_needs=1)`."""
    return _spell(heading, facts)


def along(name: str, interval: str, max_silence: str, **facts: Any) -> str:
    """`[[station]]` that measures its displacement along a horizontal line to the east."""
    moved = series("displacement", "mm", interval, max_silence=max_silence)
    return station(name, moved, azimuth_deg=90.0, plunge_deg=0.0, **facts)


def _spell(heading: str, facts: dict[str, Any]) -> str:
    return f"{heading}\n" + "".join(f"{key} = {_write(value)}\n" for key, value in facts.items())


def _write(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_write(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_write, value))}]"
    return value.isoformat() if isinstance(value, date) else json.dumps(value, ensure_ascii=False)


SIMULATED_CRITERIA = """
[[criterion]]
kind = "velocity"
stations = ["G*"]
direction = "downslope"
yellow = {{over = 3.0, window = "{slow}"}}
orange = {{over = 12.0, window = "{middle}"}}
red = {{over = 45.0, window = "{fast}"}}
min_sigma = 3.0
dwell = {{hits = 3, of = 4, within = "{dwell}"}}
recover = 0.6
valid_for = "{valid}"
author = "simulator"
reason = "three, twelve and forty-five times the simulated creep of 1 mm/day"

[[criterion]]
kind = "rate"
series = "E1.crack_opening"
yellow = {{over = 3.0, window = "{slow}"}}
orange = {{over = 12.0, window = "{middle}"}}
red = {{over = 45.0, window = "{fast}"}}
dwell = {{hits = 3, of = 4, within = "{dwell}"}}
recover = 0.6
valid_for = "{valid}"
author = "simulator"
reason = "the same rates as the velocity, on another logger"

[[criterion]]
kind = "inverse_velocity"
stations = ["G*"]
yellow = {{within = "3d"}}
orange = {{within = "1d"}}
author = "simulator"
reason = "advice only: when it would fail if the acceleration went on"

[[criterion]]
kind = "anomaly"
level = "yellow"
author = "simulator"
reason = "advice only: no detector has been promoted here"

[[criterion]]
kind = "scene"
level = "yellow"
author = "simulator"
reason = "advice only: a footprint on a single date"

[[criterion]]
kind = "rain_intensity_duration"
series = "R1.rain"
a = 14.82
b = 0.39
c = 0.0
duration = ["1h", "240h"]
min_coverage = 0.8
level = "yellow"
author = "simulator"
reason = "published global curve (Caine 1980), unverified for any site"

[fusion]
top_needs = 2
hold_when_missing = "3d"

[movement]
failure_velocity_mm_per_day = 500.0
[movement.progressive]
every = "1m"
action = "Somebody looks at the page of movement all the time"
[movement.unknown]
every = "20s"

[anomaly]
detectors = ["persistence-z", "ae"]
budget_per_sensor_month = 0.1
every = "1h"

[scenes]
weights = "generated"

[forecast]
models = ["auto", "gru"]
horizons = ["1d", "7d", "30d"]
every = "6h"

[[recipient]]
name = "duty engineer"
channels = ["log"]
levels = ["yellow", "orange", "red"]
escalate_after = "10m"
"""


def write_site_toml(model: SlopeModel) -> str:
    """The file of a simulated slope; windows grow with the step of the record."""
    shortest = {
        "slow": max(timedelta(days=3), 12 * model.step),
        "middle": max(timedelta(days=1), 8 * model.step),
        "fast": max(timedelta(hours=8), 6 * model.step),
        "dwell": max(timedelta(hours=6), 5 * model.step),
        "valid": max(timedelta(hours=12), 6 * model.step),
    }
    return write_stations(model) + SIMULATED_CRITERIA.format(
        **{name: write_duration(one) for name, one in shortest.items()}
    )
