"""The text of a new site file, for `slopeward sites init` and the import of tables."""

import re
from collections.abc import Iterator
from typing import Final

from monitor.sections import find_tables
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.schema import LevelsTable, LevelTable, make_site_file_model

# Longest window of the example criteria in seconds, highest level first. A warning must not take longer.
LONGEST_WAIT_S: Final = (2 * 86400.0, 7 * 86400.0, 120 * 86400.0)
# Smallest number of sampling intervals in a window. A fitted line needs them for its standard error.
FEWEST_INTERVALS: Final = 4


def write_first_site(name: str) -> str:
    """Return a site file with two independent stations, a control station and a rain gauge, with comments."""
    text = FIRST_SITE.replace("@ID@", name).replace("@NAME@", name.replace("-", " ").capitalize())
    return "\n".join(_add_comments(text.split("\n")))


def _add_comments(lines: list[str]) -> Iterator[str]:
    """Append the description of each key to the first line with that key."""
    criteria = load_criteria()
    tables = {head.strip("[]"): table for head, table in find_tables(make_site_file_model())} | {"levels": LevelsTable}
    section = ""
    described: set[tuple[str, str]] = set()
    for line in lines:
        heading = re.match(r"\[+([\w.]+)\]", line)
        if heading:
            section = heading[1]
        kind = re.match(r'kind = "(\w+)"', line)
        if kind:
            tables[section] = criteria[kind[1]].table
        table = LevelTable if section.startswith("levels.") else tables.get(section)
        key = line.partition(" = ")[0]
        fields = () if table is None or "#" in line else table.model_fields.items()
        description = next((field.description for name, field in fields if key == (field.alias or name)), None)
        if description is None or (section, key) in described:
            yield line
        else:
            described.add((section, key))
            yield f"{line:<38} # {description}"


EXAMPLES_COMMENT: Final = "# Change every number below: they are examples and prove nothing about this slope.\n"
FIRST_SITE = """\
# @ID@: one file = one slope. Check it with `slopeward check`.
# Durations are written 15m, 6h, 7d. Thresholds are in canonical units: mm, mm/day, mrad, kPa, m.
# Change every number below: they are examples and prove nothing about this slope.

[site]
id = "@ID@"
name = "@NAME@"
latitude = 46.2
longitude = 8.9
timezone = "UTC"

[levels]                               # ordered; 0 is the first
names = ["green", "yellow", "orange", "red"]
auto_lower = ["yellow"]
[levels.yellow]
action = "Inform the geologist"
review_every = "12h"
[levels.orange]
action = "Geologist on site"
review_every = "2h"
[levels.red]
action = "Close the road below the slope"
review_every = "30m"

[[station]]                            # publishes on slopeward/v1/@ID@/G1/obs
id = "G1"
latitude = 46.2011
longitude = 8.9022
height_m = 1410.0
azimuth_deg = 205.0
plunge_deg = 28.0
reference = "BASE-1"
logger = "logger-1"
[[station.series]]
quantity = "displacement"              # east, north, up in mm
unit = "mm"
interval = "1h"
max_silence = "6h"
noise_floor_mm = 1.5
verify_step_mm = 25.0

[[station]]
id = "E1"                              # an extensometer on a logger of its own: the second witness
latitude = 46.2014
longitude = 8.9026
logger = "logger-2"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
max_silence = "6h"
noise_floor_mm = 0.2

[[station]]
id = "C1"                              # stable ground: shows what the reference does
latitude = 46.2040
longitude = 8.9022
reference = "BASE-1"
logger = "logger-1"
on_slope = false
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
max_silence = "6h"

[[station]]
id = "R1"
logger = "logger-3"
[[station.series]]
quantity = "rain"
unit = "mm"
interval = "1h"
max_silence = "6h"
stamp = "interval_end"

[[criterion]]
kind = "velocity"
stations = ["*"]
yellow = {over = 2.0, window = "7d"}   # mm/day
orange = {over = 20.0, window = "2d"}
red = {over = 100.0, window = "6h"}
min_sigma = 3.0
dwell = {hits = 3, of = 4, within = "6h"}
recover = 0.6
valid_for = "12h"
author = ""
reason = ""

[[criterion]]
kind = "rate"
series = "E1.crack_opening"
yellow = {over = 2.0, window = "1d"}   # mm per day
orange = {over = 20.0, window = "12h"}
red = {over = 100.0, window = "6h"}

[[criterion]]
kind = "rain_sum"
series = "R1.rain"
yellow = {over = 60.0, window = "24h"} # mm
min_coverage = 0.8

[[criterion]]
kind = "inverse_velocity"              # when it fails if the acceleration continues: advice, changes no level
stations = ["*"]
yellow = {within = "7d"}
orange = {within = "2d"}

[movement.progressive]                 # each stage of movement: how often to look, and what people do
every = "5m"
forecast_every = "1h"
action = "Look at the page of movement, every shift"

[fusion]
top_needs = 2
hold_when_missing = "3d"

[forecast]                             # networks take part when they have 200 rows
models = ["gru", "lstm", "graph-gru"]
horizons = ["1d", "7d", "30d"]
every = "6h"

[anomaly]                              # what these find is advice until a test shows that it adds to the rules here:
# `slopeward anomalies bench --site @ID@` keeps that test; "ae" is an autoencoder, trained when readings suffice
detectors = ["rules", "ae", "flatline", "replay", "unit-jump", "timing"]
budget_per_sensor_month = 0.1

[[recipient]]
name = "engineer"                      # who gets the messages; unique in the site
channels = ["log"]                     # "email:ada@example.org", "apprise:ADA_URL" (name of an environment variable)
levels = ["yellow", "orange", "red"]
escalate_after = "10m"
digest = "07:00"
# ledgers = ["hazard", "health", "advice"]   # suggestions also at once: grouped, never an alarm, quiet hours hold
"""
