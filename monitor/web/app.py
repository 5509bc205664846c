"""Build the web application from middleware, routes and error handlers."""

import socket
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.canonical import code_version
from monitor.plugin_isolation import note_fault
from monitor.plugins import implementations, is_built_in, list_folders
from monitor.settings.service import ServiceConfig, WebSection
from monitor.storage.engine import Database
from monitor.web.access.guard import Guard, HeadOnly, Hosts
from monitor.web.access.reader import LanguageMiddleware
from monitor.web.access.rules import admit, list_addresses, require_rules
from monitor.web.change_stream import ChangeHub
from monitor.web.context import Context
from monitor.web.error_responses import add_error_handlers
from monitor.web.routes import acts, api, live, pages, probes
from monitor.web.routes.people import accounts, login, second_factors, signatures
from monitor.web.routes.site import charts, declared, panes, proposals, readings
from monitor.web.static_files import VersionedFiles

WEB_FOLDER: Final = Path(__file__).parent
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
_KERNEL_ROUTERS: Final = (
    *(module.router for module in PAGES),
    api.router,
    charts.router,
    panes.router,
    probes.router,
    acts.requests,
)
_LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "::1")
_ALL_INTERFACES: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def build_app(
    config: ServiceConfig, db: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> FastAPI:
    """Return the application for an open database with the current schema.

    Args:
        config: Service file.
        db: Database. The application reads it, and writes sessions and the acts of people.
        clock: Returns the present time. Tests replace it.

    Raises:
        RuntimeError: An address has no access rule.
    """
    require_rules(list_routers())
    static = VersionedFiles("max-age=86400", directory=WEB_FOLDER / "static")
    static.all_directories += map(str, list_folders("static"))
    libraries = VersionedFiles("max-age=31536000, immutable", directory=WEB_FOLDER / "vendor")
    app = FastAPI(
        title="Slopeward",
        version=code_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        description="Levels, series, forecasts, alerts and footprints of the monitored slopes, and actions on them.",
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
    # A request passes the middleware from the last one that is added to the first.
    app.add_middleware(ExitGuard)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)
    app.add_middleware(Hosts, names=_list_host_names(config.web), by_address=config.web.host in _ALL_INTERFACES)
    app.add_middleware(Guard)
    app.add_middleware(HeadOnly)
    app.add_middleware(LanguageMiddleware, default=config.language.default)
    add_error_handlers(app)
    return app


def _list_host_names(web: WebSection) -> list[str]:
    """Return the names of the `Host` header that are answered."""
    names = [*_LOCAL_NAMES, web.host, *web.allowed_hosts]
    public_name = urlsplit(web.public_url).hostname
    if public_name:
        names.append(public_name)
    if web.host in _ALL_INTERFACES:
        # Other machines of the network use the name of this machine, some of them by multicast DNS.
        full_name = socket.gethostname()
        short_name = full_name.partition(".")[0]
        names += [full_name, short_name, f"{short_name}.local"]
    return names


@cache
def list_routers() -> tuple[APIRouter, ...]:
    """Return all routers: those of the kernel, then those of features and plugins."""
    return (*_KERNEL_ROUTERS, *_list_plugin_routers(_KERNEL_ROUTERS))


@cache
def _join_routers() -> APIRouter:
    """Return all routes behind the access rules.

    The result is cached, because FastAPI takes long to resolve the dependencies of all routes.
    """
    joined = APIRouter(dependencies=[Depends(admit)])
    for router in list_routers():
        joined.include_router(router)
    return joined


def _list_plugin_routers(kernel_routers: Iterable[APIRouter]) -> Iterator[APIRouter]:
    """Return the routers of features and plugins.

    A router of a third-party plugin is left out, and recorded as a fault, if it lacks an access rule or contains an
    address that exists already.
    """
    addresses = set(list_addresses(kernel_routers))
    for plugin, register in implementations("register_routes"):
        for router in register() or ():
            if not is_built_in(plugin):
                try:
                    require_rules([router])
                    _require_new_addresses(router, addresses)
                except RuntimeError as error:
                    note_fault(plugin, "register_routes", error)
                    continue
            addresses |= set(list_addresses([router]))
            yield router


def _require_new_addresses(router: APIRouter, addresses: set[str]) -> None:
    duplicates = addresses & set(list_addresses([router]))
    if duplicates:
        raise RuntimeError(f"{min(duplicates)} exists already")


class ExitGuard:
    """ASGI middleware: turn `sys.exit` in a route into a failed request. It would end the web process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            await self._app(scope, receive, send)
        except SystemExit as error:
            raise RuntimeError(f"the route called sys.exit ({error.code})") from error
