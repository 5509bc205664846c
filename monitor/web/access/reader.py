"""The language of a response: chosen in this browser, else the preference of the browser, else the default."""

from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.text.catalogue import LANGUAGES, choose, find_wished

COOKIE: Final = "slopeward_language"
COOKIE_MAX_AGE_S: Final = 365 * 86400
# Addresses for programs, which get English.
PROGRAM_ADDRESSES: Final = ("/health", "/metrics", "/static/", "/vendor/", "/gateway/")
API: Final = "/api/"
# Refreshes of a page. They name the language of the page, which must not become the choice of the browser.
LIVE: Final = "/live/"


class LanguageMiddleware:
    """ASGI middleware that chooses the language of a response. `?lang=it` on a page is stored in a cookie.

    The API answers in English unless `?lang=` names another language, because programs compare its texts.

    Args:
        app: the application.
        default: the language in the service file.
    """

    def __init__(self, app: ASGIApp, default: str) -> None:
        self.app, self.default = app, default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"].startswith(PROGRAM_ADDRESSES):
            await self.app(scope, receive, send)
            return
        requested = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [""])[-1]
        if requested not in LANGUAGES:
            requested = ""
        if scope["path"].startswith(API):
            if requested:
                choose(requested)
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        preferred = find_wished(headers.get("accept-language", ""))
        choose(requested or _read_cookie(headers) or preferred or self.default)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and requested and not scope["path"].startswith(LIVE):
                cookie = f"{COOKIE}={requested}; Path=/; Max-Age={COOKIE_MAX_AGE_S}; SameSite=Lax; HttpOnly"
                message["headers"] = [*message["headers"], (b"set-cookie", cookie.encode())]
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def _read_cookie(headers: Headers) -> str:
    """Return the language in the cookie of this browser; empty if there is none."""
    # Other pages of the same host may set cookies of any form, which a strict parser would refuse.
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    language = {name: value for name, _, value in pairs}.get(COOKIE, "")
    return language if language in LANGUAGES else ""
