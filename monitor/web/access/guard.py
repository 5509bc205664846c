"""Middleware for every request: limits of bodies, security headers, host names, and protection against forged forms."""

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
LARGEST_PART_BYTES: Final = 512 * 1024  # part of an uploaded file, or outlines of a scene
_PART: Final = re.compile(r"/files/[0-9a-f]{16}/part|/sites/[^/]{1,64}/scenes/[^/]{1,64}/outlines(?:/file)?")
LARGEST_PHOTO: Final = 16 * 1024 * 1024
_PHOTO: Final = re.compile(r"/(?:alerts|sites/[^/]{1,64}/reports)/[0-9]{1,19}/photos")
_OLD_FORM: Final = Template("access.old_form", "the form is out of date; load the page again and repeat")
_OTHER_ORIGIN: Final = Template("access.other_origin", "the request came from another web site and was refused")
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
    """ASGI middleware that refuses large bodies and NUL characters, and adds security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await _refuse(send, 400, "the address contains a NUL character")
            return
        scope["headers"] = [
            (name, _drop_quoted_cookies(value) if name == b"cookie" else value) for name, value in scope["headers"]
        ]
        headers = dict(scope["headers"])
        # A proxy and this server could disagree about the end of such a body (request smuggling).
        if b"content-length" in headers and b"transfer-encoding" in headers:
            await _refuse(send, 400, "a body has one length: Content-Length or Transfer-Encoding, not both", close=True)
            return
        declared = headers.get(b"content-length", b"0")
        limit = LARGEST_BODY
        if scope["method"] == "POST":
            limit = LARGEST_PART_BYTES if _PART.fullmatch(scope["path"]) else limit
            limit = LARGEST_PHOTO if _PHOTO.fullmatch(scope["path"]) else limit
        if not declared.isdigit() or int(declared) > limit:
            await _refuse(send, 413, f"the body is larger than {limit} bytes")
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                return {"type": "http.disconnect"}
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(header for header in HEADERS if header[0] not in present)]
                if b"cache-control" not in present:
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        await self.app(scope, receive_limited, send_with_headers)


def _drop_quoted_cookies(header: bytes) -> bytes:
    """Return a Cookie header without cookies that contain a backslash.

    Python up to 3.11.9 and 3.12.5 needs seconds to parse many of them (CVE-2024-7592). Slopeward sets no such cookie.
    """
    if b"\\" not in header:
        return header
    return b";".join(cookie for cookie in header.split(b";") if b"\\" not in cookie)


class Hosts:
    """ASGI middleware that answers only requests for known host names, against DNS rebinding.

    Otherwise the owner of another domain could let its name point to this server, and read pages of this service.

    Args:
        names: accepted host names; `*` accepts every name.
        by_address: whether every IP address is accepted too. DNS rebinding needs a name, so addresses are safe.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], *, by_address: bool) -> None:
        self.app, self.names, self.by_address = app, frozenset(name.lower() for name in names), by_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and "*" not in self.names:
            name = _read_host(dict(scope["headers"]).get(b"host", b""))
            if name not in self.names and not (self.by_address and _is_address(name)):
                shown = "".join(character for character in name if character.isalnum() or character in "-._:")[:80]
                text = f"'{shown}' is not a known host name of this service; if it is, add it to web.allowed_hosts"
                await _refuse(send, 400, text)
                return
        await self.app(scope, receive, send)


def _read_host(header: bytes) -> str:
    """Return the name or address of a Host header, in lower case and without port; empty if it is not valid.

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
    """ASGI middleware that answers HEAD like GET, without the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. A response that streams its body ends after the headers."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        is_answered = False

        async def receive_or_disconnect() -> Message:
            return {"type": "http.disconnect"} if is_answered else await receive()

        async def send_headers(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                is_answered = True

        await self.app({**scope, "method": "GET"}, receive_or_disconnect, send_headers)


async def _refuse(send: Send, status: int, text: str, *, close: bool = False) -> None:
    body = b'{"error":"' + text.encode() + b'"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    if close:
        # The rest of the body could contain forged requests.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def csrf_token(session_token: str) -> str:
    """Return the token that forms of a session contain. It cannot be computed without the cookie of the session.

    Each token is masked with new random bytes, so that the size of compressed pages reveals nothing about it (BREACH
    attack, Gluck and others 2013).

    >>> csrf_token("a") == csrf_token("a")
    False
    >>> check_csrf("a", csrf_token("a"))
    """
    mask = secrets.token_bytes(16)
    return (mask + _xor(mask, _derive_secret(session_token))).hex()


def check_csrf(session_token: str, given: Any) -> None:
    """Raise NotAllowedError unless a form token belongs to the session. The comparison takes constant time."""
    masked = bytes.fromhex(given) if isinstance(given, str) and re.fullmatch("[0-9a-f]{64}", given) else bytes(32)
    if not hmac.compare_digest(_derive_secret(session_token), _xor(masked[:16], masked[16:])):
        raise NotAllowedError(_OLD_FORM())


def _derive_secret(session_token: str) -> bytes:
    return hashlib.sha256(f"csrf:{session_token}".encode()).digest()[:16]


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def check_origin(request: Request) -> None:
    """Raise NotAllowedError if the headers of the browser show that a request comes from another web site."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site not in {"same-origin", "none"} or (origin is not None and urlsplit(origin).netloc != host):
        raise NotAllowedError(_OTHER_ORIGIN())


def is_safe_path(path: str) -> bool:
    r"""Return whether a redirect to a path stays on this server.

    >>> is_safe_path("/sites/a"), is_safe_path("//evil"), is_safe_path("https://evil"), is_safe_path("/\\evil")
    (True, False, False, False)
    >>> is_safe_path("/\\t/evil")
    False
    """
    # Browsers remove tabs and line breaks from addresses, so `/\t/evil` would become `//evil`.
    return path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
