"""In which language who asks reads: by the choice of this browser, else what the browser asks for, else the default."""

from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.text.catalogue import LANGUAGES, choose, find_wished

COOKIE: Final = "slopeward_language"
LASTS_S: Final = 365 * 86400
# programs ask there, and read English
PROGRAMS: Final = ("/health", "/metrics", "/static/", "/vendor/", "/gateway/")
API: Final = "/api/"
LIVE: Final = "/live/"  # a page asks again in the language that it is in


class LanguageMiddleware:
    """ASGI middleware: chooses the language of an answer; `?lang=it` on a page is kept in a cookie of this browser.

    The API answers in English unless `?lang=` names another language: programs compare its texts.

    `default`: the language of the service file.
    """

    def __init__(self, app: ASGIApp, default: str) -> None:
        self.app, self.default = app, default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http" or scope["path"].startswith(PROGRAMS):
            await self.app(scope, receive, send)
            return
        wanted = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [""])[-1]
        wanted = wanted if wanted in LANGUAGES else ""
        if scope["path"].startswith(API):
            if wanted:
                choose(wanted)
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        chosen = wanted or _read_cookie(headers) or find_wished(headers.get("accept-language", "")) or self.default
        choose(chosen)

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start" and wanted and not scope["path"].startswith(LIVE):
                cookie = f"{COOKIE}={wanted}; Path=/; Max-Age={LASTS_S}; SameSite=Lax; HttpOnly"
                message["headers"] = [*message["headers"], (b"set-cookie", cookie.encode())]
            await send(message)

        await self.app(scope, receive, keep)


def _read_cookie(headers: Headers) -> str:
    """The choice of this browser; what other pages of the same host keep beside it may have any form."""
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    kept = {name: value for name, _, value in pairs}.get(COOKIE, "")
    return kept if kept in LANGUAGES else ""
