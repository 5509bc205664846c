"""What strangers try on the page: guesses, forged forms, odd paths and bodies, texts that would be scripts."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from monitor.store.schema.tables import (
    alert,
)
from tests.integration.web.served import client, database, filled, log_in, story, token

__all__ = ["client", "database", "filled"]  # fixtures


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/sites/north-bench",
        "/health",
        "/api/v1/sites",
        "/static/slopeward.css",
        "/live/overview",
        "/nothing",
        "/api/v1/alerts/x",
    ],
)
def test_head_answers_as_get_does_without_the_body(client, path):
    told = client.head(path)
    assert told.content == b""
    asked = client.get(path)
    assert told.status_code == asked.status_code
    assert told.headers.get("content-type") == asked.headers.get("content-type")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/sites/nowhere", 404),
        ("/api/v1/sites/north-bench/series/G1/tilt", 404),
        ("/api/v1/alerts/999999", 404),
        ("/api/v1/alerts/x", 422),
        ("/api/v1/nothing", 404),
        ("/api/v1/sites/north-bench/scenes/none/preview.png", 404),
    ],
)
def test_errors_are_json_lines(client, path, status):
    answer = client.get(path)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert "Traceback" not in answer.text


def test_login_is_slow_to_guess_and_its_cookie_is_closed(client):
    assert client.post("/login", data={"name": "dee", "password": story.PASSWORD}).status_code == 401  # disabled
    cookie = log_in(client).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    answers = [client.post("/login", data={"name": "ada", "password": "wrong password"}).status_code for _ in range(6)]
    assert answers[-1] == 429
    assert client.post("/login", data={"name": "ada", "password": story.PASSWORD}).status_code == 429


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_login_leads_nowhere_else(client, to):
    answer = client.post("/login", data={"name": "bo", "password": story.PASSWORD, "to": to})
    assert answer.headers["location"] == "/"


def test_a_logged_out_session_is_dead(client):
    log_in(client)
    stolen = client.cookies["slopeward_session"]
    client.post("/logout", data={"csrf": token(client, "/")})
    headers = {"Cookie": f"slopeward_session={stolen}"}
    assert "Log in" in client.get("/", headers=headers).text


def test_text_of_others_is_shown_as_text(client, database, filled):
    evil = "<script>alert(1)</script>"
    with database.write() as c:
        c.execute(update(alert).where(alert.c.id == filled["stale_alert"]).values(reason=evil))
    for path in ("/", "/alerts", f"/alerts/{filled['stale_alert']}", "/sites/lake-slope"):
        text = client.get(path).text
        assert evil not in text
        assert "&lt;script&gt;" in text
    assert evil not in json.dumps(client.get("/live/overview").json()["parts"])


def test_doors_are_closed(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=|https?://(?!www\.w3\.org)", answer.text)
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert client.post("/login", content=b"x" * 70_000).status_code == 413
    assert client.put("/alerts/1").status_code == 405
    for path in ("/docs", "/redoc", "/static/../app.py", "/static/%2e%2e/app.py"):
        assert client.get(path).status_code == 404, path


def test_a_body_without_length_is_cut(client):
    def drip():
        for _ in range(80):
            yield b"a" * 1024

    answer = client.post("/login", content=drip(), headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code >= 400


@pytest.mark.parametrize("path", ["/alerts/{}", "/api/v1/alerts/{}", "/live/alerts/{}"])
def test_a_number_that_no_database_holds_is_no_bug(client, path):
    assert client.get(path.format(1 << 70)).status_code == 422
    assert client.get(path.format((1 << 63) - 1)).status_code == 404


def test_an_instant_beyond_the_calendar_is_no_bug(client):
    edge = {"to": "9999-12-31T23:59:59-14:00"}
    assert client.get("/api/v1/sites/north-bench/ribbon", params=edge).status_code == 409


def test_a_body_of_two_lengths_is_refused_and_what_follows_is_no_request(client):
    head = f"POST /login HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}\r\n"
    smuggled = f"GET /health HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port), 10) as door:
        door.sendall(f"{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}".encode())
        answer = b"".join(iter(lambda: door.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_nul_character_is_refused_everywhere(client):
    for path in ("/sites/%00", "/api/v1/alerts?site=%00", "/notifications?state=a%00"):
        assert client.get(path).status_code == 400, path
    assert client.post("/login", data={"name": "a\0b", "password": "x"}).status_code == 422
    log_in(client)
    form = {"kind": "crack", "text": "new\0crack", "csrf": token(client, "/sites/north-bench")}
    assert client.post("/sites/north-bench/report", data=form).status_code == 422


def test_guesses_at_the_same_moment_are_counted(client):
    def guess(n):
        return client.post("/login", data={"name": "ada", "password": f"wrong {n}"}).status_code

    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(guess, range(16)))
    assert codes.count(401) <= 6  # five, and one that stood beside the fifth
    assert codes.count(429) >= 10
