"""A broker in Python for a demonstration where Mosquitto is not installed: it forgets everything when it ends."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
from typing import Final

log: Final = logging.getLogger(__name__)


async def _serve(host: str, port: int) -> None:
    from amqtt.broker import Broker

    # it would write a page of traceback for each message that a busy subscriber confirms late: 30 MB in a demonstration
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    await broker.start()
    log.warning("degraded: this broker is not durable")
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:  # it holds nothing worth outliving the one who started it
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
    with contextlib.suppress(Exception):
        await broker.shutdown()


def main() -> None:
    """Serve until SIGTERM, or until the process that started it is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    words = parser.parse_args()
    asyncio.run(_serve(words.host, words.port))


if __name__ == "__main__":
    main()
