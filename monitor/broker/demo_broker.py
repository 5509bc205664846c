"""Broker in Python for a demonstration without Mosquitto. It loses all sessions and messages when it ends.

It supports MQTT 3.1.1 and does not limit the size of messages.
"""

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

    # amqtt logs a traceback for each message that a subscriber acknowledges late: 30 MB in one demonstration.
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await broker.start()
    log.warning("degraded: this broker is not durable")
    parent = os.getppid()
    # There is no reason to run longer than the process that started this one.
    while not stop.is_set() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
    with contextlib.suppress(Exception):
        await broker.shutdown()


def main() -> None:
    """Run until SIGTERM or SIGINT, or until the parent process has ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    asyncio.run(_serve(options.host, options.port))


if __name__ == "__main__":
    main()
