"""Checks of the service file, and of the broker, database and mail server that it names."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from monitor.app.checks.site_files import SiteFolder
from monitor.errors import ConfigError, SlopewardError
from monitor.plugins import hooks
from monitor.storage.check import BAD, WARN, Check, SubjectState, make_state
from monitor.text.message import Message, Template

_CURRENT: Final = Template("check.database.current", "answers, schema is current")()
_CONNECTS: Final = Template("check.connects", "{name} takes connections")
_NO_MOSQUITTO: Final = Template(
    "check.broker.missing", "Mosquitto is not installed, so the broker would lose its messages at a restart; {todo}"
)
_MANAGED: Final = Template("check.broker.managed", "managed, {path}")
_NO_SMTP: Final = Template("check.channels.no_smtp", "a recipient has an email: channel, but smtp.host is not set")()


class Connections(NamedTuple):
    """Broker, database and mail server, to which this process tries to connect."""

    files: SiteFolder


def _run_attempt(attempt: Callable[[], Message]) -> SubjectState:
    """Return that an attempt has succeeded, or its error."""
    try:
        return make_state(is_wrong=False, text=attempt())
    except SlopewardError as error:
        return make_state(text=error.message)
    except OSError as error:
        return make_state(text=" ".join(str(error).split()))


def _check_database(connections: Connections) -> Iterator[SubjectState]:
    from monitor.storage.engine import Database
    from monitor.storage.migrate import require_complete, require_current

    def reach() -> Message:
        with Database(connections.files.service.database.url) as db:
            require_current(db)
            require_complete(db)
        return _CURRENT

    yield _run_attempt(reach)


def _check_broker(connections: Connections) -> Iterator[SubjectState]:
    broker = connections.files.service.broker
    yield _run_attempt(lambda: _connect(broker.host, broker.port) if broker.mode == "external" else _find_broker())


def _connect(host: str, port: int) -> Message:
    with socket.create_connection((host, port), timeout=5):
        return _CONNECTS(name=f"{host}:{port}")


def _find_broker() -> Message:
    from monitor.broker.access import HOW_TO_INSTALL
    from monitor.ingest.broker_process import find_mosquitto

    path = find_mosquitto()
    if path is None:
        raise ConfigError(_NO_MOSQUITTO(todo=HOW_TO_INSTALL))
    return _MANAGED(path=str(path))


def _check_mail(connections: Connections) -> Iterator[SubjectState]:
    smtp = connections.files.service.smtp
    if any(
        channel.startswith("email:")
        for site in connections.files.sites
        for recipient in site.all_recipients
        for channel in recipient.channels
    ):
        if smtp.host:
            yield _run_attempt(lambda: _connect(smtp.host, smtp.port))
        else:
            yield make_state(text=_NO_SMTP)


def _are_tiles_served() -> bool:
    return any("GET /api/v1/map/tiles" in rules for rules in hooks().register_access_rules())


CHECKS: Final = (
    Check(
        "map.folder",
        SiteFolder,
        WARN,
        "[map] tiles: there is no folder {folder}",
        lambda f: make_state(is_wrong=not Path(f.service.map.tiles or ".").is_dir(), folder=f.service.map.tiles),
        "create it, or correct [map] tiles",
    ),
    Check(
        "map.gone",
        SiteFolder,
        WARN,
        "[map] tiles: map tiles are not shown, because no installed feature serves them",
        lambda f: make_state(is_wrong=bool(f.service.map.tiles) and not _are_tiles_served()),
        "install a feature that serves map tiles, or remove the line",
    ),
    Check("database.answers", Connections, BAD, "{text}", _check_database, "correct [database]", fine="{text}"),
    Check("broker.connects", Connections, BAD, "{text}", _check_broker, "correct [broker]", fine="{text}"),
    Check(
        "channels.mail",
        Connections,
        BAD,
        "{text}",
        _check_mail,
        "correct [smtp]",
        fine="{text}; `slopeward notify channels test` sends",
    ),
)
