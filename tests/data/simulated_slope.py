"""The simulated slope of the demo: its messages are stored, and the site is evaluated."""

import json
from datetime import timedelta
from typing import Final

from monitor.alerts.evaluate import evaluate_site
from monitor.features.demo.slope import SlopeModel
from monitor.features.demo.story import plan_story, write_duration, write_stations, write_story_site
from monitor.features.movement.update import update_movement
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.service_state import write_heartbeat

READING_INTERVAL: Final = timedelta(minutes=10)
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
detectors = ["rules", "ae"]
budget_per_sensor_month = 0.1
every = "1h"

[scenes]
weights = "generated"

[forecast]
models = ["gru"]
horizons = ["1d", "7d", "30d"]
every = "6h"

[[recipient]]
name = "duty engineer"
channels = ["log"]
levels = ["yellow", "orange", "red"]
escalate_after = "10m"
"""


class SimulatedSlope:
    """Store what the instruments of the simulated slope send up to an instant, and evaluate the site."""

    def __init__(self, database, end, days=3.0, write=write_story_site, stations=2, interval=READING_INTERVAL):
        self.database = database
        self.model = plan_story(end, 4, 40.0, interval, stations)
        self.site = parse_site(write(self.model), "sim-slope.toml")
        self.now = end - timedelta(days=days)
        with database.write() as c:
            save_site(c, self.site, "test", "test", self.now)
        self.pipeline = Pipeline(database, {self.site.id: self.site}, lambda: self.now)

    def receive_until(self, at, received_at=None):
        """Store what the instruments measure before `at`; each message is received at once, or all at `received_at`."""
        messages = [
            BrokerMessage(
                f"slopeward/v1/{self.site.id}/{sample.station}/obs",
                json.dumps(sample.payload).encode(),
                received_at or sample.at,
                "live",
            )
            for sample in self.model.samples(self.now, at)
        ]
        self.now = at
        outcome = self.pipeline.store(messages)
        assert not outcome.unwritten

    def store_until(self, at):
        """Store what the instruments measure before `at`, and evaluate the site and its movement."""
        self.receive_until(at)
        result = evaluate_site(self.database, self.site, at, "data")
        update_movement(self.database, self.site, at)
        with self.database.write() as c:
            write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, at)
        return result


def write_site_toml(model: SlopeModel) -> str:
    """Return the site file of a simulated slope. Windows of criteria grow with the interval of the record."""
    shortest = {
        "slow": max(timedelta(days=3), 12 * model.step),
        "middle": max(timedelta(days=1), 8 * model.step),
        "fast": max(timedelta(hours=8), 6 * model.step),
        "dwell": max(timedelta(hours=6), 5 * model.step),
        "valid": max(timedelta(hours=12), 6 * model.step),
    }
    return write_stations(model) + SIMULATED_CRITERIA.format(
        **{name: write_duration(duration) for name, duration in shortest.items()}
    )
