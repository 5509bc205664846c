"""Many runs of the anomaly job read new readings only, and find the same as one run over the whole record."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, select

from monitor.alerts.evaluate import evaluate_site
from monitor.features.anomalies import jobs as anomaly
from monitor.features.anomalies import state as anomaly_state
from monitor.features.anomalies.queries.labels import add_label, load_runs
from monitor.features.anomalies.tables import anomaly as anomaly_table
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.quantities import QUANTITIES
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from tests.data.daily_slope import SITE, START
from tests.data.site_text import bounds, criterion, head, series, station
from tests.data.store_rows import ask, enter_offset, tell
from tests.fixtures.databases import ON_BOTH, ON_SQLITE

DAY = timedelta(days=1)
STATIONS = 3
CONFIG = ServiceConfig.model_validate({})
SPIKE, STUCK, HOLE = 170, range(176, 184), 173


def draw(days: Sequence[int]) -> list[Observation]:
    """Daily readings; G0 has a spike, G1 repeats itself, G2 misses a day."""
    noise = random.Random(2)
    found = []
    for day in range(max(days) + 1):
        for k in range(STATIONS):
            value = 0.3 * day + 2.0 * math.sin(day / 58.0 + k) + noise.gauss(0, 0.8)
            value += 30.0 if k == 0 and day == SPIKE else 0.0
            value = 55.0 if k == 1 and day in STUCK else value
            if day in days and not (k == 2 and day == HOLE):
                at = START + day * DAY
                found.append(Observation("jobs", f"G{k}", "displacement", "mm", at, at + timedelta(minutes=1), value))
    return found


def look(database: Database, site: Site, day: int) -> str:
    return anomaly.run(database, CONFIG, site, START + day * DAY + timedelta(hours=1))


def stored(database: Database) -> dict[tuple[int, datetime, str], tuple[float, str, bool]]:
    a = anomaly_table.c
    rows = ask(database, lambda c: c.execute(select(a.series_id, a.at, a.detector, a.score, a.kind, a.alerted)).all())
    return {(r.series_id, r.at, r.detector): (r.score, r.kind, r.alerted) for r in rows}


def add(database: Database, rows: Sequence[Observation]) -> None:
    tell(database, add_observations, rows, rows[-1].received_at)


@pytest.fixture
def site(database: Database) -> Site:
    parsed = parse_site(SITE, "jobs.toml")
    tell(database, save_site, parsed, "test", "test", START)
    detectors = ("rules", "flatline", "replay", "unit-jump", "timing")
    return replace(parsed, anomaly=replace(parsed.anomaly, detectors=detectors))


@pytest.fixture
def begun(database: Database, site: Site) -> Site:
    """The site after a first look at 160 days."""
    add(database, draw(range(160)))
    look(database, site, 159)
    return site


@pytest.mark.soak
def test_many_runs_find_the_same_as_one_run(database, begun, monkeypatch):
    with monkeypatch.context() as warm:  # nothing but new readings is read
        warm.setattr(anomaly_state, "load_samples", lambda *_: pytest.fail("the whole window is read again"))
        for day in range(160, 190):
            add(database, draw([day]))
            said = look(database, begun, day)
            assert said.startswith(f"rules: {2 if day == HOLE else 3} scores")
    found = {key: value for key, value in stored(database).items() if key[1] >= START + 160 * DAY}
    assert "spike" in {kind for (_, at, _), (_, kind, _) in found.items() if at == START + SPIKE * DAY}
    assert [at for (_, at, detector) in found if detector == "flatline"] == [START + (STUCK[0] + 3) * DAY]
    assert "0 scores" in look(database, begun, 189)
    said = {(r["detector"], r["compared_with"]) for r in ask(database, load_view, "anomalies", site="jobs")}
    assert {("rules", "its last 7 to 10 days"), ("flatline", "its usual resolution")} <= said
    tell(database, lambda c: c.execute(delete(anomaly_table)))
    anomaly_state.forget(database, begun.id)
    look(database, begun, 189)
    at_once = stored(database)
    assert found.keys() <= at_once.keys()
    for key, (score, kind, alerted) in found.items():
        assert (score, (kind, alerted)) == (pytest.approx(at_once[key][0], abs=1e-6), at_once[key][1:])


@ON_BOTH
def test_a_later_entry_makes_the_state_again(database: Database, begun: Site) -> None:
    at = START + 160 * DAY
    add(database, [replace(one, value=one.value + 40.0) for one in draw([160])])
    look(database, begun, 160)
    rows = stored(database).items()
    assert {alerted for (_, when, _), (_, _, alerted) in rows if when == at} == {True}
    with database.write() as c:  # the antennas were moved: somebody enters it a day later
        for k in range(STATIONS):
            enter_offset(c, find_series_id(c, "jobs", f"G{k}", "displacement"), at, 40.0, at + DAY, kind="rezero")
    add(database, [replace(one, value=one.value + 40.0) for one in draw([161])])
    look(database, begun, 161)
    last = {key: row for key, row in stored(database).items() if key[1] == at + DAY}
    assert len(last) == STATIONS
    assert not any(alerted for _, _, alerted in last.values())


@ON_SQLITE
def test_a_step_is_no_anomaly_of_the_readings_after_it(database: Database, begun: Site) -> None:
    bounded = parse_site(SITE + criterion("rate", stations=["*"], quantity="displacement", **bounds(yellow="6 3d")), "")
    bounded = replace(bounded, anomaly=begun.anomaly)
    tell(database, save_site, bounded, "test", "test", START + DAY)
    alerted_days = {}
    for is_evaluated in (False, True):
        anomaly_state.forget(database, begun.id)
        tell(database, lambda c: c.execute(delete(anomaly_table)))
        look(database, bounded, 159)
        for day in (160, 161, 162):
            jumped = [replace(one, value=one.value + (40.0 if one.station == "G1" else 0.0)) for one in draw([day])]
            add(database, jumped)
            if is_evaluated:
                evaluate_site(database, bounded, START + day * DAY + timedelta(minutes=2), "data")
            look(database, bounded, day)
        rows = stored(database).items()
        alerted_days[is_evaluated] = {(at - START).days for (_, at, _), (_, _, alerted) in rows if alerted}
    assert alerted_days[False] >= {160, 162}
    assert alerted_days[True] == {160}


def test_a_late_reading_is_scored(database: Database, begun: Site) -> None:
    *late, newest = draw(range(160, 166))
    missing = next(one for one in late if one.station == "G0" and one.observed_at == START + 161 * DAY)
    add(database, [one for one in (*late, newest) if one is not missing])
    assert look(database, begun, 165).startswith("rules: 17 scores")
    add(database, [replace(missing, received_at=START + 165 * DAY + timedelta(hours=2))])
    assert look(database, begun, 166).startswith("rules: 1 scores")


def test_a_failed_write_loses_no_score(database: Database, begun: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    add(database, draw([160]))
    with monkeypatch.context() as broken:
        broken.setattr(anomaly, "add_anomalies", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            look(database, begun, 160)
    assert look(database, begun, 160).startswith("rules: 3 scores")


STEP, ECHO = 180, 211  # days: G0 steps, and its line of sixty days points past the readings


def draw_step(days: int) -> list[Observation]:
    faults = {("G0", SPIKE), *(("G1", day) for day in STUCK)}
    rows = [r for r in draw(range(days)) if (r.station, (r.observed_at - START).days) not in faults]
    on = START + STEP * DAY
    return [replace(r, value=r.value + 12.0) if r.station == "G0" and r.observed_at > on else r for r in rows]


def list_over(database: Database, *, alerted: bool) -> list[datetime]:
    """Epochs of `rules` above the threshold that people were told of, or that were held back."""
    return sorted(at for (_, at, _), (score, _, told) in stored(database).items() if score > 1.0 and told is alerted)


@pytest.fixture
def stepped(database: Database, site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site with `rules` alone, at two thresholds; its readings step."""
    monkeypatch.setattr(anomaly, "_list_thresholds", lambda *_: {"level": 5.0, "drift": 6.0})
    add(database, draw_step(225))
    return replace(site, anomaly=replace(site.anomaly, detectors=("rules",)))


@pytest.mark.soak
@pytest.mark.parametrize("is_made_anew", [False, True])
def test_echoes_keep_their_scores_and_are_the_same_after_a_restart(database, stepped, is_made_anew):
    for day in range(178, 225, 3):
        if is_made_anew:
            anomaly_state.forget(database, stepped.id)
        look(database, stepped, day)
    told, held = list_over(database, alerted=True), list_over(database, alerted=False)
    assert told[0] == START + (STEP + 1) * DAY
    assert told[-1] < START + ECHO * DAY == held[0]
    assert len(held) > 7


def test_an_alarm_without_a_notification_has_no_echoes(database, stepped, monkeypatch):
    """Thresholds were counted anew: what would have alarmed before by the new ones was told to nobody."""
    with monkeypatch.context() as before:
        before.setattr(anomaly, "_list_thresholds", lambda *_: {"level": 1e6})
        look(database, stepped, ECHO - 6)
    look(database, stepped, 224)
    assert list_over(database, alerted=True)[0] == START + ECHO * DAY
    assert not list_over(database, alerted=False)


def test_no_score_is_an_echo_where_anomalies_count_for_the_level(database: Database, stepped: Site) -> None:
    votes = next(one for one in stepped.criteria if one.kind.facts == "anomalies")
    others = tuple(one for one in stepped.criteria if one is not votes)
    witness = replace(stepped, criteria=(*others, replace(votes, role="witness")))
    assert witness.has_voting_anomalies
    for day in (178, 200, 224):
        look(database, witness, day)
    assert START + ECHO * DAY in list_over(database, alerted=True)
    assert not list_over(database, alerted=False)


@pytest.mark.soak
@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_dismissed_alarm_has_no_echoes_until_it_is_confirmed(database, stepped, is_made_anew):
    """A false alarm must not hide a true one: somebody said snow, and what came weeks later was reported to nobody."""
    ada = Actor("Ada")
    for day in range(178, ECHO - 5, 3):
        look(database, stepped, day)
    until = START + (ECHO - 5) * DAY
    with database.write() as c:
        (happening,) = load_runs(c, stepped, START, until)
        add_label(c, stepped.id, happening, "dismissed", "snow_ice", ada, "", until)
    for day in range(ECHO - 4, ECHO + 3):
        if is_made_anew:
            anomaly_state.forget(database, stepped.id)
        look(database, stepped, day)
    assert list_over(database, alerted=True)[-1] == START + (ECHO + 2) * DAY
    assert not list_over(database, alerted=False)
    with database.write() as c:
        c.execute(delete(anomaly_table).where(anomaly_table.c.at >= START + ECHO * DAY))
        add_label(c, stepped.id, happening, "confirmed", "step", ada, "", until)
    anomaly_state.forget(database, stepped.id)
    look(database, stepped, ECHO + 3)
    assert START + ECHO * DAY in list_over(database, alerted=False)


@pytest.mark.parametrize(("interval", "pause_s"), [("1s", 360.0), ("10m", 3600.0), ("1h", 3600.0), ("0.1s", 300.0)])
def test_job_runs_before_its_state_is_too_old_to_continue(interval, pause_s):
    site = parse_site(head("fast") + station("G1", series("displacement", "mm", interval)), "fast.toml")
    assert anomaly.find_pause_s(site) == pause_s


@pytest.mark.parametrize("quantity", ["rain", "snow_depth", "acceleration", "battery_voltage", "signal_strength"])
def test_series_that_no_detector_reads_does_not_shorten_the_pause(quantity):
    unit = QUANTITIES[quantity].unit
    text = head("calm") + station("G1", series("displacement", "mm", "1h") + series(quantity, unit, "1s"))
    assert anomaly.find_pause_s(parse_site(text, "calm.toml")) == 3600.0
