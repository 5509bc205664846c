"""A station with another id is the same station: its history, what is said of it and what still comes are its own."""

import json
import random
import shutil
from datetime import timedelta

import pytest
from sqlalchemy import and_, func, select

from monitor.alerts.acts.change_control import approve, compare, load_into_force, propose
from monitor.alerts.audit.as_of import decide_as_of
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.evaluation_tables import decision
from monitor.alerts.queries.alerts import load_alerts
from monitor.alerts.queries.evaluations import find_state, load_decision
from monitor.alerts.queries.maintenance import add_maintenance
from monitor.alerts.queries.reports import add_report
from monitor.alerts.replay.backtest import run_backtest
from monitor.decision.records import Memory
from monitor.errors import ConfigError, RefusedError
from monitor.ingest.files.reading import FileImport
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation, ObserverReport
from monitor.readings.tables import observation, series, series_latest
from monitor.sites.parsing import parse_site
from monitor.sites.queries.in_force import find_in_force
from monitor.sites.queries.sites import load_site_source
from monitor.sites.tables import station as station_table
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.proof import verify
from monitor.storage.service_state import load_heartbeats, write_heartbeat
from monitor.storage.tables import load_metadata
from monitor.text.instants import format_iso
from tests.data.store_rows import ask, enter_offset, tell
from tests.data.watched_slope import HOUR, SITE_TEXT, WatchedSlope, recompute_every
from tests.fixtures.databases import ON_BOTH

ADA = Actor("Ada")
# a rename as people write it: the table of the station, and the criterion that names it
RENAMED = SITE_TEXT.replace('id = "G1"', 'id = "H1"\nname = "Upper scarp"\nwas = ["G1"]').replace(
    'stations = ["G*"]', 'stations = ["G2", "H1"]'
)


def rename(slope, text=RENAMED):
    """Take the file in as a core does when it starts."""
    site = parse_site(text, "bench.toml")
    taken = tell(slope.database, load_into_force, site, "Ada", "renamed", slope.now)
    assert taken.site.version == site.version, [str(line) for line in taken.loosens]
    slope.site = taken.site
    slope.position = {site.find_current_id(name): value for name, value in slope.position.items()}
    return site


def list_rows(c, name):
    found = {}
    for table in load_metadata().sorted_tables:
        keys = {k.name for k in table.c}
        if {"site", "station"} <= keys:
            count = c.execute(select(func.count()).where(table.c.station == name)).scalar_one()
            found |= {table.name: count} if count else {}
    is_there = c.execute(select(func.count()).where(station_table.c.id == name)).scalar_one()
    return found | ({"station": 1} if is_there else {})


@pytest.fixture
def slope(database):
    return WatchedSlope(database)


@ON_BOTH
def test_a_renamed_station_changes_no_level_and_no_evidence(slope):
    slope.live(26, looks=4)
    slope.live(9, {"G1": 150.0, "G2": 140.0})
    with slope.database.write() as c:
        add_maintenance(c, "bench", "G1", slope.now, slope.now + HOUR, ADA, "new mast", slope.now)
        series_id = find_series_id(c, "bench", "G1", "crack_opening")
        enter_offset(c, series_id, slope.now, 0.5, slope.now, kind="rezero", reason="re-zeroed")
        report = ObserverReport("bench", slope.now, "crack", "a new crack", "Ada", "G1")
        add_report(c, report, slope.now, actor=ADA, credential="Ada")
        write_heartbeat(c, "epoch0:bench/G1", {"frame": "IGS20", "epoch0": format_iso(slope.now)}, slope.now)
        level, memory = find_state(c, "bench").level, Memory.read(find_state(c, "bench").state)
        before = list_rows(c, "G1")
        assert {"series", "station", "station_state", "maintenance", "report", "rate_now"} <= before.keys()
        frozen = c.execute(select(decision.c.evidence).order_by(decision.c.id)).scalars().all()
    assert level > 0
    assert any("G1" in key for key in memory.votes)
    rename(slope)
    with slope.database.read() as c:
        assert (list_rows(c, "G1"), list_rows(c, "H1")) == ({}, before)
        after = Memory.read(find_state(c, "bench").state)
        assert (after.level, len(after.votes)) == (memory.level, len(memory.votes))
        assert {k.station for k in after.votes} == {"H1", "G2"}
        assert {k.station for k in after.supporters} == {"H1", "G2"}
        assert "epoch0:bench/H1" in load_heartbeats(c)
        assert "epoch0:bench/G1" not in load_heartbeats(c)
        assert c.execute(select(decision.c.evidence).order_by(decision.c.id)).scalars().all() == frozen
        assert (recompute_every(c), list(verify(c))) == ([], [])
    assert evaluate_site(slope.database, slope.site, slope.now, "data").level == level
    slope.live(6, {"H1": 150.0, "G2": 140.0})
    with slope.database.read() as c:
        assert (recompute_every(c), list(verify(c))) == ([], [])
        last = max(n for n, e in c.execute(select(decision.c.id, decision.c.evidence)).all() if "G1" in e)
        row = load_decision(c, last)
        found = decide_as_of(c, row, load_site_source(c, row.config_sha256), None)
        assert not [d for d in found.departures if d.kind in {"gone", "altered", "late"}], found.departures


def walk(template, folder, seed, *, at):
    """Levels hour by hour of a drawn story, in which a station is renamed at an hour, or never."""
    folder.mkdir()
    shutil.copy(template, folder / "slope.db")
    draw, levels = random.Random(seed), []
    with Database(f"sqlite:///{folder / 'slope.db'}") as database:
        slope = WatchedSlope(database, seed=seed)
        slope.live(26, looks=1)
        for hour in range(30):
            if hour == at:
                rename(slope)
            fast = {"G1": draw.choice((0.0, 30.0, 150.0)), "G2": draw.choice((0.0, 30.0, 140.0))}
            fast = fast if hour < 16 else {}
            found = slope.live(1, {slope.site.find_current_id(name): rate for name, rate in fast.items()})
            memory = found.decision.memory
            behind = sorted(k.station.replace("H1", "G1") for k in memory.supporters)
            levels.append((found.level, found.observability, found.reachable_level, len(memory.steps), behind))
    return levels


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2))
def test_the_same_readings_give_the_same_levels_whether_a_station_was_renamed_or_not(seed, sqlite_template, tmp_path):
    at = random.Random(seed).randrange(4, 24)  # hour of the renaming
    plain = walk(sqlite_template, tmp_path / "plain", seed, at=None)
    assert max(row[0] for row in plain) > 1
    assert walk(sqlite_template, tmp_path / "renamed", seed, at=at) == plain


def test_readings_sent_under_the_old_id_are_stored_under_the_new_id(slope, tmp_path):
    slope.live(5)
    site = rename(slope)
    pipeline = Pipeline(slope.database, {"bench": site}, lambda: slope.now + HOUR)
    at = slope.now + timedelta(minutes=7)
    crack = {"kind": "crack", "text": "wider", "by": "Bo", "station": "G1"}
    bodies = {"G1/obs": {"crack_opening_mm": 1.25}, "report": crack}
    messages = []
    for end, body in bodies.items():
        payload = json.dumps({"time": format_iso(at), **body}).encode()
        messages.append(BrokerMessage(f"slopeward/v1/bench/{end}", payload, slope.now + HOUR, "live"))
    outcome = pipeline.store(messages)
    assert (outcome.rejected, outcome.added.stored) == (0, 1)
    path = tmp_path / "old.csv"
    path.write_text(f"time,station,quantity,value,unit\n{format_iso(at + HOUR)},G1,crack_opening,1.5,mm\n")
    assert FileImport(path, pipeline, site, lambda: slope.now + 2 * HOUR).run().stored == 1
    with slope.database.read() as c:
        assert list_rows(c, "G1") == {}
        series_id = find_series_id(c, "bench", "H1", "crack_opening")
        values = [r.value_raw for r in load_readings(c, series_id, None, at + HOUR, slope.now + 3 * HOUR)]
        assert (len(values), values[-2:]) == (7, [1.25, 1.5])
        assert c.execute(select(observation.c.flags).distinct()).scalars().all() == [""]  # declared, all of them


@ON_BOTH
def test_readings_under_the_new_id_before_the_renaming_join_the_history(slope):
    slope.live(5)
    first = find_id(slope, "G1")
    for k in range(3):  # the device was renamed before the site file
        slope.publish("H1", 2.0 + k, slope.now + (k + 1) * HOUR / 4)
    same = Observation("bench", "H1", "crack_opening", "mm", slope.now, slope.now, value_at(slope), None)
    with slope.database.write() as c:
        add_observations(c, [same], slope.now)  # and sent its last reading again
    newest = slope.now + 3 * HOUR / 4
    known = {}
    with slope.database.write() as c:  # a process that runs on
        row = Observation("bench", "H1", "crack_opening", "mm", slope.now + HOUR, slope.now + HOUR, 9.0)
        add_observations(c, [row], slope.now, known)
    rename(slope)
    with slope.database.write() as c:
        assert (list_rows(c, "G1"), find_series_id(c, "bench", "H1", "crack_opening")) == ({}, first)
        assert c.execute(select(func.count()).where(observation.c.series_id == first)).scalar_one() == 5 + 3 + 1
        latest = c.execute(select(series_latest.c.observed_at).where(series_latest.c.series_id == first)).scalar()
        assert latest == slope.now + HOUR > newest
        late = Observation("bench", "H1", "crack_opening", "mm", slope.now + 2 * HOUR, slope.now + 2 * HOUR, 9.5)
        assert add_observations(c, [late], slope.now, known).stored == 1  # by the series that it knew
        assert list(verify(c)) == []
    with slope.database.read() as c:
        orphans = select(func.count()).where(observation.c.series_id.not_in(select(series.c.id)))
        assert c.execute(orphans).scalar_one() == 0


def test_question_about_the_reference_moves_to_the_new_id(slope):
    pipeline = Pipeline(slope.database, {"bench": slope.site}, lambda: slope.now)

    def send(frame, pipeline, minutes):
        at = slope.now - timedelta(minutes=minutes)
        gnss = {"enu_mm": [1.0, 2.0, 3.0], "frame": frame, "epoch0": "2026-01-01T00:00:00Z"}
        body = json.dumps({"time": format_iso(at), "gnss": gnss}).encode()
        return pipeline.store([BrokerMessage("slopeward/v1/bench/G1/obs", body, slope.now, "live")])

    assert (send("IGS14", pipeline, 9).added.stored, send("IGS20", pipeline, 8).rejected) == (3, 1)
    site = rename(slope)
    with slope.database.read() as c:
        assert {a.key: a.state for a in load_alerts(c)}["health:epoch0:bench/G1"] == "returned_unacknowledged"
        assert not is_asked(c)
        assert list(verify(c)) == []
    assert send("IGS20", Pipeline(slope.database, {"bench": site}, lambda: slope.now), 7).rejected == 1
    with slope.database.read() as c:
        assert "health:epoch0:bench/H1" in {a.key for a in load_alerts(c)}
        assert list(verify(c)) == []


def is_asked(c):
    return any("asked" in detail for name, (_, detail) in load_heartbeats(c).items() if name.startswith("epoch0:"))


def find_id(slope, station):
    return ask(slope.database, find_series_id, "bench", station, "crack_opening")


def value_at(slope):
    k = observation.c
    with slope.database.read() as c:
        mine = and_(k.series_id == find_id(slope, "G1"), k.observed_at == slope.now)
        return c.execute(select(k.value_raw).where(mine)).scalar_one()


def test_two_instruments_are_not_joined(slope):
    slope.live(5)
    slope.publish("H1", value_at(slope) + 20.0, slope.now)
    site = parse_site(RENAMED, "bench.toml")
    with slope.database.write() as c:
        taken = load_into_force(c, site, "Ada", "renamed", slope.now)
        assert taken.site.version == slope.site.version  # the old file runs on
        assert "two instruments" in str(taken.loosens[0])
        assert list_rows(c, "G1")["series"] == 1
    proposal = propose(slope.database, RENAMED, "bench.toml", ADA, "renamed", slope.now, lambda *_: {})
    with pytest.raises(RefusedError, match="two instruments"):
        approve(slope.database, None, proposal.id, Actor("Bo"), "looks right", slope.now)


def test_renaming_needs_no_second_person_but_a_hidden_change_does(slope):
    slope.live(3)
    with slope.database.read() as c:

        def loosens(text):
            return [str(line) for line in compare(c, parse_site(text, "bench.toml")).loosens]

        assert loosens(RENAMED) == []
        assert "station G1 was removed" in loosens(RENAMED.replace('\nwas = ["G1"]', ""))
        # G2 takes the place of G1: one of two witnesses is gone
        first = SITE_TEXT[SITE_TEXT.index("[[station]]") : SITE_TEXT.index('[[station]]\nid = "G2"')]
        joined = SITE_TEXT.replace(first, "").replace('id = "G2"', 'id = "G2"\nwas = ["G1"]')
        assert "station G1 was removed" in loosens(joined)
        assert any("X9" in line for line in loosens(RENAMED.replace('["G1"]', '["G1", "X9"]')))
        noisier = RENAMED.replace("noise_floor_mm = 1.0", "noise_floor_mm = 2.0", 1)
        assert any("noise_floor" in line for line in loosens(noisier))


def test_impossible_former_id_is_refused():
    cases = {
        "is a station of this file": RENAMED.replace('was = ["G1"]', 'was = ["G2"]'),
        "is the current id": RENAMED.replace('was = ["G1"]', 'was = ["H1"]'),
        "appears twice": RENAMED.replace('id = "G2"', 'id = "G2"\nwas = ["G1"]'),
        "appears twice (H1, H1)": RENAMED.replace('was = ["G1"]', 'was = ["G1", "G1"]'),
        "was: 'H1' is a station": RENAMED.replace('id = "G2"', 'id = "G2"\nwas = ["H1"]').replace('["G1"]', '["G2"]'),
    }
    for said, text in cases.items():
        with pytest.raises(ConfigError) as caught:
            parse_site(text, "bench.toml")
        assert said in str(caught.value) or "is a station of this file" in str(caught.value), said
        assert "\n" not in str(caught.value)


def test_proposal_replays_both_ids_and_renames_when_approved(slope, tmp_path):
    slope.fail()
    seen = {}

    def preview(old, new):
        for site in (old, new):
            found = run_backtest(slope.database, site, slope.now - 30 * HOUR, slope.now)
            seen[site.version] = [str(alert.turns) for alert in found.runs[0].hazards]
        before, after = (seen[site.version] for site in (old, new))
        assert before
        assert [len(one) for one in after] == [len(one) for one in before]
        return {}

    proposal = propose(slope.database, RENAMED, "bench.toml", ADA, "renamed", slope.now, preview)
    assert not proposal.loosens_high
    (tmp_path / "bench.toml").write_text(SITE_TEXT)
    approve(slope.database, tmp_path, proposal.id, ADA, "it is the same mast", slope.now)
    with slope.database.read() as c:
        assert (find_in_force(c, "bench").station("G1").id, list_rows(c, "G1")) == ("H1", {})
        assert (recompute_every(c), list(verify(c))) == ([], [])
