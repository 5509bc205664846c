"""The example of docs/explanation/decisions.md: the service computes every figure that its tables show."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.offsets import add_offset, confirm_offset
from monitor.decision.records import Decision
from monitor.people.queries.users import add_user
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.text.instants import parse_time
from tests.fixtures.databases import create_schema
from tests.fixtures.waiting import REPOSITORY

PAGE = (REPOSITORY / "docs/explanation/decisions.md").read_text(encoding="utf-8")
YEAR = 2026
START = parse_time("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)
# Nothing happens in the hours before.
EVALUATED_FROM = parse_time("2026-03-02T21:00:00Z")
# The noise of both stations in mm. Each starts at another place.
NOISE_MM = (0.4, -0.7, 0.2, 0.9, -0.3, -0.8, 0.6, 0.1, -0.5, 0.7, -0.2, -0.6)
MOTION_FROM = parse_time("2026-03-03T00:00:00Z")
MOTION_TO = parse_time("2026-03-05T12:00:00Z")
MM_PER_HOUR = 0.5
LAST_OF_G1 = parse_time("2026-03-03T13:00:00Z")
LAST_OF_G2 = parse_time("2026-03-03T18:00:00Z")
REPLACED_AT = parse_time("2026-03-03T02:00:00Z")
REPLACED_MM = 80.0
DECLARED_AT = parse_time("2026-03-03T06:00:00Z")
CONFIRMED_AT = parse_time("2026-03-03T09:00:00Z")


def read_site() -> Site:
    """Return the site of the page."""
    block = re.search(r"^```toml\n(\[site\]\n.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert block is not None
    return parse_site(block[1], "bench.toml")


def read_table(heading: str) -> dict[datetime, list[str]]:
    """Return the cells of the table below a heading, by the instant in its first column."""
    section = PAGE.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip(" `") for cell in row] for row in rows[2:]]
    return {parse_time_of_page(row[0]): row[1:] for row in cells}


def parse_time_of_page(text: str) -> datetime:
    """Return the instant of a text such as `3 March 13:00`."""
    parsed = datetime.strptime(f"{YEAR} {text} +0000", "%Y %d %B %H:%M %z")
    return parse_time(parsed.isoformat())


def move(station: str, at: datetime) -> float:
    """Return the displacement of a station while G1 moves, in mm."""
    if station != "G1":
        return 0.0
    hours = (min(max(at, MOTION_FROM), MOTION_TO) - MOTION_FROM) / HOUR
    return MM_PER_HOUR * hours


def replace_antenna(station: str, at: datetime) -> float:
    """Return the jump of a station, in mm."""
    return REPLACED_MM if station == "G1" and at >= REPLACED_AT else 0.0


def measure(station: str, at: datetime, displace: Callable[[str, datetime], float]) -> float:
    """Return a measured value in mm: the displacement and the noise."""
    hour = round((at - START) / HOUR)
    place = 5 * hour if station == "G1" else 7 * hour + 3
    return round(displace(station, at) + NOISE_MM[place % len(NOISE_MM)], 1)


class Example:
    """The site of the page.

    From EVALUATED_FROM on it is evaluated with each reading and whenever a deadline passes, as by the service.
    """

    def __init__(self, database: Database, displace: Callable[[str, datetime], float]) -> None:
        self.database = database
        self.site = read_site()
        self.displace = displace
        self.ends: Mapping[str, datetime] = {}
        self.acts: Mapping[datetime, Callable[[datetime], None]] = {}
        with database.write() as connection:
            save_site(connection, self.site, "test", "test", START)
            for name in ("Ada", "Bo"):
                add_user(connection, name, None, "operator", START)

    def run(self, instants: list[datetime]) -> Iterator[tuple[datetime, Decision]]:
        """Yield the decision at each instant of a table."""
        hours = [START + hour * HOUR for hour in range(int((instants[-1] - START) / HOUR) + 1)]
        for at in sorted({*hours, *instants}):
            self._store_readings(at)
            if at in self.acts:
                self.acts[at](at)
            if at < EVALUATED_FROM and at not in instants:
                continue
            decision = evaluate_site(self.database, self.site, at, "data").decision
            if at in instants:
                yield at, decision

    def _store_readings(self, at: datetime) -> None:
        if (at - START) % HOUR:
            return
        readings = [
            Observation("bench", station, "displacement", "mm", at, at, measure(station, at, self.displace))
            for station in ("G1", "G2")
            if at <= self.ends.get(station, at)
        ]
        with self.database.write() as connection:
            add_observations(connection, readings, at)

    def name_level(self, number: int) -> str:
        """Return the name of a level."""
        return self.site.levels[number].name


@pytest.fixture
def make_example(tmp_path):
    databases = []

    def make(displace: Callable[[str, datetime], float]) -> Example:
        url = f"sqlite:///{tmp_path}/example.db"
        create_schema(url)
        databases.append(Database(url))
        return Example(databases[-1], displace)

    yield make
    for database in databases:
        database.close()


def find_yellow(decision: Decision) -> Mapping[str, float]:
    """Return what the evidence contains about G1 and the bound of yellow."""
    (assessment,) = [row for row in decision.evidence["words"] if (row["criterion"], row["station"]) == ("speed", "G1")]
    (bound,) = [bound for bound in assessment["facts"]["bounds"] if bound["level"] == 1]
    return bound


@pytest.mark.soak
def test_the_table_of_the_motion_shows_what_the_service_computes(make_example):
    example = make_example(move)
    shown = read_table("A slope moves and stops")
    computed = {}
    for at, decision in example.run(list(shown)):
        bound = find_yellow(decision)
        (vote,) = [vote for key, vote in decision.memory.votes.items() if key.station == "G1"]
        computed[at] = [
            f"{measure('G1', at, move):.1f}",
            f"{bound['rate']:.1f} ± {bound['error']:.1f}",
            str(bound["hits"]),
            example.name_level(vote.level),
            example.name_level(decision.level),
        ]
    assert shown == computed


@pytest.mark.soak
def test_the_table_of_the_silence_shows_what_the_service_computes(make_example):
    example = make_example(move)
    example.ends = {"G1": LAST_OF_G1, "G2": LAST_OF_G2}
    shown = read_table("The stations become silent")
    computed = {}
    opened = {}
    for at, decision in example.run(list(shown)):
        level, reachable = example.name_level(decision.level), example.name_level(decision.reachable_level)
        computed[at] = [level, decision.observability, reachable]
        opened[at] = set(decision.memory.conditions)
    assert {at: cells[:3] for at, cells in shown.items()} == computed
    *_, common, undecided = opened.values()
    assert "health:site:silent_slope" in common
    assert "health:site:cannot_see" not in common
    assert "health:site:cannot_see" in undecided


def test_a_silent_station_at_the_lowest_level_leaves_the_site_degraded(make_example):
    example = make_example(lambda _station, _at: 0.0)
    example.ends = {"G1": LAST_OF_G1}
    ((_, decision),) = example.run([LAST_OF_G1 + 4 * HOUR])
    assert (decision.level, decision.observability) == (0, "degraded")


def test_the_table_of_the_antenna_shows_what_the_service_computes(make_example):
    example = make_example(replace_antenna)
    database = example.database
    offsets = []

    def declare(now: datetime) -> None:
        with database.write() as connection:
            number = add_offset(
                connection,
                find_series_id(connection, "bench", "G1", "displacement"),
                at=REPLACED_AT,
                known_from=now,
                size=REPLACED_MM,
                unit="mm",
                kind="antenna",
                author=Actor("Ada"),
                reason="antenna replaced",
                now=now,
            )
        offsets.append(number)

    def confirm(now: datetime) -> None:
        with database.write() as connection:
            confirm_offset(connection, offsets[0], Actor("Bo"), "compared with the field book", now)

    example.acts = {DECLARED_AT: declare, CONFIRMED_AT: confirm}
    shown = read_table("An antenna is replaced")
    computed = {}
    for at, decision in example.run(list(shown)):
        states = [step.state for step in decision.memory.steps.values()]
        computed[at] = [states[0] if states else "none", example.name_level(decision.level), decision.observability]
    assert {at: cells[:3] for at, cells in shown.items()} == computed


def test_silence_after_the_jump_requests_the_level_of_its_size_and_one_station_cannot_raise_red(make_example):
    example = make_example(replace_antenna)
    example.ends = {"G1": REPLACED_AT}
    ((_, decision),) = example.run([REPLACED_AT + 4 * HOUR])
    (step,) = decision.memory.steps.values()
    assert (step.state, example.name_level(step.level)) == ("movement", "red")
    assert example.name_level(decision.level) == "orange"


def test_every_module_that_a_page_names_exists():
    pages = sorted((REPOSITORY / "docs").rglob("*.md"))
    named = {
        (page.name, path)
        for page in pages
        for path in re.findall(r"`((?:monitor|forecasting|detection|tests)/[\w/]+\.py)`", page.read_text("utf-8"))
    }
    assert ("decisions.md", "monitor/decision/decide.py") in named
    assert not [(page, path) for page, path in sorted(named) if not (REPOSITORY / path).exists()]
