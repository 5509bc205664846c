"""What jobs hand to the networks besides the movement: places, heights, the fall of the slope, and expected rain."""

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forecasting.neural.checkpoint import read
from monitor.app.checks.site_files import find_unusable_drivers
from monitor.errors import ConfigError
from monitor.features.forecasts import issue, train
from monitor.features.forecasts.drivers import list_drivers, load_drivers, load_expected
from monitor.models.samples import load_samples, plan_xy_m
from monitor.readings.queries.observations import load_ids
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.sites.watched import find_motion
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s
from monitor.worker.records import WorkerTask
from tests.data import site_text
from tests.data.crossing import cross, hurry
from tests.data.store_rows import ask, tell

START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 240
PLAN = {"covariates": ["R1.rain", "R1.greenness", "season", "station"], "models": ["gru", "graph-gru"]}
PLAN |= {"horizons": ["1d"], "expected_rain": {"24h": "R1.rain_next_24h"}}
OWN = {"rain_next_24h": "mm", "greenness": "index", "other": "index"}
HEAD = (
    site_text.head("hill", longitude=9.0, timezone="UTC", levels={"names": ["green", "yellow", "red"]})
    + "".join(site_text.table("[[quantity]]", name=name, unit=unit) for name, unit in OWN.items())
    + site_text.table("[forecast]", **PLAN)
)
DAILY = {"interval": "1d", "max_silence": "3d"}
MOVES = site_text.series("displacement", "mm", **DAILY)
MEASURED = [site_text.series(name, unit, **DAILY) for name, unit in {"rain": "mm", **OWN}.items()]
PLACES = [
    {"latitude": 46.0 - 0.0004 * i, "longitude": 9.0, "height_m": 500.0 - 20.0 * i, "azimuth_deg": 175.0 + 5.0 * i}
    for i in range(3)
]
TEXT = HEAD + site_text.station("R1", *MEASURED)
TEXT += "".join(site_text.station(f"G{i}", MOVES, **place) for i, place in enumerate(PLACES))


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """What is handed over does not depend on the database."""
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def site(database: Database) -> Site:
    parsed = parse_site(TEXT, "hill.toml")
    tell(database, save_site, parsed, "test", "test", START)
    return parsed


def add(database: Database, rows: list[tuple[str, str, datetime, float, datetime]]) -> None:
    with database.write() as c:
        for station, quantity, at, value, received in rows:
            unit = "mm" if quantity.startswith("rain") else "index"
            add_observations(c, [Observation("hill", station, quantity, unit, at, received, value)], received)


def fill(database: Database) -> datetime:
    draw = random.Random(4)
    readings = []
    level = 0.0
    for day in range(DAYS):
        at, rain = START + day * DAY, draw.choice((0.0, 0.0, 0.0, 30.0))
        level += 0.1 * rain
        for name, quantity, value in (
            *((f"G{i}", "displacement", level + draw.gauss(0, 0.2)) for i in range(3)),
            ("R1", "rain", rain),
            ("R1", "rain_next_24h", rain + 1.0),
        ):
            readings.append(Observation("hill", name, quantity, "mm", at, at + timedelta(minutes=5), value))
    now = START + (DAYS - 1) * DAY + timedelta(hours=1)
    tell(database, add_observations, readings, now)
    return now


def test_when_an_issue_could_be_read(database: Database, site: Site) -> None:
    hours = timedelta(hours=1)
    add(
        database,
        [
            ("R1", "rain_next_24h", START, 5.0, START + 2 * hours),
            ("R1", "rain_next_24h", START + DAY, 6.0, START + DAY + 4 * hours),
            ("R1", "rain_next_24h", START + 2 * DAY, 7.0, START + 40 * DAY),  # an archive, imported later
            ("R1", "rain_next_24h", START + 3 * DAY, 8.0, START + 3 * DAY + hours),
            ("R1", "rain_next_24h", START + 3 * DAY, 80.0, START + 9 * DAY),  # put right by what fell
            ("R1", "rain", START + DAY, 3.0, START + DAY + hours),
            ("R1", "greenness", START + DAY, 0.4, START + DAY + hours),
            ("R1", "other", START + DAY, 0.4, START + DAY + hours),
        ],
    )
    with database.read() as c:
        (found,) = load_expected(c, site, START - DAY, START + 50 * DAY)
        (early,) = load_expected(c, site, START - DAY, START + DAY)
        drivers = load_drivers(c, site, START - DAY, START + 50 * DAY, named=site.forecast.covariates)
    assert (found.name, found.reach_s, found.expected_mm.tolist()) == ("R1.rain_next_24h", 86400.0, [5.0, 6.0, 7.0])
    late_s = (found.known_s - found.issued_s).tolist()
    assert late_s == [7200.0, 14400.0, 10800.0], "the archive counts as read as late as the others usually were"
    assert early.expected_mm.tolist() == [5.0]
    assert set(drivers) == {"R1.rain", "R1.greenness"}, "what is expected is no measurement; nobody named the other"


def test_places_drivers_and_facts_reach_the_networks(database, site, tmp_path, monkeypatch):
    now = fill(database)
    with database.read() as c:
        samples = load_samples(c, site, find_motion(site, load_ids(c, site.id)), START - DAY, now)
    places = plan_xy_m(site, samples)
    assert places is not None
    assert places["G2.displacement"] == pytest.approx((0.0, -0.0008 * 111_320.0))

    def run(task: WorkerTask, question: object, *_args: object, **_more: object) -> object:
        asked.append(question)
        return cross(task, hurry(question))

    asked: list = []
    monkeypatch.setattr("monitor.worker.compute.run", run)
    monkeypatch.setattr("monitor.features.forecasts.hindcast.ISSUES", 3)
    config = ServiceConfig.model_validate({"paths": {"models": str(tmp_path / "models")}})
    said = train.run(database, config, site, now)
    assert "gru: " in said
    assert "graph-gru" in said
    assert "reads R1.rain, R1.rain_next_24h (100 % missing), season, distance_m, height_m" in said, "it comes too late"
    made = [read(path)[0].recipe for path in (tmp_path / "models").rglob("*.safetensors")]
    recipes = {recipe.model: recipe for recipe in made}
    own = recipes["gru"]
    assert own.sources is not None
    assert "R1.rain_next_24h" in own.sources.names
    assert recipes["graph-gru"].sources.names == own.sources.names, "what the site file names"
    assert own.sources.static == recipes["graph-gru"].sources.static == ("distance_m", "height_m")
    assert set(own.sources.kinds) == {"rain", "outlook", "season"}
    assert dict(zip(own.sources.names, own.sources.kinds, strict=True))["R1.rain_next_24h"] == "outlook"
    tie = np.array(recipes["graph-gru"].supports[0])
    assert tie[0, 1] > 0, "G0 stands beside G1"
    assert tie[0, 0] == 0
    said = issue.issue_forecasts(database, config, site, now)
    assert "failed" not in said
    (issues,) = asked[-1].record.expected
    assert max(issues.known_s) <= epoch_s(now)
    assert math.isclose(issues.expected_mm[-1] % 30.0, 1.0)


COVARIATES = 'covariates = ["R1.rain", "R1.greenness", "season", "station"]'
MODELS = 'models = ["gru", "graph-gru"]'


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        (f"{COVARIATES}\n{MODELS}", 'covariates = ["R1.rain", "R1.greenness"]\nmodels = ["gru"]', None),
        (MODELS, "models = []", None),
        ('"R1.greenness", "season"', '"measured", "season"', None),
        ('"R1.greenness", "season"', '"season", "G2.displacement"', None),
        ('"R1.greenness", "season"', '"R1.rain", "season"', "R1.rain is listed twice"),
        ('quantity = "rain"\nunit', 'quantity = "rain"\nstamp = "event"\nunit', "R1.rain only reports tips"),
        ('name = "greenness"\nunit = "index"', 'name = "greenness"\nunit = "glow"', "the unit 'glow' of R1.greenness"),
    ],
)
def test_check_says_which_covariate_cannot_be_used(written: str, instead: str, said: str | None) -> None:
    assert written in TEXT
    text = TEXT.replace(written, instead)
    if "glow" in instead:
        text = text.replace('quantity = "greenness"\nunit = "index"', 'quantity = "greenness"\nunit = "glow"')
    found = list(find_unusable_drivers(parse_site(text, "hill.toml")))
    assert (found == []) if said is None else (said in " ".join(found)), found


def test_the_site_file_is_refused_where_expected_rain_is_not_that() -> None:
    for wrong, said in (
        ('{"24h" = "R1.snow"}', "declared series"),
        ('{"soon" = "R1.rain_next_24h"}', "soon"),
        ('{"24h" = "R1.rain_next_24h", "48h" = "R1.rain_next_24h"}', "R1.rain_next_24h"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse_site(TEXT.replace('{24h = "R1.rain_next_24h"}', wrong), "hill.toml")
    with pytest.raises(ConfigError, match="declares no series 'snow'"):
        parse_site(TEXT.replace('"R1.greenness", "season"', '"R1.snow", "season"'), "hill.toml")
    with pytest.raises(ConfigError, match=r"'STATION\.quantity', 'measured' or 'season' or 'station', got 'sesaon'"):
        parse_site(TEXT.replace('"season", "station"', '"sesaon", "station"'), "hill.toml")


@pytest.mark.parametrize(
    ("plan", "drivers"),
    [
        ("", ["R1.rain", "R1.groundwater_level", "R2.rain", "R3.rain"]),
        ('[forecast]\nexclude_covariates = ["R2.rain"]\n', ["R1.rain", "R1.groundwater_level", "R3.rain"]),
        ('[forecast]\ncovariates = ["R2.rain", "season"]\n', ["R2.rain"]),
        ('[forecast]\ncovariates = ["measured", "R2.rain"]\nexclude_covariates = ["R1.rain", "R3.rain"]\n', None),
        ("[forecast]\ncovariates = []\n", []),
    ],
)
def test_measured_rain_and_water_drive_a_site_unless_its_file_says_otherwise(plan: str, drivers) -> None:
    expected = ["R1.groundwater_level", "R2.rain"] if drivers is None else drivers
    site = parse_site(WET + site_text.station("G1", MOVES, **PLACES[0]) + plan, "wet.toml")
    assert list(list_drivers(site)) == expected


def test_an_excluded_series_must_exist() -> None:
    with pytest.raises(ConfigError, match="declares no series 'snow'"):
        parse_site(WET + '[forecast]\nexclude_covariates = ["R1.snow"]\n', "wet.toml")


GAUGED = 330
WET = (
    site_text.head("wet", levels={"names": ["green", "yellow"]})
    + site_text.station("R1", site_text.series("rain", "mm", "1d"), site_text.series("groundwater_level", "m", "1d"))
    + site_text.station("R2", site_text.series("rain", "mm", "1d", stamp="counter", high=1e6))
    + site_text.station("R3", site_text.series("rain", "mm", "1d", stamp="event"))
)


def draw_gauges():
    rng = random.Random(3)
    rows, counter = [], 0.0
    for day in range(GAUGED + 5):
        at = START + DAY * day
        rain = rng.choice((0.0, 0.0, 12.0))
        counter = 0.0 if day == 100 else counter + rain
        for station, value in (("R1", rain), ("R2", counter), ("R3", 0.2)):
            rows.append(Observation("wet", station, "rain", "mm", at, at, value))
        rows.append(Observation("wet", "R1", "groundwater_level", "m", at, at, 400.0 + rng.random()))
    return rows


def test_drivers_are_read_as_they_were_known(database):
    site, now = parse_site(WET, "wet.toml"), START + DAY * GAUGED
    with database.write() as c:
        save_site(c, site, "test", "test", START)
        add_observations(c, draw_gauges(), START + DAY * (GAUGED + 5))
    found = ask(database, load_drivers, site, START - DAY, now, quantities=("rain", "groundwater_level"))
    assert (set(found), max(found["R1.rain"][0])) == ({"R1.rain", "R1.groundwater_level", "R2.rain"}, epoch_s(now))
    counted = dict(zip(*found["R2.rain"], strict=True))
    measured = dict(zip(*found["R1.rain"], strict=True))
    assert len(counted) == len(measured) - 2
    assert all(abs(measured[t] - value) < 1e-9 for t, value in counted.items())
    assert epoch_s(START + DAY * 100) not in counted, "the day of the reset is not known"
