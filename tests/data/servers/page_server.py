"""The page on a real server of loopback."""

import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import uvicorn


class PageServer:
    """Serves what is built for its address, from `with` on, until its end or until it is told to stop."""

    def __init__(self, make_app: Callable[[str], Any]) -> None:
        self._make_app = make_app
        self._door = socket.socket(proto=socket.IPPROTO_TCP)  # else no TCP_NODELAY: 40 ms an answer
        self._door.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._server = uvicorn.Server(
            uvicorn.Config(self._make_app(self.url), log_config=None, timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._door]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Let what is under way end; nobody waits for it."""
        self._server.should_exit = True

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(10)
        self._door.close()
