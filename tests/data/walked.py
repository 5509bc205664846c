"""A simulated slope, read as its instruments send it and decided at each look, with its movement judged."""

import json
from datetime import timedelta

from monitor.alerting.decision.evaluate import evaluate_site
from monitor.config.service import parse_site
from monitor.ingest.message import Message
from monitor.ingest.pipeline import Pipeline
from monitor.movement.update import update_movement
from monitor.simulate.story import plan_story, write_story_site
from monitor.store.alerting.sites import save_site
from monitor.store.service_state import stamp

STEP = timedelta(minutes=10)


class WalkedSlope:
    """A database that hears the simulated slope up to an instant."""

    def __init__(self, database, end, days=3.0, write=write_story_site):
        self.database, self.model = database, plan_story(end, 4, 40.0, STEP, 2)
        self.site = parse_site(write(self.model), "sim-slope.toml")
        self.now = end - timedelta(days=days)
        with database.write() as c:
            save_site(c, self.site, "test", "test", self.now)
        self.pipeline = Pipeline(database, {self.site.id: self.site}, lambda: self.now)

    def hear_until(self, at):
        messages = [
            Message(f"slopeward/v1/{self.site.id}/{s.station}/obs", json.dumps(s.payload).encode(), s.at, "live")
            for s in self.model.samples(self.now, at)
        ]
        self.now = at
        outcome = self.pipeline.store(messages)
        assert not outcome.lost
        result = evaluate_site(self.database, self.site, at, "data")
        update_movement(self.database, self.site, at)
        with self.database.write() as c:
            stamp(c, "core", {"state": "running", "version": "x", "degraded": []}, at)
        return result
