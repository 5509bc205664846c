"""The process behind the page: what its log says of the port."""

import logging
import socket
import threading

import pytest

from monitor.config.service import load_service
from monitor.store.database.engine import Database
from monitor.web.app import build
from monitor.web.change_notices import ChangeNotifier
from monitor.web.server import PageServer, make_settings
from tests.conftest import wait_for


def test_the_log_says_where_the_page_is_once_its_port_is_open_and_not_before(tmp_path, caplog):
    database = Database(f"sqlite:///{tmp_path}/page.db")
    caplog.set_level(logging.INFO, "slopeward.web")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = load_service(None, {"SLOPEWARD_WEB__PORT": str(port)})
        with pytest.raises(SystemExit):
            PageServer(
                make_settings(build(config, database), config.web), config.web.url, ChangeNotifier(database)
            ).run()
        assert "the page is at" not in caplog.text
    server = PageServer(make_settings(build(config, database), config.web), config.web.url, ChangeNotifier(database))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        wait_for(lambda: f"the page is at http://127.0.0.1:{port}" in caplog.text)
    finally:
        server.should_exit = True
        thread.join(10)
        database.close()
