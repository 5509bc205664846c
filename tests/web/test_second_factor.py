"""Second factor of a login on the page. Each code is valid once, and a refusal does not reveal what was wrong."""

import json
import re
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select

from monitor.errors import KeyLostError, RefusedError
from monitor.people.queries.second_factor import (
    RECOVERY_CODES,
    STEP_S,
    add_second_factor,
    check_second_factor,
    code_of,
    remove_second_factor,
)
from monitor.people.queries.sessions import is_forgotten_attempt, login_code_wait_s, record_login_code
from monitor.people.tables import password_guess, recovery_code, second_factor
from monitor.settings.service import parse_service
from monitor.settings.vault import KEY_FILE, FernetVault
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.storage.seals import find_unsealed
from monitor.web.routes.people.login import CODE_WAITS, WRONG_CODE
from tests.data.filled import NOW, PASSWORD
from tests.web.test_door import BEHIND_PROXY, Clock, challenge_in, guess, post, serving, solve
from tests.web.test_rules import send


@pytest.fixture
def settings(tmp_path):
    return f'[paths]\nstate = "{tmp_path}"\n'


@pytest.fixture
def vault(tmp_path):
    return FernetVault(tmp_path / KEY_FILE)


@pytest.fixture
def secret(filled_database, vault):
    with filled_database.write() as c:
        address = add_second_factor(c, vault, "bo", NOW)
    assert address.startswith("otpauth://totp/Slopeward:bo?")
    return re.search(r"secret=([A-Z2-7]{32})&", address)[1]


def test_code_of_a_login_is_valid_once(filled_database, secret, settings):
    clock = Clock()
    with serving(filled_database, clock, settings) as address:

        def log_in(code, name="bo", password=PASSWORD):
            return post(f"{address}/login", data={"name": name, "password": password, "code": code})

        def code(steps=0):
            return code_of(secret, int(clock().timestamp()) // STEP_S + steps)

        assert log_in("", name="ada").status_code == 303, "an account without a second factor needs no code"
        wrong = f"{(int(code()) + 1) % 10**6:06d}"
        refused = [log_in(""), log_in(wrong), log_in(code(), password="wrong password")]
        assert [r.status_code for r in refused] == [401, 401, 401]
        messages = {re.search(r'role="alert">([^<]*)', r.text)[1].strip() for r in refused}
        assert messages == {"Name, password or code is wrong."}, "the message does not reveal what was wrong"
        assert log_in(f"{code()[:3]} {code()[3:]}").status_code == 303
        assert log_in(code()).status_code == 401, "a code is valid once"
        clock.wait(60)
        assert log_in(code(steps=-1)).status_code == 303, "the clock of the device may be late"
        assert log_in(code()).status_code == 303
        clock.wait(120)
        assert log_in(code(steps=-2)).status_code == 401
    with filled_database.read() as c:
        assert (verify_chain(c), [line for line in find_unsealed(c) if "second_factor" in line]) == ([], [])
        for table in (audit_entry, second_factor):
            assert secret not in str(c.execute(select(table)).all()), "the database contains the secret only encrypted"


def test_guesses_from_many_addresses_are_limited_and_a_known_device_logs_in(filled_database, secret, settings):
    """Wrong codes from many addresses with the right password: after five, the waiting time grows with each code."""
    clock = Clock()
    with (
        serving(filled_database, clock, settings + BEHIND_PROXY) as address,
        httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False) as officer,
    ):

        def code():
            return code_of(secret, int(clock().timestamp()) // STEP_S)

        def enter(code, of):
            answer = guess(address, of=of, password=PASSWORD, code=code)
            if answer.status_code == 429:
                done = {"challenge": challenge_in(answer), "solution": solve(challenge_in(answer))}
                answer = guess(address, of=of, password=PASSWORD, code=code, **done)
            return answer

        words = {"name": "bo", "password": PASSWORD}
        assert officer.post("/login", data=words | {"code": code()}).status_code == 303
        clock.wait(60)
        refused = [enter("000000", f"198.51.100.{n}") for n in range(7)] + [enter(code(), "203.0.113.9")]
        assert {r.status_code for r in refused} == {401}, "during the waiting time the right code is refused too"
        assert len({re.search(r'role="alert">([^<]*)', r.text)[1].strip() for r in refused}) == 1
        assert officer.post("/login", data=words | {"code": "000000"}).status_code == 401
        assert officer.post("/login", data=words | {"code": code()}).status_code == 303, "a known device may log in"
    waits = []
    for _ in range(9):
        with filled_database.write() as c:
            record_login_code(c, "bo", clock(), failed=True)
            waits.append(login_code_wait_s(c, "Bo", clock()))
            # Housekeeping deletes old attempts.
            c.execute(password_guess.delete().where(is_forgotten_attempt(clock() + timedelta(hours=3))))
    assert [round(w / 60) for w in waits[:6]] == [2, 4, 8, 16, 32, 60]
    assert waits[-1] <= 3600.0
    with filled_database.read() as c:
        e = audit_entry.c
        refusals = c.execute(select(e.detail).where(e.action == "login.refused").order_by(e.id)).scalars()
        why = [json.loads(detail).get("why") for detail in refusals]
    assert why == [WRONG_CODE] * 5 + [CODE_WAITS] * 3 + [WRONG_CODE]


def test_password_is_enough_after_removal_of_the_second_factor(filled_database, secret):
    assert secret
    with filled_database.write() as c:
        remove_second_factor(c, "bo")
        with pytest.raises(RefusedError, match="no second factor"):
            remove_second_factor(c, "bo")
    with serving(filled_database, Clock()) as address:
        assert post(f"{address}/login", data={"name": "bo", "password": PASSWORD}).status_code == 303


def test_second_factor_is_set_up_used_and_removed_on_the_page(filled_database, settings):
    clock = Clock()
    with (
        serving(filled_database, clock, settings) as address,
        httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False) as browser,
    ):

        def log_in(code=""):
            return browser.post("/login", data={"name": "bo", "password": PASSWORD, "code": code}).status_code

        def code():
            return code_of(secret, int(clock().timestamp()) // STEP_S)

        assert (log_in(), send(browser, "/account/second-factor", password="wrong").status_code) == (303, 409)
        assert send(browser, "/account/second-factor/confirm", code="123456").status_code == 404
        page = send(browser, "/account/second-factor", password=PASSWORD)
        assert (page.headers["cache-control"], "<svg" in page.text) == ("no-store", True)
        assert "style=" not in page.text, "the content security policy forbids inline styles"
        secret = re.search(r"<code>([A-Z2-7 ]{39})</code>", page.text)[1].replace(" ", "")
        assert log_in() == 303, "no code is needed before the first code was confirmed"
        assert send(browser, "/account/second-factor/confirm", code="000").status_code == 409
        page = send(browser, "/account/second-factor/confirm", code=code())
        spare = re.search(r'<pre class="codes">([^<]+)', page.text)[1].split()
        assert len(set(spare)) == RECOVERY_CODES
        assert send(browser, "/account/second-factor", password=PASSWORD).status_code == 409, (
            "the account already has a second factor"
        )
        assert log_in() == 401
        assert log_in(code()) == 401, "the first code was used already"
        assert log_in(spare[0].upper()) == 303
        assert log_in(spare[0]) == 401, "each recovery code is valid once"
        assert f"{RECOVERY_CODES - 1} recovery codes for a lost phone are left" in browser.get("/account").text
        for wrong in ({"password": "wrong", "code": spare[1]}, {"password": PASSWORD, "code": "000000"}):
            assert send(browser, "/account/second-factor/remove", **wrong).status_code == 409
        assert log_in() == 401
        assert send(browser, "/account/second-factor/remove", password=PASSWORD, code=spare[1]).status_code == 303
        assert log_in() == 303
    with filled_database.read() as c:
        assert verify_chain(c) == []
        assert [line for line in find_unsealed(c) if "second_factor" in line or "recovery" in line] == []
        rows = str([c.execute(select(table)).all() for table in (audit_entry, second_factor, recovery_code)])
        assert not [code for code in spare if code in rows or code.replace("-", "") in rows]


def test_recovery_code_works_and_a_lost_key_is_one_line_of_error(filled_database, secret, tmp_path):
    assert secret
    (tmp_path / KEY_FILE).unlink()
    other = FernetVault(tmp_path / KEY_FILE)
    other.seal("something makes another key")
    for vault in (other, FernetVault(tmp_path / "none"), FernetVault(tmp_path / KEY_FILE, "no key")):
        with filled_database.write() as c, pytest.raises(KeyLostError, match=r"slopeward people users totp-off NAME"):
            check_second_factor(c, vault, "bo", "123456", NOW)
    with serving(filled_database, Clock(), f'[paths]\nstate = "{tmp_path}"\n') as address:
        words = {"name": "bo", "password": PASSWORD, "code": "123456"}
        answer = post(f"{address}/login", data=words)
        assert (answer.status_code, "restore it from a backup" in answer.text) == (409, True)
        assert post(f"{address}/login", data=words | {"name": "ada"}).status_code == 303


def test_key_file_is_private_and_the_key_may_come_from_the_environment(tmp_path):
    vault = FernetVault(tmp_path / "state" / KEY_FILE)
    assert (vault.open(vault.seal("x")), (tmp_path / "state" / KEY_FILE).stat().st_mode & 0o777) == ("x", 0o600)
    key = (tmp_path / "state" / KEY_FILE).read_text().strip()
    config = parse_service("", "test", {"SLOPEWARD_SECOND_FACTOR__KEY": key})
    assert FernetVault(tmp_path / "none", config.second_factor.key).open(vault.seal("x")) == "x"
    assert key not in repr(config)
