"""Databases of a simulated slope in five states. Each state results from readings and the usual evaluation.

One run of the slope of the demo passes through all states. A copy of the database is made in each of them:

* starting: 30 minutes after the site file was stored, with the first three readings of each instrument.
* green: four days later, with forecasts, and days before the slope accelerates.
* yellow-missing: the slope has accelerated to yellow, and three instruments have sent nothing for three hours.
* red: five minutes after the level rose to red. Nobody has acknowledged the alert.
* after-failure: the slope failed 50 minutes ago. Instruments on it have been silent since; the controls report.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, func, select

from docs.pictures.people import DUTY_PLAN, replace_recipients
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import acknowledge, load_alerts
from monitor.alerts.records import AlertState
from monitor.features.demo.slope import InstrumentFault, SlopeModel
from monitor.features.demo.story import FAILS_AFTER, write_story_site
from monitor.features.duty import queries as duty
from monitor.features.forecasts.issue import issue_forecasts
from monitor.features.instruments import jobs as instruments
from monitor.settings.service import parse_service
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.storage.views import load_view
from tests.data.accounts import add_account
from tests.data.filled import PASSWORD
from tests.data.simulated_slope import READING_INTERVAL, SimulatedSlope

STATES = ("starting", "green", "yellow-missing", "red", "after-failure")
SITE_ID = "sim-slope"
ROOT = Path(__file__).parents[2]
# The failure follows FAILS_AFTER later, on a Sunday afternoon in Zurich.
STORY_END = datetime(2026, 3, 1, 13, tzinfo=UTC)
RECORD_DAYS = 9
YELLOW_AT = STORY_END - timedelta(hours=8)
AFTER_FAILURE_AT = STORY_END + FAILS_AFTER + timedelta(minutes=50)
MISSING_FROM = YELLOW_AT - timedelta(hours=3)
MISSING_UNTIL = YELLOW_AT + timedelta(hours=1)
MISSING_STATIONS = ("G3", "T1", "P1")
DELIVERY_TIME = timedelta(seconds=4)
ACKNOWLEDGED_AFTER = timedelta(minutes=6)


@dataclass(frozen=True)
class StateDatabase:
    """A copy of the database in one state, and the instant at which its page is shown."""

    state: str
    path: Path
    shown_at: datetime


def list_states(folder: Path) -> list[StateDatabase]:
    """Return the databases of all states. Build them if one is missing or older than a Python file that is used."""
    newest_source_s = max(path.stat().st_mtime for path in _list_sources())
    instants = folder / "instants.txt"
    if not instants.exists() or instants.stat().st_mtime < newest_source_s:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        lines = [f"{built.state} {built.shown_at.isoformat()}\n" for built in _build_states(folder)]
        instants.write_text("".join(lines), encoding="utf-8")
    databases = []
    for line in instants.read_text(encoding="utf-8").splitlines():
        state, shown_at = line.split()
        databases.append(StateDatabase(state, folder / f"{state}.db", datetime.fromisoformat(shown_at)))
    return databases


def _list_sources() -> Iterator[Path]:
    for package in ("monitor", "forecasting", "detection"):
        yield from (ROOT / package).rglob("*.py")
    yield from (ROOT / "tests/data").glob("*.py")
    yield Path(__file__)
    yield Path(__file__).with_name("people.py")


def _build_states(folder: Path) -> Iterator[StateDatabase]:
    """Run the slope through its story. Yield each state as soon as its copy exists."""
    run = SlopeRun(folder)
    try:
        run.advance(run.slope.now + timedelta(minutes=30), READING_INTERVAL)
        yield run.copy("starting")

        run.advance(YELLOW_AT - timedelta(days=5), timedelta(hours=6))
        yield run.copy("green")

        run.advance(YELLOW_AT - timedelta(days=1), timedelta(hours=6))
        run.advance(YELLOW_AT - timedelta(hours=12), timedelta(hours=1))
        run.advance(YELLOW_AT, timedelta(minutes=30))
        yield run.copy("yellow-missing")

        run.advance_to_level("red", latest=STORY_END)
        run.store(run.slope.now + timedelta(minutes=5))
        yield run.copy("red")

        run.advance(AFTER_FAILURE_AT, READING_INTERVAL)
        yield run.copy("after-failure")
    finally:
        run.database.close()


class SlopeRun:
    """The simulated slope, the people who watch it, and the database that grows with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "run.db"
        self.database = Database(f"sqlite:///{self.path}")
        upgrade(self.database)
        self.config = parse_service(f'[paths]\nsites = "{folder}"\ninbox = "{folder}/inbox"\n', "screenshots")
        self.slope = SimulatedSlope(self.database, STORY_END, RECORD_DAYS, self._write_site_file, stations=4)
        outages = [
            InstrumentFault("dropout", station, MISSING_FROM, MISSING_UNTIL, 0.0) for station in MISSING_STATIONS
        ]
        self.slope.model.faults = (*self.slope.model.faults, *outages)
        (team,) = self.slope.site.teams
        with self.database.write() as connection:
            add_account(connection, "ada", PASSWORD, "admin", self.slope.now)
            add_account(connection, "bo", PASSWORD, "operator", self.slope.now)
            duty.add_plan(connection, team, DUTY_PLAN, Actor("ada"), "winter", self.slope.now)

    def _write_site_file(self, model: SlopeModel) -> str:
        text = replace_recipients(write_story_site(model))
        (self.folder / f"{SITE_ID}.toml").write_text(text, encoding="utf-8")
        return text

    def advance(self, until: datetime, step: timedelta) -> None:
        """Store readings and evaluate in steps until an instant."""
        while self.slope.now < until:
            self.store(min(self.slope.now + step, until))

    def advance_to_level(self, level_name: str, latest: datetime) -> None:
        """Advance by one reading at a time until the site has a level. Raises RuntimeError if it does not get there."""
        while self.load_level() != level_name:
            if self.slope.now >= latest:
                raise RuntimeError(f"the simulated slope is not {level_name} at {latest}")
            self.store(self.slope.now + READING_INTERVAL)

    def load_level(self) -> str:
        """Return the name of the current level."""
        with self.database.read() as connection:
            return str(load_view(connection, "site_status")[0]["level_name"])

    def store(self, until: datetime) -> None:
        """Store the readings until an instant, evaluate, deliver the messages and acknowledge older alerts."""
        self.slope.store_until(until)
        with self.database.write() as connection:
            self._deliver(connection)
            for alert in load_alerts(connection, SITE_ID, open_only=True, ledger="hazard"):
                newest_message = select(func.max(notification.c.sent_at)).where(notification.c.alert_id == alert.id)
                acknowledged_at = connection.execute(newest_message).scalar_one() + ACKNOWLEDGED_AFTER
                is_waiting = alert.state in (AlertState.UNACKNOWLEDGED, AlertState.RETURNED_UNACKNOWLEDGED)
                if is_waiting and acknowledged_at <= until:
                    acknowledge(connection, alert.id, Actor("bo"), "on site, the road is watched", acknowledged_at)

    def _deliver(self, connection: Connection) -> None:
        undelivered = notification.select().where(notification.c.sent_at.is_(None))
        for row in connection.execute(undelivered).all():
            delivered = {"state": "delivered", "attempts": 1, "sent_at": row.queued_at + DELIVERY_TIME}
            connection.execute(notification.update().where(notification.c.id == row.id).values(**delivered))

    def copy(self, state: str) -> StateDatabase:
        """Run the jobs that fill the pages of instruments and forecasts, and copy the database."""
        now = self.slope.now
        instruments.run(self.database, self.config, self.slope.site, now)
        issue_forecasts(self.database, self.config, self.slope.site, now)
        path = self.folder / f"{state}.db"
        with sqlite3.connect(self.path) as connection:
            connection.execute("VACUUM INTO ?", (str(path),))
        path.chmod(0o600)  # the service warns about databases that others can read
        print(f"{state}: {now:%Y-%m-%d %H:%M} UTC, level {self.load_level()}")
        return StateDatabase(state, path, now + timedelta(seconds=30))
