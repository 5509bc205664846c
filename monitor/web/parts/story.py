"""The story of an alert in one line of time: what was decided, what people did, what was sent and who confirmed it."""

from collections.abc import Iterable, Mapping
from typing import Any

from monitor.domain.instants import parse

Row = Mapping[str, Any]


def tell_story(events: Iterable[Row], messages: Iterable[Row], photos: Iterable[Row] = ()) -> list[dict[str, Any]]:
    """Entries by time: `event`, `photo`, and `sent`, `received`, `confirmed` with the names of all that share a minute.

    Args:
        events: rows of `alert_events`.
        messages: rows of `deliveries`.
        photos: rows of `photos`.
    """
    told = [{"kind": "event", "at": e["at"], "event": e} for e in events]
    told += [{"kind": "photo", "at": p["added_at"], "photo": p} for p in photos]
    together: dict[tuple[str, str], dict[str, Any]] = {}
    for m in messages:
        for kind, at, name in (
            ("sent", m["sent_at"], f"{m['recipient']} ({m['kind']})"),
            ("received", m["received_at"], f"{m['recipient']} ({m['kind']})"),
            ("confirmed", m["confirmed_at"], m["confirmed_by"] or m["recipient"]),
        ):  # fmt: skip
            if at is not None:
                entry = together.setdefault((kind, at[:16]), {"kind": kind, "at": at, "names": []})
                entry["names"] += [] if name in entry["names"] else [name]
    return sorted([*told, *together.values()], key=lambda one: parse(one["at"]))
