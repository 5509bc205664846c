"""Scenes of the inbox that wait or cannot be used: store the reason and notify people."""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from detection.imagery.weights_file import shorten_weights_path
from monitor.api.database import Database
from monitor.api.decision import health_alarm
from monitor.api.queries.alerts import load_alerts, notify_site
from monitor.api.queries.models import SHORT_HASH_LENGTH
from monitor.api.sites import Site
from monitor.api.text import Message, Template, Timestamp, format_iso, hide_folder, parse_time
from monitor.features.scenes.queries.arrivals import SceneRow, save_scene
from monitor.features.scenes.queries.versions import WAITING, drop_waiting, forget_failure
from monitor.features.scenes.queries.weights import find_broken_weights
from monitor.features.scenes.rows import make_stored_name

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
ALERT_PREFIX: Final = "scene:"
WEIGHTS_ALERT_PREFIX: Final = "weights:"


def is_due(row: SceneRow | None, fingerprint: str, now: datetime) -> bool:
    """Return whether a waiting scene should be tried again: its files have changed, or `RETRY_AFTER` has passed."""
    run = {} if row is None else row.run or {}
    return run.get("fingerprint") != fingerprint or now - parse_time(run["looked_at"]) >= RETRY_AFTER


def store_waiting(
    db: Database, site: Site, entry: Path, fingerprint: str, reason: str, now: datetime, *, at_once: bool = False
) -> str:
    """Store that a scene waits, and why. Return a line on the outcome.

    Args:
        fingerprint: fingerprint of its files. If empty, the next run of the job tries the scene again.
        at_once: Notify people now. Otherwise `notify_waiting` does so after `NOTIFIED_AFTER`.
    """
    run = {"fingerprint": fingerprint, "looked_at": format_iso(now)}
    row = _make_row(site, entry, WAITING, WAITING, reason, now, run)
    db.run_write(save_scene, row, [], now)
    if not at_once:
        return f"waiting: {row.error}"
    _notify(db, site, row, now, now)
    return f"waiting: {row.error}; told"


def _make_row(
    site: Site, entry: Path, state_mark: str, state: str, reason: str, now: datetime, run: dict[str, str]
) -> SceneRow:
    """Return the row of a scene that was not read. Its hash depends on name and mark, because there is no result."""
    name, path = make_stored_name(entry), _to_storable(str(entry))
    row_hash = _hash_row(site, name, state_mark)
    return SceneRow(row_hash, site.id, name, None, "single", path, now, state, shorten(reason, entry), run=run)


def notify_waiting(db: Database, site: Site, rows: Iterable[SceneRow], now: datetime) -> None:
    """Notify people of the scenes that have waited longer than `NOTIFIED_AFTER`."""
    for row in rows:
        if row.state == WAITING and now - row.received_at >= NOTIFIED_AFTER:
            _notify(db, site, row, row.received_at, now)


def _notify(db: Database, site: Site, row: SceneRow, since_at: datetime, now: datetime) -> None:
    """Open the alert of a waiting scene, unless one with the same reason is open."""
    reason = _WAITS(name=row.name, since=Timestamp.of(since_at, "minute"), text=row.error or "")
    with db.write() as c:
        is_open = any(
            alert.key == f"{ALERT_PREFIX}{row.name}"
            and isinstance(alert.reason, Message)
            and alert.reason.id == _WAITS.id
            and alert.reason.values["text"] == (row.error or "")
            for alert in _load_open_alerts(c, site)
        )
        if not is_open:
            _change_alert(c, site, row.name, reason, now, is_open=True)


def notify_weights(db: Database, site: Site, now: datetime) -> None:
    """Notify people of weights of a site that are in use and cannot be read. End the alerts of all other weights."""
    with db.read() as c:
        alerts = _load_open_alerts(c, site, WEIGHTS_ALERT_PREFIX)
        faults = find_broken_weights(c, site)
    notified = {alert.key for alert in alerts if alert.state != "returned_unacknowledged"}
    reasons = {
        f"{WEIGHTS_ALERT_PREFIX}{model.model_hash[:SHORT_HASH_LENGTH]}": _OTHERS_TRIED(
            weights=shorten_weights_path(model.path)
        )
        for model, _ in faults
    }
    changes = [health_alarm(key, 2, reason, is_open=True) for key, reason in reasons.items() if key not in notified]
    changes += [
        health_alarm(key, 0, _READ_AGAIN, is_open=False, notify=False) for key in sorted(notified - reasons.keys())
    ]
    if not changes:
        return
    db.run_write(notify_site, site, changes, now, site.version)


def store_failure(db: Database, site: Site, entry: Path, fingerprint: str, error: str, now: datetime) -> Message:
    """Store that a scene cannot be used, and notify people. Return a line on the outcome."""
    row = _make_row(site, entry, fingerprint, "failed", error, now, {"fingerprint": fingerprint})
    name, reason = row.name, row.error or ""
    with db.write() as c:
        save_scene(c, row, [], now)
        drop_waiting(c, [_hash_row(site, name, WAITING)])
        _change_alert(c, site, name, _UNUSABLE(name=name, text=reason), now, is_open=True)
    return FAILED(text=reason)


def end_waiting(c: Connection, site: Site, name: str, now: datetime) -> None:
    """End the waiting state and the alert of a scene, in the transaction that stores it."""
    drop_waiting(c, [_hash_row(site, name, WAITING)])
    _change_alert(c, site, name, _READ(name=name), now, is_open=False)


def end_alerts(
    db: Database, site: Site, rows: Iterable[SceneRow], present: Collection[str], read: Collection[str], now: datetime
) -> None:
    """End the waiting states and alerts of scenes that were read or removed from the inbox.

    Args:
        present: names of the entries of the inbox.
        read: names of the entries that were read in an earlier run.
    """
    outdated = [row for row in rows if row.state == WAITING and (row.name not in present or row.name in read)]
    with db.read() as c:
        alerts = _load_open_alerts(c, site)
    notified = [alert.key.removeprefix(ALERT_PREFIX) for alert in alerts if alert.state != "returned_unacknowledged"]
    end_reasons = {name: _READ(name=name) for name in notified if name in read}
    end_reasons |= {name: _GONE(name=name) for name in notified if name not in present}
    if not outdated and not end_reasons:
        return
    with db.write() as c:
        drop_waiting(c, [row.scene_hash for row in outdated])
        for name, reason in end_reasons.items():
            if name not in present:
                forget_failure(c, site.id, name)  # if its files return, the scene is tried again
            _change_alert(c, site, name, reason, now, is_open=False)


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


def _load_open_alerts(c: Connection, site: Site, prefix: str = ALERT_PREFIX) -> list[Any]:
    alerts = load_alerts(c, site.id, open_only=True, ledger="health")
    return [alert for alert in alerts if alert.key.startswith(prefix)]


def _hash_row(site: Site, name: str, state_mark: str) -> str:
    return hashlib.sha256(f"{site.id}|{name}|{state_mark}".encode()).hexdigest()


def _change_alert(c: Connection, site: Site, name: str, reason: Message, now: datetime, *, is_open: bool) -> None:
    """Open or end the alert of a scene. People are notified only if it is opened."""
    change = health_alarm(f"{ALERT_PREFIX}{name}", 1, reason, is_open=is_open, evidence={}, notify=is_open)
    notify_site(c, site, [change], now, site.version)
