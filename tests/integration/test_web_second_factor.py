"""The second factor of a login on the page: asked for, counted once, and silent about the password."""

import re

import httpx
import pytest
from sqlalchemy import select

from monitor.errors import RefusedError
from monitor.store import tables as t
from monitor.store.audit import verify_chain
from monitor.store.seals import find_unsealed
from monitor.store.second_factor import STEP_S, add_second_factor, code_of, remove_second_factor
from tests.data.filled import NOW, PASSWORD
from tests.integration.test_web_door import Clock, serving


@pytest.fixture
def secret(filled_database):
    with filled_database.write() as c:
        address = add_second_factor(c, "bo", NOW)
    assert address.startswith("otpauth://totp/Slopeward:bo?")
    return re.search(r"secret=([A-Z2-7]{32})&", address)[1]


def test_a_login_takes_the_code_once(filled_database, secret):
    clock = Clock()
    with serving(filled_database, clock) as address:

        def log_in(code, name="bo", password=PASSWORD):
            words = {"name": name, "password": password, "code": code}
            return httpx.post(f"{address}/login", data=words, trust_env=False)

        def code(steps=0):
            return code_of(secret, int(clock().timestamp()) // STEP_S + steps)

        assert log_in("", name="ada").status_code == 303, "only who has one is asked"
        wrong = f"{(int(code()) + 1) % 10**6:06d}"
        refused = [log_in(""), log_in(wrong), log_in(code(), password="wrong password")]
        assert [r.status_code for r in refused] == [401, 401, 401]
        said = {re.search(r'role="alert">([^<]*)', r.text)[1] for r in refused}
        assert said == {"Name, password or code is wrong."}, "what was wrong is not told"
        assert log_in(f"{code()[:3]} {code()[3:]}").status_code == 303
        assert log_in(code()).status_code == 401, "a code counts once"
        clock.wait(60)
        assert log_in(code(steps=-1)).status_code == 303, "a clock may be late"
        assert log_in(code()).status_code == 303
        clock.wait(120)
        assert log_in(code(steps=-2)).status_code == 401
    with filled_database.read() as c:
        assert verify_chain(c) == []
        assert [line for line in find_unsealed(c) if "second_factor" in line] == []
        assert secret not in str(c.execute(select(t.audit_entry)).all())


def test_without_it_the_password_is_enough_again(filled_database, secret):
    assert secret
    with filled_database.write() as c:
        remove_second_factor(c, "bo")
        with pytest.raises(RefusedError, match="no second factor"):
            remove_second_factor(c, "bo")
    with serving(filled_database, Clock()) as address:
        answer = httpx.post(f"{address}/login", data={"name": "bo", "password": PASSWORD}, trust_env=False)
    assert answer.status_code == 303
