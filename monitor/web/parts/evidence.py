"""Frozen inputs of a decision as tables that people read: who said what, who counted, on which readings."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from forecasting.message import Template, Term
from monitor.domain.headline import find_own_bound, find_unit, name_of, read_outcome, window_of
from monitor.domain.instants import from_epoch_s
from monitor.domain.keys import VoteKey
from monitor.domain.quantities import QUANTITIES
from monitor.domain.site import Site
from monitor.language.figures import spell_number

MOST: Final = 40  # rows of one table; the JSON below holds all
READING_HEAD: Final = ("observed", "received", "revision", "raw", "offset", "value", "sigma", "flags", "extra")
_MEASURED: Final = {
    "raw": Template("evidence.raw", "raw ({unit})"), "offset": Template("evidence.offset", "offset ({unit})"),
    "value": Template("evidence.value", "value ({unit})"), "sigma": Template("evidence.sigma", "sigma ({unit})"),
}  # fmt: skip
_READINGS: Final = Template("evidence.readings", "Readings of {series}")
Table = dict[str, Any]


def read_evidence(evidence: Mapping[str, Any]) -> list[Table]:
    """Tables out of frozen inputs; those of a level decision are arranged, others are walked as they are."""
    outcome = evidence.get("outcome")
    if isinstance(outcome, Mapping) and isinstance(evidence.get("view"), Mapping):
        with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):  # altered: shown as it is
            return _arrange(outcome.get("evidence") or {}, evidence["view"])
    return _walk("", evidence)


def find_sentence(evidence: Mapping[str, Any]) -> str:
    """The one sentence that says why, or nothing."""
    return evidence.get("sentence") or evidence.get("reason") or ""


def list_findings(frozen: Mapping[str, Any], site: Site | None) -> dict[str, Any]:
    """Who asked for more than the lowest level, in figures that make sentences; the highest level first.

    Returns:
        `said`: for each vote its station, value, unit, span, level, bound and instant, or its stored reason; `agree`:
        how many stations counted for the level, and how many were asked; nothing where no criterion voted.
    """
    told = read_outcome(frozen)
    if site is None or not told:
        return {}
    words = {VoteKey(w["criterion"], w["station"]): w for w in told.get("words", ())}
    rates = {c.id: c for c in site.criteria if c.kind.rate}
    said = []
    for name, vote in told.get("votes", {}).items():
        key = VoteKey.read(name)
        word = words.get(key)
        if not vote["level"] or word is None:
            continue
        found: dict[str, Any] = {
            "station": key.station, "level": vote["level"], "at": _instant(vote["newest_s"]), "reason": word["reason"],
            "aside": vote["pended"] or "", "counted": vote["counted"], "name": name_of(site, vote["level"]),
        }  # fmt: skip
        bound = find_own_bound(word, vote["level"])
        if bound is not None and key.criterion in rates:
            criterion = rates[key.criterion]
            found |= {
                "value": spell_number(bound["rate"]), "bound": spell_number(bound["bound"]),
                "span_s": window_of(bound), "unit": find_unit(site, key.criterion),
                "moved": criterion.kind.velocity, "quantity": criterion.quantity,
            }  # fmt: skip
        said.append(found)
    said.sort(key=lambda one: (-one["level"], not one["counted"], one["station"]))
    top = max((one["level"] for one in said if one["counted"]), default=0)
    agree = {one["station"] for one in said if one["counted"] and one["level"] == top}
    asked = {w["station"] for w in told.get("words", ()) if w["criterion"] in rates}
    return {"said": said, "agree": (len(agree), len(asked | agree)), "name": name_of(site, top)} if said else {}


def _table(name: str, head: tuple[str, ...] | list[str], rows: list[list[Any]]) -> Table:
    return {
        "name": name, "head": list(head), "rows": rows[-MOST:], "left": max(len(rows) - MOST, 0), "folded": False,
    }  # fmt: skip


def _instant(at_s: Any) -> Any:
    return from_epoch_s(at_s) if isinstance(at_s, int | float) else "–"


def _arrange(told: Mapping[str, Any], view: Mapping[str, Any]) -> list[Table]:
    tables = read_told(told)
    for name, readings in view.get("readings", {}).items():
        rows = [[_flat(v) for v in r[: len(READING_HEAD)]] for r in readings]
        known = QUANTITIES.get(name.partition(".")[2])
        head = [_MEASURED[h](unit=known.unit) if known and h in _MEASURED else h for h in READING_HEAD]
        tables.append({**_table(_READINGS(series=name), head, rows), "folded": True})
    for name in ("forecasts", "anomalies", "footprints", "reports", "events", "failures", "maintenance", "points"):
        tables += [{**t, "folded": True} for t in _walk(name, view.get(name) or [])]
    return [t for t in tables if t["rows"]]


def read_told(told: Mapping[str, Any]) -> list[Table]:
    """Votes, words, steps and holds of a decision's evidence as tables; empty ones are left out."""
    votes = []
    for key, v in told.get("votes", {}).items():
        counted, aside = Term("counted" if v["counted"] else "not counted"), v["pended"] or ""
        votes.append(
            [key.replace("|", " · "), v["level"], counted, aside, _instant(v["newest_s"]), _instant(v["valid_until_s"])]
        )
    words = []
    for w in told.get("words", ()):
        age = Term("fresh" if w["fresh"] else "old" if w["heard"] else "silent")
        words.append([w["criterion"], w["station"], w["raise_level"], age, _instant(w["newest_s"]), w["reason"]])
    steps = [[key, v["level"], v["state"], v["reason"]] for key, v in told.get("steps", {}).items()]
    tables = [
        _table("Votes", ("witness", "level", "", "set aside because", "newest datum", "valid until"), votes),
        _table("What each rule said", ("rule", "station", "level", "datum", "newest", "in words"), words),
        _table("Sudden steps", ("step", "level", "state", "in words"), steps),
        _table("Common motion", ("reference", "in words"), [list(item) for item in told.get("common", {}).items()]),
        _table("Held by", ("witness",), [[key] for key in told.get("held_by", ())]),
    ]
    return [t for t in tables if t["rows"]]


def _walk(name: str, value: Any) -> list[Table]:
    if isinstance(value, Mapping):
        plain = [[k, v] for k, v in value.items() if not isinstance(v, Mapping | list)]
        tables = [_table(name, (), plain)] if plain else []
        for key, inner in value.items():
            if isinstance(inner, Mapping | list) and inner:
                tables += _walk(f"{name} › {key}" if name else str(key), inner)
        return tables
    if value and all(isinstance(item, Mapping) for item in value):
        head = list(dict.fromkeys(k for item in value for k in item))
        return [_table(name, head, [[_flat(item.get(k)) for k in head] for item in value])]
    rows = [[_flat(v) for v in item] if isinstance(item, list) else [_flat(item)] for item in value]
    return [_table(name, (), rows)] if rows else []


def _flat(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value
