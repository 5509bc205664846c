"""Run the web process: `python -m monitor.web.server [CONFIG]`. SIGTERM ends it."""

import logging
import os
import socket
import sys
import threading

import uvicorn
from fastapi import FastAPI

from monitor import logs
from monitor.app.heartbeats import TROUBLE_FD, decode_line
from monitor.errors import SlopewardError
from monitor.settings.service import WebSection, load_service
from monitor.storage.engine import Database
from monitor.storage.migrate import require_current
from monitor.web.access.connection_limits import limit_connections
from monitor.web.context import Context
from monitor.worker.garbage_collection import collection_paused, freeze_startup_objects, skip_collection_at_exit
from monitor.worker.linux import hide_memory

_LOG = logging.getLogger("slopeward.web")


def main(config_path: str | None = None) -> int:
    """Serve the page until a signal ends the process.

    Returns:
        Exit status: 0, or 1 after an error of configuration, database or port, which is printed in one line.
    """
    skip_collection_at_exit()
    # The memory contains secrets of the configuration.
    hide_memory()
    try:
        config = load_service(config_path)
        logs.configure("web", config.log.level)
        db = Database(config.database.url)
        with collection_paused():
            # This import creates most objects of the process; the garbage collector must not inspect them meanwhile.
            from monitor.web.app import build_app

            app = build_app(config, db)
        freeze_startup_objects()
        if not follow_trouble(app.state.context):
            return 0
        require_current(db)
    except SlopewardError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    server = PageServer(app, config.web)
    try:
        server.run()
    except SystemExit:
        sys.stderr.write(
            f"web.port: {config.web.host}:{config.web.port} cannot be opened. Stop the program that uses this port, "
            "or set another one by web.port or SLOPEWARD_WEB__PORT\n"
        )
        return 1
    finally:
        db.close()
    return 0


class PageServer(uvicorn.Server):
    """HTTP server of the application."""

    def __init__(self, app: FastAPI, web: WebSection) -> None:
        super().__init__(make_settings(app, web))
        self._app = app
        self._url = web.url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port, then log the address of the page.

        Raises:
            SystemExit: The port cannot be opened.
        """
        await super().startup(sockets)
        if self.started:
            _LOG.info("the page is at %s", self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams, which never complete by themselves, then wait for the other requests."""
        self._app.state.change_hub.close()
        await super().shutdown(sockets)


def make_settings(app: FastAPI, web: WebSection) -> uvicorn.Config:
    """Return the settings of the server, with limits on connections and times.

    Headers that name the client are read only from the proxies in `web.trusted_proxies`.
    """
    return uvicorn.Config(
        app,
        host=web.host,
        port=web.port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=limit_connections(web.trusted_proxies),
        ws="none",
        proxy_headers=bool(web.trusted_proxies),
        forwarded_allow_ips=list(web.trusted_proxies),
        limit_concurrency=200,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=32768,
    )


def follow_trouble(context: Context) -> bool:
    """Wait until the core is ready, then read in a thread why it cannot decide.

    The supervisor starts the core and this process at the same time. It writes the first line to a pipe when the core
    has upgraded the database, and further lines while the service runs, so that the page can show them while the
    database does not answer. Without a supervisor there is no pipe.

    Returns:
        False if the supervisor has ended.
    """
    descriptor = os.environ.get(TROUBLE_FD)
    if not descriptor:
        return True
    lines = os.fdopen(int(descriptor), encoding="utf-8", errors="replace")
    first_line = lines.readline()
    if not first_line:
        lines.close()
        return False
    context.trouble = decode_line(first_line)

    def read_pipe() -> None:
        with lines:
            for line in lines:
                context.trouble = decode_line(line)

    threading.Thread(target=read_pipe, name="trouble", daemon=True).start()
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
