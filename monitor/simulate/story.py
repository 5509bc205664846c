"""The slope of the demonstration: months of creep, then an acceleration that ends at the present, and its site file."""

from datetime import datetime, timedelta
from typing import Final

from monitor.simulate.site_file import write_duration, write_stations
from monitor.simulate.slope import SlopeModel

CREEP_MM_PER_DAY: Final = 1.0
ACCELERATES: Final = timedelta(days=20)
FAILS_AFTER: Final = timedelta(minutes=30)  # after the present: the last epochs are the fastest
LIVE: Final = timedelta(hours=18)

# Voight with 1/v linear: velocity = CREEP * ACCELERATES / time left, so 30, 120 and 200 mm/day are reached about
# 16 h, 4 h and 2.4 h before the failure; windows shorten with the level, as they must in an acceleration.
TAIL: Final = """
[[criterion]]
kind = "velocity"
stations = ["G*"]
direction = "downslope"
yellow = {over = 30.0, window = "6h"}
orange = {over = 120.0, window = "3h"}
red = {over = 200.0, window = "2h"}
min_sigma = 3.0
dwell = {hits = 2, of = 3, within = "2h"}
recover = 0.6
valid_for = "1d"
author = "simulator"
reason = "chosen so that a demonstration of minutes climbs all levels; proves nothing about a real slope"

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

[[criterion]]
kind = "forecast"
stations = ["G*"]
yellow = {over = 30.0, window = "1d"}

[[criterion]]
kind = "anomaly"
stations = ["G*"]
level = "yellow"

[[criterion]]
kind = "scene"
level = "yellow"
near_m = 500.0

[[criterion]]
kind = "inverse_velocity"
stations = ["G*"]
yellow = {within = "3d"}
orange = {within = "1d"}

[movement]
failure_velocity_mm_per_day = 500.0
[movement.progressive]
every = "1m"
action = "Somebody looks at the page of movement all the time"
[movement.unknown]
every = "15s"

[fusion]
top_needs = 2
hold_when_missing = "3d"

[scenes]
weights = "generated"

[forecast]
models = ["auto", "gru", "lstm", "graph-gru"]
horizons = ["6h", "1d", "7d"]
every = "10m"

[anomaly]
detectors = ["persistence-z", "ae"]
budget_per_sensor_month = 0.5
every = "2m"

[[recipient]]
name = "duty engineer"
channels = ["log"]
levels = ["yellow", "orange", "red"]
escalate_after = "10m"
"""


def plan_story(now: datetime, seed: int, days: float, step: timedelta, stations: int) -> SlopeModel:
    """A slope whose record began `days` ago and that fails half an hour after `now`.

    The faults of instruments lie in the first half of the record, as `plan_faults` draws them.
    """
    span = timedelta(days=days)
    start_at = now - span
    failure_at = now + FAILS_AFTER
    onset_at = failure_at - min(ACCELERATES, 0.5 * span)
    return SlopeModel(
        seed, stations, start_at, duration=span + timedelta(days=1), step=step, creep_mm_per_day=CREEP_MM_PER_DAY,
        onset_at=onset_at, failure_at=failure_at,
    )  # fmt: skip


def write_story_site(model: SlopeModel) -> str:
    """Its site file: the stations of the model, thresholds that a demonstration of minutes can cross."""
    # two readings missed and a quarter of an hour: that the slope fell silent is known soon after it failed
    return write_stations(model, write_duration(2.5 * model.step)) + TAIL
