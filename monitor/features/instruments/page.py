"""Values of the page of instruments, loaded in one read transaction: the board, and values of panels."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from monitor.api.plugins import hooks
from monitor.api.queries.alerts import find_common_silence
from monitor.api.sites import Parent
from monitor.api.text import Message, parse_time
from monitor.api.views import FindingRow
from monitor.api.web import SiteSnapshot, draw_line, name_stations
from monitor.features.instruments.queries.board import PARENTS, BoardRow, load_present_board
from monitor.features.instruments.states import RANKS

FEW: Final = 40  # instruments that are all shown unasked; of more, those that need something
CARDS_AT_MOST: Final = 120
FoundBy = Literal["instrument", "called", "logger", "base", "gateway", "power"]
FOUND_BY: Final[tuple[FoundBy, ...]] = get_args(FoundBy)
UNWELL, EVERY = "unwell", "all"  # what may be asked for beside a state
WIDTH, HEIGHT = 120.0, 28.0  # of a small picture


class CalledRow(BoardRow):
    """An instrument, and what people call it."""

    called: str | None
    is_control: bool  # on stable ground: such ones come last


class ShownInstrument(CalledRow):
    """An instrument as its card shows it."""

    path: str  # of its small picture
    days_left: int | None  # that its battery lasts
    others: list[FindingRow]  # findings beside the one that is its state


def collect_instruments(seen: SiteSnapshot, find: str, state: str) -> dict[str, Any]:
    """All that the page shows of the instruments of a name or with a parent of that name, in a state."""
    c, now, site, declared = seen.c, seen.now, seen.card.id, seen.declared
    called = name_stations(declared)
    controls = () if declared is None else {s.id for s in declared.stations if not s.on_slope}
    rows: list[CalledRow] = [
        {**row, "called": called.get(row["instrument"]), "is_control": row["instrument"] in controls}
        for row in load_present_board(c, site, now)
    ]
    states = {str(r["state"]) for r in rows} | {str(f["state"]) for r in rows for f in r["findings"]}
    unwell = sum(map(_is_unwell, rows))
    state = _choose_state(find, state, len(rows), unwell)
    picked = pick_rows(rows, find, state)
    named = frozenset(str(r["instrument"]) for r in pick_rows(rows, find, EVERY)) if find.strip() else None
    added = hooks().instruments_page_values(page=seen, instruments=named)
    return {
        # Values of this page replace those of plugins, and values of built-in features those of third-party plugins.
        **{name: value for values in reversed(added) for name, value in values.items()},
        "card": seen.card,
        "common_silence": find_common_silence(c, site),
        "groups": list_groups(picked[:CARDS_AT_MOST], rows, now),
        "left_out": max(0, len(picked) - CARDS_AT_MOST),
        "asked": len(picked),
        "find": find,
        "state": state,
        "states": sorted(states - {"ok", "unknown"}, key=lambda s: RANKS.get(s, len(RANKS))),
        "unwell": unwell,
        "total": len(rows),
        "judged_at": max((r["judged_at"] for r in rows if r["judged_at"]), default=None),
    }


def _choose_state(find: str, state: str, total: int, unwell: int) -> str:
    """The state that is shown: the one asked for, else of many instruments those that need something."""
    if find.strip() and state in {"", UNWELL}:
        return EVERY  # who asks for a name wants it, well or not
    return state or (UNWELL if total > FEW and unwell else EVERY)


def pick_rows(rows: Sequence[CalledRow], find: str, state: str) -> list[CalledRow]:
    """Instruments of a name or with a parent of that name, in a state; the gravest first, controls last."""
    wanted = find.strip().casefold()
    found = [
        r
        for r in rows
        if any(wanted in str(r[key] or "").casefold() for key in FOUND_BY)
        and (
            state == EVERY
            or (state == UNWELL and _is_unwell(r))
            or state in {r["state"], *(f["state"] for f in r["findings"])}
        )
    ]
    return sorted(
        found, key=lambda r: (not _is_unwell(r), RANKS.get(str(r["state"]), len(RANKS)), r.get("is_control", False))
    )


def list_groups(shown: Sequence[CalledRow], rows: Sequence[CalledRow], now: datetime) -> list[Mapping[str, Any]]:
    """What is shown by parent, that of the gravest first; how many of each parent are well, and the page for all."""
    every: dict[str, list[CalledRow]] = {}
    for row in rows:
        every.setdefault(row["parent"], []).append(row)
    mine: dict[str, list[CalledRow]] = {}
    for row in shown:
        mine.setdefault(row["parent"], []).append(row)
    return [
        {
            "parent": parent,
            "ok": sum(r["state"] == "ok" for r in every[parent]),
            "total": len(every[parent]),
            "rows": [describe_row(r, now) for r in those],
            "above": _name_above(every[parent], parent),
            "pages": sorted({r["parent_alert_id"] for r in every[parent] if r["parent_alert_id"] is not None}),
        }
        for parent, those in mine.items()
    ]


def _is_unwell(row: CalledRow) -> bool:
    return row["state"] not in {"ok", "unknown"}


def _name_above(rows: Sequence[CalledRow], parent: str) -> list[str]:
    found = dict.fromkeys(Parent(k, name).text for k in PARENTS[1:] for r in rows if (name := r[k]))
    return [name for name in found if name != parent]


def describe_row(row: CalledRow, now: datetime) -> ShownInstrument:
    """A row with its small picture and the days that its battery lasts."""
    spark = json.loads(row["spark"]) if row["spark"] else []
    empty = None if row["battery_empty_at"] is None else parse_time(row["battery_empty_at"])
    left = None if empty is None else max(0, round((empty - now) / timedelta(days=1)))
    others = [f for f in row["findings"] if f["state"] != row["state"]]
    reasons = [f["reason"] for f in row["findings"]]
    is_named = any(row["battery_method"] in one.values.values() for one in reasons if isinstance(one, Message))
    return {
        **row,
        "path": draw_line(spark, WIDTH, HEIGHT),
        "days_left": left,
        "others": others,
        "battery_method": "" if is_named else row["battery_method"],
    }
