"""In which language who asks reads: by the choice of this browser, else what the browser asks for, else the default."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.language.catalogue import ENGLISH, LANGUAGES, choose, find_wished
from monitor.language.sayings import NOTHING_KEPT, Kept

COOKIE: Final = "slopeward_language"
LASTS_S: Final = 365 * 86400
KEPT_S: Final = 30.0
# programs ask there, and read English
PROGRAMS: Final = ("/health", "/metrics", "/static/", "/vendor/", "/gateway/")
API: Final = "/api/"
LIVE: Final = "/live/"  # a page asks again in the language that it is in


class Reader:
    """ASGI middleware: chooses the language of an answer; `?lang=it` on a page is kept in a cookie of this browser.

    The API answers in English unless `?lang=` names another language: programs compare its texts.

    Args:
        app: what answers.
        default: the language of the service file.
        find_kept: names of stations and sites that are not translated; asked again after half a minute.
    """

    def __init__(self, app: ASGIApp, default: str, find_kept: Callable[[], Kept]) -> None:
        self.app, self.default = app, default
        self._find_kept, self._kept, self._until_s = find_kept, NOTHING_KEPT, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http" or scope["path"].startswith(PROGRAMS):
            await self.app(scope, receive, send)
            return
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [""])[-1]
        asked = asked if asked in LANGUAGES else ""
        if scope["path"].startswith(API):
            if asked:
                choose(asked, await self._list_kept(asked))
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        chosen = asked or _read_cookie(headers) or find_wished(headers.get("accept-language", "")) or self.default
        choose(chosen, await self._list_kept(chosen))

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start" and asked and not scope["path"].startswith(LIVE):
                message["headers"] = [*message["headers"], (b"set-cookie", _bake(asked).encode())]
            await send(message)

        await self.app(scope, receive, keep)

    async def _list_kept(self, language: str) -> Kept:
        if language != ENGLISH and time.monotonic() > self._until_s:
            self._until_s = time.monotonic() + KEPT_S
            with suppress(Exception):  # without its database the page says so; the names of before serve
                self._kept = await run_in_threadpool(self._find_kept)
        return self._kept


def _read_cookie(headers: Headers) -> str:
    """The choice of this browser; what other pages of the same host keep beside it may have any form."""
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    kept = {name: value for name, _, value in pairs}.get(COOKIE, "")
    return kept if kept in LANGUAGES else ""


def _bake(language: str) -> str:
    return f"{COOKIE}={language}; Path=/; Max-Age={LASTS_S}; SameSite=Lax; HttpOnly"
