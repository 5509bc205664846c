"""Values of the page of instruments."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from monitor.api.documents import draw_line
from monitor.api.plugins import hooks
from monitor.api.queries.alerts import find_common_silence
from monitor.api.sites import Parent
from monitor.api.text import Message, parse_time
from monitor.api.views import FindingRow
from monitor.api.web import SiteSnapshot, name_stations
from monitor.features.instruments.queries.board import PARENTS, BoardRow, load_present_board
from monitor.features.instruments.states import RANKS

MAX_SHOWN_BY_DEFAULT: Final = 40  # of more instruments, only those that need attention are shown by default
MAX_CARDS: Final = 120
SearchedField = Literal["instrument", "called", "logger", "base", "gateway", "power"]
SEARCHED_FIELDS: Final[tuple[SearchedField, ...]] = get_args(SearchedField)
# Values of the filter besides the states.
UNWELL: Final = "unwell"
ALL: Final = "all"
SPARK_WIDTH: Final = 120.0
SPARK_HEIGHT: Final = 28.0


class CalledRow(BoardRow):
    """An instrument with the name that people use for it."""

    called: str | None
    is_control: bool  # outside the slope; these instruments are listed last


class ShownInstrument(CalledRow):
    """An instrument as its card shows it."""

    path: str  # SVG path of the sparkline
    days_left: int | None  # for which the battery will last
    others: list[FindingRow]  # findings of other states than the one that is shown


def collect_instruments(seen: SiteSnapshot, find: str, state: str) -> dict[str, Any]:
    """Return the values of the page.

    Args:
        seen: The site.
        find: Part of the name of an instrument or a parent. Empty selects all.
        state: A state, `UNWELL`, `ALL` or empty for the default.
    """
    c = seen.c
    now = seen.now
    site = seen.card.id
    declared = seen.declared
    called = name_stations(declared)
    controls = () if declared is None else {station.id for station in declared.stations if not station.on_slope}
    rows: list[CalledRow] = [
        {**row, "called": called.get(row["instrument"]), "is_control": row["instrument"] in controls}
        for row in load_present_board(c, site, now)
    ]
    states = {str(row["state"]) for row in rows}
    states |= {str(finding["state"]) for row in rows for finding in row["findings"]}
    unwell = sum(map(_needs_attention, rows))
    state = _choose_state(find, state, len(rows), unwell)
    selected = select_rows(rows, find, state)
    named: frozenset[str] | None = None
    if find.strip():
        named = frozenset(str(row["instrument"]) for row in select_rows(rows, find, ALL))
    added = hooks().instruments_page_values(page=seen, instruments=named)
    return {
        # Values of this page replace those of plugins. Values of built-in features replace those of other plugins.
        **{name: value for values in reversed(added) for name, value in values.items()},
        "card": seen.card,
        "common_silence": find_common_silence(c, site),
        "groups": list_groups(selected[:MAX_CARDS], rows, now),
        "left_out": max(0, len(selected) - MAX_CARDS),
        "asked": len(selected),
        "find": find,
        "state": state,
        "states": sorted(states - {"ok", "unknown"}, key=lambda name: RANKS.get(name, len(RANKS))),
        "unwell": unwell,
        "total": len(rows),
        "judged_at": max((row["judged_at"] for row in rows if row["judged_at"]), default=None),
    }


def _choose_state(find: str, state: str, total: int, unwell: int) -> str:
    """Return the state to filter by: the requested one, or the default for the number of instruments."""
    if find.strip() and state in {"", UNWELL}:
        # A search for a name also finds instruments that need nothing.
        return ALL
    return state or (UNWELL if total > MAX_SHOWN_BY_DEFAULT and unwell else ALL)


def select_rows(rows: Sequence[CalledRow], find: str, state: str) -> list[CalledRow]:
    """Return the instruments with a name and a state. The most severe state is first; controls are last.

    The name may also be that of a parent.
    """
    searched = find.strip().casefold()

    def is_selected(row: CalledRow) -> bool:
        if not any(searched in str(row[field] or "").casefold() for field in SEARCHED_FIELDS):
            return False
        if state == UNWELL:
            return _needs_attention(row)
        return state == ALL or state in {row["state"], *(finding["state"] for finding in row["findings"])}

    def rank(row: CalledRow) -> tuple[bool, int, bool]:
        return not _needs_attention(row), RANKS.get(str(row["state"]), len(RANKS)), row.get("is_control", False)

    return sorted(filter(is_selected, rows), key=rank)


def list_groups(shown: Sequence[CalledRow], rows: Sequence[CalledRow], now: datetime) -> list[Mapping[str, Any]]:
    """Return the shown instruments by parent, in their order, each with facts about all instruments of the parent.

    `pages` are the numbers of alerts about several instruments of the parent.
    """
    all_by_parent: dict[str, list[CalledRow]] = {}
    for row in rows:
        all_by_parent.setdefault(row["parent"], []).append(row)
    shown_by_parent: dict[str, list[CalledRow]] = {}
    for row in shown:
        shown_by_parent.setdefault(row["parent"], []).append(row)
    groups: list[Mapping[str, Any]] = []
    for parent, shown_rows in shown_by_parent.items():
        siblings = all_by_parent[parent]
        groups.append(
            {
                "parent": parent,
                "ok": sum(row["state"] == "ok" for row in siblings),
                "total": len(siblings),
                "rows": [describe_row(row, now) for row in shown_rows],
                "above": _name_other_parents(siblings, parent),
                "pages": sorted({row["parent_alert_id"] for row in siblings if row["parent_alert_id"] is not None}),
            }
        )
    return groups


def _needs_attention(row: CalledRow) -> bool:
    return row["state"] not in {"ok", "unknown"}


def _name_other_parents(rows: Sequence[CalledRow], parent: str) -> list[str]:
    """Return the names of the bases, gateways and power supplies of instruments, without the given parent."""
    names: dict[str, None] = {}
    for kind in PARENTS[1:]:
        for row in rows:
            if row[kind]:
                names[Parent(kind, str(row[kind])).text] = None
    return [name for name in names if name != parent]


def describe_row(row: CalledRow, now: datetime) -> ShownInstrument:
    """Return a row with its sparkline and the days for which the battery will last."""
    spark = json.loads(row["spark"]) if row["spark"] else []
    days_left: int | None = None
    if row["battery_empty_at"] is not None:
        days_left = max(0, round((parse_time(row["battery_empty_at"]) - now) / timedelta(days=1)))
    others = [finding for finding in row["findings"] if finding["state"] != row["state"]]
    reasons = [finding["reason"] for finding in row["findings"]]
    # The method is not repeated if a finding contains it.
    is_in_finding = any(
        row["battery_method"] in reason.values.values() for reason in reasons if isinstance(reason, Message)
    )
    return {
        **row,
        "path": draw_line(spark, SPARK_WIDTH, SPARK_HEIGHT),
        "days_left": days_left,
        "others": others,
        "battery_method": "" if is_in_finding else row["battery_method"],
    }
