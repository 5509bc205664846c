"""Evidence is independent of later changes: the same hash, the same decision, and altered bytes are found."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from monitor.alerts.acts.operator_acts import set_level
from monitor.alerts.audit.as_of import decide_as_of
from monitor.alerts.audit.audit_pack import build_pack, check_pack, read_pack, write_pack
from monitor.alerts.audit.queries import list_alterations, load_material
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import FORMAT
from monitor.alerts.evaluation_tables import decision
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import ChangeContext, acknowledge, apply_changes, load_alerts, set_outcome
from monitor.alerts.queries.evaluations import load_decision
from monitor.alerts.queries.offsets import KINDS
from monitor.alerts.queries.reports import add_report
from monitor.alerts.tables import alert as alert_table
from monitor.alerts.tables import alert_event
from monitor.app.self_monitoring.alarms import ServiceAlarms, make_alarm
from monitor.cli.main import run_command
from monitor.cli.site.explaining import recompute_all
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.errors import RefusedError
from monitor.readings.queries.observations import find_series_id
from monitor.readings.records import ObserverReport
from monitor.readings.tables import observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source
from monitor.sites.tables import config_version
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.audit import verify_chain
from monitor.storage.backup import back_up, restore
from monitor.storage.proof import verify
from monitor.storage.prune import RetentionRun
from monitor.storage.retention import RetentionLimits
from tests.data.seized import without_keys
from tests.data.site_text import criterion
from tests.data.store_rows import add_flag, ask, enter_offset, tell
from tests.data.watched_slope import HOUR, SITE_TEXT, START, WatchedSlope, write_service
from tests.fixtures.databases import ON_BOTH, SQLITE_ONLY

ADA, BO = Actor("Ada"), Actor("Bo")


def fail(database):
    slope = WatchedSlope(database)
    assert slope.fail().level == 3
    return slope


@pytest.fixture(params=SQLITE_ONLY)
def bench(request, open_copy):
    database, failed = open_copy(request.param, fail)
    return failed.in_copy(database)


@pytest.fixture
def explain(bench, tmp_path, capsys):
    words = ["alerts", "explain", str(hazard(bench)[0].id), "--recompute"]
    config = str(write_service(tmp_path, bench.database))

    def call(*more):
        status = run_command([*words, "--config", config, *more])
        out = capsys.readouterr()
        return status, out.out + out.err

    return call


def hazard(bench):
    with bench.database.read() as c:
        (alert,) = load_alerts(c, "bench", ledger="hazard")
        return alert, load_decision(c, alert.decision_id)


def as_of(bench, row, known_at):
    with bench.database.read() as c:
        return decide_as_of(c, row, load_site_source(c, row.config_sha256), known_at)


def test_later_rows_change_no_decision_and_are_listed(bench):
    row = hazard(bench)[1]
    decided = row.at
    assert as_of(bench, row, None).departures == ()
    bench.now += HOUR
    bench.publish("G1", 11.0, decided - 4 * HOUR, solution="corrected")  # a final solution
    bench.publish("G1", 9.0, decided - 4.5 * HOUR)  # late
    with bench.database.write() as c:
        key = find_series_id(c, "bench", "G2", "crack_opening")
        add_flag(c, key, decided - HOUR, "spike", bench.now)
        enter_offset(c, key, decided - 3 * HOUR, 25.0, bench.now, kind=KINDS[0], reason="new anchor")
        c.execute(observation.delete().where(observation.c.observed_at == decided - 7 * HOUR))
    bench.take(parse_site(SITE_TEXT.replace("over = 80.0", "over = 800.0"), "bench.toml"))
    bench.live(3)

    assert (recompute_all(bench.database, hazard(bench)[0]), as_of(bench, row, None).known_at) == ([], decided)
    found = as_of(bench, row, bench.now)
    assert {d.kind for d in found.departures} == {"revised", "late", "flags", "offset", "gone"}
    assert {d.series for d in found.departures if d.kind == "gone"} == {"G1.crack_opening", "G2.crack_opening"}
    assert (sum(d.kind == "offset" for d in found.departures), found.level_then, found.decision.level) == (4, 3, 2)
    # known at the decision's instant only what was pruned differs
    assert {d.kind for d in as_of(bench, row, None).departures} == {"gone"}
    assert ask(bench.database, load_decision, row.id) == row


@pytest.mark.soak
def test_pruning_and_restore_keep_the_hash(bench, tmp_path):
    before = hazard(bench)[1]
    bench.live(24 * 4)
    later = bench.now + timedelta(days=40)
    sweep = RetentionRun(
        bench.database, RetentionLimits(dict.fromkeys(("observations", "forecasts"), later - timedelta(days=1))), later
    )
    sweep.run()
    assert sum(sweep.count_removed().values()) > 50
    copy = tmp_path / ("copy.db" if bench.database.is_sqlite else "copy.dump")
    back_up(bench.database, copy)
    with bench.database.write() as c:
        for table in (notification, alert_event, alert_table, decision):
            c.execute(table.delete())
    restore(bench.database, copy)
    alert, _ = hazard(bench)
    with bench.database.read() as c:
        after = load_decision(c, before.id)
        assert verify_chain(c) == []
    assert (after, recompute_all(bench.database, alert)) == (before, [])
    assert {d.kind for d in as_of(bench, after, None).departures} <= {"gone"}


def add_one(match):
    return f"{match[1]}{(int(match[2]) + 1) % 10}"


ALTERED = {
    "a value": lambda text: re.sub(r"(,0,\d+\.)(\d)", add_one, text, count=1),
    "a vote": lambda text: text.replace('"counted":true', '"counted":false', 1),
    "a margin": lambda text: re.sub(r'("margin":)(\d)', add_one, text, count=1),
    "a blank": lambda text: text + " ",
    "a key": lambda text: text.replace('"readings"', '"reedings"', 1),
    "a brace": lambda text: text[:-1],
}


def alter(bench, table, **values):
    with bench.database.engine.begin() as c:  # past the service
        c.execute(update(table).values(**values))


@pytest.mark.soak
def test_altered_byte_of_the_inputs_is_found(bench, explain):
    alert, row = hazard(bench)
    for name, change in ALTERED.items():
        text = change(row.evidence)
        assert text != row.evidence
        digest = hashlib.sha256(text.encode()).hexdigest()
        for sha in (row.evidence_sha256, digest):  # who alters the hash as well still does not fit the audit log
            alter(bench, decision, evidence=text, evidence_sha256=sha)
            assert any("altered" in line for line in recompute_all(bench.database, alert)), name
            assert any(f"decision {row.id}" in x or f"decision:{row.id}" in x for x in ask(bench.database, verify))
    status, said = explain()
    assert (status, "recomputed: the frozen inputs were altered" in said) == (1, True)
    alter(bench, decision, evidence=row.evidence, evidence_sha256=row.evidence_sha256)
    assert (explain()[0], ask(bench.database, verify)) == (0, [])


def test_difference_caused_by_earlier_rules_is_named(bench):
    row = hazard(bench)[1]
    source = ask(bench.database, load_site_source, row.config_sha256)

    def again(content):
        digest = hashlib.sha256(content.encode()).hexdigest()
        return recompute(replace(row, evidence=content, evidence_sha256=digest), source).differences

    other = row.evidence.replace(f'"format":{FORMAT}', '"format":0')
    assert other != row.evidence
    assert again(other) == ()
    said = "decided by earlier rules (format 0)"
    assert again(other.replace("over 80 mm/day in", "over 81 mm/day in"))[0] == said
    assert said not in again(row.evidence.replace("over 80 mm/day in", "over 81 mm/day in"))


def test_altered_threshold_or_event_is_found(bench, explain):
    alert, row = hazard(bench)
    whole = {"source": SITE_TEXT}
    for table, altered, sane, said in (
        (config_version, {"source": SITE_TEXT.replace("80.0", "81.0")}, whole, "site file was altered"),
        (config_version, {"source": "no toml ["}, whole, "site file was altered"),
        (decision, {"config_sha256": "0" * 64}, {"config_sha256": row.config_sha256}, "no site file with hash 000"),
        (alert_event, {"to_level": 1}, {"to_level": 3}, "the event has level 1, the decision 3"),
        (
            alert_event,
            {"reason": "nothing"},
            {"reason": alert.reason},
            "the reason of the event differs from that of the decision",
        ),
        (alert_table, {"acknowledged_by": "Eve"}, {"acknowledged_by": None}, "altered: alert 1: the row was altered"),
    ):
        alter(bench, table, **altered)
        status, text = explain()
        assert (status, said in text) == (1, True), text
        alter(bench, table, **sane)
    assert explain()[0] == 0


def test_decision_of_a_person_is_recomputed(bench):
    set_level(bench.database, bench.site, 1, ADA, "inspected on foot", bench.now)
    alert, row = hazard(bench)
    assert recompute_all(bench.database, alert) == []
    with pytest.raises(RefusedError, match="no readings were used"):
        as_of(bench, row, None)
    frozen = json.loads(row.evidence)
    frozen["after"]["floor"] = 2
    with bench.database.engine.begin() as c:  # past the service
        c.execute(update(decision).where(decision.c.id == row.id).values(evidence=json.dumps(frozen)))
    assert len(recompute_all(bench.database, alert)) >= 2


# a processor that lacks what a kernel of OpenBLAS is made for would stop at it
KERNELS = {"Prescott": "pni", "Sandybridge": "avx", "Haswell": "avx2", "Zen": "avx2", "SkylakeX": "avx512f"}


@pytest.mark.soak
def test_all_arithmetic_kernels_decide_bit_for_bit_the_same(bench, tmp_path):
    has = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text()))
    kernels = [name for name, needs in KERNELS.items() if needs in has]
    settings = [{"OPENBLAS_CORETYPE": name} for name in kernels]
    settings[0] |= {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F X86_V3 X86_V4"}
    words = ["alerts", "explain", str(hazard(bench)[0].id), "--recompute"]
    words += ["--config", str(write_service(tmp_path, bench.database))]
    call = [sys.executable, "-c", "import sys; from monitor.cli.main import main; main(sys.argv[1:])", *words]
    piped = partial(subprocess.Popen, call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for one in [piped(env={**os.environ, **environment}) for environment in settings]:
        said, errors = one.communicate(timeout=120)
        assert (one.returncode, "recomputed: equal bit for bit" in said) == (0, True), (one.args, said, errors)


def test_explain_prints_the_reason_first_and_the_inputs_on_request(bench, explain):
    row = hazard(bench)[1]
    status, output = explain("--as-of", "now")
    assert status == 0, output
    assert "--inputs" in output
    assert "crack_opening: " not in output
    status, output = explain("--inputs", "--as-of", "now")
    assert status == 0, output
    parts = (
        r"^Alert 1 of bench, hazard: red, unacknowledged",
        r"Reason: G1: rate of crack opening: ",
        r"What happened:",
        r"Decided 2026-03-.*: the level rises from \w+ to red",
        r"red: G2 \(rate-1\): .*; reading of 2026-03-0.*, valid until 2026-03-0",
        r"Notified:",
        r"Acknowledged: nobody yet",
        r"G1.crack_opening: \d+ readings from 2026-03-\d\d \d\d:00 \w+ to 2026-03-0\d .*, \S+ to \S+ mm, the last",
        r"rate-1 G1: requests red, keeps up to red",
        r"red: bound 80 mm/day, margin \+57\S* mm/day, 2 readings beyond it, 2 needed",
        rf"Proof: decision {row.id}, rules .*\+{row.config_sha256[:12]}, SHA-256 .* {row.evidence_sha256}",
        r"the tables of today contain the same inputs",
        r"they give the same level 3",
        r"recomputed: equal bit for bit",
    )
    position = 0
    for part in parts:
        match = re.compile(part).search(output, position)
        assert match, (part, output)
        position = match.end()


# ---- the pack --------------------------------------------------------------------------------------------------
def pack(bench):
    alert, _ = hazard(bench)
    tell(bench.database, acknowledge, alert.id, ADA, "on the way", bench.now)
    tell(bench.database, set_outcome, alert.id, "true", BO, "it failed", bench.now)
    set_level(bench.database, bench.site, 1, BO, "debris is at rest", bench.now + HOUR)
    return alert, build_pack(ask(bench.database, load_material, alert.id))


SOME_EVENT = "(SELECT min(id) FROM alert_event WHERE alert_id = 1)"
ACK = "(SELECT max(id) FROM alert_event WHERE alert_id = 1 AND to_state = 'acknowledged')"
SETTLED = "(SELECT min(id) FROM notification WHERE alert_id = 1)"
COPIED = "at, from_state, to_state, from_level, to_level, actor, actor_kind, reason"
INSERTED = f"INSERT INTO alert_event (id, alert_id, sequence, {COPIED}) SELECT 9001, 1, 99, {COPIED} FROM alert_event"
LATER = "'2026-03-04T00:00:00.000000Z'"
HIDDEN = "replace(state, '\"level\"\\:1', '\"level\"\\:0')"
EDITS = (  # what somebody with the database open might try, and the row that must be named
    ("UPDATE alert SET acknowledged_by = 'Eve' WHERE id = 1", "alert 1"),
    (f"UPDATE alert SET acknowledged_at = {LATER} WHERE id = 1", "alert 1"),
    (f"UPDATE alert SET raised_at = {LATER} WHERE id = 1", "alert 1"),
    ("UPDATE alert SET level = 0 WHERE id = 1", "alert 1"),
    ("UPDATE alert SET level = 1, peak_level = 1 WHERE id = 1", "alert 1"),
    ("UPDATE alert SET decision_id = NULL WHERE id = 1", "alert 1"),
    (f"UPDATE alert SET data_time = {LATER} WHERE id = 1", "alert 1"),
    ("UPDATE alert SET exercise = true WHERE id = 1", "alert 1"),
    ("UPDATE alert SET reason = 'nothing moved' WHERE id = 1", "alert 1"),
    ("UPDATE site_state SET level = 0 WHERE site = 'bench'", "site_state bench"),
    (f"UPDATE site_state SET level = 0, state = {HIDDEN} WHERE site = 'bench'", "site_state bench"),
    (f"UPDATE site_state SET state = {HIDDEN} WHERE site = 'bench'", "site_state bench"),
    (
        "UPDATE site_state SET state = replace(state, 'floor\"\\:0', 'floor\"\\:2') WHERE site = 'bench'",
        "site_state bench",
    ),
    ("UPDATE site_state SET state = 'nothing' WHERE site = 'bench'", "site_state bench"),
    (f"UPDATE alert_event SET actor = 'Eve' WHERE id = {ACK}", "alert_event"),
    (f"UPDATE alert_event SET reason = 'nothing moved' WHERE id = {SOME_EVENT}", "alert_event"),
    (f"UPDATE alert_event SET at = {LATER} WHERE id = {SOME_EVENT}", "alert_event"),
    (f"UPDATE alert_event SET decision_id = NULL WHERE id = {SOME_EVENT}", "alert_event"),
    (f"UPDATE alert_event SET to_level = 1 WHERE id = {SOME_EVENT}", "alert_event"),
    (f"DELETE FROM alert_event WHERE id = {ACK}", "alert_event"),
    (f"UPDATE notification SET recipient = 'Eve' WHERE id = {SETTLED}", "notification"),
    (f"UPDATE notification SET state = 'confirmed', confirmed_by = 'Eve' WHERE id = {SETTLED}", "notification"),
    (f"DELETE FROM notification WHERE id = {SETTLED}", "notification"),
    ("UPDATE alert_outcome SET class = 'false' WHERE alert_id = 1", "alert_outcome"),
    ("UPDATE decision SET at = " + LATER + " WHERE id = (SELECT decision_id FROM alert WHERE id = 1)", "decision"),
    (f"{INSERTED} WHERE id = {ACK}", "alert_event 9001"),
)


def test_each_plausible_edit_is_found_by_verify_explain_and_the_pack(bench):
    pack(bench)
    assert ask(bench.database, verify) == []
    silent = []
    for edit, named in EDITS:
        with bench.database.engine.connect() as c, c.begin() as attempt:
            without_keys(c)
            assert c.execute(text(edit)).rowcount == 1, edit
            for verb, lines in (
                ("verify", verify(c)),
                ("explain", list_alterations(c, 1, "bench")),
                ("export", check_pack(build_pack(load_material(c, 1)))),
            ):
                if not any(named in line for line in lines):
                    silent.append((verb, edit, lines[:3]))
            attempt.rollback()
    assert silent == []
    with bench.database.engine.connect() as c, c.begin() as attempt:
        c.execute(text(f"UPDATE alert_event SET actor = 'Eve', to_level = 1 WHERE id = {ACK.replace('max', 'min')}"))
        c.execute(text(f"UPDATE alert_event SET decision_id = NULL WHERE id = {SOME_EVENT}"))
        files = build_pack(load_material(c, 1))
        assert any("it changed the level from" in line and "no alert_event cites it" in line for line in verify(c))
        attempt.rollback()
    noted = json.loads(files["manifest.json"])
    assert noted["findings"], "the pack names them itself"
    # who takes the sentence out of the manifest still has the rows against him
    bare = json.dumps(noted | {"findings": []}).encode()
    assert any("alert_event " in line for line in check_pack({**files, "manifest.json": bare}))


def test_deleted_alert_and_cut_audit_log_are_found(bench):
    pack(bench)
    with bench.database.read() as c:
        whole = c.execute(text("SELECT hash FROM audit_entry ORDER BY id DESC LIMIT 1")).scalar_one()
    with bench.database.engine.connect() as c, c.begin() as attempt:
        for table in ("notification", "alert_outcome", "alert_event", "alert"):
            c.execute(text(f"DELETE FROM {table} WHERE {'id' if table == 'alert' else 'alert_id'} = 1"))
        found = "\n".join(verify(c))
        for row in ("alert 1: the row is gone", "alert_event 1: the row is gone", "notification 1: the row is gone"):
            assert row in found, row
        attempt.rollback()
    with bench.database.engine.connect() as c, c.begin() as attempt:
        c.execute(text("DELETE FROM audit_entry WHERE id > (SELECT max(id) - 3 FROM audit_entry)"))
        problems = [*verify(c)]
        assert any("the audit log has no entry" in line or "sealed another content" in line for line in problems)
        assert any("head" in line for line in verify(c, whole)), "a head noted elsewhere shows that the tail is cut"
        attempt.rollback()


def test_pack_contains_everything_and_can_be_checked(bench, tmp_path):
    alert, files = pack(bench)
    digest = write_pack(files, tmp_path / "a.zip")
    assert write_pack(build_pack(ask(bench.database, load_material, alert.id)), tmp_path / "b.zip") == digest
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    again = read_pack(tmp_path / "a.zip")
    assert (again, check_pack(again)) == (files, [])
    assert set(json.loads(files["manifest.json"])["files"]) | {"manifest.json"} == set(files)
    assert files[f"sites/{bench.site.version}.toml"].decode() == SITE_TEXT
    assert [m["recipient"] for m in json.loads(files["messages.json"])][:2] == ["duty engineer"] * 2
    assert [e["actor"] for e in json.loads(files["acknowledgements.json"])] == ["Ada", "Bo"]
    assert json.loads(files["outcomes.json"])[0]["class"] == "true"
    actions = [e["action"] for e in json.loads(files["audit.json"])["entries"]]
    assert actions.count("decision.freeze") == len(json.loads(files["decisions.json"]))
    assert {"alert.acknowledge", "alert.outcome", "level.set"} <= set(actions)
    summary = files["summary.md"].decode()
    for words in ("# Alert 1, bench, hazard", "duty engineer", "it failed", "margin", "debris is at rest"):
        assert words in summary
    with pytest.raises(RefusedError, match="exists already"):
        write_pack(files, tmp_path / "a.zip")


def remanifest(files):
    """A pack forged with care: its manifest fits what was altered."""
    manifest = json.loads(files["manifest.json"])
    for name in manifest["files"]:
        manifest["files"][name]["sha256"] = hashlib.sha256(files[name]).hexdigest()
    return {**files, "manifest.json": json.dumps(manifest).encode()}


FORGED = (
    ("timeline.json", lambda content: content[0].update(to_level=1), "the timeline contains another change"),
    ("audit.json", lambda content: content["entries"][0].update(actor="Eve"), "was altered"),
    ("audit.json", lambda content: content["links"].pop(1), "follow"),
)


def test_altered_or_forged_part_of_a_pack_is_found(open_copy):
    database, failed = open_copy("sqlite", fail)
    files = pack(failed.in_copy(database))[1]
    for name, data in files.items():
        assert check_pack({**files, name: data[:-2] + b"?" + data[-1:]}), name
        assert check_pack({k: v for k, v in files.items() if k != name}), name
    assert check_pack({**files, "more.txt": b"x"}) == ["more.txt is not listed"]
    assert check_pack(remanifest(files)) == []
    for name, change, said in FORGED:
        content = json.loads(files[name])
        change(content)
        forged = remanifest({**files, name: json.dumps(content).encode()})
        assert any(said in line for line in check_pack(forged)), said
    name = next(n for n in files if n.startswith("decisions/"))
    forged = remanifest({**files, name: files[name].replace(b'"hits":2', b'"hits":1')})
    assert any("altered" in line for line in check_pack(forged))


def test_command_writes_and_checks_packs(bench, tmp_path, capsys):
    config = str(write_service(tmp_path, bench.database))
    path = str(tmp_path / "x.zip")
    assert run_command(["alerts", "export", "1", "--out", path, "--config", config]) == 0
    assert run_command(["alerts", "export", "--check", path]) == 0
    assert "every decision recomputes bit for bit" in capsys.readouterr().out
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.txt", "x")
    assert run_command(["alerts", "export", "--check", path]) == 1
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    assert run_command(["alerts", "export", "--check", str(tmp_path / "no.zip")]) == 1
    assert run_command(["alerts", "export", "99", "--out", str(tmp_path / "y.zip"), "--config", config]) == 1
    assert run_command(["alerts", "export", "--config", config]) == 2
    assert run_command(["alerts", "export", "--check", path, "--out", str(tmp_path / "y.zip")]) == 2
    assert ask(bench.database, lambda c: c.execute(select(alert_table.c.id)).scalar()) == 1


@ON_BOTH
def test_late_reports_are_listed_and_used_as_of_now(database):
    seen = criterion("report", kinds=["crack"], level="orange", valid_for="3d")
    bench = WatchedSlope(database, SITE_TEXT.replace("[fusion]", f"{seen}[fusion]"))
    bench.live(26, looks=1)
    bench.live(20, {"G1": 16.0}, looks=1)
    with database.read() as c:
        alert = load_alerts(c, "bench", ledger="hazard")[0]
        row = load_decision(c, alert.decision_id)
    assert as_of(bench, row, None).decision.level == 1
    bench.now += 5 * HOUR
    with database.write() as c:
        item = ObserverReport("bench", row.at - HOUR, "crack", "wide open", "Ada")
        add_report(c, item, bench.now, actor=Actor("Ada"), credential="account ada")
    assert as_of(bench, row, None).departures == ()
    found = as_of(bench, row, bench.now)
    (difference,) = found.departures
    assert (difference.kind, difference.series) == ("added", "reports")
    assert re.match(r"added: reports: at 2026-03-0\S+, received 2026-03-0\S+, kind crack, ", str(difference))
    assert (found.decision.level, recompute_all(database, alert)) == (2, [])


def test_notice_without_frozen_inputs_claims_no_proof(database, tmp_path, capsys):
    change = AlertChange(AlertCategory.HEALTH, "scene:x", 1, open=True, reason="scene x", data_time=None, evidence="{}")
    tell(database, apply_changes, [change], ChangeContext("bench", None, (), SERVICE_ACTOR, START, "x"))
    config = str(write_service(tmp_path, database))
    assert run_command(["alerts", "explain", "1", "--recompute", "--config", config]) == 0
    out = capsys.readouterr().out
    assert "no inputs were frozen" in out
    assert "nothing to recompute" in out
    assert "equal bit for bit" not in out


def test_alarm_of_the_service_is_explained(database, tmp_path, capsys):
    ServiceAlarms(database, {}, lambda: START, lambda: None).write(make_alarm("x", 2, "the disk is full", is_open=True))
    config = str(write_service(tmp_path, database))
    assert run_command(["alerts", "explain", "1", "--recompute", "--config", config]) == 0
    out = capsys.readouterr().out
    assert "Reason: the disk is full" in out
    assert "equal bit for bit" in out
    assert run_command(["alerts", "explain", "1", "--as-of", "now", "--config", config]) == 1
    assert "no readings were used" in capsys.readouterr().err
    assert run_command(["alerts", "export", "1", "--out", str(tmp_path / "x.zip"), "--config", config]) == 0
    assert run_command(["alerts", "export", "--check", str(tmp_path / "x.zip")]) == 0
