"""Every command of every verb has a rule, and the rule holds: a new one that writes and has none fails here."""

import ast
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from monitor.alerts.acts.change_control import propose
from monitor.alerts.queries.events import add_event
from monitor.alerts.queries.maintenance import add_maintenance
from monitor.alerts.queries.signatures import TwoPersonAct, save_first
from monitor.canonical import canonical_json
from monitor.cli import rules
from monitor.cli.commands import find_full_name, load_all_commands
from monitor.cli.identity import authenticate_actor, name_os_user
from monitor.cli.main import run_verb
from monitor.cli.session import open_database
from monitor.errors import StoreError
from monitor.features.drills.queries import add_drill
from monitor.features.reports.facts import gather_facts, make_digest
from monitor.features.reports.period import make_period
from monitor.features.reports.queries import IssuedReport, add_issue
from monitor.features.sources.outcome import PollSummary, update_state
from monitor.features.sources.queries import save_poll
from monitor.people.tables import user_account
from monitor.readings.queries.observations import find_series_id
from monitor.readings.records import SiteEvent
from monitor.storage.actor import Actor
from monitor.storage.tables import load_metadata
from tests.data.accounts import add_account
from tests.data.store_rows import enter_offset, tell
from tests.data.watched_slope import SITE_TEXT
from tests.fixtures.databases import ON_BOTH

CLI = Path(rules.__file__).parent
NOW = datetime.now(UTC)
WORDS = {"Ada": "tin lantern quarry 41", "Cy": "wool cedar anchor 93", "Ed": "slate piano ember 26"}
WHY = ("--reason", "seen on foot")
BY_NUMBER, OF_MODEL = ("1", *WHY), ("3fa1", "--site", "bench", *WHY)
# what each command that writes for a person is called with; a new one needs a line
CALLS = {
    f"{group} {verb}": words
    for group, verbs, words in (
        ("alerts", "ack close shelve unshelve take-out put-back withdraw", BY_NUMBER),
        ("events", "confirm withdraw", BY_NUMBER),
        ("offsets", "confirm revoke", BY_NUMBER),
        ("sites", "approve reject", BY_NUMBER),
        ("scenes", "promote retire", OF_MODEL),
        ("people users", "disable sign-out passwd totp totp-off oidc unbind", ("Ada",)),
    )
    for verb in verbs.split()
} | {
    "people signatures withdraw": BY_NUMBER,
    "maintenance end": BY_NUMBER,
    "level set": ("bench", "green", *WHY),
    "notify drill hold": ("bench", "--speed", "1e9", "--hold", "0s"),
    "notify drill end": ("bench", "1", *WHY),
    "report add": ("--site", "bench", "--kind", "crack", "--text", "3 cm"),
    "events add": ("--site", "bench", "--kind", "blasting", "--text", "bench 4"),
    "alerts outcome": ("1", "true", "--note", "it failed"),
    "alerts verify": ("1", "instrument", *WHY),
    "alerts note": ("1", "--note", "seen"),
    "maintenance add": ("bench", "G1", *WHY),
    "people duty plan": ("bench", "-", *WHY),
    "people duty swap": ("bench", "--absent", "Ada", "--until", "2099-01-01 08:00", *WHY),
    "people duty withdraw": ("bench", "1", *WHY),
    "people duty hand-over write": ("bench", "--notes", "wet"),
    "people duty hand-over sign": ("bench", "1"),
    "people duty hand-over withdraw": ("bench", "1", *WHY),
    "offsets add": (
        *"--site bench --station G1 --quantity crack_opening --at 2026-03-01T06:00:00Z --size 1 --unit mm".split(),
        *WHY,
    ),
    "anomalies label": ("bench", "G1", "--at", "2026-03-01T06:00:00Z", "--as", "dismissed", "--cause", "weather"),
    "anomalies factor": ("bench", "rules", "1", *WHY),
    "sites propose": ("bench", "FILE", *WHY, "--months", "0"),
    "sites retire": ("gone", *WHY),
    "instruments reference": ("bench", "G1", "new", *WHY),
    "scenes review accept": ("3fa1", "--site", "bench"),
    "scenes review reject": ("3fa1", "--site", "bench"),
    "scenes review withdraw": ("bench", "1"),
    "scenes review draw": ("bench", "3fa1", "OUTLINE"),
    "scenes review redraw": ("3fa1", "--site", "bench", "--outline", "OUTLINE"),
    "people users add": ("eve", "--role", "admin"),
    "people users enable": ("Cy",),
    "people users role": ("Cy", "admin"),
    "people users sites": ("Cy", "--all"),
    "people tokens add": ("Ada", "--label", "a board"),
    "people tokens revoke": ("1",),
    "broker add": ("bench/G1",),
    "broker revoke": ("bench.G1",),
    "broker acl": (),
    "broker key-add": (),
    "broker key-retire": ("k1a2b3c",),
    "people users bind": ("Ada", "--os-user", "nobody"),
    "db restore": ("FILE", "--yes"),
    "db grant-readonly": ("grafana",),
}
# what serves without a person acts for one with these
ALSO = {
    "backtest": ("--site", "bench", "--prove", "f"),
    "scenes score": ("--site", "bench", "--layout", "folder", "--folder", "x"),
    "ingest": ("--forget-epoch0", "bench/G1"),
    "ingest ": ("FILE", "--accept-units", "--site", "bench"),
}


def test_every_rule_has_a_command_and_who_acts_for_a_person_is_called_here():
    found = load_all_commands()
    assert len(found) > 70
    assert set(rules.RULES) < found.keys()
    assert {name for name, rule in rules.RULES.items() if rule in {rules.OPERATOR, rules.ADMIN}} == set(CALLS)


def test_the_database_is_opened_in_one_place():
    """There the rule of the command closes it; the other only looks what it says."""
    opens = set()
    features = [path for path in (CLI.parent / "features").rglob("*.py") if "cli" in path.parts or path.stem == "cli"]
    assert len(features) > 10
    for path in (*CLI.rglob("*.py"), *features):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Database", "create_engine"}:
                opens.add(path.name)
    assert opens == {"session.py", "doctor.py"}


@ON_BOTH
def test_what_only_reads_cannot_write_and_what_has_no_rule_neither(bench):
    for command in ("status", "alerts list", "a new one"):
        with rules.register_running(command), open_database(None) as db:
            with pytest.raises(StoreError, match="only reads"), db.write():
                pass
    with rules.register_running("level set"), open_database(None) as db:
        with pytest.raises(StoreError, match="nobody was authenticated"), db.write():
            pass
        authenticate_actor(db, "Ada")
        with db.write():
            pass
    with rules.register_running("ingest"), open_database(None) as db, db.write():
        pass


def count_rows(database):
    every = load_metadata().tables.items()
    with database.read() as c:
        return {name: c.execute(select(func.count()).select_from(table)).scalar_one() for name, table in every}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "copper violin marsh 38")
    site, outline = tmp_path / "new.toml", tmp_path / "outline.geojson"
    site.write_text(SITE_TEXT.replace("6.0, window", "7.0, window"))
    outline.write_text('{"type": "Polygon", "coordinates": [[[9.0, 46.0], [9.001, 46.0], [9.0, 46.001], [9.0, 46.0]]]}')
    return {"FILE": str(site), "OUTLINE": str(outline)}


@pytest.fixture
def things(bench):
    for hour in range(6):
        bench.publish("G1", 0.0, bench.now - timedelta(hours=hour))
    with bench.database.write() as c:
        event = add_event(c, SiteEvent("bench", NOW, NOW, "earthquake", "M 5.1", 0.3), NOW, "feed", via="mqtt")
        save_poll(c, update_state(None, PollSummary("feed"), "bench", "http", NOW, 60.0))
        work = add_maintenance(c, "bench", "G1", NOW, NOW + timedelta(hours=9), Actor("Ada"), "new mast", NOW)
        save_first(c, TwoPersonAct("level.set", "site:bench", {"to": 0}), Actor("Ada"), "quiet", 3, NOW)
        series_id = find_series_id(c, "bench", "G1", "crack_opening")
        said = {"author": Actor("Ada"), "reason": "new mast", "known_from": bench.now}
        offset = enter_offset(c, series_id, bench.now, 1.0, NOW, **said)
        add_drill(c, "bench", Actor("Ada"), "new mast", NOW)
        period = make_period("daily", bench.now, ZoneInfo("UTC"))
        facts = gather_facts(c, "bench", period)
        span, said = (period.from_at, period.to_at), (make_digest(facts), "1", canonical_json(facts))
        report = add_issue(c, IssuedReport(0, "bench", "daily", *span, NOW, "en", *said), (), NOW)
    changed = SITE_TEXT.replace("6.0, window", "7.0, window")
    change = propose(bench.database, changed, "bench.toml", Actor("Ada"), "noise", NOW, lambda *_: {})
    assert (event, work, offset, change.id, report) == (1, 1, 1, 1, 1)


# what commands that only read show of a site: lists, and one thing by its number
SHOWN = {
    **dict.fromkeys(("alerts list", "events list", "instruments list", "maintenance list", "offsets list"), ()),
    **dict.fromkeys(("people signatures list", "ingest sources list", "sites proposals", "notify drill list"), ()),
    **{f"alerts {verb}": ("1",) for verb in ("show", "explain", "export", "cap", "chain")},
    "instruments show": ("bench", "G1"),
    "export": ("bench", "maintenance", "--out", "work.csv", "--force"),
    **{f"report {kind}": ("bench", "--out", "-") for kind in ("daily", "weekly", "shift", "card")},
    "report list": ("bench",),
    "report prove": ("1",),
    "offsets propose": ("--site", "bench", "--station", "G1", "--at", "2026-02-28T21:30:00Z"),
    **{f"people duty {verb}": ("bench",) for verb in ("show", "hand-over show")},
}
# of the service as a whole, or of files that everybody here may read
WHOLE = {
    "help",
    *("backtest", "check", "doctor", "status", "notify channels list", "people tokens list", "people users list"),
    *(f"broker {verb}" for verb in ("keys", "list")),
    *(f"notify cap {verb}" for verb in ("key", "verify")),
    *(f"db {verb}" for verb in ("backup", "current", "prove", "publish", "verify")),
    *(f"sites map {verb}" for verb in ("relief", "susceptibility", "tiles")),
    *(f"notify push {verb}" for verb in ("devices", "keys")),
    *(f"sites {verb}" for verb in ("init", "list", "show")),
}


@pytest.mark.usefixtures("things")
def test_lists_show_a_bound_user_of_the_system_the_own_sites(bench, monkeypatch, capsys, tmp_path):
    """It keeps nobody from the database who may open it; it keeps the duty of one slope from acting on another's."""
    monkeypatch.chdir(tmp_path)
    reading = {find_full_name(name) for name in load_all_commands()} - set(rules.RULES)
    of_models = ("forecast ", "scenes ", "anomalies ", "sites thresholds ")
    by_site = {name for name in reading if not name.startswith(of_models)}
    assert by_site == {*SHOWN, *WHOLE}, "decide whether a command that reads shows what is of one site"

    def call(command, *more):
        return run_verb([*command.split(), *SHOWN[command], *more]), "".join(capsys.readouterr())

    def look():
        return {command: call(command) for command in SHOWN}

    with bench.database.write() as c:
        add_account(c, "Ed", WORDS["Ed"], "operator", NOW)
        c.execute(user_account.update().values(os_user=name_os_user(), sites=["bench"]))
    assert {status for status, _ in look().values()} == {0}
    tell(bench.database, lambda c: c.execute(user_account.update().values(sites=["elsewhere"])))
    for command, (status, said) in look().items():
        single = bool(SHOWN[command])
        refused = "bound to an account for elsewhere only" in said
        assert (status, refused) == ((1, True) if single else (4, False)), command
        assert "new mast" not in said, command
        if not single and command != "people signatures list":
            assert call(command, "--site", "bench")[0] == 1, command


@pytest.mark.usefixtures("things")
def test_no_command_acts_for_a_person_who_did_not_prove_to_be_it(bench, files, monkeypatch, capsys):
    """The walk: by nobody, by a name that is only written, by who may only look, and by who is for other sites."""
    with bench.database.write() as c:
        for name, role in (("Ada", "admin"), ("Cy", "viewer"), ("Ed", "admin")):
            add_account(c, name, WORDS[name], role, NOW)
        c.execute(user_account.update().where(user_account.c.name == "Ed").values(sites=["elsewhere"]))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    before = count_rows(bench.database)
    wrong = []
    for command, words in {**CALLS, **ALSO}.items():
        call = [*command.split(), *(files.get(w, w) for w in words)]
        for person, password, answer in (
            (None, None, "--by NAME"),
            ("Ada", None, "SLOPEWARD_BY_PASSWORD"),
            ("Cy", WORDS["Cy"], "no open account with the role"),
            ("Ed", WORDS["Ed"], "is for elsewhere only"),
            ("Eve", WORDS["Ada"], "no account 'Eve'"),
        ):
            with monkeypatch.context() as patch:
                if password is not None:
                    patch.setenv("SLOPEWARD_BY_PASSWORD", password)
                status = run_verb([*call, *([] if person is None else ["--by", person])])
            said = capsys.readouterr().err
            if status != 1 or answer not in said:
                wrong.append(f"slopeward {command} by {person}: status {status}, {said.strip()}")
    assert not wrong
    assert count_rows(bench.database) == before


def test_a_wrong_password_is_refused_by_every_command_and_seen_in_the_log(bench, files, monkeypatch, capsys):
    tell(bench.database, add_account, "Ada", WORDS["Ada"], "admin", NOW)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", WORDS["Cy"])
    # Another test checks the delays after wrong passwords.
    monkeypatch.setattr("monitor.people.queries.sessions.FREE_PASSWORDS", 10 * len(CALLS))
    before = count_rows(bench.database)
    for command, words in CALLS.items():
        assert run_verb([*command.split(), *(files.get(w, w) for w in words), "--by", "Ada"]) == 1, command
        assert "the password of Ada is wrong" in capsys.readouterr().err, command
    after = count_rows(bench.database)
    assert after.pop("audit_entry") == before.pop("audit_entry") + len(CALLS)
    assert after.pop("password_guess") == before.pop("password_guess") + 1
    assert after == before
