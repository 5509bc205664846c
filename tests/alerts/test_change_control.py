"""Change control: loosening a high level needs two people, and no file on disk loosens one without approval."""

import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from monitor.alerts.acts.change_control import approve, explain_refusal, load_into_force, propose, reject
from monitor.alerts.acts.loosening import find_loosening
from monitor.alerts.acts.operator_acts import set_level
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.evaluations import find_state
from monitor.alerts.queries.events import ChangeDetector
from monitor.alerts.queries.maintenance import (
    add_maintenance,
    end_maintenance,
    load_maintenance,
    load_maintenance_facts,
)
from monitor.alerts.tables import alert
from monitor.app import heartbeats
from monitor.app.children import ProcessRestarter
from monitor.app.core import Core
from monitor.app.jobs.housekeeping import _load_sites
from monitor.app.self_monitoring.supervisor_records import load_recipients
from monitor.cli.main import run_command
from monitor.errors import ConfigError, NotFoundError, RefusedError
from monitor.people.queries.users import disable_user
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.in_force import find_in_force
from monitor.sites.queries.sites import load_proposal, load_proposals
from monitor.sites.records import gather_recipients
from monitor.sites.tables import config_version, site_proposal
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from tests.data.accounts import add_account
from tests.data.site_text import criterion, table
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import HOUR, SITE_TEXT, START, WatchedSlope, write_service

ADA, BO = Actor("Ada"), Actor("Bo")
LOOSE = SITE_TEXT.replace("red = {over = 80.0", "red = {over = 90.0")
TIGHT = SITE_TEXT.replace("red = {over = 80.0", "red = {over = 70.0")
FIRST_G2 = SITE_TEXT.index('[[station]]\nid = "G2"')
MORE = SITE_TEXT.replace(
    "[fusion]", '[[criterion]]\nkind = "level"\nseries = "G1.crack_opening"\nyellow = {over = 50.0}\n\n[fusion]'
)
SHARED = SITE_TEXT.replace('id = "G1"', 'id = "G1"\nreference = "B"').replace('id = "G2"', 'id = "G2"\nreference = "B"')
RULE = (
    '[[fusion.rule]]\nid = "wide"\nlevel = "red"\n'
    'when = {all = [{criterion = "rate-1"}, {not = {criterion = "level-1"}}]}\n\n'
)
RULED = MORE.replace("[[recipient]]", f"{RULE}[[recipient]]")
SHAKEN = SITE_TEXT.replace(
    "[fusion]",
    '[[criterion]]\nkind = "earthquake"\nyellow = {over = 0.1}\nlower_to = 0.5\nlower_for = "7d"\n\n[fusion]',
)


def change(old, new, text=SITE_TEXT):
    assert old in text
    return text.replace(old, new)


LOOSENING = {
    "a higher bound": change("red = {over = 80.0", "red = {over = 80.1"),
    "a bound of the second highest": change("orange = {over = 24.0", "orange = {over = 24.5"),
    "another window": change('window = "8h"', 'window = "7h"'),
    "a bound that is gone": change('red = {over = 80.0, window = "8h"}\n', ""),
    "more hits": change("hits = 2", "hits = 3"),
    "of fewer": change("of = 3", "of = 2"),
    "within a shorter time": change('within = "6h"', 'within = "5h"'),
    "sooner recovered": change("recover = 0.6", "recover = 0.7"),
    "votes that age sooner": change('valid_for = "12h"', 'valid_for = "11h"'),
    "more sigmas": change("recover = 0.6", "recover = 0.6\nmin_sigma = 3.5"),
    "fewer stations": change('stations = ["G*"]', 'stations = ["G1"]'),
    "a criterion that is gone": change(SITE_TEXT[SITE_TEXT.index("[[criterion]]") : SITE_TEXT.index("[fusion]")], ""),
    "advice only": change('kind = "rate"', 'kind = "rate"\nrole = "advice"'),
    "another kind of id": change('kind = "rate"', 'kind = "rate"\nid = "renamed"'),
    "a station that is gone": change(SITE_TEXT[FIRST_G2 : SITE_TEXT.index("[[criterion]]")], ""),
    "a station that is a control": change('id = "G2"', 'id = "G2"\non_slope = false'),
    "two that are one witness": SHARED,
    "a noisier series": change("noise_floor_mm = 1.0", "noise_floor_mm = 2.0"),
    "a narrower range": change("noise_floor_mm = 1.0", "noise_floor_mm = 1.0\nhigh = 50.0"),
    "more witnesses needed": change("top_needs = 2", "top_needs = 3"),
    "a longer hold": change('hold_when_missing = "2d"', 'hold_when_missing = "3d"'),
    "a longer verification": change("top_needs = 2", 'top_needs = 2\nverify_within = "2h"'),
    "red falls by itself": change('"red"]\n[levels', '"red"]\nauto_lower = ["yellow", "red"]\n[levels'),
    "another action": change("Clear the pit floor", "Look at it"),
    "another ladder": change('"orange", "red"]\n[levels', '"orange", "red", "black"]\n[levels'),
    "a recipient that is gone": SITE_TEXT[: SITE_TEXT.index("[[recipient]]")],
    "a recipient not told of red": change('levels = ["orange", "red"]', 'levels = ["orange"]'),
    "a channel that is gone": change('channels = ["log", "log:second"]', 'channels = ["log"]'),
    "no health alarms": change('levels = ["orange", "red"]\n', 'levels = ["orange", "red"]\nledgers = ["hazard"]\n'),
    "a recipient before the first": change(
        "[[recipient]]", '[[recipient]]\nname = "new"\nchannels = ["log"]\nescalate_after = "1h"\n[[recipient]]'
    ),
    "a check of neighbours": change("[fusion]", '[fusion]\nneighbours = {above = "yellow", step_m = 100.0}'),
    "the site moves": change("latitude = 46.2", "latitude = 46.3"),
}
HARMLESS = {
    "a lower bound": TIGHT,
    "a yellow bound": change("yellow = {over = 6.0", "yellow = {over = 7.0"),
    "who set it": change('author = "A. Rossi"', 'author = "B. Bianchi"'),
    "a review": change('author = "A. Rossi"', 'author = "A. Rossi"\nvalid_until = 2027-01-01'),
    "another name": change("North bench", "The north bench"),
    "a comment": f"# a note\n{SITE_TEXT}",
    "fewer hits": change("hits = 2", "hits = 1"),
    "later recovered": change("recover = 0.6", "recover = 0.5"),
    "one witness is enough": change("top_needs = 2", "top_needs = 1"),
    "one more criterion": MORE,
    "one more recipient": SITE_TEXT + '\n[[recipient]]\nname = "second"\nchannels = ["log"]\n',
    "one more channel": change('["log", "log:second"]', '["log", "log:second", "log:third"]'),
    "a station of its own": change(
        "[[criterion]]",
        '[[station]]\nid = "G3"\n[[station.series]]\nquantity = "crack_opening"\nunit = "mm"\n'
        'interval = "1h"\n\n[[criterion]]',
    ),
    "a fast track": change("recover = 0.6", "recover = 0.6\nfast_track = 3.0"),
    "one more rule": RULED,
    "an earthquake": SHAKEN,
    "a wider range": change("noise_floor_mm = 1.0", "noise_floor_mm = 1.0\nhigh = 60.0"),
}


@pytest.mark.parametrize("name", LOOSENING)
def test_change_that_could_loosen_a_high_level_is_found(name):
    assert find_loosening(parse_site(SITE_TEXT, "a"), parse_site(LOOSENING[name], "b"))


@pytest.mark.parametrize("name", HARMLESS)
def test_change_that_cannot_loosen_a_high_level_is_not_found(name):
    old = LOOSENING["a narrower range"] if name == "a wider range" else SITE_TEXT
    assert find_loosening(parse_site(old, "a"), parse_site(HARMLESS[name], "b")) == ()


def loosened(old, new):
    return find_loosening(parse_site(old, "a"), parse_site(new, "b"))


def test_removed_rules_neighbours_and_earthquakes_count_as_loosening():
    assert loosened(RULED, MORE) == ("fusion rule wide was removed",)
    assert loosened(RULED, change('id = "wide"\nlevel = "red"', 'id = "wide"\nlevel = "orange"', RULED))
    # what a rule denies must not speak more easily: a lower bound loosens there
    assert loosened(RULED, change("yellow = {over = 50.0}", "yellow = {over = 40.0}", RULED))
    assert loosened(MORE, change("yellow = {over = 50.0}", "yellow = {over = 40.0}", MORE)) == ()
    # a low bound that a rule for red rests on
    assert loosened(RULED, change("yellow = {over = 6.0", "yellow = {over = 7.0", RULED))
    assert loosened(LOOSENING["a check of neighbours"], SITE_TEXT) == ()
    assert loosened(HARMLESS["a fast track"], SITE_TEXT)
    assert loosened(SHAKEN, SITE_TEXT) == ("criterion earthquake-1 was removed",)
    assert loosened(SHAKEN, change("lower_to = 0.5", "lower_to = 0.6", SHAKEN))
    # low bounds matter where rovers share a reference
    lowered = change("yellow = {over = 6.0", "yellow = {over = 7.0", SHARED)
    assert loosened(SHARED, lowered) == ("criterion rate-1, level 1 (yellow): over changes from 6 to 7",)


def effect(old, new):
    return {"old": old.version if old else None, "new": new.version}


def suggest(bench, text, actor=ADA, preview=effect):
    return propose(bench.database, text, "bench.toml", actor, "noise is lower", START, preview)


def in_force(bench):
    return ask(bench.database, find_in_force, "bench").source


def test_loosening_needs_a_second_person(bench, tmp_path):
    file = tmp_path / "bench.toml"
    file.write_text(SITE_TEXT)
    found = suggest(bench, LOOSE)
    assert found.loosens_high
    assert found.differences == [{"key": "criterion[rate-1].red.over", "old": 80.0, "new": 90.0}]
    assert found.effect["new"] == parse_site(LOOSE, "x").version
    for same in ("Ada", " ada "):
        with pytest.raises(RefusedError, match="second person"):
            approve(bench.database, tmp_path, found.id, Actor(same), "fine", START)
    assert (file.read_text(), in_force(bench)) == (SITE_TEXT, SITE_TEXT)
    assert approve(bench.database, tmp_path, found.id, BO, "fine", START + HOUR) == file
    assert (file.read_text(), in_force(bench), list(tmp_path.glob(".*"))) == (LOOSE, LOOSE, [])
    with bench.database.read() as c:
        done = load_proposal(c, found.id)
        version = c.execute(select(config_version).where(config_version.c.sha256 == done.sha256)).one()
        e = audit_entry.c
        actions = c.execute(select(e.action, e.actor).where(e.action != "rows.seal").order_by(e.id)).all()
        assert verify_chain(c) == []
    assert (done.state, done.approved_by, done.second_by) == ("approved", "Bo", "Bo")
    assert (version.author, "approved by Bo: fine" in version.reason) == ("Ada", True)
    assert actions == [("site.propose", "Ada"), ("site.approve", "Bo")]


def test_proposed_file_that_was_altered_in_the_database_is_not_put_in_force(bench, tmp_path):
    found = suggest(bench, TIGHT)
    tell(bench.database, lambda c: c.execute(site_proposal.update().values(source=LOOSE)))
    with pytest.raises(RefusedError, match="was altered in the database"):
        approve(bench.database, tmp_path, found.id, BO, "fine", START)
    assert in_force(bench) == SITE_TEXT


FIRST, SECOND = (
    criterion("level", series="G1.crack_opening", yellow={"over": over}, valid_for="2d") for over in (4.0, 900.0)
)
TWO_LEVELS, ONE_LEVEL = (change("[fusion]", text + table("[fusion]")) for text in (FIRST + SECOND, SECOND))


@pytest.mark.parametrize("by", ["file", "proposal"])
def test_criterion_with_the_name_of_another_takes_over_neither_vote_nor_level(database, tmp_path, by):
    bench = WatchedSlope(database, TWO_LEVELS)
    bench.live(26, looks=1)
    assert bench.live(30, {"G1": 5.5}, looks=6).level == 1
    site = parse_site(ONE_LEVEL, "bench.toml")
    if by == "file":
        assert tell(database, load_into_force, site, "core", "loaded", bench.now).loosens == ()
    else:
        (tmp_path / "bench.toml").write_text(TWO_LEVELS)
        approve(database, tmp_path, suggest(bench, ONE_LEVEL).id, BO, "fine", bench.now)
    bench.site = site
    held = bench.live(40, looks=40)
    assert held.level == 1, "what ended it never raised it"
    assert (held.decision.memory.votes["level-1|G1"].level, held.decision.memory.supporters["level-1~|G1"]) == (0, 1)
    assert "health:site:cannot_see" not in held.decision.memory.conditions
    asked = bench.live(12, looks=1).decision.memory.conditions["health:site:cannot_see"]
    assert "no criterion any more for G1 (level-1)" in asked.reason, "a person must decide"
    set_level(database, site, 0, BO, "nothing moves", bench.now)
    assert bench.live(2).decision.memory.unheard == {}
    assert "site.set_apart" in ask(database, lambda c: c.execute(select(audit_entry.c.action)).scalars().all())


def test_edited_bound_keeps_the_votes_of_its_criterion(database):
    bench = WatchedSlope(database, TWO_LEVELS)
    bench.live(26, looks=1)
    assert bench.live(30, {"G1": 5.5}, looks=6).level == 1
    edited = parse_site(TWO_LEVELS.replace("over = 4.0", "over = 90.0"), "b")
    bench.site = tell(database, load_into_force, edited, "core", "x", bench.now).site
    assert bench.live(3).level == 0


def test_author_and_approver_need_accounts_if_accounts_exist(bench, tmp_path):
    found = suggest(bench, LOOSE)
    tell(bench.database, add_account, "Bo", "long enough 1", "operator", START)
    with pytest.raises(RefusedError, match="'Ada' has no open account"):
        approve(bench.database, tmp_path, found.id, BO, "fine", START)
    with pytest.raises(RefusedError, match="'Ada' has no open account"):
        suggest(bench, LOOSE)
    assert suggest(bench, TIGHT).state == "proposed"
    tell(bench.database, add_account, "Ada", "long enough 1", "admin", START)
    with pytest.raises(RefusedError, match="'Cy' has no open account"):
        approve(bench.database, tmp_path, found.id, Actor("Cy"), "fine", START)
    approve(bench.database, tmp_path, found.id, BO, "fine", START)


def test_proposal_must_be_compared_with_the_version_in_force(bench, tmp_path):
    first, second, third = suggest(bench, LOOSE), suggest(bench, TIGHT), suggest(bench, f"{TIGHT}# more\n")
    (tmp_path / "bench.toml").write_text(f"{SITE_TEXT}# edited by hand\n")
    with pytest.raises(RefusedError, match="was edited since"):
        approve(bench.database, tmp_path, second.id, ADA, "x", START)
    (tmp_path / "bench.toml").write_text(SITE_TEXT)
    approve(bench.database, tmp_path, second.id, ADA, "x", START)
    with pytest.raises(RefusedError, match="superseded already"):
        reject(bench.database, first.id, BO, "no", START)
    bench.take(parse_site(SITE_TEXT, "a"))
    fourth = suggest(bench, MORE)
    bench.take(parse_site(TIGHT, "a"))
    with pytest.raises(RefusedError, match="propose it again"):
        approve(bench.database, tmp_path, fourth.id, BO, "x", START)
    reject(bench.database, fourth.id, BO, "no evidence", START)
    states = {p.id: p.state for p in ask(bench.database, load_proposals, everything=True)}
    assert states == {first.id: "superseded", second.id: "approved", third.id: "superseded", fourth.id: "rejected"}


def test_loosening_without_a_computed_effect_is_not_approved(bench, tmp_path):
    found = suggest(bench, LOOSE, preview=lambda old, new: {"skipped": "not asked for"})
    with pytest.raises(RefusedError, match="effect was not computed"):
        approve(bench.database, tmp_path, found.id, BO, "fine", START)


def test_invalid_proposal_is_refused(bench, tmp_path):
    with pytest.raises(RefusedError, match="nothing to propose"):
        suggest(bench, SITE_TEXT)
    with pytest.raises(ConfigError, match=re.escape("criterion[0]: unknown key 'rde'")):
        suggest(bench, change("red = {", "rde = {"))
    with pytest.raises(RefusedError, match="person"):
        suggest(bench, LOOSE, actor=Actor("slopeward", "service"))
    with pytest.raises(NotFoundError):
        approve(bench.database, tmp_path, 99, BO, "fine", START)


def test_file_on_disk_loosens_nothing_without_approval(bench):
    loose, tight = parse_site(LOOSE, "bench.toml"), parse_site(TIGHT, "bench.toml")
    taken = tell(bench.database, load_into_force, loose, "slopeward", "loaded at start", START)
    assert taken.site.source == SITE_TEXT
    line = explain_refusal(taken, "sites/bench.toml")
    assert "criterion rate-1, level 3 (red): over changes from 80 to 90" in line
    assert "slopeward sites propose bench sites/bench.toml" in line
    first = parse_site(change('id = "bench"', 'id = "other"', LOOSE), "other.toml")
    with bench.database.write() as c:
        assert load_into_force(c, tight, "slopeward", "loaded at start", START).site == tight
        assert find_in_force(c, "bench").source == TIGHT
        # what was in force once is not approved for ever
        assert load_into_force(c, parse_site(SITE_TEXT, "x"), "slopeward", "loaded at start", START).loosens
        assert load_into_force(c, first, "slopeward", "loaded at start", START).site == first


def test_change_of_the_site_file_never_changes_the_level(bench, tmp_path):
    assert bench.fail().level == 3
    before = bench.now
    memory = ask(bench.database, find_state, "bench").digest
    gone = LOOSENING["a criterion that is gone"] + criterion("report", kinds=["crack"], level="red")
    for text in (LOOSE, gone):
        approve(bench.database, tmp_path, suggest(bench, text).id, BO, "x", before)
        assert ask(bench.database, find_state, "bench").digest == memory
    bench.site = parse_site(gone, "bench.toml")
    for hours in (1, 30):
        assert evaluate_site(bench.database, bench.site, before + hours * HOUR, "tick").level == 3


def test_commands_propose_show_approve_and_reject(bench, tmp_path, capsys):
    bench.now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 70 * HOUR
    bench.fail()
    config = str(write_service(tmp_path, bench.database))
    (tmp_path / "new.toml").write_text(change("red = {over = 80.0", "red = {over = 800.0"))

    def call(*words):
        return run_command([*words, "--config", config]), capsys.readouterr()

    assert call("sites", "proposals")[0] == 4
    code, out = call(
        "sites", "propose", "bench", str(tmp_path / "new.toml"), "--by", "Ada", "--reason", "noise", "--months", "1"
    )
    assert code == 0, out.err
    assert "criterion[rate-1].red.over: 80.0 -> 800.0" in out.err
    assert "loosens one of the two highest levels" in out.err
    assert "next: slopeward sites approve 1 --by NAME --reason WHY" in out.err
    assert re.search(r"A, in force: 1 hazard alerts.* red [0-9.]*[1-9]", out.err)
    assert re.search(r"B, proposed: .* orange [0-9.]*[1-9][0-9]* d$", out.err, re.MULTILINE)  # red never
    code, out = call("sites", "proposals", "--json")
    number = str(json.loads(out.out)["id"])
    code, out = call("sites", "proposals", number)
    assert "red first:" in out.out
    assert call("sites", "approve", number, "--by", "Ada", "--reason", "mine")[0] == 1
    assert call("sites", "approve", number, "--by", "Bo", "--reason", "seen")[0] == 0
    assert "over = 800.0" in (tmp_path / "sites" / "bench.toml").read_text()
    (tmp_path / "new.toml").write_text(change("red = {over = 80.0", "red = {over = 900.0"))
    code, out = call(
        "sites", "propose", "bench", str(tmp_path / "new.toml"), "--by", "Ada", "--reason", "noise", "--months", "0"
    )
    assert "not computed: not requested" in out.err
    assert "next:" not in out.err, "nobody could approve it"
    assert call("sites", "reject", "2", "--by", "Bo", "--reason", "no evidence")[0] == 0
    assert call("sites", "proposals", "--all")[1].out.count("\n") == 2


def test_no_command_puts_a_loosened_file_in_force(bench, tmp_path, capsys):
    bench.live(2)
    config = str(write_service(tmp_path, bench.database, LOOSE))
    assert run_command(["level", "set", "bench", "yellow", "--by", "Ada", "--reason", "rain", "--config", config]) == 0
    assert "changed without approval" in capsys.readouterr().err
    assert (run_command(["evaluate", "bench", "--config", config]), in_force(bench)) == (0, SITE_TEXT)


# ---- the running service ---------------------------------------------------------------------------------------
@pytest.fixture
def core(bench, tmp_path):
    made = Core(load_service(write_service(tmp_path, bench.database, LOOSE), {}), lambda: START)
    part = SimpleNamespace(progress=dict, is_busy=bool, wake=lambda: None)
    made.evaluation = made.ingest = made.dispatcher = made.self_monitoring = part
    yield made
    made.db.close()


def load(core):
    core._load_sites()
    return core.sites["bench"].source


def test_service_continues_with_the_version_in_force_and_names_the_command(core, tmp_path):
    assert load(core) == SITE_TEXT
    core.alarms.write_pending()
    with core.db.read() as c:
        alarm = c.execute(select(alert).where(alert.c.key == "health:config:bench:unapproved")).one()
    assert (alarm.site, alarm.level) == ("status", 2)
    assert f"slopeward sites propose bench {tmp_path}/sites/bench.toml --by" in alarm.reason
    (tmp_path / "sites" / "bench.toml").write_text(SITE_TEXT)
    assert load(core) == SITE_TEXT
    core.alarms.write_pending()
    assert ask(core.db, lambda c: c.execute(select(alert.c.level).where(alert.c.id == alarm.id)).scalar()) == 0


def test_file_that_hides_motion_is_reported_when_it_is_loaded(core, tmp_path):
    text = SITE_TEXT.replace('id = "bench"', 'id = "other"', 1).replace('stations = ["G*"]', 'stations = ["G1"]')
    (tmp_path / "sites" / "other.toml").write_text(text.replace('window = "8h"', 'window = "2h"'))
    core._load_sites()
    told = {one.key.removeprefix("health:"): one for one in core.alarms.pending() if "config:other" in one.key}
    unreachable, unjudged = (told[f"config:other:{name}"] for name in ("unreachable", "unjudged"))
    assert (unreachable.open, unreachable.level, unjudged.open, unjudged.level) == (True, 2, True, 1)
    assert "the window of 2h contains 2 readings, and 4 are needed" in unreachable.reason
    assert "no criterion with a vote reads G2.crack_opening" in unjudged.reason


def test_approved_file_is_loaded_by_a_new_core(core, bench, tmp_path):
    load(core)
    core._check_site_files()
    found = suggest(bench, LOOSE)
    core._check_site_files()
    assert not core.has_new_site_files.is_set()
    approve(bench.database, tmp_path / "sites", found.id, BO, "fine", START)
    core._check_site_files()
    assert (core.watch(), load(core)) == (heartbeats.EXIT_REPLACE, LOOSE)
    core.has_new_site_files.clear()
    core._check_site_files()
    assert not core.has_new_site_files.is_set()
    assert [a.open for a in core.alarms.pending() if a.key.endswith("unapproved")] == [True, False]


def test_core_that_restarts_is_not_reported_as_failed():
    started = []
    child = SimpleNamespace(name="core", status=None, stop=lambda: None, has_started=lambda: True)
    child.poll = lambda: child.status is None
    child.start = lambda: (started.append(1), setattr(child, "status", None))
    restarter = ProcessRestarter(child)
    for _ in range(5):
        restarter.check()
        child.status = heartbeats.EXIT_REPLACE
        restarter.check()
    assert (len(started), restarter.failures, restarter.outcome) == (5, 0, None)


def test_one_person_cannot_retire_a_site_at_a_high_level(bench, tmp_path, capsys):
    config = str(write_service(tmp_path, bench.database, None))
    bench.live(1)
    set_level(bench.database, bench.site, 2, ADA, "crack", bench.now)
    words = ["sites", "retire", "bench", "--by", "Ada", "--reason", "mine closed", "--config", config]
    assert (run_command(words), "is at orange" in capsys.readouterr().err) == (1, True)
    assert (run_command([*words, "--second", "ada"]), run_command([*words, "--second", "Bo"])) == (1, 0)


def test_edit_on_disk_does_not_remove_recipients_of_the_service(bench, tmp_path):
    service = load_service(write_service(tmp_path, bench.database, LOOSENING["a recipient that is gone"]), {})
    with bench.database.read() as c:
        assert [r.name for r in load_recipients(service, c)] == ["duty engineer"]
        assert [r.name for r in gather_recipients(_load_sites(c, service))] == ["duty engineer"]


def spoil(bench):
    tell(bench.database, lambda c: c.execute(config_version.update().values(source="levels = 'of an older program'")))


def told(core):
    core.alarms.write_pending()
    return {a.key: a for a in ask(core.db, lambda c: c.execute(select(alert).where(alert.c.level > 0)))}


def test_unreadable_version_is_reported_and_its_level_stays(core, bench):
    assert bench.fail().level == 3
    spoil(bench)
    assert load(core) == LOOSE, "nobody could compare them"
    alarm = told(core)["health:config:bench:unread"]
    assert (alarm.level, "can no longer read it" in alarm.reason) == (2, True)
    bench.site = core.sites["bench"]
    after = bench.live(40, looks=3)
    assert (after.level, {k.partition("|")[0] for k in after.decision.memory.supporters}) == (3, {"rate-1~"})
    assert load(core) == LOOSE
    assert "health:config:bench:unread" not in told(core)


def test_site_without_a_readable_file_is_an_urgent_alarm(core, bench, tmp_path):
    spoil(bench)
    (tmp_path / "sites" / "bench.toml").write_text("nothing = ")
    core._load_sites()
    assert core.sites == {}
    alarm = told(core)["health:config:bench:unwatched"]
    assert (alarm.level, "is NOT watched" in alarm.reason) == (2, True)
    (tmp_path / "sites" / "bench.toml").write_text(SITE_TEXT)
    assert load(core) == SITE_TEXT
    assert "health:config:bench:unwatched" not in told(core)


# ---- maintenance ----------------------------------------------------------------------------------------------------
def add(bench, from_h=0.0, to_h=4.0, *, station="G1", actor=ADA, reason="new mast", **more):
    span = (START + from_h * HOUR, START + to_h * HOUR)
    return tell(bench.database, add_maintenance, "bench", station, *span, actor, reason, START, **more)


def known(bench, hours):
    facts = ask(bench.database, load_maintenance_facts, "bench", START + hours * HOUR)
    return [(f.station, f.by, f.second_by) for f in facts]


def test_maintenance_starts_at_its_beginning_and_ends_by_itself(bench):
    add(bench, 1, 4, second=BO)
    assert known(bench, 0.5) == []
    assert known(bench, 1) == known(bench, 3.99) == [("G1", "Ada", "Bo")]
    assert known(bench, 4) == []


def test_ended_maintenance_still_counts_for_the_time_before(bench):
    number = add(bench)
    assert tell(bench.database, end_maintenance, number, BO, "done", START + HOUR)
    assert (known(bench, 0.99), known(bench, 1)) == ([("G1", "Ada", None)], [])
    assert tell(bench.database, end_maintenance, number, BO, "again", START + HOUR) is False
    with bench.database.read() as c:
        assert load_maintenance(c, "bench", START + 2 * HOUR) == []
        assert [m.ended_by for m in load_maintenance(c, None, START, everything=True)] == ["Bo"]
        assert verify_chain(c) == []


def test_invalid_maintenance_is_refused(bench):
    for more, error in (
        ({"to_h": 7 * 24 + 0.1}, "at most 7d"),
        ({"to_h": 0.0}, "at most 7d"),
        ({"from_h": -1.0}, "past"),
        ({"actor": SERVICE_ACTOR}, "person"),
        ({"reason": " "}, "reason"),
        ({"second": Actor(" ADA ")}, "second person"),
        ({"second": Actor("robot", "program")}, "two people"),
        ({"station": "G9"}, "G1, G2"),
    ):
        with pytest.raises((RefusedError, NotFoundError), match=error):
            add(bench, **more)
    assert known(bench, 0) == []


def test_both_people_need_accounts_if_accounts_exist(bench):
    with bench.database.write() as c:
        for name, role in (("Ada", "operator"), ("Bo", "operator"), ("Cy", "viewer")):
            add_account(c, name, "long enough 1", role, START)
    for nobody in ("Di", "Cy"):
        with pytest.raises(RefusedError, match="no open account with the role operator"):
            add(bench, second=Actor(nobody))
    add(bench, second=BO)
    tell(bench.database, disable_user, "Bo", START)
    with pytest.raises(RefusedError, match="no open account"):
        add(bench, second=BO)


def test_maintenance_and_its_end_are_detected_by_the_running_service(bench):
    news = ChangeDetector()
    ask(bench.database, news.find_changed)
    number = add(bench)
    with bench.database.read() as c:
        assert (news.find_changed(c), news.find_changed(c)) == ({"bench"}, frozenset())
    tell(bench.database, end_maintenance, number, ADA, "done", START + HOUR)
    assert ask(bench.database, news.find_changed) == {"bench"}


def test_commands_add_list_and_end_maintenance(bench, tmp_path, capsys):
    config = str(write_service(tmp_path, bench.database))

    def call(*words):
        return run_command([*words, "--config", config]), capsys.readouterr()

    assert call("maintenance", "list")[0] == 4
    code, out = call("maintenance", "add", "bench", "G1", "--for", "2h", "--by", "Ada", "--reason", "mast", "--json")
    assert code == 0
    number = str(json.loads(out.out)["id"])
    code, out = call("maintenance", "list")
    assert (code, "bench G1" in out.out, "Ada: mast" in out.out) == (0, True, True)
    assert call("maintenance", "add", "bench", "G1", "--for", "2 h o", "--reason", "new mast")[0] == 1
    assert call("maintenance", "add", "nowhere", "G1", "--reason", "new mast")[0] == 1
    assert call("maintenance", "end", number, "--by", "Bo", "--reason", "done")[0] == 0
    assert call("maintenance", "list", "--site", "bench")[0] == 4
    code, out = call("maintenance", "list", "--all", "--json")
    assert json.loads(out.out)["ended_by"] == "Bo"
