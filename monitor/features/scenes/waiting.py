"""Scenes of the inbox that wait or cannot be used: store the reason and notify people."""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from detection.imagery.weights_file import describe_own
from monitor.api.database import Database
from monitor.api.decision import health_alarm
from monitor.api.queries.alerts import load_alerts, notify_site
from monitor.api.queries.models import SHORT_HASH_LENGTH
from monitor.api.sites import Site
from monitor.api.text import Message, Template, Timestamp, format_iso, hide_folder, parse_time
from monitor.features.scenes.queries.arrivals import SceneRow, save_scene
from monitor.features.scenes.queries.versions import WAITING, drop_waiting, forget_failure
from monitor.features.scenes.queries.weights import find_broken_weights
from monitor.features.scenes.rows import name_of

# People are notified of a waiting scene after this long, or at once if only a person can end the wait.
NOTIFIED_AFTER: Final = timedelta(hours=1)
# An unchanged scene is tried again after this long, because weights or the site file may have changed.
RETRY_AFTER: Final = timedelta(minutes=10)
FAILED: Final = Template("scene.failed", "failed: {text}")
_WAITS: Final = Template("scene.waits", "scene {name} waits since {since}: {text}")
_UNUSABLE: Final = Template("scene.unusable", "scene {name} cannot be used: {text}")
_READ: Final = Template("scene.read", "scene {name} was read")
_GONE: Final = Template("scene.gone", "scene {name} is not in the inbox any more")
_OTHERS_TRIED: Final = Template(
    "weights.others_tried", "your own weights {weights} cannot be read: others are tried instead; see slopeward doctor"
)
_READ_AGAIN: Final = Template("weights.read_again", "your own weights can be read again, or are in use no more")()
PREFIX: Final = "scene:"
WEIGHTS: Final = "weights:"


def is_due(row: SceneRow | None, print_: str, now: datetime) -> bool:
    """Return whether a waiting scene should be tried again: its files have changed, or `RETRY_AFTER` has passed."""
    run = {} if row is None else row.run or {}
    return run.get("fingerprint") != print_ or now - parse_time(run["looked_at"]) >= RETRY_AFTER


def store_waiting(
    db: Database, site: Site, entry: Path, print_: str, reason: str, now: datetime, *, at_once: bool = False
) -> str:
    """Store that a scene waits, and why. Return one line.

    `at_once`: Notify people now. Otherwise `notify_waiting` does so after `NOTIFIED_AFTER`.
    """
    run = {"fingerprint": print_, "looked_at": format_iso(now)}
    row = _make_row(site, entry, WAITING, WAITING, reason, now, run)
    db.do(save_scene, row, [], now)
    return f"waiting: {row.error}" if not at_once else f"waiting: {row.error}; {_notify(db, site, row, now, now)}"


def _make_row(
    site: Site, entry: Path, print_: str, state: str, reason: str, now: datetime, run: dict[str, str]
) -> SceneRow:
    name, path = name_of(entry), _to_storable(str(entry))
    hash_, why = _name_row(site, name, print_), shorten(reason, entry)
    return SceneRow(hash_, site.id, name, None, "single", path, now, state, why, run=run)


def notify_waiting(db: Database, site: Site, rows: Iterable[SceneRow], now: datetime) -> None:
    """Notify people of the scenes that have waited longer than `NOTIFIED_AFTER`."""
    for row in rows:
        if row.state == WAITING and now - row.received_at >= NOTIFIED_AFTER:
            _notify(db, site, row, row.received_at, now)


def _notify(db: Database, site: Site, row: SceneRow, since_at: datetime, now: datetime) -> str:
    reason = _WAITS(name=row.name, since=Timestamp.of(since_at, "minute"), text=row.error or "")
    with db.write() as c:
        if not any(
            a.key == f"{PREFIX}{row.name}"
            and isinstance(a.reason, Message)
            and a.reason.id == _WAITS.id
            and a.reason.values["text"] == (row.error or "")
            for a in _open_alerts(c, site)
        ):
            _apply(c, site, row.name, reason, now, is_open=True)
    return "told"


def notify_weights(db: Database, site: Site, now: datetime) -> None:
    """Notify people of weights of a site that are in use and cannot be read. End the alert when they can be."""
    with db.read() as c:
        notified = {a.key for a in _open_alerts(c, site, WEIGHTS) if a.state != "returned_unacknowledged"}
        faults = find_broken_weights(c, site)
    wanted = {
        f"{WEIGHTS}{model.model_hash[:SHORT_HASH_LENGTH]}": _OTHERS_TRIED(weights=describe_own(model.path))
        for model, _ in faults
    }
    changes = [health_alarm(key, 2, reason, is_open=True) for key, reason in wanted.items() if key not in notified]
    changes += [
        health_alarm(key, 0, _READ_AGAIN, is_open=False, notify=False) for key in sorted(notified - wanted.keys())
    ]
    if not changes:
        return
    db.do(notify_site, site, changes, now, site.version)


def store_failure(db: Database, site: Site, entry: Path, print_: str, error: str, now: datetime) -> Message:
    """Store that a scene cannot be used, and notify people. Return one line."""
    row = _make_row(site, entry, print_, "failed", error, now, {"fingerprint": print_})
    name, reason = row.name, row.error or ""
    with db.write() as c:
        save_scene(c, row, [], now)
        drop_waiting(c, [_name_row(site, name, WAITING)])
        _apply(c, site, name, _UNUSABLE(name=name, text=reason), now, is_open=True)
    return FAILED(text=reason)


def clear(c: Connection, site: Site, name: str, now: datetime) -> None:
    """End the waiting state and the alert of a scene, in the transaction that stores it."""
    drop_waiting(c, [_name_row(site, name, WAITING)])
    _apply(c, site, name, _READ(name=name), now, is_open=False)


def end_troubles(
    db: Database, site: Site, rows: Iterable[SceneRow], present: Collection[str], read: Collection[str], now: datetime
) -> None:
    """End the alerts of scenes that were read or removed from the inbox."""
    gone = [r for r in rows if r.state == WAITING and (r.name not in present or r.name in read)]
    with db.read() as c:
        notified = [a.key.removeprefix(PREFIX) for a in _open_alerts(c, site) if a.state != "returned_unacknowledged"]
    over = {name: _READ(name=name) for name in notified if name in read}
    over |= {name: _GONE(name=name) for name in notified if name not in present}
    if not gone and not over:
        return
    with db.write() as c:
        drop_waiting(c, [r.scene_hash for r in gone])
        for name, why in over.items():
            if name not in present:
                forget_failure(c, site.id, name)  # if it is put back, it is tried again
            _apply(c, site, name, why, now, is_open=False)


def shorten(reason: str, entry: Path) -> str:
    """Return a reason without the path of the inbox, because the page and messages must not show paths of the server.

    >>> shorten("/var/in/bench/s1/B4.tif: has not arrived", Path("/var/in/bench/s1"))
    's1/B4.tif: has not arrived'
    """
    text = hide_folder(reason, entry.parent)
    return text if isinstance(text, Message) else _to_storable(text)


def _to_storable(text: str) -> str:
    """Return text that a database can store. A file name may contain bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _open_alerts(c: Connection, site: Site, prefix: str = PREFIX) -> list[Any]:
    return [a for a in load_alerts(c, site.id, open_only=True, ledger="health") if a.key.startswith(prefix)]


def _name_row(site: Site, name: str, mark: str) -> str:
    return hashlib.sha256(f"{site.id}|{name}|{mark}".encode()).hexdigest()


def _apply(c: Connection, site: Site, name: str, reason: Message, now: datetime, *, is_open: bool) -> None:
    change = health_alarm(f"{PREFIX}{name}", 1, reason, is_open=is_open, evidence={}, notify=is_open)
    notify_site(c, site, [change], now, site.version)
