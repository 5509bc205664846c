"""Every command has an access rule, and the rule is enforced. A new command that writes needs a rule."""

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
from monitor.cli.main import run_command
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
BY_NUMBER, OF_MODEL = ("1", *WHY), ("bench", "3fa1", *WHY)
# Arguments of each command that writes for a person. A new command needs a line.
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
    "report add": ("bench", "--kind", "crack", "--text", "3 cm"),
    "events add": ("bench", "--kind", "blasting", "--text", "bench 4"),
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
        *"bench --station G1 --quantity crack_opening --at 2026-03-01T06:00:00Z --size 1 --unit mm".split(),
        *WHY,
    ),
    "anomalies label": ("bench", "G1", "--at", "2026-03-01T06:00:00Z", "--as", "dismissed", "--cause", "weather"),
    "anomalies factor": ("bench", "rules", "1", *WHY),
    "sites propose": ("bench", "FILE", *WHY, "--months", "0"),
    "sites retire": ("gone", *WHY),
    "instruments reference": ("bench", "G1", "new", *WHY),
    "scenes review accept": ("bench", "3fa1"),
    "scenes review reject": ("bench", "3fa1"),
    "scenes review withdraw": ("bench", "1"),
    "scenes review draw": ("bench", "3fa1", "OUTLINE"),
    "scenes review redraw": ("bench", "3fa1", "--outline", "OUTLINE"),
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
    "second-opinion import": ("bench", "ALARMS"),
}
# With these arguments, commands that need no person act for one.
CALLS_WITH_PERSON_OPTIONS = {
    "backtest": ("--site", "bench", "--prove", "f"),
    "scenes score": ("--site", "bench", "--layout", "folder", "--folder", "x"),
    "ingest": ("--forget-epoch0", "bench/G1"),
    "ingest ": ("FILE", "--accept-units", "--site", "bench"),
}


def test_every_rule_belongs_to_a_command_and_every_command_for_a_person_is_tested():
    commands = load_all_commands()
    assert len(commands) > 70
    assert set(rules.RULES) < commands.keys()
    assert {name for name, rule in rules.RULES.items() if rule in {rules.OPERATOR, rules.ADMIN}} == set(CALLS)


def test_database_is_opened_in_one_place():
    """session.py opens it according to the rule of the command. doctor.py opens it only to inspect it."""
    opening_files = set()
    features = [path for path in (CLI.parent / "features").rglob("*.py") if "cli" in path.parts or path.stem == "cli"]
    assert len(features) > 10
    for path in (*CLI.rglob("*.py"), *features):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Database", "create_engine"}:
                opening_files.add(path.name)
    assert opening_files == {"session.py", "doctor.py"}


@ON_BOTH
def test_command_that_reads_and_command_without_a_rule_cannot_write(bench):
    for command in ("status", "alerts list", "a new one"):
        with rules.register_running(command), open_database(None) as database:
            with pytest.raises(StoreError, match="only reads"), database.write():
                pass
    with rules.register_running("level set"), open_database(None) as database:
        with pytest.raises(StoreError, match="nobody was authenticated"), database.write():
            pass
        authenticate_actor(database, "Ada")
        with database.write():
            pass
    with rules.register_running("ingest"), open_database(None) as database, database.write():
        pass


def count_rows(database):
    tables = load_metadata().tables.items()
    with database.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one() for name, table in tables
        }


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "copper violin marsh 38")
    site, outline = tmp_path / "new.toml", tmp_path / "outline.geojson"
    site.write_text(SITE_TEXT.replace("6.0, window", "7.0, window"))
    outline.write_text('{"type": "Polygon", "coordinates": [[[9.0, 46.0], [9.001, 46.0], [9.0, 46.001], [9.0, 46.0]]]}')
    alarms = tmp_path / "alarms.csv"
    alarms.write_text("time\n2026-03-01T06:00:00Z\n")
    return {"FILE": str(site), "OUTLINE": str(outline), "ALARMS": str(alarms)}


@pytest.fixture
def stored_items(bench):
    for hour in range(6):
        bench.publish("G1", 0.0, bench.now - timedelta(hours=hour))
    with bench.database.write() as connection:
        event = add_event(connection, SiteEvent("bench", NOW, NOW, "earthquake", "M 5.1", 0.3), NOW, "feed", via="mqtt")
        save_poll(connection, update_state(None, PollSummary("feed"), "bench", "http", NOW, 60.0))
        work = add_maintenance(connection, "bench", "G1", NOW, NOW + timedelta(hours=9), Actor("Ada"), "new mast", NOW)
        save_first(connection, TwoPersonAct("level.set", "site:bench", {"to": 0}), Actor("Ada"), "quiet", 3, NOW)
        series_id = find_series_id(connection, "bench", "G1", "crack_opening")
        declared_by = {"author": Actor("Ada"), "reason": "new mast", "known_from": bench.now}
        offset = enter_offset(connection, series_id, bench.now, 1.0, NOW, **declared_by)
        add_drill(connection, "bench", Actor("Ada"), "new mast", NOW)
        period = make_period("daily", bench.now, ZoneInfo("UTC"))
        facts = gather_facts(connection, "bench", period)
        span, declared_by = (period.from_at, period.to_at), (make_digest(facts), "1", canonical_json(facts))
        report = add_issue(connection, IssuedReport(0, "bench", "daily", *span, NOW, "en", *declared_by), (), NOW)
    changed = SITE_TEXT.replace("6.0, window", "7.0, window")
    change = propose(bench.database, changed, "bench.toml", Actor("Ada"), "noise", NOW, lambda *_: {})
    assert (event, work, offset, change.id, report) == (1, 1, 1, 1, 1)


# Arguments of commands that only read and print data of a site: lists, and one item by its number.
SITE_COMMANDS = {
    **dict.fromkeys(("alerts list", "events list", "instruments list", "maintenance list", "offsets list"), ()),
    **dict.fromkeys(("people signatures list", "ingest sources list", "sites proposals", "notify drill list"), ()),
    **{f"alerts {verb}": ("1",) for verb in ("show", "explain", "export", "cap", "chain")},
    "instruments show": ("bench", "G1"),
    "export": ("bench", "maintenance", "--out", "work.csv", "--force"),
    **{f"report {kind}": ("bench", "--out", "-") for kind in ("daily", "weekly", "shift", "card")},
    "report list": (),
    "report prove": ("1",),
    "offsets propose": ("bench", "--station", "G1", "--at", "2026-02-28T21:30:00Z"),
    **{f"people duty {verb}": ("bench",) for verb in ("show", "hand-over show")},
}
# Commands about the whole service, or about files that every local user may read.
SERVICE_COMMANDS = {
    "help",
    *("backtest", "check", "doctor", "status", "notify channels list", "people tokens list", "people users list"),
    *(f"broker {verb}" for verb in ("keys", "list")),
    *(f"notify cap {verb}" for verb in ("key", "verify")),
    *(f"db {verb}" for verb in ("backup", "current", "prove", "publish", "verify")),
    *(f"sites map {verb}" for verb in ("relief", "susceptibility", "tiles")),
    *(f"notify push {verb}" for verb in ("devices", "keys")),
    *(f"sites {verb}" for verb in ("init", "list", "show")),
}


@pytest.mark.soak
@pytest.mark.usefixtures("stored_items")
def test_bound_system_user_sees_only_the_sites_of_the_account(bench, monkeypatch, capsys, tmp_path):
    """A user who can open the database can still read it. The rule prevents actions on the slope of another team."""
    monkeypatch.chdir(tmp_path)
    reading_commands = {find_full_name(name) for name in load_all_commands()} - set(rules.RULES)
    of_models = ("forecast ", "scenes ", "anomalies ", "sites thresholds ")
    commands_by_site = {name for name in reading_commands if not name.startswith(of_models)}
    assert commands_by_site == {*SITE_COMMANDS, *SERVICE_COMMANDS}, (
        "add each new command that reads to one of the two lists"
    )

    def call(command, *options):
        return run_command([*command.split(), *SITE_COMMANDS[command], *options]), "".join(capsys.readouterr())

    def run_all():
        return {command: call(command) for command in SITE_COMMANDS}

    with bench.database.write() as connection:
        add_account(connection, "Ed", WORDS["Ed"], "operator", NOW)
        connection.execute(user_account.update().values(os_user=name_os_user(), sites=["bench"]))
    assert {status for status, _ in run_all().values()} == {0}
    tell(bench.database, lambda connection: connection.execute(user_account.update().values(sites=["elsewhere"])))
    for command, (status, output) in run_all().items():
        has_arguments = bool(SITE_COMMANDS[command])
        is_refused = "bound to an account for elsewhere only" in output
        assert (status, is_refused) == ((1, True) if has_arguments else (4, False)), command
        assert "new mast" not in output, command
        if not has_arguments and command != "people signatures list":
            assert call(command, "--site", "bench")[0] == 1, command


@pytest.mark.usefixtures("stored_items")
def test_no_command_acts_for_an_unauthenticated_person(bench, files, monkeypatch, capsys):
    """Each command is run by nobody, by a name without password, by a viewer, and by an admin of other sites."""
    with bench.database.write() as connection:
        for name, role in (("Ada", "admin"), ("Cy", "viewer"), ("Ed", "admin")):
            add_account(connection, name, WORDS[name], role, NOW)
        connection.execute(user_account.update().where(user_account.c.name == "Ed").values(sites=["elsewhere"]))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    rows_before = count_rows(bench.database)
    failures = []
    for command, words in {**CALLS, **CALLS_WITH_PERSON_OPTIONS}.items():
        call = [*command.split(), *(files.get(argument, argument) for argument in words)]
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
                status = run_command([*call, *([] if person is None else ["--by", person])])
            error = capsys.readouterr().err
            if status != 1 or answer not in error:
                failures.append(f"slopeward {command} by {person}: status {status}, {error.strip()}")
    assert not failures
    assert count_rows(bench.database) == rows_before


def test_every_command_refuses_a_wrong_password_and_logs_it(bench, files, monkeypatch, capsys):
    tell(bench.database, add_account, "Ada", WORDS["Ada"], "admin", NOW)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", WORDS["Cy"])
    # Another test checks the delays after wrong passwords.
    monkeypatch.setattr("monitor.people.queries.sessions.FREE_PASSWORDS", 10 * len(CALLS))
    rows_before = count_rows(bench.database)
    for command, words in CALLS.items():
        assert (
            run_command([*command.split(), *(files.get(argument, argument) for argument in words), "--by", "Ada"]) == 1
        ), command
        assert "the password of Ada is wrong" in capsys.readouterr().err, command
    rows_after = count_rows(bench.database)
    assert rows_after.pop("audit_entry") == rows_before.pop("audit_entry") + len(CALLS)
    assert rows_after.pop("password_guess") == rows_before.pop("password_guess") + 1
    assert rows_after == rows_before
