"""The web process: `python -m monitor.web.server [CONFIG]`; ends in order on SIGTERM."""

import logging
import os
import socket
import sys
import threading

import uvicorn
from fastapi import FastAPI

from monitor import logs
from monitor.app.checks.health import TROUBLE_FD, read_line
from monitor.errors import SlopewardError
from monitor.settings.service import WebSection, load_service
from monitor.storage.engine import Database
from monitor.storage.migrate import require_current
from monitor.web.access.connection_limits import patient
from monitor.web.context import Context
from monitor.worker.kernel import hide_memory
from monitor.worker.memory import end_without_cleanup, spare_what_stays, without_looks

_LOG = logging.getLogger("slopeward.web")


def main(config_path: str | None = None) -> int:
    """Serve until told to stop; returns the exit status, 1 with one line for what is known to go wrong."""
    end_without_cleanup()
    hide_memory()  # it holds secrets
    try:
        config = load_service(config_path)
        logs.configure("web", config.log.level)
        db = Database(config.database.url)
        require_current(db)
    except SlopewardError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with without_looks():
        from monitor.web.app import build_app

        app = build_app(config, db)
    spare_what_stays()
    listen(app.state.context)
    server = PageServer(app, config.web)
    try:
        server.run()
    except SystemExit:
        sys.stderr.write(
            f"web.port: {config.web.host}:{config.web.port} cannot be opened; stop what listens there, or set another "
            "by web.port or SLOPEWARD_WEB__PORT\n"
        )
        return 1
    finally:
        db.close()
    return 0


class PageServer(uvicorn.Server):
    """Says where the page is once its port is open, and not before."""

    def __init__(self, app: FastAPI, web: WebSection) -> None:
        super().__init__(make_settings(app, web))
        self._app = app
        self._url = web.url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port; what cannot be opened ends the process here."""
        await super().startup(sockets)
        if self.started:
            _LOG.info("the page is at %s", self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams, which never complete by themselves, then wait for the other requests."""
        self._app.state.change_hub.close()
        await super().shutdown(sockets)


def make_settings(app: FastAPI, web: WebSection) -> uvicorn.Config:
    """How the page is served: bounded in time and number, and believing no header but of the proxies that are named."""
    return uvicorn.Config(
        app,
        host=web.host,
        port=web.port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=patient(web.trusted_proxies),
        ws="none",
        proxy_headers=bool(web.trusted_proxies),
        forwarded_allow_ips=list(web.trusted_proxies),
        limit_concurrency=200,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=32768,
    )


def listen(context: Context) -> None:
    """Hear from the supervisor what keeps core from deciding; the database need not answer for that."""
    number = os.environ.get(TROUBLE_FD)
    if not number:
        return

    def read_trouble() -> None:
        with os.fdopen(int(number), encoding="utf-8", errors="replace") as lines:
            for line in lines:
                context.trouble = read_line(line)

    threading.Thread(target=read_trouble, name="trouble", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
