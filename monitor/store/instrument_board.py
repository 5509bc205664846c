"""The board of instruments: one row each with what it hangs on, its findings and its months, parents together."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, select

from forecasting.message import Template
from monitor.domain.instruments.board import ACTIONS
from monitor.domain.instruments.parents import Parent
from monitor.store.schema import tables as t
from monitor.store.schema.views import load_view

# what a row is listed under: the first of these that it has
PARENTS: Final = ("logger", "base", "gateway", "power")
_LOOK_AT: Final = Template("instrument.action.parent", "look at {parent}")
_LOOK_AT_RADIO: Final = Template("instrument.action.parent_radio", "look at power, antenna and radio of {parent}")


def load_board(
    c: Connection, site: str | frozenset[str] | None, instrument: str | None = None
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of `instrument_health` by site and parent, each with `parent`, `findings` and `months`, newest first.

    What one cause silenced stands under that cause, else under the first of `PARENTS` that it has.
    """
    only: dict[str, Any] = {"site": site, "instrument": instrument}
    findings, months = (
        _group(c, "instrument_findings", "since", only),
        _group(c, "instrument_availability", "-month", only),
    )
    rows = load_view(c, "instrument_health", order_by=("site", "instrument"), **only)
    causes = _load_causes(c, {row["parent_alert_id"] for row in rows} - {None})
    for row in rows:
        key = (row["site"], row["instrument"])
        row["parent"] = next((Parent(kind, row[kind]).text for kind in PARENTS if row[kind]), "")
        row["findings"], row["months"] = findings.get(key, []), months.get(key, [])
        # what it sends counts for nothing: it looks silent
        clock = next((f["action"] for f in row["findings"] if row["state"] == "stale" and f["state"] == "clock"), "")
        cause = causes.get(row["parent_alert_id"])
        if cause is not None:  # of all that one cause silenced, however many loggers they have
            row["parent"] = cause.text
            look = _LOOK_AT if cause.kind == "power" else _LOOK_AT_RADIO
            row["action"] = row["action"] or clock or look(parent=cause.text)
        row["action"] = row["action"] or clock or ACTIONS.get(row["state"], "")
    return sorted(rows, key=lambda r: (r["site"], r["parent"] == "", r["parent"], r["instrument"]))


def _load_causes(c: Connection, alerts: Collection[int]) -> dict[int, Parent]:
    """What the notices of common silence name, by number of the alert."""
    a, found = t.alert.c, {}
    for number, key in c.execute(select(a.id, a.key).where(a.id.in_(alerts))):
        kind, _, name = key.removeprefix("health:").removesuffix(":stale").partition(":")
        if kind in PARENTS:
            found[number] = Parent(kind, name)
    return found


def _group(c: Connection, view: str, order: str, only: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in load_view(c, view, order_by=(order,), **only):
        found.setdefault((row["site"], row["instrument"]), []).append(row)
    return found
