"""Who has the message of an alert: for each recipient the newest word of each channel, the one who confirmed first."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

# the best that happened on any way says how far a recipient is reached
_RANK: Final = ("failed", "superseded", "queued", "sending", "retrying", "sent", "delivered", "confirmed")


def gather_deliveries(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Recipients in the order in which they were notified, each with its ways.

    Args:
        rows: of the view `deliveries`, of one alert.

    >>> one = {"notification_id": 1, "recipient": "duty", "channel": "sms:A", "kind": "sms", "state": "sent", "why": ""}
    >>> times = dict.fromkeys(("sent_at", "received_at", "confirmed_at", "confirmed_by", "queued_at"))
    >>> gather_deliveries([{**one, **times}, {**one, **times, "notification_id": 2, "state": "failed"}])[0]["state"]
    'failed'
    """
    people: dict[str, dict[str, dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: r["notification_id"]):
        ways = people.setdefault(row["recipient"], {})
        known = ways.get(row["channel"])
        if known is None or row["state"] != "superseded":
            confirmed = known is not None and known["state"] == "confirmed"
            ways[row["channel"]] = known if known is not None and confirmed else _read(row)
    return [_sum_up(name, [*ways.values()]) for name, ways in people.items()]


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    at = row["confirmed_at"] or row["received_at"] or row["sent_at"] or row["queued_at"]
    return {
        "kind": row["kind"], "state": row["state"], "at": at, "by": row["confirmed_by"],
        "why": None if row["state"] == "confirmed" else row["why"],
    }  # fmt: skip


def _sum_up(name: str, ways: list[dict[str, Any]]) -> dict[str, Any]:
    best = max(ways, key=lambda way: _RANK.index(way["state"]))
    return {"recipient": name, "state": best["state"], "by": best["by"], "ways": ways}
