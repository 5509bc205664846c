"""Logins, sessions, cookies, limits on guessed passwords, and limits on connections."""

import itertools
import json
import re
import socket
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import httpx
import pytest
from sqlalchemy import select

from monitor.errors import ConfigError
from monitor.people.queries.users import disable_user
from monitor.people.tables import known_device
from monitor.settings.service import parse_service
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.web import app
from monitor.web.access import connection_limits, proof_of_work
from monitor.web.app import build_app
from monitor.web.routes.people import login
from monitor.web.server import PageServer
from tests.data.filled import NOW, PASSWORD
from tests.fixtures.waiting import wait_for

NAME = "slopeward_session"
DIRECT = {"trust_env": False, "verify": False, "timeout": 60}
get, post = partial(httpx.get, **DIRECT), partial(httpx.post, **DIRECT)


class Clock:
    """Clock of the page that a test moves."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)


class Address(str):
    """Address of a server of the page, with its application."""

    __slots__ = ("app",)


@contextmanager
def serving(database, clock, settings="", environ=None):
    """Run a real server of the page on a free port of loopback. Yield its address."""
    config = parse_service(settings, "test", environ)
    app = build_app(config, database, clock)
    # Without IPPROTO_TCP, uvicorn does not set TCP_NODELAY, and each response takes 40 ms longer.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = PageServer(app, config.web)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        address = Address(f"http://127.0.0.1:{listener.getsockname()[1]}")
        address.app = app
        yield address
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def address(filled_database, clock):
    with serving(filled_database, clock) as server_address:
        yield server_address


@pytest.fixture
def browsers(address):
    """Return a function that opens another browser with its own cookies."""
    opened = []

    def open_browser():
        opened.append(httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False))
        return opened[-1]

    yield open_browser
    for browser in opened:
        browser.close()


def log_in(browser, name="bo", password=PASSWORD):
    return browser.post("/login", data={"name": name, "password": password})


def is_logged_in(browser):
    return "Log out" in browser.get("/").text


def token(browser):
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', browser.get("/").text)[1]


def list_own_actions(database, name="bo"):
    e = audit_entry.c
    with database.read() as c:
        assert verify_chain(c) == []
        rows = c.execute(select(e.action, e.detail).where(e.subject == f"user:{name}", e.actor == name).order_by(e.id))
        return [(action, detail) for action, detail in rows]


# ---- sessions --------------------------------------------------------------------------------------------------
def test_new_login_ends_other_sessions_of_the_account(browsers, filled_database):
    lost, new, other = browsers(), browsers(), browsers()
    assert (log_in(lost).status_code, log_in(other, "ada").status_code) == (303, 303)
    assert is_logged_in(lost)
    assert (log_in(new).status_code, is_logged_in(lost), is_logged_in(new), is_logged_in(other)) == (
        303,
        False,
        True,
        True,
    )
    assert '"sessions_ended":1' in list_own_actions(filled_database)[-1][1]


def test_session_without_requests_of_its_person_ends(browsers, clock, address):
    context = address.app.state.context
    web = context.config.web.model_copy(update={"idle_after_s": 3600.0})
    context.config = context.config.model_copy(update={"web": web})
    person, screen = browsers(), browsers()
    log_in(person)
    log_in(screen, "ada")
    for _ in range(3):
        clock.wait(2160)
        assert is_logged_in(person)
        # The script of an open page sends this request, so it does not show that a person is present.
        screen.get("/live/overview")
    assert not is_logged_in(screen)
    clock.wait(3601)
    assert not is_logged_in(person)


def test_session_without_requests_lasts_for_a_shift_by_default(browsers, clock):
    person = browsers()
    log_in(person)
    clock.wait(11.5 * 3600)
    assert is_logged_in(person), "a link in a message must lead to the alert during the whole shift"
    clock.wait(0.6 * 3600)
    assert not is_logged_in(person)


def test_busy_session_ends_after_its_lifetime(browsers, clock):
    person = browsers()
    log_in(person)
    for _ in range(13):
        clock.wait(3500)
        is_still_logged_in = is_logged_in(person)
    assert not is_still_logged_in


def test_logout_ends_the_session_and_is_in_the_audit_log(browsers, filled_database):
    person, thief = browsers(), browsers()
    log_in(person)
    thief.cookies.set(NAME, person.cookies[NAME])
    assert is_logged_in(thief)
    person.post("/logout", data={"csrf": token(person)})
    assert (is_logged_in(person), is_logged_in(thief)) == (False, False)
    assert [action for action, _ in list_own_actions(filled_database)] == ["login", "logout"]


# ---- the cookie ------------------------------------------------------------------------------------------------
def test_session_cookie_over_https_has_the_host_prefix(filled_database, clock):
    with serving(filled_database, clock, '[web]\npublic_url = "https://127.0.0.1"\n') as address:
        cookie = post(f"{address}/login", data={"name": "bo", "password": PASSWORD}).headers["set-cookie"]
        assert re.match(rf"__Host-{NAME}=[\w-]+;", cookie), cookie
        assert {"secure", "path=/", "httponly"} <= set(cookie.lower().split("; "))
        assert "domain" not in cookie.lower()
        value = re.match(r"[^=]+=([^;]+)", cookie)[1]
        planted = get(address, headers={"Cookie": f"{NAME}={value}"})
        prefixed = get(address, headers={"Cookie": f"__Host-{NAME}={value}"})
        assert ("Log out" in planted.text, "Log out" in prefixed.text) == (False, True)


def test_request_for_an_unknown_host_name_is_refused(filled_database, clock):
    """Names in `allowed_hosts`, names of this machine and IP addresses are accepted (DNS rebinding)."""
    short = socket.gethostname().partition(".")[0]
    accepted_names = "localhost 127.0.0.1:8080 [::1] 192.0.2.7 [2001:db8::7]:80 Slopes.lan. X.example".split()
    accepted_names += [short, f"{short}.local"]
    open_to_all = '[web]\nhost = "0.0.0.0"\nallowed_hosts = ["slopes.lan", "x.example"]\n'

    def call(name):
        return get(f"{address}/login", headers={"Host": name})

    with serving(filled_database, clock, open_to_all) as address:
        assert {name: call(name).status_code for name in accepted_names} == dict.fromkeys(accepted_names, 200)
        for name in ("evil.example", "192.0.2.7.evil.example", "slopes.lan.evil.example", ""):
            answer = call(name)
            assert (answer.status_code, "add it to web.allowed_hosts" in answer.json()["error"]) == (400, True), name
    with serving(filled_database, clock) as address:  # On loopback, other IP addresses are refused.
        assert call("192.0.2.7").status_code == 400
    with serving(filled_database, clock, '[web]\nallowed_hosts = ["*"]\n') as address:
        assert call("any.example").status_code == 200


def test_session_cookie_without_https_has_no_prefix(browsers):
    cookie = log_in(browsers()).headers["set-cookie"]
    assert cookie.startswith(f"{NAME}=")
    assert "secure" not in cookie.lower().split("; ")


# ---- guessing --------------------------------------------------------------------------------------------------
BEHIND_PROXY = '[web]\ntrusted_proxies = ["127.0.0.1"]\n'


def guess(address, name="bo", of=None, password="wrong password", **form):
    """Try to log in from an unknown device, through a proxy if `of` is the address of the client."""
    headers = {} if of is None else {"X-Forwarded-For": of}
    return post(f"{address}/login", data={"name": name, "password": password, **form}, headers=headers)


def challenge_in(answer):
    match = re.search(r'data-challenge="([^"]+)"', answer.text)
    return match and match[1]


def solve(challenge):
    bits = int(challenge.split(".")[0])
    return str(next(n for n in itertools.count() if proof_of_work.is_solved(challenge, str(n), bits)))


def test_guesses_from_unknown_devices_do_not_block_a_known_device_or_fill_the_log(browsers, address, filled_database):
    officer = browsers()
    assert log_in(officer).status_code == 303
    officer.cookies.delete(NAME)  # The session ends, but the device is still known.
    codes = [guess(address).status_code for _ in range(30)]
    assert (codes.count(401), set(codes[login.TRIES :])) == (login.TRIES, {429})
    assert log_in(officer).status_code == 303  # The known device has the same address and need not wait.
    assert guess(address, password=PASSWORD).status_code == 429  # An unknown device at this address must wait.
    refused = [json.loads(detail) for action, detail in list_own_actions(filled_database) if action == "login.refused"]
    assert refused == [{"from": "host:127.0.0.1", "known_device": False}] * login.TRIES


def test_new_device_logs_in_after_a_proof_of_work(filled_database, clock):
    with serving(filled_database, clock, BEHIND_PROXY) as address:
        for n in range(40):
            guess(address, of=f"198.51.100.{n}")
        first = guess(address, of="203.0.113.9", password=PASSWORD)
        challenge = challenge_in(first)
        assert (first.status_code, challenge is not None, "/proof-of-work.js" in first.text) == (429, True, True)
        done = {"challenge": challenge, "solution": solve(challenge)}
        assert guess(address, of="198.51.100.77", **done).status_code == 401
        again = guess(address, of="203.0.113.9", password=PASSWORD, **done)
        assert again.status_code == 429  # A solution is accepted once.
        done = {"challenge": challenge_in(again), "solution": solve(challenge_in(again))}
        assert guess(address, of="203.0.113.9", password=PASSWORD, **done).status_code == 303
        # The account of ada was not attacked.
        assert guess(address, "ada", of="203.0.113.9", password=PASSWORD).status_code == 303


@pytest.mark.soak
def test_proof_of_work_does_not_shorten_the_wait_of_a_guessing_address(filled_database, clock):
    with serving(filled_database, clock, BEHIND_PROXY) as address:
        for n in range(login.TRIES):
            assert guess(address, f"name{n}", of="2001:db8:1:2::1").status_code == 401
        challenge = address.app.state.login_throttle.efforts.make_challenge(0, login.TRIES)
        done = {"challenge": challenge, "solution": solve(challenge)}
        # One machine can have a whole /64 network of IPv6 addresses.
        answer = guess(address, of="2001:db8:1:2:ffff::9", password=PASSWORD, **done)
        assert (answer.status_code, challenge_in(answer)) == (429, None)
        assert 0 < int(answer.headers["retry-after"]) <= login.WAIT_S
        assert guess(address, of="2001:db8:1:3::1", password=PASSWORD).status_code == 303


@pytest.mark.soak
def test_successful_login_does_not_reset_the_failures_of_its_address(filled_database, clock):
    with serving(filled_database, clock) as address:
        codes = []
        for n in range(3):
            codes += [guess(address, f"name{n}").status_code, guess(address, f"other{n}").status_code]
            codes.append(guess(address, "cy", password=PASSWORD).status_code)
    assert codes[-1] == 429


def test_many_failures_at_many_accounts_require_a_proof_of_work(filled_database, clock, monkeypatch):
    monkeypatch.setattr(login, "TRIES_OF_EVERYBODY", 8)
    with serving(filled_database, clock, BEHIND_PROXY) as address:
        for n in range(login.TRIES_OF_EVERYBODY):
            assert guess(address, f"name{n}", of=f"198.51.{n}.1").status_code == 401
        assert challenge_in(get(f"{address}/login"))
        assert guess(address, "fresh", of="203.0.113.9").status_code == 429


@pytest.mark.soak
def test_forwarded_address_is_accepted_only_from_trusted_proxies(address, filled_database):
    codes = [guess(address, f"name{n}", of=f"198.51.100.{n}").status_code for n in range(8)]
    assert codes == [401] * login.TRIES + [429] * 3
    with pytest.raises(ConfigError, match=r"web\.trusted_proxies"):
        parse_service('[web]\ntrusted_proxies = ["everybody"]\n', "test")
    named = parse_service("", "t", {"SLOPEWARD_WEB__TRUSTED_PROXIES": "10.0.0.5, fd00::/8"}).web.trusted_proxies
    assert named == ("10.0.0.5", "fd00::/8")


def test_device_is_known_for_its_account_only_until_the_account_is_locked(browsers, address, filled_database):
    mine = browsers()
    log_in(mine)
    device = {login.DEVICE_COOKIE: mine.cookies[login.DEVICE_COOKIE]}
    for _ in range(login.TRIES):
        guess(address, "cy")

    def log_in_on_device(name):
        return post(f"{address}/login", data={"name": name, "password": PASSWORD}, cookies=device).status_code

    assert (log_in_on_device("bo"), log_in_on_device("cy")) == (303, 429)
    with filled_database.write() as c:
        assert device[login.DEVICE_COOKIE] not in c.execute(select(known_device.c.token_sha256)).scalars().all()
        disable_user(c, "bo", NOW)
        assert c.execute(select(known_device)).all() == []


def test_known_device_with_many_failures_counts_as_unknown(browsers, address):
    stolen = browsers()
    log_in(stolen)
    codes = [log_in(stolen, password="wrong").status_code for _ in range(12)]
    assert codes[-1] == 429
    assert codes.count(401) <= 2 * login.TRIES


def test_known_devices_and_pages_are_served_while_unknown_devices_wait(browsers, address):
    officer = browsers()
    log_in(officer)
    waiting = address.app.state.login_throttle._waiting[False]
    while waiting.acquire(blocking=False):
        pass
    assert (guess(address).status_code, log_in(officer).status_code, officer.get("/").status_code) == (503, 303, 200)


@pytest.mark.parametrize("bent", ["", "x", "17.1.a.b", "1.9999999999.abcd.0000000000000000000"])
def test_malformed_challenge_is_refused(bent):
    assert not proof_of_work.ProofOfWork().check(bent, "0")


def test_expired_challenge_is_refused(monkeypatch):
    monkeypatch.setattr(proof_of_work, "CHALLENGE_VALID_S", -1.0)
    efforts = proof_of_work.ProofOfWork()
    challenge = efforts.make_challenge(5, 5)
    assert not efforts.check(challenge, solve(challenge))


# ---- slow and silent connections -------------------------------------------------------------------------------
def connect(address, of):
    host, port = address.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.settimeout(20)
    connection.bind((of, 0))
    connection.connect((host, int(port)))
    return connection


def is_ended(connection):
    connection.setblocking(False)
    try:
        return connection.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_unfinished_requests_do_not_block_other_clients(address, monkeypatch):
    attackers = []
    try:
        for n in range(240):
            connection = connect(address, f"127.0.1.{n // 40 + 1}")
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            attackers.append(connection)
        for _ in range(5):
            assert get(f"{address}/login").status_code == 200
    finally:
        for connection in attackers:
            connection.close()


def test_slow_headers_or_body_do_not_extend_the_time_limit(filled_database, clock, monkeypatch):
    monkeypatch.setattr(connection_limits, "REQUEST_TIMEOUT_S", 1.0)
    with serving(filled_database, clock) as address:
        slow = {
            "silent": b"",
            "headers": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
            "body": b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname=",
        }
        opened = {name: connect(address, "127.0.0.2") for name in slow}
        for name, start in slow.items():
            opened[name].sendall(start)
        started_at = time.monotonic()
        while not all(map(is_ended, opened.values())):
            assert time.monotonic() - started_at < 60, {name: is_ended(socket) for name, socket in opened.items()}
            for name in ("headers", "body"):
                try:
                    opened[name].send(b"a")
                except OSError:
                    pass
            time.sleep(0.1)
        for connection in opened.values():
            connection.close()
        # A connection that is used again has a new time limit for each request.
        with httpx.Client(base_url=address, trust_env=False, verify=False, timeout=20) as honest:
            for _ in range(3):
                assert honest.get("/login").status_code == 200
                time.sleep(0.7)


def count_alive(connections):
    return sum(not is_ended(connection) for connection in connections)


def test_connections_per_address_are_limited_except_for_trusted_proxies(filled_database, clock):
    proxies = '[web]\ntrusted_proxies = ["127.0.0.0/8"]\n'
    for settings, expected in (("", connection_limits.MAX_CONNECTIONS_PER_ADDRESS), (proxies, 60)):
        with serving(filled_database, clock, settings) as address:
            opened = [connect(address, "127.0.0.9") for _ in range(60)]
            wait_for(
                lambda opened=opened, expected=expected: count_alive(opened) <= expected,
                description="the end of the other connections",
            )
            time.sleep(0.5)
            assert count_alive(opened) == expected
            for connection in opened:
                connection.close()


def test_response_that_the_client_does_not_read_is_aborted(filled_database, clock, monkeypatch, tmp_path):
    for name in ("static", "vendor"):
        (tmp_path / name).mkdir()
    (tmp_path / "vendor" / "large.js").write_bytes(b" " * 8_000_000)  # larger than the buffers of a connection
    monkeypatch.setattr(app, "WEB_FOLDER", tmp_path)
    monkeypatch.setattr(connection_limits, "READ_TIMEOUT_S", 0.5)
    with serving(filled_database, clock) as address:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = address.removeprefix("http://").split(":")
        client.connect((host, int(port)))
        client.sendall(b"GET /vendor/large.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert wait_for(lambda: count_open(int(port)), description="the connection") == 1
        wait_for(lambda: count_open(int(port)) == 0, description="the end of the response", pause_s=0.5)
        client.close()


def count_open(port):
    """Return the number of established connections to a port of this process."""
    import psutil

    connections = psutil.Process().net_connections("tcp")
    return sum(k.laddr.port == port and k.status == psutil.CONN_ESTABLISHED for k in connections)
