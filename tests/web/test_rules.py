"""Access rules: every address of the page is requested by every kind of caller."""

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
from tests.web.served import start_no_drill
from tests.web.test_door import Clock, serving

LOGIN_TO_READ = "[web]\nlogin_to_read = true\n"
ACCOUNTS = {"anonymous": None, "viewer": "cy", "operator": "bo", "admin": "ada"}
# Account of the token, by scope.
TOKENS = {"read": "ada", "act": "bo", "admin": "ada"}
ROLES = ("viewer", "operator", "admin")
EXPLAINED = {
    API + act.address for act in list_acts() if "reason" in {parameter.name for parameter in act.list_parameters()}
}
DRAWN = {"geometry": "/outlines", "outline": "/redraw"}
# Requested last, because they end the session.
LAST = ("POST /account/sign-out", "POST /logout")
ADDRESSES = sorted(list_addresses(list_routers()), key=lambda route: (route in LAST, route == LAST[-1]))
# Addresses whose rule does not depend on `login_to_read` are requested once.
ADDRESSES_BY_LOGIN = {False: ADDRESSES, True: [route for route in ADDRESSES if RULES[route] in {OPEN, READ}]}
# The documentation names sites only in examples.
HELP = "GET /help"
READING = [
    route for route in ADDRESSES if route.startswith("GET") and "{scene" not in route and not route.startswith(HELP)
]


@pytest.fixture(autouse=True)
def without_children(monkeypatch):
    start_no_drill(monkeypatch)
    # The reference takes four seconds; tests/features/help checks it.
    monkeypatch.setattr(library, "start_generating_reference", lambda: None)
    monkeypatch.setattr(acts, "run_in_worker", lambda *_: SimpleNamespace(differences=()))
    monkeypatch.setattr(ChangeStream, "iterate_events", end_at_once)


async def end_at_once(stream):
    """Yield the events of a stream that ends, so that a test can read the whole response."""
    yield "retry: 2000\n\n"


@pytest.fixture
def places(filled_database):
    """Return a value for each parameter of an address. Everything that they name exists."""
    with filled_database.read() as c:
        scene = c.exec_driver_sql("SELECT scene_hash FROM scene").scalar()
        alert = c.exec_driver_sql("SELECT max(id) FROM alert WHERE site = 'north-bench'").scalar()
    values = {"site": "north-bench", "station": "G1", "quantity": "displacement_east", "scene_hash": scene}
    values |= {"alert_id": str(alert), "event_id": "2", "name": "dee", "model_hash": HASHES["gru"], "polygon_id": "p1"}
    values |= {"table": "movement", "form": "csv", "folder": "how-to", "page": "duty", "size": "small.jpg"}
    values |= dict.fromkeys(
        "offset_id maintenance_id signature_id proposal_id token_id number photo_id report_id".split(), "1"
    )
    return values | {"path": "Things('G1')", "upload": "0" * 16} | dict.fromkeys("xyz", "0")


def fill_in(path, places):
    return re.sub(r"\{(\w+)(?::path)?\}", lambda match: places[match[1]], path)


@contextmanager
def enter(address, name):
    """Open a browser that is logged in if a name is given."""
    with httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False) as browser:
        if name is not None:
            assert browser.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
        yield browser


@contextmanager
def open_program(address, token):
    """Open an HTTP client with a token."""
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


def request_page(browser, address, places):
    """Send a request with a valid form token, so that only the access rule can refuse it."""
    method, path = address.split(" ")
    token = csrf_token(browser.cookies.get("slopeward_session", ""))
    data = {"csrf": token} if method == "POST" else None
    return browser.request(method, fill_in(path, places), data=data, headers={"x-csrf-token": token})


def find_expected_status(address, role, *, closed, by_token):
    """Return the expected status: 401, 403, or None if the request is admitted."""
    rule = RULES[address]
    if rule == OPEN or (rule == READ and not closed):
        return None
    if by_token and address in IN_PERSON:
        return 403
    if role == "anonymous":
        return 401
    return None if rule == READ or ROLES.index(role) >= ROLES.index(rule) else 403


def is_near_lowest_role(address, role, *, closed):
    """Return whether a role is anonymous, the lowest role that is admitted, or the role below it.

    Higher roles are admitted too, so they are not tested.
    """
    rule, rank = RULES[address], ("anonymous", *ROLES).index(role)
    least = 0 if rule == OPEN or (rule == READ and not closed) else 1 if rule == READ else 1 + ROLES.index(rule)
    return rank in {0, least - 1, least}


@pytest.mark.one_case_in(2)
@pytest.mark.parametrize("closed", [False, True], ids=["open to readers", "login to read"])
def test_every_address_follows_its_access_rule_for_every_caller(filled_database, places, closed):
    wrong = []
    with serving(filled_database, Clock(), LOGIN_TO_READ if closed else "") as address:
        callers = [
            (role, open_program(address, make_token(filled_database, TOKENS[scope], scope)[1]))
            for scope, role in SCOPES.items()
        ]
        callers += [(role, enter(address, name)) for role, name in ACCOUNTS.items()]
        for k, (role, caller) in enumerate(callers):
            by_token = k < len(SCOPES)
            addresses = [
                route for route in ADDRESSES_BY_LOGIN[closed] if is_near_lowest_role(route, role, closed=closed)
            ]
            with caller as browser:
                got = {route: request_page(browser, route, places).status_code for route in addresses}
            expected = {
                route: find_expected_status(route, role, closed=closed, by_token=by_token) for route in addresses
            }
            refused = {route: code if code in {401, 403, 500} else None for route, code in got.items()}
            who = f"{role} by {'token' if by_token else 'session'}"
            wrong += [
                f"{who}: {route}: {got[route]}, by the rule {w}" for route, w in expected.items() if refused[route] != w
            ]
    assert not wrong


def test_every_address_has_a_rule_and_every_rule_an_address(filled_database):
    app = build_app(parse_service("", "test"), filled_database, Clock())
    mounts = [f"MOUNT {route.path}" for route in app.routes if isinstance(route, Mount)]
    assert sorted([*ADDRESSES, *mounts]) == sorted(RULES)
    others = [route for route in app.routes if not isinstance(route, Mount | APIRoute) and hasattr(route, "path")]
    assert not others, "routes outside the routers would be answered without a rule"


def test_page_does_not_start_if_an_address_has_no_rule_or_no_site(monkeypatch):
    router = APIRouter()
    router.add_api_route("/everything", lambda: "all", methods=["GET"])
    with pytest.raises(RuntimeError, match=r"GET /everything$"):
        require_rules([router])
    monkeypatch.setitem(RULES, "GET /everything", READ)
    with pytest.raises(RuntimeError, match="GET /everything contains no site"):
        require_rules([router])
    assert OF_NO_SITE <= set(ADDRESSES), "OF_NO_SITE contains an address that does not exist"


def test_without_login_a_page_shows_the_login_form_and_the_api_returns_401(filled_database):
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
def bo_for_lake_slope(filled_database):
    """Restrict the operator bo to the site lake-slope."""
    tell(filled_database, users.set_sites, "bo", ["lake-slope"])


@pytest.mark.usefixtures("bo_for_lake_slope")
@pytest.mark.parametrize("closed", [False, True], ids=["open to readers", "login to read"])
def test_account_for_one_site_cannot_request_addresses_of_another_site(filled_database, places, closed):
    wrong = []
    with serving(filled_database, Clock(), LOGIN_TO_READ if closed else "") as address, enter(address, "bo") as browser:
        for route in [a for a in ADDRESSES_BY_LOGIN[closed] if "{site}" in a or "{alert_id}" in a]:
            got = request_page(browser, route, places).status_code
            refused = closed or RULES[route] != READ
            if (got == 403) != refused:
                wrong.append(f"{route}: {got}")
            nowhere = request_page(browser, route, places | {"site": "nowhere", "alert_id": "987654"}).status_code
            if refused and nowhere != 403:
                wrong.append(f"{route}: status {nowhere} reveals that the site or alert does not exist")
    assert not wrong


@pytest.mark.usefixtures("bo_for_lake_slope")
def test_items_of_another_site_are_not_found_under_the_allowed_site(filled_database, places):
    """The address contains the allowed site, and a station, scene, event or signature of another site."""
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
        for route in [a for a in named if RULES[a] != ADMIN]:
            method, path = route.split(" ")
            others |= {"number": str(signature), "token_id": str(token)}
            headers = {"x-csrf-token": form["csrf"]}
            is_api = path.startswith("/api/")
            why = {"holds": "kept"} if path.endswith("/reference") else {}
            why |= {name: form[name] for name, last in DRAWN.items() if path.endswith(last)}
            why |= {"reason": form["reason"]} if path in EXPLAINED else {}
            sent = {"json": why} if is_api else {"data": form}
            data = sent if method == "POST" else {}
            got = browser.request(method, fill_in(path, others), headers=headers, **data)
            wrong += [] if got.status_code == 404 else [f"{route}: {got.status_code} {got.text[:200]}"]
    after = count_rows(filled_database)
    assert not wrong
    assert {k for k in after if after[k] != before[k]} <= {"web_session", "known_device", "audit_entry"}
    with filled_database.read() as c:
        assert load_entries(c, 1)[0].action == "login", "no action was performed"
        assert [w.site for w in load_waiting(c, NOW)] == ["north-bench"]


@pytest.mark.soak
@pytest.mark.usefixtures("bo_for_lake_slope")
def test_lists_contain_nothing_of_other_sites(filled_database, places):
    own_places = places | {"site": "lake-slope", "station": "P1", "quantity": "pore_pressure"}
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        with enter(address, "cy") as all_sites:
            assert all("north-bench" in all_sites.get(a).text for a in ("/api/v1/sites", "/metrics", "/alerts"))
        with enter(address, "bo") as browser:
            for route in [a for a in READING if "{alert_id}" not in a]:
                text = request_page(browser, route, own_places).text
                assert not re.search(r"north.bench", text, re.IGNORECASE), route
            assert "lake-slope" in browser.get("/api/v1/sites").text
            for path in ("/alerts", "/api/v1/alerts", "/api/v1/notifications"):
                assert browser.get(f"{path}?site=north-bench").status_code == 403, path


ELSEWHERE = ("site north-bench cannot be evaluated", "E1 and R1 report times an hour ahead", "v1/North-Bench/x: forged")


@pytest.fixture
def service_alarms(filled_database):
    """Add alarms, heartbeats and open questions of the service that name both sites. Return the ids of the alarms."""
    texts = [*ELSEWHERE, "site lake-slope cannot be evaluated: X1 of 2026-03-01T05:00:00Z"]
    desk = Recipient("desk", ("log",), ("urgent",))
    gone = Reference("local", NOW), Reference("local", NOW + timedelta(hours=1))
    with filled_database.write() as c:
        for number, line in enumerate(texts):
            key = f"health:not_evaluated:{line.split()[1]}" if "evaluated" in line else f"health:mqtt:foreign{number}"
            change = health_alarm(key, 2, line, is_open=True, evidence={"reason": line, "rows": [{"of": line}]})
            apply_changes(c, [change], ChangeContext("status", None, [desk], Actor("slopeward", "service"), NOW, "1"))
        write_heartbeat(c, "epoch0:north-bench/G1", gone[0].to_json() | {"asked": gone[1].to_json()}, NOW)
        change = health_alarm(alarm_key("north-bench/G1"), 2, "G1 counts otherwise", is_open=True)
        apply_changes(c, [change], ChangeContext("status", None, [desk], Actor("slopeward", "service"), NOW, "1"))
        detail = {"state": "running", "version": "1", "degraded": texts, "ingest": {"north-bench": 3, "of": texts}}
        write_heartbeat(c, "core", {**detail, "sites": ["lake-slope", "north-bench"]}, NOW)
        query = select(alert_table.c.id).where(alert_table.c.site == "status", alert_table.c.closed_at.is_(None))
        return list(c.execute(query).scalars())


@pytest.mark.soak
@pytest.mark.usefixtures("bo_for_lake_slope")
def test_alarms_of_the_service_hide_names_of_other_sites(filled_database, places, service_alarms):
    others = re.compile(r"north.bench|\b(?:E1|R1|G1)\b", re.IGNORECASE)
    own_places = places | {"site": "lake-slope", "station": "X1", "quantity": "crack_opening", "path": "Things"}
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        address.app.state.context.trouble = ELSEWHERE[0]
        with enter(address, "bo") as browser, enter(address, None) as nobody:
            for route in READING:
                for number in service_alarms if "{alert_id}" in route else [0]:
                    text = request_page(browser, route, own_places | {"alert_id": str(number)}).text
                    assert not (found := others.search(text)), f"{route} {number}: {text[found.start() - 90 :][:180]}"
                assert not others.search(request_page(nobody, route, own_places).text), f"without a login: {route}"
            for route in ("/", "/alerts", "/api/v1/alerts", "/notifications", "/sites/lake-slope", "/health"):
                text = browser.get(route).text
                assert WITHHELD in html.unescape(text), f"{route}: the alarm must be visible"
                assert "X1 of" in text, f"{route}: texts about the allowed site must be visible"
            assert "Nothing is decided at this moment" in browser.get("/").text
        with enter(address, "cy") as all_sites:
            text = all_sites.get("/api/v1/alerts").text + all_sites.get("/").text
            assert all(line in text for line in ELSEWHERE)
            assert WITHHELD not in text


@pytest.mark.soak
@pytest.mark.usefixtures("bo_for_lake_slope")
def test_other_spellings_of_an_alert_number_do_not_bypass_the_site_check(filled_database, places):
    """The route and the access rule must read the same number from an address."""
    with filled_database.read() as c:
        open_one = select(alert_table.c.id).where(
            alert_table.c.site == "north-bench", alert_table.c.closed_at.is_(None)
        )
        number = c.execute(open_one.order_by(alert_table.c.id.desc())).scalar()
    spelt = [form.format(number) for form in ("{}.0", "+{}", "%20{}", "{}%20", "0_{}", "0{}", "{}%0a", "1{:0>30}")]
    form, wrong, before = {"reason": "seen on foot", "answer": "instrument"}, [], count_rows(filled_database)
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address, enter(address, "bo") as browser:
        form["csrf"] = csrf_token(browser.cookies["slopeward_session"])
        for route, number in product([a for a in ADDRESSES if "{alert_id}" in a], [*spelt, "9" * 5000]):
            method, path = route.split(" ")
            path, data = fill_in(path, places | {"alert_id": number}), form if method == "POST" else None
            got = browser.request(method, path, data=data)
            wrong += [] if got.status_code in {403, 404} else [f"{path}: {got.status_code} {got.text[:200]}"]
    after = count_rows(filled_database)
    assert not wrong
    assert {k for k in after if after[k] != before[k]} <= {"web_session", "known_device", "audit_entry"}


NORTH = "ida@north.example"


@pytest.fixture
def alarm_with_addresses(filled_database):
    """Add messages to a person at North bench. Return the id of an alarm of the service."""
    ida = Recipient("Ida of the mine", (f"email:{NORTH}",), ("urgent",))
    refused = f"email: recipient refused (550 5.1.1 <{NORTH}>: unknown)"
    channels = {f"email:{mail}": {"failures": 3, "last_error": refused} for mail in (NORTH, "desk@lake.example")}
    with filled_database.write() as c:
        for site, key in ("status", "health:broker"), ("north-bench", "health:X9:silent"):
            change = health_alarm(key, 2, "the broker is away", is_open=True)
            apply_changes(c, [change], ChangeContext(site, None, [ida], Actor("slopeward", "service"), NOW, "1"))
        c.execute(notification.update().where(notification.c.recipient == ida.name).values(last_error=refused))
        write_heartbeat(c, "core", {"state": "running", "version": "1", "dispatcher": {"channels": channels}}, NOW)
        return c.execute(select(func.max(alert_table.c.id)).where(alert_table.c.site == "status")).scalar()


@pytest.mark.soak
@pytest.mark.usefixtures("bo_for_lake_slope")
def test_only_accounts_for_all_sites_read_mail_addresses(filled_database, places, alarm_with_addresses):
    own_places = places | {"site": "lake-slope", "station": "X1", "quantity": "crack_opening"}
    with filled_database.read() as c:
        newest = select(func.max(alert_table.c.id)).where(alert_table.c.site == "north-bench")
        alerts = [alarm_with_addresses, c.execute(newest).scalar()]

    def read(browser):
        requests = [(route, n) for route in READING for n in (alerts if "{alert_id}" in route else [0])]
        return {
            f"{route} {n}": request_page(browser, route, own_places | {"alert_id": str(n)}).text
            for route, n in requests
        }

    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        with enter(address, "bo") as browser:
            for route, text in read(browser).items():
                assert NORTH not in text, route
                assert "Ida of the mine" not in text, route
            channels = browser.get("/health").json()["dispatcher"]["channels"]
            assert sorted(channels) == ["email:address 1", "email:address 2"], (
                "the number of failing channels must be visible"
            )
        with enter(address, "cy") as all_sites:
            assert all(NORTH in all_sites.get(a).text for a in ("/health", "/api/v1/notifications", "/notifications"))
    with serving(filled_database, Clock()) as address, enter(address, None) as nobody:
        for route, text in read(nobody).items():
            bare = re.sub("<style>.*</style>|@iot[.]|slopeward@127", "", text, flags=re.DOTALL)
            assert "@" not in bare, f"without a login: {route}"
        assert "Ida of the mine" in nobody.get("/notifications").text


def test_last_admin_of_all_sites_cannot_be_removed(filled_database):
    """The role, lock and sites of the last admin cannot change.

    An admin without a password cannot act at the command line, and does not count as the last one who can.
    """
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


def test_first_admin_may_log_in_through_a_provider_for_some_sites(filled_database):
    """Without any admin, an admin for some sites is accepted. Groups cannot restrict the last admin of all sites."""
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
def test_only_the_hash_of_a_token_is_stored(filled_database):
    number, token = make_token(filled_database, "bo", "act")
    with filled_database.read() as c:
        row = c.execute(select(api_token).where(api_token.c.id == number)).one()
        assert token not in str(row)
        entries = str(c.execute(select(audit_entry)).all())
    assert token not in entries
    assert row.token_sha256 == hashlib.sha256(token.encode()).hexdigest()


def test_token_ends_by_expiry_revocation_or_locked_account(filled_database):
    clock = Clock()
    number, token = make_token(filled_database, "bo", "read", valid_s=600.0)
    _, other = make_token(filled_database, "cy", "read")
    with serving(filled_database, clock, LOGIN_TO_READ) as address, open_program(address, token) as program:
        assert program.get("/api/v1/sites").status_code == 200
        clock.wait(601)
        assert program.get("/api/v1/sites").status_code == 401
        with open_program(address, other) as program_of_cy:
            assert program_of_cy.get("/health").status_code != 401
            tell(filled_database, users.disable_user, "cy", clock())
            assert program_of_cy.get("/health").status_code == 401
    clock = Clock()
    with serving(filled_database, clock, LOGIN_TO_READ) as address, open_program(address, token) as program:
        tell(filled_database, revoke_api_token, number, clock())
        assert program.get("/api/v1/sites").status_code == 401


def test_token_has_at_most_the_role_and_sites_of_its_account(filled_database, places):
    _, token = make_token(filled_database, "bo", "act")
    _, narrow = make_token(filled_database, "ada", "admin", ["lake-slope"])
    with serving(filled_database, Clock(), LOGIN_TO_READ) as address:
        with open_program(address, narrow) as program:
            assert [s["site"] for s in program.get("/api/v1/sites").json()] == ["lake-slope"]
            assert program.get("/api/v1/sites/north-bench").status_code == 403
        with open_program(address, token) as program:
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


def test_invalid_token_is_refused_even_with_a_valid_session(filled_database):
    with serving(filled_database, Clock()) as address, enter(address, "ada") as browser:
        for headers in ({"Authorization": "Bearer nonsense"}, {"Authorization": "bearer none"}):
            answer = browser.get("/api/v1/sites", headers=headers)
            assert (answer.status_code, "token" in answer.json()["error"]) == (401, True)
            page = browser.get("/", headers=headers)
            assert (page.status_code, "database does not answer" in page.text) == (401, False)
        # A proxy in front of the service may use Basic authentication and forward the header.
        assert browser.get("/", headers={"Authorization": "Basic YTpi"}).status_code == 200


# ---- the pages of accounts --------------------------------------------------------------------------------------
NEW = "umbrella granite seventeen ferries"


def send(browser, path, **fields):
    return browser.post(path, data={"csrf": csrf_token(browser.cookies["slopeward_session"]), **fields})


def test_changing_the_own_password_ends_every_session(filled_database):
    with serving(filled_database, Clock()) as address, enter(address, "bo") as browser:
        words = {"own_password": PASSWORD, "password": NEW, "password_again": NEW}
        for wrong, message in (
            ({"password_again": "x"}, "differ"),
            ({"own_password": "wrong"}, "current password is wrong"),
            ({"password": "bo12345678", "password_again": "bo12345678"}, "easy to guess"),
        ):
            answer = send(browser, "/account/password", **(words | wrong))
            assert (answer.status_code, message in answer.text) == (409, True), answer.text
        assert send(browser, "/account/password", **words).status_code == 303
        assert browser.get("/account").status_code == 401
        assert browser.post("/login", data={"name": "bo", "password": PASSWORD}).status_code == 401
        assert browser.post("/login", data={"name": "bo", "password": NEW}).status_code == 303
    with filled_database.read() as c:
        actions = [(e.actor, e.action) for e in load_entries(c, 9) if e.action.startswith("user.pass")]
        assert (actions, verify_chain(c)) == ([("bo", "user.password"), ("bo", "user.password.refused")], [])


def test_sign_out_everywhere_ends_a_stolen_session(filled_database):
    with serving(filled_database, Clock()) as address, enter(address, "bo") as browser:
        stolen = {"Cookie": f"slopeward_session={browser.cookies['slopeward_session']}"}
        assert httpx.get(f"{address}/account", headers=stolen, trust_env=False, verify=False).status_code == 200
        assert send(browser, "/account/sign-out").status_code == 303
        assert httpx.get(f"{address}/account", headers=stolen, trust_env=False, verify=False).status_code == 401


def test_admin_lists_accounts_sessions_tokens_and_the_audit_log_and_ends_them(filled_database):
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
        actions = [(e.actor, e.action, e.subject) for e in load_entries(c, 2)]
        assert actions == [("ada", "user.sign_out", "user:bo"), ("ada", "token.revoke", f"token:{number}")]


def test_admin_of_some_sites_cannot_read_accounts_or_the_audit_log(filled_database):
    with filled_database.write() as c:
        add_account(c, "zoe", PASSWORD, "admin", NOW)
        users.set_sites(c, "ada", ["lake-slope"])
    with serving(filled_database, Clock()) as address, enter(address, "ada") as browser:
        assert [browser.get(path).status_code for path in ("/admin", "/api/v1/audit")] == [403, 403]
        assert 'href="/admin"' not in browser.get("/").text
