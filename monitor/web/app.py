"""Put the web application together: middleware, routes, answers to errors. Nothing here knows how a page looks."""

import logging
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor import errors
from monitor.alerts.acts.call import INVALID_VALUE, TOO_LONG
from monitor.alerts.queries.alerts import RISEN, find_alert
from monitor.alerts.queries.overview import load_cards
from monitor.canonical import code_version
from monitor.plugin_isolation import note_fault
from monitor.plugins import implementations, is_built_in, list_folders
from monitor.settings.service import ServiceConfig
from monitor.storage.engine import Database
from monitor.text.message import Message, Template, join
from monitor.text.rendering import translate
from monitor.web.access.guard import Guard, HeadOnly, Hosts
from monitor.web.access.reader import LanguageMiddleware
from monitor.web.access.rules import PLAIN_NUMBER, admit, find_back, list_addresses, require_rules
from monitor.web.change_stream import ChangeHub
from monitor.web.context import Context, context_of
from monitor.web.parts.act_forms import SentForm, list_choices
from monitor.web.parts.templating import render
from monitor.web.routes import acts, api, live, pages, probes
from monitor.web.routes.people import accounts, login, second_factors, signatures
from monitor.web.routes.site import charts, declared, panes, proposals, readings

_LOG = logging.getLogger(__name__)
_NOTHING_HERE: Final = Template("page.nothing_here", "there is nothing at this address")
_NO_METHOD: Final = Template("page.no_method", "this address does not take that method")
_BROKEN: Final = Template("page.broken", "something went wrong inside; the log of the web process says what")
_NUMBER: Final = Template("value.number", "give a number that fits, such as 12.5")
_INVALID: Final = {  # kinds of errors of pydantic, by how they begin
    "missing": Template("value.missing", "it is needed"),
    "extra_forbidden": Template("value.extra", "there is no such field"),
    "string_too_long": TOO_LONG,
    "too_long": TOO_LONG,  # of an upload
    "string_type": Template("value.text", "give a text"),
    "string_": Template("value.characters", "it holds characters that no text may hold"),
    "bool_": Template("value.truth", "give true or false"),
    **dict.fromkeys(("float_", "int_", "finite_number", "greater_than", "less_than"), _NUMBER),
}
HERE: Final = Path(__file__).parent
_VERSION_FOLDER: Final = re.compile(r"^v/[^/]+/")
STATUS_OF: Final[tuple[tuple[type[errors.SlopewardError], int], ...]] = (
    (errors.NotFoundError, 404),
    (errors.NotSignedInError, 401),
    (errors.NotAllowedError, 403),
    (errors.RefusedError, 409),
    (errors.ConfigError, 422),
    (errors.StoreBusyError, 503),
)
PAGES: Final = (
    pages,
    login,
    accounts,
    second_factors,
    signatures,
    proposals,
    declared,
    readings,
    acts,
    live,
)


def _list_plugin_routers(kernel: Iterable[APIRouter]) -> Iterator[APIRouter]:
    """Return the routers of plugins. Those of a third-party plugin need access rules and paths of their own."""
    taken = set(list_addresses(kernel))
    for plugin, register in implementations("register_routes"):
        for router in register() or ():
            if not is_built_in(plugin):
                try:
                    require_rules([router])
                    if again := taken & set(list_addresses([router])):
                        raise RuntimeError(f"{min(again)} exists already")
                except RuntimeError as error:
                    note_fault(plugin, "register_routes", error)
                    continue
            taken |= set(list_addresses([router]))
            yield router


_KERNEL_ROUTERS: Final = (*(m.router for m in (*PAGES, api, charts, panes, probes)), acts.requests)


@cache
def list_routers() -> tuple[APIRouter, ...]:
    """Return all routers: those of the kernel, then those of plugins."""
    return (*_KERNEL_ROUTERS, *_list_plugin_routers(_KERNEL_ROUTERS))


@cache
def _join_routers() -> APIRouter:
    """Return all routes, behind the access rules.

    FastAPI resolves their dependencies once, for every application of a process.
    """
    joined = APIRouter(dependencies=[Depends(admit)])
    for router in list_routers():
        joined.include_router(router)
    return joined


class ExitGuard:
    """Answer a request as failed if its route calls `sys.exit`, which would end the web process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            await self._app(scope, receive, send)
        except SystemExit as error:
            raise RuntimeError(f"the route called sys.exit ({error.code})") from error


class VersionedFiles(StaticFiles):
    """Static files that browsers may store, because each address contains the version of the program.

    `/static/NAME?v=VERSION` and `/static/v/VERSION/NAME` give the same file. Modules need the second form: a relative
    import such as `./ages.js` keeps the folder of the importing module and drops its query.

    Args:
        cache_control: How long browsers may store a file, as in the header `Cache-Control`.
        options: Arguments of `StaticFiles`.
    """

    def __init__(self, cache_control: str, **options: Any) -> None:
        super().__init__(**options)
        self._cache_control = cache_control

    def get_path(self, scope: Scope) -> str:
        """Return the path of the file below the folder, without the version."""
        return _VERSION_FOLDER.sub("", super().get_path(scope))

    def file_response(self, full_path: object, stat_result: object, scope: Scope, status_code: int = 200) -> Response:
        """Return a file that only the browser of the reader may store, not a proxy."""
        response = super().file_response(full_path, stat_result, scope, status_code)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = f"private, {self._cache_control}"
        return response


def now_utc() -> datetime:
    """The present; only edges like this one read the clock."""
    return datetime.now(UTC)


def build_app(config: ServiceConfig, db: Database, clock: Callable[[], datetime] = now_utc) -> FastAPI:
    """The application over an open database whose schema fits.

    Args:
        config: the service file; host and public URL decide which Host headers are answered.
        db: open database; this process reads it, and writes sessions, acknowledgements and reports.
    """
    static = VersionedFiles("max-age=86400", directory=HERE / "static")
    static.all_directories += map(str, list_folders("static"))
    libraries = VersionedFiles("max-age=31536000, immutable", directory=HERE / "vendor")
    require_rules(list_routers())
    app = FastAPI(
        title="Slopeward",
        version=code_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        description="Levels, series, forecasts, alerts and footprints of the monitored slopes. Read only.",
        routes=[
            Mount("/static", static, name="static"),
            Mount("/vendor", libraries, name="vendor"),
            *_join_routers().routes,
        ],
    )
    app.state.context = Context(config, db, clock, code_version())
    app.state.login_throttle = login.LoginThrottle()
    app.state.limiters = {}
    app.state.change_hub = ChangeHub(app.state.context)
    app.add_middleware(ExitGuard)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)
    public = urlsplit(config.web.public_url).hostname
    found = ["127.0.0.1", "localhost", "::1", config.web.host, *config.web.allowed_hosts, *([public] if public else [])]
    is_open = config.web.host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    if is_open:
        whole = socket.gethostname()
        short = whole.partition(".")[0]
        found += [whole, short, f"{short}.local"]
    app.add_middleware(Hosts, names=found, by_address=is_open)
    app.add_middleware(Guard)
    app.add_middleware(HeadOnly)

    app.add_middleware(LanguageMiddleware, default=config.language.default)
    app.add_exception_handler(errors.SlopewardError, _answer_known)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_bug)
    return app


def _show_form_again(request: Request, status: int, text: str, sent: SentForm) -> Response:
    places, values = dict(request.path_params), dict(sent.values)
    if isinstance(text, Message) and text.id == RISEN.id:  # who reads this page has seen the new level
        places["alert_id"], values["seen"] = (str(text.values[name]) for name in ("number", "level"))
    with context_of(request).db.read() as c:
        number = places.get("alert_id")
        alert = find_alert(c, int(number)) if number is not None and PLAIN_NUMBER.fullmatch(str(number)) else None
        site = places.get("site") or (alert.site if alert is not None else None)
        card = next(iter(load_cards(c, site)), None) if site is not None else None
        choices = list_choices(c, site)
    back = find_back(sent.act).format(**places) or "/"
    path = sent.act.address.format(**places) if "alert_id" in places else sent.path
    sent = SentForm(sent.act, values, path)
    found: Response = render(
        request, "refused.html", status=status, text=text, sent=sent, choices=choices, card=card, back=back, path=path
    )
    return found


def _answer(request: Request, status: int, text: str) -> Response:
    headers = {503: {"Retry-After": "2"}, 401: {"WWW-Authenticate": 'Bearer realm="slopeward"'}}.get(status)
    if request.url.path.startswith(("/api/", "/health", "/metrics", "/live/")):
        return JSONResponse({"error": translate(text)}, status_code=status, headers=headers)
    if status == 401 and request.method == "GET":  # the form in place of the page, which comes after it
        response = login.show_login(request, request.url.path)
    else:
        sent = getattr(request.state, "sent", None)
        if sent is not None and status in {404, 409, 422}:
            response = _show_form_again(request, status, text, sent)
        else:
            place = request.path_params.get("site") if status == 409 else None
            response = render(request, "error.html", status=status, text=text, place=place)
    response.status_code = status
    response.headers.update(headers or {})
    return response


def _answer_known(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS_OF if isinstance(error, kind)), 500)
    assert isinstance(error, errors.SlopewardError)
    sent = getattr(request.state, "sent", None)
    if isinstance(error, errors.SupersededError) and sent is not None:
        # The message shows the newer answer, so that the form is valid without a number of an answer seen before.
        request.state.sent = replace(sent, values={**sent.values, "seen": ""})
    return _answer(request, status, error.message)


def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = []
    for one in error.errors()[:3]:
        name = ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0])
        known = next((text for kind, text in _INVALID.items() if one["type"].startswith(kind)), None)
        context = one.get("ctx", {})
        limits = {"n": context["max_length"]} if "max_length" in context else {}
        found.append(INVALID_VALUE(name=name, problem=one["msg"] if known is None else known(**limits)))
    return _answer(request, 422, join(found, "; "))


def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: _NOTHING_HERE(), 405: _NO_METHOD()}
    return _answer(request, error.status_code, words.get(error.status_code, str(error.detail)))


def _answer_bug(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    return _answer(request, 500, _BROKEN())
