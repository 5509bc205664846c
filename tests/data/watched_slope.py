"""A small slope in a database: two rovers that can accelerate, evaluated every hour."""

import copy
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from sqlalchemy import Connection, select

from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import EvaluationResult, evaluate_site
from monitor.alerts.evaluation_tables import decision
from monitor.alerts.queries.evaluations import load_decision
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, save_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.text.instants import parse_time

START: Final = parse_time("2026-03-01T00:00:00Z")
HOUR: Final = timedelta(hours=1)
SITE_TEXT: Final = """\
[site]
id = "bench"
name = "North bench"
latitude = 46.2
longitude = 8.9

[levels]
names = ["green", "yellow", "orange", "red"]
[levels.red]
action = "Clear the pit floor"

[[station]]
id = "G1"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
max_silence = "6h"
noise_floor_mm = 1.0

[[station]]
id = "G2"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
max_silence = "6h"
noise_floor_mm = 1.0

[[criterion]]
kind = "rate"
stations = ["G*"]
quantity = "crack_opening"
yellow = {over = 6.0, window = "1d"}
orange = {over = 24.0, window = "12h"}
red = {over = 80.0, window = "8h"}
dwell = {hits = 2, of = 3, within = "6h"}
recover = 0.6
valid_for = "12h"
author = "A. Rossi"
reason = "record of 2022 to 2025"

[fusion]
top_needs = 2
hold_when_missing = "2d"

[[recipient]]
name = "duty engineer"
channels = ["log", "log:second"]
levels = ["orange", "red"]
"""


class WatchedSlope:
    """A slope with hourly readings and evaluations."""

    def __init__(self, database: Database, text: str = SITE_TEXT, seed: int = 1) -> None:
        self.database, self.site, self.now = database, parse_site(text, "bench.toml"), START
        self.rng = random.Random(seed)
        self.position = {s.id: 0.0 for s in self.site.stations}
        with database.write() as c:
            save_site(c, self.site, "test", "first version", START)

    def in_copy(self, database: Database) -> Self:
        """Return the slope at the same instant, with a copy of its database."""
        other = copy.copy(self)
        other.database, other.position, other.rng = database, dict(self.position), copy.copy(self.rng)
        return other

    def take(self, site: Site) -> None:
        """Store another version of the site file and use it from now on."""
        self.site = site
        with self.database.write() as c:
            save_site(c, site, "test", "another version", self.now)

    def publish(
        self, station: str, value: float, at: datetime, *, solution: str | None = None, flags: tuple[str, ...] = ()
    ) -> None:
        """Store one reading that is received now."""
        row = Observation("bench", station, "crack_opening", "mm", at, self.now, value, solution=solution, flags=flags)
        with self.database.write() as c:
            add_observations(c, [row], self.now)

    def live(self, hours: int, rates: dict[str, float] | None = None, *, looks: int | None = None) -> EvaluationResult:
        """Store hourly readings and evaluate the last `looks` hours, or all. `rates` are in mm/day by station."""
        for hour in range(hours):
            self.now += HOUR
            for name in self.position:
                self.position[name] += (rates or {}).get(name, 0.0) / 24.0
                self.publish(name, self.position[name] + self.rng.gauss(0.0, 0.3), self.now)
            if looks is None or hour >= hours - looks:
                result = evaluate_site(self.database, self.site, self.now, "data")
        return result

    def fail(self) -> EvaluationResult:
        """Store a quiet day, then let both rovers accelerate up to the highest level."""
        self.live(26, looks=1)
        return self.live(10, {"G1": 150.0, "G2": 140.0})


def recompute_every(c: Connection) -> list[str]:
    """Recompute every decision from its stored inputs and return the differences."""
    differences: list[str] = []
    for number, evidence in c.execute(select(decision.c.id, decision.c.evidence)).all():
        row = load_decision(c, number)
        source = load_site_source(c, row.config_sha256) if '"view":' in evidence else ""
        differences += recompute(row, source).differences
    return differences


def write_service(folder: Path, database: Database, text: str | None = SITE_TEXT) -> Path:
    """Write a service file for the database, and a site file unless `text` is None. Return the service file."""
    sites = folder / "sites"
    sites.mkdir(exist_ok=True)
    if text is not None:
        (sites / "bench.toml").write_text(text, encoding="utf-8")
    url = database.url.render_as_string(hide_password=False)
    service = folder / "slopeward.toml"
    service.write_text(f'[database]\nurl = "{url}"\n[paths]\nsites = "{sites}"\n', encoding="utf-8")
    return service
