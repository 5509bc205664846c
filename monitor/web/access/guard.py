"""What stands before every request: bounded bodies, headers that close the browser's doors, one origin for writes."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.errors import NotAllowedError
from monitor.text.message import Template

LARGEST_BODY: Final = 64 * 1024
LARGEST_PART_BYTES: Final = 512 * 1024  # of an uploaded file, or outlines
_PART: Final = re.compile(r"/files/[0-9a-f]{16}/part|/sites/[^/]{1,64}/scenes/[^/]{1,64}/outlines(?:/file)?")
LARGEST_PHOTO: Final = 16 * 1024 * 1024
_PHOTO: Final = re.compile(r"/(?:alerts|sites/[^/]{1,64}/reports)/[0-9]{1,19}/photos")
_OLD_FORM: Final = Template("access.old_form", "the form is out of date; load the page again and repeat")
_OTHER_ORIGIN: Final = Template("access.other_origin", "this request came from another site")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class Guard:
    """ASGI middleware: refuses large bodies and NUL before anybody reads them, adds the headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await _refuse(send, 400, "a NUL character has no place in an address")
            return
        scope["headers"] = [(name, _plain_cookies(v) if name == b"cookie" else v) for name, v in scope["headers"]]
        headers = dict(scope["headers"])
        if b"content-length" in headers and b"transfer-encoding" in headers:  # two readers would cut it differently
            await _refuse(send, 400, "a body has one length: Content-Length or Transfer-Encoding, not both", close=True)
            return
        declared = headers.get(b"content-length", b"0")
        most = LARGEST_BODY
        if scope["method"] == "POST":
            most = LARGEST_PART_BYTES if _PART.fullmatch(scope["path"]) else most
            most = LARGEST_PHOTO if _PHOTO.fullmatch(scope["path"]) else most
        if not declared.isdigit() or int(declared) > most:
            await _refuse(send, 413, f"the body is larger than {most} bytes")
            return
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                return {"type": "http.disconnect"}
            return message

        async def closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in HEADERS if h[0] not in present)]
                if b"cache-control" not in present:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        await self.app(scope, bounded, closed)


def _plain_cookies(header: bytes) -> bytes:
    """Cookies without those that hold a backslash: none of ours does, and Python takes seconds over many of them.

    It does so up to 3.11.9 and 3.12.5 (CVE-2024-7592).
    """
    return b";".join(part for part in header.split(b";") if b"\\" not in part) if b"\\" in header else header


class Hosts:
    """ASGI middleware: answers only for known names, so that no page elsewhere reads this one by a name of its own.

    Args:
        names: that are answered; `*` = every one.
        by_address: also every address: who asks by an address was led here by no name (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], *, by_address: bool) -> None:
        self.app, self.names, self.by_address = app, frozenset(name.lower() for name in names), by_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] == "http" and "*" not in self.names:
            name = _read_host(dict(scope["headers"]).get(b"host", b""))
            if name not in self.names and not (self.by_address and _is_address(name)):
                shown = "".join(k for k in name if k.isalnum() or k in "-._:")[:80]
                text = (
                    f"this page does not answer for the host '{shown}'; if it is its own, add it to web.allowed_hosts"
                )
                await _refuse(send, 400, text)
                return
        await self.app(scope, receive, send)


def _read_host(header: bytes) -> str:
    """The name or address of a Host header, in small letters and without port; empty where it is none.

    >>> [_read_host(h) for h in (b"Slopes.example.org.:8080", b"[::1]:8080", b"[", b"")]
    ['slopes.example.org', '::1', '', '']
    """
    try:
        return (urlsplit(f"//{header.decode('ascii')}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


class HeadOnly:
    """ASGI middleware: HEAD is answered as GET is, without the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through; a stream ends with its headers."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        is_over = False

        async def receive_or_end() -> Message:
            return {"type": "http.disconnect"} if is_over else await receive()

        async def only_head(message: Message) -> None:
            nonlocal is_over
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                is_over = True

        await self.app({**scope, "method": "GET"}, receive_or_end, only_head)


async def _refuse(send: Send, status: int, text: str, *, close: bool = False) -> None:
    body = b'{"error":"' + text.encode() + b'"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    if close:  # what follows on this connection is of the same making
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def csrf_token(session_token: str) -> str:
    """The token that forms of a session carry: nobody without the session's cookie can compute it.

    It is masked by fresh random bytes, so that no two pages hold the same text: what a page's packed size says of its
    text teaches nothing about the token (BREACH, Gluck and others 2013).

    >>> csrf_token("a") == csrf_token("a")
    False
    >>> check_csrf("a", csrf_token("a"))
    """
    mask = secrets.token_bytes(16)
    return (mask + _mix(mask, _secret(session_token))).hex()


def check_csrf(session_token: str, given: Any) -> None:
    """Compare in constant time; raises NotAllowedError."""
    plain = bytes.fromhex(given) if isinstance(given, str) and re.fullmatch("[0-9a-f]{64}", given) else bytes(32)
    if not hmac.compare_digest(_secret(session_token), _mix(plain[:16], plain[16:])):
        raise NotAllowedError(_OLD_FORM())


def _secret(session_token: str) -> bytes:
    return hashlib.sha256(f"csrf:{session_token}".encode()).digest()[:16]


def _mix(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def check_origin(request: Request) -> None:
    """A write must come from this page itself, by what the browser says of its origin; raises NotAllowedError."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site not in {"same-origin", "none"} or (origin is not None and urlsplit(origin).netloc != host):
        raise NotAllowedError(_OTHER_ORIGIN())


def is_safe_path(path: str) -> bool:
    r"""Whether a path may be returned to after login: local, without host.

    >>> is_safe_path("/sites/a"), is_safe_path("//evil"), is_safe_path("https://evil"), is_safe_path("/\\evil")
    (True, False, False, False)
    >>> is_safe_path("/\\t/evil")
    False
    """
    return path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()  # browsers drop tabs
