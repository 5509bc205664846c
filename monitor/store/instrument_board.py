"""The board of instruments: one row each with what it hangs on, its findings and its months, parents together."""

from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain.instruments.board import ACTIONS
from monitor.store.schema.views import load_view

# what a row is listed under: the first of these that it has
PARENTS: Final = (("logger", "logger"), ("base", "base"), ("gateway", "gateway"), ("power", "power supply"))


def load_board(
    c: Connection, site: str | frozenset[str] | None, instrument: str | None = None
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of `instrument_health` by site and parent, each with `parent`, `findings` and `months`, newest first."""
    only: dict[str, Any] = {} if site is None else {"site": site}
    only |= {} if instrument is None else {"instrument": instrument}
    findings, months = (
        _group(c, "instrument_findings", "since", only),
        _group(c, "instrument_availability", "-month", only),
    )
    rows = load_view(c, "instrument_health", order_by=("site", "instrument"), **only)
    for row in rows:
        key = (row["site"], row["instrument"])
        row["parent"] = next((f"{word} {row[name]}" for name, word in PARENTS if row[name]), "")
        row["findings"], row["months"] = findings.get(key, []), months.get(key, [])
        # what it sends counts for nothing: it looks silent
        clock = next((f["action"] for f in row["findings"] if row["state"] == "stale" and f["state"] == "clock"), "")
        row["action"] = row["action"] or clock or ACTIONS.get(row["state"], "")
    return sorted(rows, key=lambda r: (r["site"], r["parent"] == "", r["parent"], r["instrument"]))


def _group(c: Connection, view: str, order: str, only: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in load_view(c, view, order_by=(order,), **only):
        found.setdefault((row["site"], row["instrument"]), []).append(row)
    return found
