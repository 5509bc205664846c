"""Who may ask for what: every address of the page with every kind of caller, by the one table of rules."""

import hashlib
import html
import json
import re
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from types import SimpleNamespace

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from sqlalchemy import func, select
from starlette.routing import Mount

from monitor.alerts.acts.table import API, list_acts
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.alerts.queries.signatures import TwoPersonAct, load_waiting, save_first
from monitor.alerts.tables import alert as alert_table
from monitor.decision.changes import health_alarm
from monitor.features.help import library
from monitor.ingest.references import Reference, alarm_key
from monitor.people.queries import users
from monitor.people.queries.api_tokens import SCOPES, add_api_token, revoke_api_token
from monitor.people.tables import api_token, user_account
from monitor.settings.service import parse_service
from monitor.sites.records import Recipient
from monitor.storage.actor import Actor
from monitor.storage.audit import load_entries, verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.storage.service_state import write_heartbeat
from monitor.storage.tables import load_metadata
from monitor.web.access.guard import csrf_token
from monitor.web.access.redaction import WITHHELD
from monitor.web.access.rules import ADMIN, IN_PERSON, OF_NO_SITE, OPEN, READ, RULES, list_addresses, require_rules
from monitor.web.app import build_app, list_routers
from monitor.web.change_stream import ChangeStream
from monitor.web.routes import acts
from tests.data.accounts import add_account
from tests.data.filled import HASHES, NOW, PASSWORD
from tests.data.store_rows import square, tell
from tests.web.served import start_no_child
from tests.web.test_door import Clock, serving

LOGIN_TO_READ = "[web]\nlogin_to_read = true\n"
ACCOUNTS = {"anonymous": None, "viewer": "cy", "operator": "bo", "admin": "ada"}
# scope of a token -> the account it is of
TOKENS = {"read": "ada", "act": "bo", "admin": "ada"}
ROLES = ("viewer", "operator", "admin")
EXPLAINED = {API + act.address for act in list_acts() if "reason" in {one.name for one in act.list_parameters()}}
DRAWN = {"geometry": "/outlines", "outline": "/redraw"}
LAST = ("POST /account/sign-out", "POST /logout")  # they end the session
ADDRESSES = sorted(list_addresses(list_routers()), key=lambda one: (one in LAST, one == LAST[-1]))
# what a login to read changes nothing of is walked once
WALKED = {False: ADDRESSES, True: [one for one in ADDRESSES if RULES[one] in {OPEN, READ}]}
HELP = "GET /help"  # documents: what they name are examples
READING = [one for one in ADDRESSES if one.startswith("GET") and "{scene" not in one and not one.startswith(HELP)]


@pytest.fixture(autouse=True)
def without_children(monkeypatch):
    start_no_child(monkeypatch)
    monkeypatch.setattr(library, "begin_reference", lambda: None)  # four seconds of a process: tests/features/help
    monkeypatch.setattr(acts, "run_in_worker", lambda *_: SimpleNamespace(differences=()))
    monkeypatch.setattr(ChangeStream, "iterate_events", end_at_once)


async def end_at_once(stream):
    """Events of a stream that ends, so that a test can read it like any other answer."""
    yield "retry: 2000\n\n"


@pytest.fixture
def places(filled_database):
    """What stands in the braces of an address; all of it exists."""
    with filled_database.read() as c:
        scene = c.exec_driver_sql("SELECT scene_hash FROM scene").scalar()
        alert = c.exec_driver_sql("SELECT max(id) FROM alert WHERE site = 'north-bench'").scalar()
    said = {"site": "north-bench", "station": "G1", "quantity": "displacement_east", "scene_hash": scene}
    said |= {"alert_id": str(alert), "event_id": "2", "name": "dee", "model_hash": HASHES["gru"], "polygon_id": "p1"}
    said |= {"table": "movement", "form": "csv", "folder": "how-to", "page": "duty", "size": "small.jpg"}
    said |= dict.fromkeys(
        "offset_id maintenance_id signature_id proposal_id token_id number photo_id report_id".split(), "1"
    )
    return said | {"path": "Things('G1')", "upload": "0" * 16} | dict.fromkeys("xyz", "0")


def fill_in(path, places):
    return re.sub(r"\{(\w+)(?::path)?\}", lambda found: places[found[1]], path)


@contextmanager
def enter(address, name):
    """A browser, logged in where a name is given."""
    with httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False) as browser:
        if name is not None:
            assert browser.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
        yield browser


@contextmanager
def bear(address, token):
    """A program with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False, headers=headers) as program:
        yield program


def make_token(database, user, scope, sites=None, valid_s=3600.0, at=NOW):
    return tell(database, add_api_token, user, "for the test", scope, sites, valid_s, at)


def count_rows(database):
    with database.read() as c:
        return {
            k: c.execute(select(func.count()).select_from(v)).scalar_one() for k, v in load_metadata().tables.items()
        }


def ask(browser, address, places):
    """Send a request; a form bears the token of the session, so that nothing but the rule can refuse it."""
    method, path = address.split(" ")
    token = csrf_token(browser.cookies.get("slopeward_session", ""))
    data = {"csrf": token} if method == "POST" else None
    return browser.request(method, fill_in(path, places), data=data, headers={"x-csrf-token": token})


def expect(address, role, *, closed, by_token):
    """401, 403, or None where the request comes through."""
    rule = RULES[address]
    if rule == OPEN or (rule == READ and not closed):
        return None
    if by_token and address in IN_PERSON:
        return 403
    if role == "anonymous":
        return 401
    return None if rule == READ or ROLES.index(role) >= ROLES.index(rule) else 403


def is_border(address, role, *, closed):
    """Whether it is nobody, the least role that comes through, or the one below it: those above come through alike."""
    rule, rank = RULES[address], ("anonymous", *ROLES).index(role)
    least = 0 if rule == OPEN or (rule == READ and not closed) else 1 if rule == READ else 1 + ROLES.index(rule)
    return rank in {0, least - 1, least}


@pytest.mark.parametrize("closed", [False, True], ids=["open to readers", "login to read"])
def test_every_address_holds_its_rule_against_every_caller(filled_database, places, closed):
    wrong = []
    with serving(filled_database, Clock(), LOGIN_TO_READ if closed else "") as address:
        callers = [
            (role, bear(address, make_token(filled_database, TOKENS[scope], scope)[1]))
            for scope, role in SCOPES.items()
        ]
        callers += [(role, enter(address, name)) for role, name in ACCOUNTS.items()]
        for k, (role, caller) in enumerate(callers):
            by_token = k < len(SCOPES)
            walked = [one for one in WALKED[closed] if is_border(one, role, closed=closed)]
            with caller as browser:
                got = {one: ask(browser, one, places).status_code for one in walked}
            wanted = {one: expect(one, role, closed=closed, by_token=by_token) for one in walked}
            refused = {one: code if code in {401, 403, 500} else None for one, code in got.items()}
            who = f"{role} by {'token' if by_token else 'session'}"
            wrong += [f"{who}: {one}: {got[one]}, by the rule {w}" for one, w in wanted.items() if refused[one] != w]
    assert not wrong


def test_no_address_is_without_a_rule_and_no_rule_without_an_address(filled_database):
    app = build_app(parse_service("", "test"), filled_database, Clock())
    mounts = [f"MOUNT {route.path}" for route in app.routes if isinstance(route, Mount)]
    assert sorted([*ADDRESSES, *mounts]) == sorted(RULES)
    others = [route for route in app.routes if not isinstance(route, Mount | APIRoute) and hasattr(route, "path")]
    assert not others, "an address beside the routers would be answered without a rule"


def test_the_page_does_not_start_with_an_address_that_has_no_rule_or_holds_no_account_of_one_site(monkeypatch):
    router = APIRouter()
    router.add_api_route("/everything", lambda: "all", methods=["GET"])
    with pytest.raises(RuntimeError, match=r"GET /everything$"):
        require_rules([router])
    monkeypatch.setitem(RULES, "GET /everything", READ)
    with pytest.raises(RuntimeError, match="GET /everything contains no site"):
        require_rules([router])
    assert OF_NO_SITE <= set(ADDRESSES), "it names an address that is gone"


def test_without_login_the_form_comes_in_place_of_the_page_and_programs_hear_401(filled_database):
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address, enter(address, None) as browser:
        page = browser.get("/sites/north-bench")
        assert (page.status_code, 'name="to" value="/sites/north-bench"' in page.text) == (401, True)
        assert "North bench" not in page.text
        program = browser.get("/api/v1/sites")
        assert (program.status_code, program.json()) == (401, {"error": "log in first"})
        assert program.headers["www-authenticate"].startswith("Bearer")
        assert browser.get("/static/slopeward.css").status_code == 200
        with enter(address, "cy") as reader:
            assert "North bench" in reader.get("/").text


# ---- permissions per site ---------------------------------------------------------------------------------------
@pytest.fixture
def of_the_lake(filled_database):
    """The operator bo is for lake-slope alone."""
    tell(filled_database, users.set_sites, "bo", ["lake-slope"])


@pytest.mark.usefixtures("of_the_lake")
@pytest.mark.parametrize("closed", [False, True], ids=["open to readers", "login to read"])
def test_an_account_of_one_site_reaches_no_other(filled_database, places, closed):
    wrong = []
    with serving(filled_database, Clock(), LOGIN_TO_READ if closed else "") as address, enter(address, "bo") as browser:
        for one in [a for a in WALKED[closed] if "{site}" in a or "{alert_id}" in a]:
            got = ask(browser, one, places).status_code
            refused = closed or RULES[one] != READ
            if (got == 403) != refused:
                wrong.append(f"{one}: {got}")
            nowhere = ask(browser, one, places | {"site": "nowhere", "alert_id": "987654"}).status_code
            if refused and nowhere != 403:
                wrong.append(f"{one}: tells by {nowhere} that the site or alert does not exist")
    assert not wrong


@pytest.mark.usefixtures("of_the_lake")
def test_what_belongs_to_another_site_is_not_reached_under_ones_own(filled_database, places):
    """The own site in the address, and the station, scene, event or signature of another one beside it."""
    token, _ = make_token(filled_database, "ada", "read")
    with filled_database.write() as c:
        save_first(c, TwoPersonAct("level.set", "site:north-bench", {"to": 0}), Actor("ada"), "quiet", 2, NOW)
        (signature,) = [w.id for w in load_waiting(c, NOW)]
    others = places | {"site": "lake-slope"}
    form = {"holds": "kept", "reason": "seen on foot"} | dict.fromkeys(DRAWN, json.dumps(square(8.9, 46.2)))
    wrong, before = [], count_rows(filled_database)
    with serving(filled_database, Clock()) as address, enter(address, "bo") as browser:
        form["csrf"] = csrf_token(browser.cookies["slopeward_session"])
        named = [a for a in ADDRESSES if re.search(r"\{(?!alert_id|site|name)", a) and not a.startswith(HELP)]
        for one in [a for a in named if RULES[a] != ADMIN]:
            method, path = one.split(" ")
            others |= {"number": str(signature), "token_id": str(token)}
            headers = {"x-csrf-token": form["csrf"]}
            is_api = path.startswith("/api/")
            why = {"holds": "kept"} if path.endswith("/reference") else {}
            why |= {name: form[name] for name, last in DRAWN.items() if path.endswith(last)}
            why |= {"reason": form["reason"]} if path in EXPLAINED else {}
            sent = {"json": why} if is_api else {"data": form}
            data = sent if method == "POST" else {}
            got = browser.request(method, fill_in(path, others), headers=headers, **data)
            wrong += [] if got.status_code == 404 else [f"{one}: {got.status_code} {got.text[:200]}"]
    after = count_rows(filled_database)
    assert not wrong
    assert {k for k in after if after[k] != before[k]} <= {"web_session", "known_device", "audit_entry"}
    with filled_database.read() as c:
        assert load_entries(c, 1)[0].action == "login", "nothing was done"
        assert [w.site for w in load_waiting(c, NOW)] == ["north-bench"]


@pytest.mark.usefixtures("of_the_lake")
def test_lists_hold_nothing_of_other_sites(filled_database, places):
    own = places | {"site": "lake-slope", "station": "P1", "quantity": "pore_pressure"}
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        with enter(address, "cy") as all_sites:
            assert all("north-bench" in all_sites.get(a).text for a in ("/api/v1/sites", "/metrics", "/alerts"))
        with enter(address, "bo") as browser:
            for one in [a for a in READING if "{alert_id}" not in a]:
                text = ask(browser, one, own).text
                assert not re.search(r"north.bench", text, re.IGNORECASE), one
            assert "lake-slope" in browser.get("/api/v1/sites").text
            for path in ("/alerts", "/api/v1/alerts", "/api/v1/notifications"):
                assert browser.get(f"{path}?site=north-bench").status_code == 403, path


ELSEWHERE = ("site north-bench cannot be evaluated", "E1 and R1 report times an hour ahead", "v1/North-Bench/x: forged")


@pytest.fixture
def service_speaks(filled_database):
    """Alarms, stamps and open questions of the service that name places of both sites; ids of the alarms."""
    told = [*ELSEWHERE, "site lake-slope cannot be evaluated: X1 of 2026-03-01T05:00:00Z"]
    desk = Recipient("desk", ("log",), ("urgent",))
    gone = Reference("local", NOW), Reference("local", NOW + timedelta(hours=1))
    with filled_database.write() as c:
        for number, line in enumerate(told):
            key = f"health:poisoned:{line.split()[1]}" if "evaluated" in line else f"health:mqtt:foreign{number}"
            change = health_alarm(key, 2, line, is_open=True, evidence={"reason": line, "rows": [{"of": line}]})
            apply_changes(c, [change], ChangeContext("status", None, [desk], Actor("slopeward", "service"), NOW, "1"))
        write_heartbeat(c, "epoch0:north-bench/G1", gone[0].to_json() | {"asked": gone[1].to_json()}, NOW)
        change = health_alarm(alarm_key("north-bench/G1"), 2, "G1 counts otherwise", is_open=True)
        apply_changes(c, [change], ChangeContext("status", None, [desk], Actor("slopeward", "service"), NOW, "1"))
        detail = {"state": "running", "version": "1", "degraded": told, "ingest": {"north-bench": 3, "of": told}}
        write_heartbeat(c, "core", {**detail, "sites": ["lake-slope", "north-bench"]}, NOW)
        wanted = select(alert_table.c.id).where(alert_table.c.site == "status", alert_table.c.closed_at.is_(None))
        return list(c.execute(wanted).scalars())


@pytest.mark.usefixtures("of_the_lake")
def test_what_the_service_says_of_itself_names_no_place_of_others(filled_database, places, service_speaks):
    others = re.compile(r"north.bench|\b(?:E1|R1|G1)\b", re.IGNORECASE)
    own = places | {"site": "lake-slope", "station": "X1", "quantity": "crack_opening", "path": "Things"}
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        address.app.state.context.trouble = ELSEWHERE[0]
        with enter(address, "bo") as browser, enter(address, None) as nobody:
            for one in READING:
                for number in service_speaks if "{alert_id}" in one else [0]:
                    text = ask(browser, one, own | {"alert_id": str(number)}).text
                    assert not (found := others.search(text)), f"{one} {number}: {text[found.start() - 90 :][:180]}"
                assert not others.search(ask(nobody, one, own).text), f"without a login: {one}"
            for one in ("/", "/alerts", "/api/v1/alerts", "/notifications", "/sites/lake-slope", "/health"):
                text = browser.get(one).text
                assert WITHHELD in html.unescape(text), f"{one}: that an alarm stands is seen"
                assert "X1 of" in text, f"{one}: what is of the own site is read"
            assert "Nothing is decided at this moment" in browser.get("/").text
        with enter(address, "cy") as all_sites:
            text = all_sites.get("/api/v1/alerts").text + all_sites.get("/").text
            assert all(line in text for line in ELSEWHERE)
            assert WITHHELD not in text


@pytest.mark.usefixtures("of_the_lake")
def test_an_alert_of_another_site_is_not_reached_by_another_spelling_of_its_number(filled_database, places):
    """What reads the address and what checks it must take the same number from it."""
    with filled_database.read() as c:
        open_one = select(alert_table.c.id).where(
            alert_table.c.site == "north-bench", alert_table.c.closed_at.is_(None)
        )
        number = c.execute(open_one.order_by(alert_table.c.id.desc())).scalar()
    spelt = [one.format(number) for one in ("{}.0", "+{}", "%20{}", "{}%20", "0_{}", "0{}", "{}%0a", "1{:0>30}")]
    form, wrong, before = {"reason": "seen on foot", "answer": "instrument"}, [], count_rows(filled_database)
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address, enter(address, "bo") as browser:
        form["csrf"] = csrf_token(browser.cookies["slopeward_session"])
        for one, number in product([a for a in ADDRESSES if "{alert_id}" in a], [*spelt, "9" * 5000]):
            method, path = one.split(" ")
            path, data = fill_in(path, places | {"alert_id": number}), form if method == "POST" else None
            got = browser.request(method, path, data=data)
            wrong += [] if got.status_code in {403, 404} else [f"{path}: {got.status_code} {got.text[:200]}"]
    after = count_rows(filled_database)
    assert not wrong
    assert {k for k in after if after[k] != before[k]} <= {"web_session", "known_device", "audit_entry"}


NORTH = "ida@north.example"


@pytest.fixture
def people_elsewhere(filled_database):
    """Messages of the service and of North bench to a person there; the number of an alarm of the service."""
    ida = Recipient("Ida of the mine", (f"email:{NORTH}",), ("urgent",))
    refused = f"email: recipient refused (550 5.1.1 <{NORTH}>: unknown)"
    channels = {f"email:{one}": {"failures": 3, "last_error": refused} for one in (NORTH, "desk@lake.example")}
    with filled_database.write() as c:
        for site, key in ("status", "health:broker"), ("north-bench", "health:X9:silent"):
            change = health_alarm(key, 2, "the broker is away", is_open=True)
            apply_changes(c, [change], ChangeContext(site, None, [ida], Actor("slopeward", "service"), NOW, "1"))
        c.execute(notification.update().where(notification.c.recipient == ida.name).values(last_error=refused))
        write_heartbeat(c, "core", {"state": "running", "version": "1", "dispatcher": {"channels": channels}}, NOW)
        return c.execute(select(func.max(alert_table.c.id)).where(alert_table.c.site == "status")).scalar()


@pytest.mark.usefixtures("of_the_lake")
def test_mail_addresses_are_read_by_accounts_of_all_sites_alone(filled_database, places, people_elsewhere):
    own = places | {"site": "lake-slope", "station": "X1", "quantity": "crack_opening"}
    with filled_database.read() as c:
        newest = select(func.max(alert_table.c.id)).where(alert_table.c.site == "north-bench")
        alerts = [people_elsewhere, c.execute(newest).scalar()]

    def read(browser):
        asked = [(one, n) for one in READING for n in (alerts if "{alert_id}" in one else [0])]
        return {f"{one} {n}": ask(browser, one, own | {"alert_id": str(n)}).text for one, n in asked}

    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        with enter(address, "bo") as browser:
            for one, text in read(browser).items():
                assert NORTH not in text, one
                assert "Ida of the mine" not in text, one
            told = browser.get("/health").json()["dispatcher"]["channels"]
            assert sorted(told) == ["email:address 1", "email:address 2"], "how many channels fail is seen"
        with enter(address, "cy") as all_sites:
            assert all(NORTH in all_sites.get(a).text for a in ("/health", "/api/v1/notifications", "/notifications"))
    with serving(filled_database, Clock()) as address, enter(address, None) as nobody:
        for one, text in read(nobody).items():
            bare = re.sub("<style>.*</style>|@iot[.]|slopeward@127", "", text, flags=re.DOTALL)
            assert "@" not in bare, f"without a login: {one}"
        assert "Ida of the mine" in nobody.get("/notifications").text


def test_the_last_admin_stays_one_and_sites_must_exist(filled_database):
    """Not made less, not locked, not bound to some sites; one who comes by a provider alone takes no place of it."""
    away = {
        "role": lambda c, name: users.set_role(c, name, "viewer"),
        "lock": lambda c, name: users.disable_user(c, name, NOW),
        "sites": lambda c, name: users.set_sites(c, name, ["lake-slope"]),
    }
    for take_away in away.values():
        with filled_database.write() as c, pytest.raises(users.RefusedError, match="the only admin of all sites; make"):
            take_away(c, "ada")
    with filled_database.read() as c:
        ada = users.find_user(c, "ada")
    ida = users.IdentityProviderUser("https://id", "1", "ida", ("chiefs",))
    assert tell(filled_database, users.admit_person, ida, {"chiefs": "admin"}, {}, NOW) == "ida"
    for take_away in away.values():
        with filled_database.write() as c, pytest.raises(users.RefusedError, match="can act at the command line"):
            take_away(c, "ada")
        tell(filled_database, take_away, "ida")
        with filled_database.write() as c:
            assert users.find_user(c, "ada") == ada
            c.execute(user_account.delete().where(user_account.c.name == "ida"))
            users.admit_person(c, ida, {"chiefs": "admin"}, {}, NOW)
    with filled_database.write() as c:
        users.set_password(c, "ida", PASSWORD)
        users.disable_user(c, "ada", NOW)
        users.enable_user(c, "ada")
        users.disable_user(c, "ida", NOW)
    with filled_database.write() as c:
        with pytest.raises(users.NotFoundError, match="no site 'nowhere'"):
            users.set_sites(c, "bo", ["nowhere"])
        assert users.set_role(c, "bo", "admin") == "operator"
        users.set_role(c, "ada", "viewer")
    with filled_database.read() as c:
        assert verify_chain(c) == []


def test_the_first_admin_may_come_by_a_provider_for_some_sites(filled_database):
    """Where no admin is, one for some sites takes nobody's place; the last admin of all is not bound by groups."""
    groups, sites = {"chiefs": "admin"}, {"chiefs": ["lake-slope"]}
    people = [users.IdentityProviderUser("https://id", n, f"p{n}", ("chiefs",)) for n in "12"]
    with filled_database.write() as c:
        c.execute(user_account.delete())
        assert users.admit_person(c, people[0], groups, sites, NOW) == "p1"
        assert users.find_user(c, "p1").sites == {"lake-slope"}
        users.set_sites(c, "p1", None)
    with filled_database.write() as c, pytest.raises(users.RefusedError, match="p1 is the only admin of all sites"):
        users.admit_person(c, people[0], groups, sites, NOW)
    with filled_database.write() as c:
        users.admit_person(c, people[1], groups, {"chiefs": ["*"]}, NOW)
        users.admit_person(c, people[0], groups, sites, NOW)


# ---- tokens -----------------------------------------------------------------------------------------------------
def test_of_a_token_only_the_hash_is_stored(filled_database):
    number, token = make_token(filled_database, "bo", "act")
    with filled_database.read() as c:
        row = c.execute(select(api_token).where(api_token.c.id == number)).one()
        assert token not in str(row)
        entries = str(c.execute(select(audit_entry)).all())
    assert token not in entries
    assert row.token_sha256 == hashlib.sha256(token.encode()).hexdigest()


def test_a_token_ends_by_its_time_by_revoking_and_with_its_account(filled_database):
    clock = Clock()
    number, token = make_token(filled_database, "bo", "read", valid_s=600.0)
    _, other = make_token(filled_database, "cy", "read")
    with serving(filled_database, clock, LOGIN_TO_READ) as address, bear(address, token) as program:
        assert program.get("/api/v1/sites").status_code == 200
        clock.wait(601)
        assert program.get("/api/v1/sites").status_code == 401
        with bear(address, other) as program_of_cy:
            assert program_of_cy.get("/health").status_code != 401
            tell(filled_database, users.disable_user, "cy", clock())
            assert program_of_cy.get("/health").status_code == 401
    clock = Clock()
    with serving(filled_database, clock, LOGIN_TO_READ) as address, bear(address, token) as program:
        tell(filled_database, revoke_api_token, number, clock())
        assert program.get("/api/v1/sites").status_code == 401


def test_a_token_does_no_more_than_its_account_and_its_sites(filled_database, places):
    _, token = make_token(filled_database, "bo", "act")
    _, narrow = make_token(filled_database, "ada", "admin", ["lake-slope"])
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        with bear(address, narrow) as program:
            assert [s["site"] for s in program.get("/api/v1/sites").json()] == ["lake-slope"]
            assert program.get("/api/v1/sites/north-bench").status_code == 403
        with bear(address, token) as program:
            report = {"kind": "crack", "text": "seen by the camera"}
            assert program.post("/sites/north-bench/report", data=report).status_code == 303
            with filled_database.read() as c:
                assert verify_chain(c) == []
                (entry,) = load_entries(c, 1)
                assert (entry.actor, entry.detail["via"]) == ("bo", "token")
            tell(filled_database, users.set_role, "bo", "viewer")
            assert program.post("/sites/north-bench/report", data=report).status_code == 403
    for user, scope, sites, words in (
        ("cy", "act", None, "which is lower than the scope"),
        ("ada", "write", None, "unknown"),
        ("dee", "read", None, "locked"),
        ("ada", "read", ["nowhere"], "no site"),
        ("nobody", "read", None, "no user"),
    ):
        with pytest.raises((users.RefusedError, users.NotFoundError), match=words):
            make_token(filled_database, user, scope, sites)
    with pytest.raises(users.RefusedError, match="at most"):
        make_token(filled_database, "ada", "read", valid_s=400 * 86400.0)


def test_a_bad_token_is_told_and_never_falls_back_to_the_cookie(filled_database):
    with serving(filled_database, Clock()) as address, enter(address, "ada") as browser:
        for headers in ({"Authorization": "Bearer nonsense"}, {"Authorization": "bearer none"}):
            answer = browser.get("/api/v1/sites", headers=headers)
            assert (answer.status_code, "token" in answer.json()["error"]) == (401, True)
            page = browser.get("/", headers=headers)
            assert (page.status_code, "database does not answer" in page.text) == (401, False)
        # a proxy in front may ask for a password of its own and pass it on
        assert browser.get("/", headers={"Authorization": "Basic YTpi"}).status_code == 200


# ---- the pages of accounts --------------------------------------------------------------------------------------
NEW = "umbrella granite seventeen ferries"


def send(browser, path, **fields):
    return browser.post(path, data={"csrf": csrf_token(browser.cookies["slopeward_session"]), **fields})


def test_one_changes_the_own_password_and_every_session_ends(filled_database):
    with serving(filled_database, Clock()) as address, enter(address, "bo") as browser:
        words = {"own_password": PASSWORD, "password": NEW, "password_again": NEW}
        for wrong, said in (
            ({"password_again": "x"}, "differ"),
            ({"own_password": "wrong"}, "current password is wrong"),
            ({"password": "bo12345678", "password_again": "bo12345678"}, "easy to guess"),
        ):
            answer = send(browser, "/account/password", **(words | wrong))
            assert (answer.status_code, said in answer.text) == (409, True), answer.text
        assert send(browser, "/account/password", **words).status_code == 303
        assert browser.get("/account").status_code == 401
        assert browser.post("/login", data={"name": "bo", "password": PASSWORD}).status_code == 401
        assert browser.post("/login", data={"name": "bo", "password": NEW}).status_code == 303
    with filled_database.read() as c:
        told = [(e.actor, e.action) for e in load_entries(c, 9) if e.action.startswith("user.pass")]
        assert (told, verify_chain(c)) == ([("bo", "user.password"), ("bo", "user.password.refused")], [])


def test_signing_out_everywhere_ends_the_session_of_a_thief(filled_database):
    with serving(filled_database, Clock()) as address, enter(address, "bo") as browser:
        stolen = {"Cookie": f"slopeward_session={browser.cookies['slopeward_session']}"}
        assert httpx.get(f"{address}/account", headers=stolen, trust_env=False, verify=False).status_code == 200
        assert send(browser, "/account/sign-out").status_code == 303
        assert httpx.get(f"{address}/account", headers=stolen, trust_env=False, verify=False).status_code == 401


def test_an_admin_sees_accounts_sessions_tokens_and_the_log_and_ends_them(filled_database):
    number, token = make_token(filled_database, "bo", "read")
    with serving(filled_database, Clock()) as address, enter(address, "ada") as admin, enter(address, "bo") as browser:
        text = admin.get("/admin").text
        for words in ("locked since", "board in the office", "End the sessions of bo", "login", "Audit log"):
            assert words in text, words
        assert token not in text
        assert "rows.seal" not in text
        assert "rows.seal" in admin.get("/admin?action=rows.seal").text
        assert [e["actor"] for e in admin.get("/api/v1/audit?actor=bo&action=login").json()] == ["bo"]
        assert send(browser, f"/account/tokens/{number + 1}/revoke").status_code == 404
        assert send(admin, f"/admin/tokens/{number}/revoke").status_code == 303
        assert send(admin, "/admin/users/bo/sign-out").status_code == 303
        assert browser.get("/account").status_code == 401
    with filled_database.read() as c:
        told = [(e.actor, e.action, e.subject) for e in load_entries(c, 2)]
        assert told == [("ada", "user.sign_out", "user:bo"), ("ada", "token.revoke", f"token:{number}")]


def test_an_admin_of_some_sites_sees_neither_accounts_nor_the_log(filled_database):
    with filled_database.write() as c:
        add_account(c, "zoe", PASSWORD, "admin", NOW)
        users.set_sites(c, "ada", ["lake-slope"])
    with serving(filled_database, Clock()) as address, enter(address, "ada") as browser:
        assert [browser.get(path).status_code for path in ("/admin", "/api/v1/audit")] == [403, 403]
        assert 'href="/admin"' not in browser.get("/").text
