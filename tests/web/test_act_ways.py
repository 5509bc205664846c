"""Every act works by command, form and request: with the same permissions and the same message."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
from sqlalchemy import insert, select, update

from monitor.alerts.acts.change_control import propose, require_in_force
from monitor.alerts.acts.table import API, Secret, list_acts
from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.queries import alerts, events, maintenance, offsets
from monitor.alerts.queries.signatures import TwoPersonAct, load_waiting, save_first
from monitor.alerts.replay import proposals
from monitor.cli.main import run_command
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.conditions import LONE_TOP
from monitor.decision.records import Memory
from monitor.errors import RefusedError
from monitor.features.anomalies.queries.labels import load_runs
from monitor.features.anomalies.tables import anomaly_budget
from monitor.features.drills.queries import add_drill
from monitor.features.drills.tables import drill
from monitor.features.duty import queries as duty
from monitor.features.duty.acts import pick_team
from monitor.features.scenes import model_acts as scene_acts
from monitor.features.scenes.tables import scene_outline
from monitor.features.telephony import by_telephone
from monitor.features.telephony.queries.replies import ACKNOWLEDGED, REFUSED, make_code
from monitor.ingest.references import ReferenceAnswer, share_answer
from monitor.models.queries.registry import add_model
from monitor.people.duty_tables import duty_handover
from monitor.people.queries import users
from monitor.people.queries.api_tokens import add_api_token
from monitor.people.queries.second_factor import RECOVERY_CODES, STEP_S, add_second_factor, code_of, has_second_factor
from monitor.readings.queries.observations import load_series
from monitor.readings.records import SiteEvent
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.storage.service_state import write_heartbeat
from monitor.text.instants import format_iso
from monitor.web.access.rules import RULES
from tests.data.accounts import add_account
from tests.data.filled import HASHES, LAKE, PASSWORD, make_drawable
from tests.data.filled import NOW as STORY
from tests.data.store_rows import ask, square, tell
from tests.fixtures.soak import with_soak
from tests.markup import flatten_html
from tests.web.served import database, log_in, serving, start_no_drill, token

__all__ = ["database"]  # fixture
NOW = datetime.now(UTC).replace(microsecond=0)
AN_HOUR_AGO = NOW - timedelta(hours=1)
SITE, BO, CARL = "north-bench", Actor("bo"), Actor("carl")
ROLES = {"nobody": None, "viewer": "cy", "operator elsewhere": "lou", "operator": "bo", "admin": "ada"}
MAY = {"operator", "admin"}
ROOT = Path(__file__).resolve().parents[2]
WAYS = ("command", "form", "request")
NEW = "umbrella granite seventeen ferries"
VAULT = SimpleNamespace(seal=str)
LOGIN = '[oidc]\nissuer = "https://id.example.org"\nclient_id = "x"\n[oidc.roles]\nduty = "operator"\n'
TEAM = '[[team]]\nname = "geologists"\nmembers = ["duty engineer"]\n'
WHY = {"reason": "seen on foot"}


def raise_alert(c, key, ledger=AlertCategory.ADVICE):
    change = AlertChange(ledger, key, 1, open=True, reason="for the test", data_time=NOW, evidence="{}")
    alerts.apply_changes(c, [change], alerts.ChangeContext(SITE, None, [], CARL, AN_HOUR_AGO, "1"))
    return next(row.id for row in alerts.load_alerts(c, SITE, open_only=True) if row.key == key)


def prepare(c, name, k):
    """Store what an act needs, for each way separately, and return the arguments of the act."""
    kind, _, step = name.partition(".")
    if name in {"step.verify", "step.withdraw"}:
        question = f"alone:{('G1', 'G2', 'E1')[k]}"
        key = LONE_TOP if name == "step.verify" else f"health:{question}:verify"
        number = raise_alert(c, key, AlertCategory.HEALTH)
        row = c.execute(select(site_state.c.state).where(site_state.c.site == SITE)).scalar()
        memory = Memory.read(row) if row else Memory()
        after = replace(memory, answers={**memory.answers, question: "weather"}).to_json()
        c.execute(update(site_state).where(site_state.c.site == SITE).values(state=after))
        return {"alert_id": number, **WHY} | ({"answer": "movement"} if step == "verify" else {})
    if kind == "alert":
        number = raise_alert(c, f"advice:anomaly:{step}{k}")
        if step == "unshelve":
            alerts.shelve(c, number, CARL, "wind", NOW + timedelta(hours=1), AN_HOUR_AGO)
        if step == "put-back":
            alerts.take_out(c, number, CARL, "dismantled", AN_HOUR_AGO)
        more = {"note": {"note": "fresh blocks"}, "outcome": {"outcome": "true", "note": "it fell"}}
        return {"alert_id": number} | more.get(step, WHY)
    if kind == "level":
        return {"site": SITE, "level": "3"} | WHY
    if kind == "maintenance":
        station = ("G1", "G2", "E1")[k]
        if step == "add":
            return {"site": SITE, "station": station} | WHY
        to = NOW + timedelta(hours=2)
        return WHY | {"maintenance_id": maintenance.add_maintenance(c, SITE, station, NOW, to, CARL, "mast", NOW)}
    if kind == "event":
        if step == "add":
            return {"site": SITE, "kind": "blasting", "text": f"bench {k}"}
        item = SiteEvent(SITE, AN_HOUR_AGO, NOW, "earthquake" if step == "confirm" else "work", f"{step} {k}", None)
        return WHY | {"event_id": events.add_event(c, item, NOW, "carl", via="mqtt")}
    if kind == "offset":
        series = next(s for s in load_series(c, SITE) if (s.station, s.quantity) == ("P1", "pore_pressure"))
        at = NOW - timedelta(days=30 + k)
        facts = {"station": series.station, "quantity": series.quantity, "size": 2.0 + k, "unit": "kPa"}
        if step == "add":
            return {"site": SITE, "at": format_iso(at), **facts, **WHY}
        at -= timedelta(days=10 * len(step))
        more = {"size": 2.0, "unit": "kPa", "kind": "other", "author": CARL, "reason": "rezeroed", "now": NOW}
        return WHY | {"offset_id": offsets.add_offset(c, series.id, at=at, known_from=NOW, **more)}
    if kind in {"model", "network"}:
        facts = {"kind": "gru", "task": "scene" if kind == "network" else "forecast", "site": SITE, "path": "x"}
        add_model(c, model := f"{k}{name}".encode().hex(), card={}, now=NOW, reason="trained", **facts)
        return {"site": SITE, "model_hash": model} | WHY
    if kind == "reference":
        detail = {"frame": "ITRF14", "epoch0": None, "asked": {"frame": "ITRF20", "epoch0": None}}
        write_heartbeat(c, f"epoch0:{SITE}/G1", detail, NOW)
        # At this high level the act needs two people.
        save_first(c, share_answer(c, f"{SITE}/G1", answer=ReferenceAnswer.KEPT), Actor("dan"), "seen", 9, NOW)
        return {"site": SITE, "station": "G1", "holds": "kept"} | WHY
    if kind == "drill":
        c.execute(update(drill).values(state="ended"))
        if step == "hold":
            return {"site": SITE, "minutes": "1"} | (prepare_scenario() if k == 0 else {})
        return {"site": SITE, "number": add_drill(c, SITE, CARL, "collapse", NOW)} | WHY
    if name == "site.retire":
        save_site(c, parse_site(LAKE.replace("lake-slope", f"old-{k}"), "old"), "ada", "test", AN_HOUR_AGO)
        return {"site": f"old-{k}"} | WHY
    if kind == "duty":
        return {"site": SITE} | prepare_duty(c, step)
    if name == "anomaly.label":
        run = next(run for run in load_runs(c, require_in_force(c, SITE), STORY - timedelta(days=14), STORY))
        facts = {"site": SITE, "station": run.station, "quantity": run.quantity, "at": format_iso(run.from_at)}
        return facts | {"verdict": "confirmed", "note": f"seen {k}"}
    if kind == "anomaly":
        c.execute(update(anomaly_budget).values(factor=1.05))
        return {"site": SITE, "detector": c.execute(select(anomaly_budget.c.detector)).scalars().first()} | WHY
    if kind == "user":
        who = f"u{k}-{step}"
        if step == "add":
            return {"name": who, "password": NEW, "role": "operator", "sites": [SITE]}
        add_account(c, who, PASSWORD, "viewer", AN_HOUR_AGO)
        if step == "totp.off":
            add_second_factor(c, VAULT, who, NOW)
        if step == "bind":
            return {"name": who, "os_user": "nobody"}
        more = {"role": {"role": "operator"}, "password": {"password": NEW}, "sites": {"sites": [SITE]}}
        return {"name": who} | more.get(step, {"subject": who} if step == "oidc" else {})
    if kind == "token":
        if step == "add":
            return {"name": "dan", "label": f"a board {k}", "sites": [SITE], "valid": "30d"}
        return {"token_id": add_api_token(c, "dan", f"a board {k}", "read", None, 3600.0, NOW)[0]}
    if kind == "footprint":
        more = {"outline": json.dumps(square(8.9, 46.2))} if step == "redraw" else {}
        return {"site": SITE, "scene_hash": HASHES["scene"], "polygon_id": f"p{k + 1}", "note": "a road"} | more
    if name == "outline.add":
        return {
            "site": SITE,
            "scene_hash": HASHES["scene"],
            "geometry": json.dumps(square(8.9, 46.2)),
            "kind": "nothing",
        }
    if kind == "outline":
        outline = c.execute(select(scene_outline)).mappings().first()
        c.execute(insert(scene_outline).values({name: value for name, value in outline.items() if name != "id"}))
        return {"site": SITE, "number": max(c.execute(select(scene_outline.c.id)).scalars())}
    if kind == "report":
        return {"site": SITE, "kind": "crack", "text": f"new crack {k}"}
    shared = TwoPersonAct("alert.close", f"alert:{raise_alert(c, f'advice:anomaly:s{k}')}", {})
    save_first(c, shared, BO, "quiet", 1, NOW)
    return WHY | {"signature_id": max(w.id for w in load_waiting(c, NOW + timedelta(seconds=1)))}


def prepare_scenario():
    """Write a short scenario that raises a level. The collapse of the whole site needs 4000 decisions."""
    file = Path(os.environ["SLOPEWARD_CONFIG"]).with_name("scenario.csv")
    lines = [f"2026-03-01T{hour:02}:00:00Z,P1,pore_pressure_kPa,{40 + 3 * hour}\n" for hour in range(18)]
    file.write_text("".join(["time,station,quantity,value\n", *lines]))
    return {"scenario": str(file), "speed": 1e9, "hold": "0s"}


def prepare_duty(c, step):
    """Store what an act on the duty plan needs, and return its arguments. Bo wrote a waiting handover."""
    crew, tomorrow = pick_team(require_in_force(c, SITE), None), NOW + timedelta(days=1)
    if step == "plan":
        return {"plan": "Mon 07:00 duty engineer", "team": crew.name} | WHY
    if step == "swap":
        return {"into": "duty engineer", "until": format_iso(tomorrow)} | WHY
    if step == "swap.withdraw":
        return {"number": duty.add_change(c, crew, NOW, tomorrow, "", "duty engineer", CARL, "ill", NOW)} | WHY
    c.execute(update(duty_handover).where(duty_handover.c.signed_at.is_(None)).values(withdrawn_at=NOW))
    if step == "handover":
        return {"notes": "wet\nand noisy"}
    number = duty.write_handover(c, crew, Actor("dan" if step.endswith("sign") else "bo"), "wet", NOW, lambda *_: {})
    return {"number": number} | (WHY if step.endswith("withdraw") else {})


def propose_change(db, comment):
    """Propose a change of the site file in force."""
    text = ask(db, require_in_force, SITE).source
    proposal = propose(db, text + comment, f"{SITE}.toml", CARL, "noise is lower", NOW, lambda *_: {})
    return WHY | {"proposal_id": proposal.id}


def command_words(act, given):
    """Return the words of the command line for an act with these arguments."""
    words, arguments = act.command.split(), []
    for parameter in act.list_parameters():
        if parameter.name in given:
            if parameter.kind is Secret:
                # The fixture `desk` sets secrets in the environment.
                continue
            if parameter.kind is tuple:
                words.extend(word for value in given[parameter.name] for word in (parameter.argument.option, value))
                continue
            option, value = parameter.argument.option, str(given[parameter.name])
            if parameter.argument.is_file:
                (file := Path(os.environ["SLOPEWARD_CONFIG"]).with_name("given")).write_text(value)
                value = str(file)
            (words if option else arguments).extend([option, value] if option else [value])
    return [*words, *arguments]


@pytest.fixture
def desk(database, tmp_path, monkeypatch):
    """Accounts of five roles, the site file, and a service file for commands."""
    with database.write() as c:
        add_account(c, "lou", PASSWORD, "operator", AN_HOUR_AGO)
        users.set_sites(c, "lou", ["lake-slope"])
        add_account(c, "dan", PASSWORD, "operator", AN_HOUR_AGO)
        text = require_in_force(c, SITE).source + TEAM
        save_site(c, parse_site(text, SITE), "ada", "a team", AN_HOUR_AGO)
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/north-bench.toml").write_text(text)
    make_drawable(database, tmp_path)
    url = database.url.render_as_string(hide_password=False)
    paths = f'[paths]\nsites = "{tmp_path}/sites"\nstate = "{tmp_path}"\n'
    (tmp_path / "slopeward.toml").write_text(f'[database]\nurl = "{url}"\n{paths}{LOGIN}')
    # Other tests check what these acts do with models.
    monkeypatch.setattr(scene_acts, "promote", lambda *_: "it is in use")
    monkeypatch.setattr(scene_acts, "try_weights", lambda *_: None)
    start_no_drill(monkeypatch)
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(tmp_path / "slopeward.toml"))
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", PASSWORD)
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", NEW)
    return database


@pytest.mark.soak
@pytest.mark.parametrize("tries_every_role", with_soak(ordinary=False, soak=True))
def test_every_act_by_every_way_in_every_role(desk, capsys, caplog, tries_every_role):
    """A role that may not do an act is refused by every way.

    Every run tries one such role for each act and way, in turn. `make soak` tries all of them.
    """
    wrong, sentences, shown, turn = [], {}, [], count()
    with ExitStack() as opened:
        config = load_service(Path(os.environ["SLOPEWARD_CONFIG"]))
        browsers = {role: opened.enter_context(serving(desk, NOW, config)) for role in ROLES}
        csrf = {}
        for role, name in ROLES.items():
            if name is not None:
                log_in(browsers[role], name)
                csrf[role] = token(browsers[role], "/")

        def do(act, way, role, given):
            """Perform an act, and return the status and the text of the answer."""
            if way == "command":
                status = run_command([*command_words(act, given), "--by", ROLES[role] or "eve"])
                output = capsys.readouterr()
                if act.gives_secret and status == 0:
                    shown.append(output.out.split()[-1])
                    return status, output.err.splitlines()[0]
                return status, output.out.strip() or output.err
            fields = re.findall(r"{(\w+)}", act.address)
            address = act.address.format(**{"site": SITE} | {k: v for k, v in given.items() if k in fields})
            body = {k.rstrip("_"): v for k, v in given.items() if k not in fields}
            body |= {"own_password": PASSWORD} if act.proves else {}
            if way == "form":
                body |= {f"{one.name}_again": body[one.name] for one in act.list_parameters() if one.kind is Secret}
                form, headers = body | {"csrf": csrf.get(role, "")}, {"accept": "application/json"}
                got = browsers[role].post(address, data=form, headers=headers)
            else:
                headers = {"x-csrf-token": csrf.get(role, "")}
                got = browsers[role].post(API + address, json=body, headers=headers)
            return got.status_code, got.json().get("text") if got.status_code in {200, 201} else got.text

        for act in list_acts():
            for k, way in enumerate(WAYS):
                if way not in act.ways:
                    assert way == "command" or f"POST {API * (way == 'request')}{act.address}" not in RULES
                    continue
                if act.name in {"site.approve", "site.reject"}:
                    given = propose_change(desk, f"# {act.name} {way}\n")
                elif act.name == "site.propose":
                    with desk.read() as c:
                        file = require_in_force(c, SITE).source + f"# {way}\n"
                    given = {"site": SITE, "file": file, "months": 0} | WHY
                else:
                    given = tell(desk, prepare, act.name, k)
                may = MAY if act.role == "operator" else {"admin"}
                doer = "admin" if way == "request" or act.role == "admin" else "operator"
                refused_roles = [role for role in ROLES if role not in may]
                if not tries_every_role:
                    refused_roles = [refused_roles[next(turn) % len(refused_roles)]]
                for role in [*refused_roles, doer]:
                    status, text = do(act, way, role, given)
                    done = {"command": 3 if act.name == "drill.hold" else 0, "form": 201, "request": 200}[way]
                    refused = 1 if way == "command" else 401 if role == "nobody" else 403
                    expected = {done} if role in may else {refused}
                    named = act.role == "admin" or "{site}" in act.address or "{alert_id}" in act.address
                    if role == "operator elsewhere" and not named:
                        # The answer does not reveal whether something waits on another site.
                        expected = {1, 404}
                    if status not in expected:
                        plain = re.sub(r"<[^>]*>|\s+", " ", text or "")[-300:]
                        wrong.append(f"{act.name} by {way} as {role}: {status} {plain}")
                    if role in may:
                        plain = re.sub(r"\b(ada|bo|CES?T|UTC)\b|\d[\d:TZ.-]*|[GE]N", "N", text or "")
                        sentences.setdefault(act.name, set()).add(plain.replace("GN", "N").replace("EN", "N"))
    assert not wrong
    differing = {name: found for name, found in sentences.items() if len(found) > 1}
    # The page starts a drill in the background, but the command runs until the drill ends.
    assert not {k: v for k, v in differing.items() if k not in {"level.set", "drill.hold"}}
    with desk.read() as c:
        assert verify_chain(c) == []
        log = str(c.execute(select(audit_entry)).all())
    assert len(shown) == sum(one.gives_secret for one in list_acts())
    assert not [one for one in (*shown, NEW, PASSWORD) if one in log + caplog.text]
    assert not [act.name for act in list_acts() if holds_secret(act) and (act.by_token or act.by_reply)]


def holds_secret(act):
    return act.proves or act.gives_secret or any(parameter.kind is Secret for parameter in act.list_parameters())


def test_token_is_shown_once_and_needs_the_password_of_its_creator(desk, caplog):
    with serving(desk, NOW, load_service(Path(os.environ["SLOPEWARD_CONFIG"]))) as browser:
        log_in(browser, "cy")
        form = {"csrf": token(browser, "/"), "label": "a board", "valid": "30d"}
        assert browser.post("/account/tokens", data=form).status_code == 409
        got = browser.post("/account/tokens", data=form | {"own_password": PASSWORD})
        made = re.search(r"slopeward_[\w-]{40,}", got.text)[0]
        assert (got.status_code, "location" in got.headers) == (200, False)
        assert made not in browser.get("/account").text + caplog.text
        acts = form | {"own_password": PASSWORD, "scope": "act"}
        assert "is lower than the scope" in browser.post("/account/tokens", data=acts).text, "a viewer may not act"
        log_in(browser, "ada")
        form = {"csrf": token(browser, "/"), "name": "x1", "own_password": PASSWORD, "password": NEW}
        got = browser.post("/admin/users", data=form | {"password_again": "another"})
        assert (got.status_code, "differ" in got.text, NEW in got.text, PASSWORD in got.text) == (
            409,
            True,
            *2 * [False],
        )
        assert 'value="x1"' in got.text
        got = browser.post("/admin/users", data=form | {"password": 2000 * "x", "password_again": "x"})
        assert (got.status_code, "xxxx" in got.text) == (422, False)


def fill_form(page, action):
    """Return the fields that a form of a page sends without any input."""
    form = re.search(rf'<form method="post" action="{action}".*?</form>', flatten_html(page))[0]
    return dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', form))


def test_admin_sets_up_the_second_factor_of_another_account(desk):
    with serving(desk, NOW, load_service(Path(os.environ["SLOPEWARD_CONFIG"]))) as browser:
        log_in(browser, "ada")
        action = "/admin/users/cy/second-factor"
        form = fill_form(browser.get("/admin").text, action)
        assert browser.post(action, data=form).status_code == 409, "the password of the admin is required"
        shown = browser.post(action, data=form | {"own_password": PASSWORD}).text
        code = code_of(re.search(r"secret=([A-Z2-7]{32})&", shown)[1], int(NOW.timestamp()) // STEP_S)
        shown = browser.post(action, data=form | {"own_password": PASSWORD, "code": code}).text
        assert len(re.search(r'<pre class="codes">([^<]+)', shown)[1].split()) == RECOVERY_CODES
    assert ask(desk, has_second_factor, "cy")


def test_admin_unbinds_a_system_user_by_the_form(desk):
    tell(desk, users.bind_os_user, "cy", "cyril")
    with serving(desk, NOW) as browser:
        log_in(browser, "ada")
        action, page = "/admin/users/cy/unbind", browser.get("/admin").text
        assert page.count("/unbind") == 1, "no other account is bound"
        assert browser.post(action, data=fill_form(page, action)).headers["location"].startswith("/admin?told=")
        assert "/unbind" not in browser.get("/admin").text
    assert ask(desk, users.find_user, "cy").os_user is None


def test_replay_of_a_proposal_does_not_block_other_requests(desk, monkeypatch):
    started, end = Event(), Event()

    def preview(*_args, **_settings):
        started.set()
        assert end.wait(30.0)
        return {"skipped": "for the test"}

    monkeypatch.setattr(proposals, "preview_apart", preview)
    with serving(desk, NOW) as browser, ThreadPoolExecutor(1) as pool:
        log_in(browser, "bo")
        with desk.read() as c:
            form = {"csrf": token(browser, "/"), "file": require_in_force(c, SITE).source + "# new\n"} | WHY
        first = pool.submit(browser.post, f"/sites/{SITE}/proposals", data=form)
        try:
            assert started.wait(30.0)
            assert browser.get(f"/sites/{SITE}/proposals").status_code == 200
            tell(desk, write_heartbeat, "free", {}, NOW)
            assert browser.post(f"/sites/{SITE}/proposals", data=form).status_code == 503, (
                "only one replay runs at a time"
            )
        finally:
            end.set()
        assert first.result().status_code == 303


def test_new_role_needs_the_own_password_and_does_not_count_as_second_person(desk):
    with serving(desk, NOW, load_service(Path(os.environ["SLOPEWARD_CONFIG"]))) as browser:
        log_in(browser, "ada")
        form = {"csrf": token(browser, "/"), "role": "operator"}
        for own in ("", "a wrong one"):
            assert browser.post("/admin/users/cy/role", data=form | {"own_password": own}).status_code == 409
        assert browser.post("/admin/users/cy/role", data=form | {"own_password": PASSWORD}).status_code == 303
    with desk.read() as c, pytest.raises(RefusedError, match="do not count as two people yet"):
        users.require_two(c, Actor("ada"), Actor("cy"), NOW + timedelta(minutes=1))


@pytest.mark.parametrize("needed", ["operator", "admin"])
def test_reply_by_telephone_has_the_permission_of_its_act(desk, monkeypatch, needed):
    act = by_telephone.find_act()
    assert act.name == "alert.acknowledge"
    monkeypatch.setattr(by_telephone, "find_act", lambda: replace(act, role=needed))
    # A person of the site file without an account is identified by the telephone number alone.
    may = {"nobody", "admin", needed}
    rows = ask(desk, lambda c: c.exec_driver_sql("SELECT id FROM notification ORDER BY id").scalars().all())
    for (role, name), row in zip(ROLES.items(), rows, strict=False):
        with desk.write() as c:
            number = raise_alert(c, f"advice:anomaly:reply {role}")
            code = make_code(c, _message(row, number), f"+4179000000{row % 10}", name or "eve", "en", NOW)
        answer = by_telephone.take_reply(desk, "sms", f"+4179000000{row % 10}", f"OK {code}", f"p{row}", NOW)
        assert answer.outcome == (ACKNOWLEDGED if role in may else REFUSED)
        assert (ask(desk, alerts.find_alert, number).state == "acknowledged") == (role in may)


def _message(row, number):
    from monitor.alerts.notification import Notification

    facts = {"site": SITE, "ledger": "advice", "level": 1, "level_name": "notice", "recipient": "x", "channel": "sms:x"}
    more = {"exercise": False, "subject": "", "body": "", "idempotency_key": "k", "attempts": 0, "queued_at": NOW}
    return Notification(id=row, alert_id=number, event_id=1, **facts, **more)
