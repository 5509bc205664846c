"""Failure windows in a replay: computed as the service computes them, from what was known then, and never otherwise."""

import json
import math
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.replay.backtest import BacktestOptions, run_backtest
from monitor.alerts.replay.clock import ReplaySchedule, play
from monitor.alerts.replay.history import History, VisibilityRule
from monitor.alerts.replay.queries import load_stored_windows
from monitor.cli.main import run_command
from monitor.decision.records import Memory
from monitor.features.drills.hold import DrillOptions, rehearse
from monitor.features.movement.replay import FailureWindowReplay
from monitor.features.movement.update import update_movement
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s
from tests.data.site_text import FOUR, criterion, head, series, station

START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FAILS = 130
OBSERVED = VisibilityRule("observed")
WITNESS = criterion(
    "inverse_velocity",
    role="witness",
    stations=["*"],
    yellow={"within": "30d"},
    orange={"within": "10d"},
    red={"within": "3d"},
)
ADVICE = WITNESS.replace('role = "witness"', 'role = "advice"')


def slope(criteria, *stations, **facts):
    return parse_site(head("slope", timezone="UTC", levels=FOUR, **facts) + "".join(stations) + criteria, "slope.toml")


def moving(name, quantity="displacement", interval="1d", **facts):
    return station(name, series(quantity, "mm", interval, max_silence="3d", noise_floor_mm=1.0), **facts)


THREE = tuple(moving(name) for name in "ABC")
# what the instruments of a station measure per mm of movement, with the noise of each
GNSS = {"displacement_east": (0.8, 1.0), "displacement_north": (-0.5, 1.0), "displacement_up": (-0.3, 2.0)}


def displacement(day, until=FAILS):
    """Movement in mm whose velocity grows as 1 / (days to failure), and that stops on a day."""
    return 150.0 * math.log(FAILS / (FAILS - min(day, until)))


def readings(name, parts=GNSS, *, until=FAILS, days=FAILS, moves=True, seed=1):
    luck = Random(f"{seed} {name}")
    for day in range(days):
        at = START + day * DAY
        for quantity, (share, sigma) in parts.items():
            value = share * displacement(day, until) * moves + luck.gauss(0.0, sigma)
            yield Observation("slope", name, quantity, "mm", at, at + timedelta(minutes=5), value)


def store(db, site, *records):
    rows = sorted((row for record in records for row in record), key=lambda row: row.received_at)
    with db.write() as c:
        save_site(c, site, "test", "test", START)
        for row in rows:
            add_observations(c, [row], row.received_at)


@pytest.fixture
def light(sqlite_url):
    with Database(sqlite_url) as db:
        yield db


def backtest(db, site, days=FAILS, **terms):
    card = run_backtest(db, site, START, START + days * DAY, terms=BacktestOptions(OBSERVED, **terms))
    return card.runs[0]


@pytest.mark.soak
def test_two_of_three_stations_raise_every_level_before_the_failure(light):
    site = slope(WITNESS, *THREE)
    store(light, site, readings("A"), readings("B"), readings("C", moves=False))
    run = backtest(light, site)
    assert max(span.level for span in run.levels) == 3
    (decision,) = [lead for lead in run.leads if lead.source == "decision"]
    days = [lead_s / 86400.0 for _, lead_s in decision.leads]
    assert days[0] > days[1] > days[2] > 0.0, days
    assert days[2] <= 4.0, "red lies within three days, and a look more"
    score = find_score(run)
    assert (score.not_computed, score.crossings > 0) == (None, True)
    assert {p.first.station for p in run.windows.periods if p.first_trusted} == {"A", "B"}
    assert {name for name, _ in run.windows.looks} == {"A.displacement", "B.displacement", "C.displacement"}


@pytest.mark.soak
def test_stations_of_one_logger_are_one_witness(light):
    site = slope(WITNESS, moving("A", logger="L"), moving("B", logger="L"), moving("C"))
    store(light, site, readings("A"), readings("B"), readings("C", moves=False))
    run = backtest(light, site)
    assert max(span.level for span in run.levels) == 0
    assert {p.first.station for p in run.windows.periods if p.first_trusted} == {"A", "B"}


@pytest.mark.soak
@pytest.mark.parametrize("quantity", ["crack_opening", "displacement_distance", "displacement_downslope"])
def test_scalar_series_vote_alone_and_together_with_others(light, quantity):
    along = {quantity: (1.0, 1.0)}
    site = slope(WITNESS, moving("A", quantity), moving("B"), station("R", series("rain", "mm", "1d")))
    store(light, site, readings("A", along), readings("B"))
    run = backtest(light, site)
    assert max(span.level for span in run.levels) == 3
    single = slope(WITNESS, moving("A", quantity), moving("B", quantity))
    one = single.criteria[0]
    assert (one.stations, one.quantity) == (("A", "B"), quantity)


def find_score(run):
    return next(one for one in run.criteria if one.kind == "inverse_velocity")


def list_stored(db, days=FAILS):
    with db.read() as c:
        return [
            (w.station, w.data_until_s, round(w.mid_s), w.trusted, w.withdrawn_s is not None)
            for w in load_stored_windows(c, "slope", START, START + days * DAY)
        ]


def live(db, site, days):
    """The movement job of the service and its evaluation after every day's readings."""
    for day in range(days):
        now = START + day * DAY + timedelta(minutes=5)
        update_movement(db, site, now)
        evaluate_site(db, site, now, "data")


@pytest.mark.soak
@pytest.mark.parametrize("until", [118, FAILS])
def test_replay_computes_the_windows_of_the_service(light, until):
    """Towards the failure, and where the slope stops before it."""
    site = slope(WITNESS, *THREE)
    store(light, site, readings("A", until=until), readings("B", until=until))
    live(light, site, FAILS)
    with light.read() as c:
        history = History(c, [site], START, START + FAILS * DAY, VisibilityRule("received"))
        windows = FailureWindowReplay(history)
        looks = play(
            history,
            [(epoch_s(START), site)],
            epoch_s(START),
            epoch_s(START + FAILS * DAY),
            ReplaySchedule(),
            windows=windows,
        )
        levels = [look.decision.level for look in looks]
    computed = [
        (w.station, w.data_until_s, round(w.mid_s), w.trusted, w.withdrawn_s is not None) for w in windows.list_issued()
    ]
    assert computed == list_stored(light)
    assert any(trusted for *_, trusted, _ in computed)
    is_last_withdrawn = computed[-1][-1]
    assert is_last_withdrawn == (until < FAILS)
    assert max(levels) >= 1


@pytest.mark.soak
def test_replay_uses_no_later_reading(light):
    site = slope(WITNESS, *THREE)
    store(light, site, readings("A"), readings("B"))
    whole = backtest(light, site).windows.periods
    part = backtest(light, site, days=115).windows.periods
    firsts = [[p.first for p in periods if p.first.issued_s < epoch_s(START + 115 * DAY)] for periods in (whole, part)]
    assert [(f.station, f.issued_s, f.mid_s) for f in firsts[0]] == [
        (f.station, f.issued_s, f.mid_s) for f in firsts[1]
    ]


@pytest.mark.soak
def test_stored_windows_are_used_as_known_then(light):
    site = slope(WITNESS, *THREE)
    store(light, site, readings("A"), readings("B"))
    score = find_score(backtest(light, site, as_then=True))
    assert "assessed none in that time" in score.not_computed
    for day in range(FAILS):
        update_movement(light, site, START + day * DAY + timedelta(minutes=5))
    run = backtest(light, site, as_then=True)
    score = find_score(run)
    assert score.not_computed is None
    assert {p.first.station for p in run.windows.periods if p.first_trusted} == {"A", "B"}
    assert run.windows.looks == ()


def test_site_without_a_criterion_on_windows_computes_none(light):
    site = slope(criterion("velocity", stations=["*"], yellow={"over": 500.0, "window": "7d"}), *THREE)
    store(light, site, readings("A"), readings("B"))
    with light.read() as c:
        history = History(c, [site], START, START + FAILS * DAY, OBSERVED)
        windows = FailureWindowReplay(history)
        history.move(epoch_s(START + 120 * DAY))
        view = history.find_inputs(site)
        assert windows.add_to(view, site, Memory(), epoch_s(START + 120 * DAY)) is view
    assert not windows.looks


def test_stations_without_readings_of_motion_have_a_reason(light):
    site = slope(WITNESS, *THREE)
    rows = [Observation("slope", "X", "rain", "mm", START + k * DAY, START + k * DAY, 1.0) for k in range(9)]
    store(light, site, rows)
    score = find_score(backtest(light, site, days=9))
    assert "was known in that time" in score.not_computed


@pytest.mark.soak
def test_drill_raises_the_levels_of_failure_windows():
    site = slope(WITNESS, *THREE)
    steps = rehearse(site, DrillOptions(), lambda: True)
    assert max(change.level for step in steps for change in step.changes if change.ledger == "hazard") == 3


def test_backtest_prints_windows_and_lead_time_of_every_level(tmp_path, capsys):
    site, data, events = tmp_path / "slope.toml", tmp_path / "slope.csv", tmp_path / "events.csv"
    forecast = criterion("forecast", stations=["*"], yellow={"over": 5.0, "window": "1d", "probability": 0.3})
    text = head("slope", timezone="UTC", levels=FOUR, forecast={"horizons": ["1d"]}) + "".join(THREE) + WITNESS
    site.write_text(text + forecast)
    rows = [row for name in "AB" for row in readings(name)]
    lines = [f"{r.observed_at:%Y-%m-%dT%H:%M:%SZ},{r.station},{r.quantity}_mm,{r.value:.2f}" for r in rows]
    data.write_text("\n".join(["time,station,quantity,value", *lines]))
    events.write_text(f"from,to,class,level,name\n{START + FAILS * DAY:%Y-%m-%d},,large,red,collapse\n")
    words = ["backtest", "--data", str(data), "--site-file", str(site)]
    assert run_command([*words, "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["runs"][0]
    by_source = {lead["source"]: lead["lead_s"] for lead in run["level_leads"]}
    assert {"decision", "fixed bound", "inverse_velocity-1"} == set(by_source)
    assert run["alarm_days_by_kind"] == {"event": 0, "false": 0, "waiting": 0, "unjudged": run["alarm_days"]}
    not_computed = {one["criterion"]: one["not_computed"] for one in run["criteria"]}
    assert not_computed["inverse_velocity-1"] is None
    assert "stored none" in not_computed["forecast-1"]
    (period, *_) = run["failure_windows"]["periods"]
    assert period["station"] == "A"
    assert period["lead_s"] > 86400.0
    assert run_command([*words, "--labels", str(events)]) == 0
    out = capsys.readouterr().out
    assert "forecast-1: not computed" in out
    assert "failure windows" in out
    assert "collapse" in out
    assert "waiting for an answer that nobody gives in a replay" in out
