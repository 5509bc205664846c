"""Attacks on the page: guessed passwords, forged forms, malformed paths and bodies, and scripts in texts."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import update

from monitor.alerts.tables import alert
from tests.web.served import client, database, filled, log_in, story, token

__all__ = ["client", "database", "filled"]  # fixtures


def test_head_equals_get_without_a_body(client):
    for path in "/ /health /api/v1/sites /static/slopeward.css /live/overview /nothing /api/v1/alerts/x".split():
        head, get = client.head(path), client.get(path)
        assert (head.content, head.status_code) == (b"", get.status_code), path
        assert head.headers.get("content-type") == get.headers.get("content-type"), path


def test_errors_of_the_api_are_json(client):
    of_site = [f"sites/north-bench/{path}" for path in ("series/G1/tilt", "scenes/none/preview.png")]
    for path in ("sites/nowhere", "alerts/999999", "alerts/x", "nothing", *of_site):
        answer = client.get(f"/api/v1/{path}")
        assert answer.status_code == (422 if path == "alerts/x" else 404), path
        assert (list(answer.json()), "Traceback" in answer.text) == (["error"], False)


def test_locked_account_is_refused_and_a_login_redirects_only_to_the_page(client):
    words = {"password": story.PASSWORD, "name": "bo"}
    assert client.post("/login", data=words | {"name": "dee"}).status_code == 401
    cookie = log_in(client).headers["set-cookie"].lower()
    assert ("httponly" in cookie, "samesite=lax" in cookie) == (True, True)
    for to in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        assert client.post("/login", data=words | {"to": to}).headers["location"] == "/"


def test_text_from_outside_is_escaped(client, database, filled):
    evil = "<script>alert(1)</script>"
    with database.write() as c:
        c.execute(update(alert).where(alert.c.id == filled["stale_alert"]).values(reason=evil))
    for path in ("/", "/alerts", f"/alerts/{filled['stale_alert']}", "/sites/lake-slope"):
        text = client.get(path).text
        assert evil not in text
        assert "&lt;script&gt;" in text
    assert evil not in json.dumps(client.get("/live/overview").json()["parts"])


def test_page_sends_security_headers_and_limits_requests(client):
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


def test_body_without_length_is_limited(client):
    def drip():
        for _ in range(80):
            yield b"a" * 1024

    answer = client.post("/login", content=drip(), headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code >= 400


def test_numbers_and_times_out_of_range_are_refused(client):
    for path in ("/alerts", "/api/v1/alerts", "/live/alerts"):
        assert client.get(f"{path}/{1 << 70}").status_code == 422
        assert client.get(f"{path}/{(1 << 63) - 1}").status_code == 404
    edge = {"to": "9999-12-31T23:59:59-14:00"}
    assert client.get("/api/v1/sites/north-bench/ribbon", params=edge).status_code == 409


def test_body_with_two_lengths_is_refused_with_the_bytes_after_it(client):
    head = f"POST /login HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}\r\n"
    smuggled = f"GET /health HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port), 10) as connection:
        connection.sendall(f"{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_nul_character_is_refused_everywhere(client):
    for path in ("/sites/%00", "/api/v1/alerts?site=%00", "/notifications?state=a%00"):
        assert client.get(path).status_code == 400, path
    assert client.post("/login", data={"name": "a\0b", "password": "x"}).status_code == 422
    log_in(client)
    form = {"kind": "crack", "text": "new\0crack", "csrf": token(client, "/sites/north-bench")}
    assert client.post("/sites/north-bench/report", data=form).status_code == 422


def test_simultaneous_guesses_are_counted(client):
    def guess(n):
        return client.post("/login", data={"name": "ada", "password": f"wrong {n}"}).status_code

    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(guess, range(16)))
    # Five guesses are allowed, and one more may run at the same time as the fifth.
    assert codes.count(401) <= 6
    assert codes.count(429) >= 10
