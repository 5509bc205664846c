"""What differs between two site files, key by key, as a person reads them: tables of a list go by their names."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from monitor.sites.queries.sites import Proposal
from monitor.sites.records import Site
from monitor.text.instants import format_iso
from monitor.text.message import Template

_NOT_COMPUTED: Final = Template("effect.not_computed", "effect: not computed: {text}")
_NOT_STORED: Final = Template("effect.not_stored", "it was not stored")
NAMES: Final = ("id", "name", "topic", "quantity")  # what a table of a list may be called by


@dataclass(frozen=True, slots=True)
class SiteFileDifference:
    """One key; None where the file does not say it."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_format_value(self.old)} -> {_format_value(self.new)}"


def find_differences(old: str, new: str) -> tuple[SiteFileDifference, ...]:
    r"""Keys whose values differ, in the order of the new file, those that are gone last.

    >>> [str(d) for d in find_differences("[fusion]\ntop_needs = 2", "[fusion]\ntop_needs = 3")]
    ['fusion.top_needs: 2 -> 3']
    >>> old, new = ("[[station]]\narea = 'x'\n" + own for own in ("id = 'A'", "id = 'B'\nwas = ['A']"))
    >>> [str(d) for d in find_differences(old, new)]
    ["station[B].id: 'A' -> 'B'", "station[B].was: (not said) -> ['A']"]
    """
    then, now = tomllib.loads(old), tomllib.loads(new)
    before, after = dict(_flatten("", then)), dict(_flatten("", now))
    had = {station.get("id") for station in then.get("station", ())}
    for station in now.get("station", ()):  # one that was renamed is compared with itself
        for was in station.get("was", ()) if station.get("id") not in had else ():
            mine, its = f"station[{was}].", f"station[{station.get('id')}]."
            before = {(its + k[len(mine) :] if k.startswith(mine) else k): value for k, value in before.items()}
    keys = [*after, *(k for k in before if k not in after)]
    return tuple(SiteFileDifference(k, before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k))


def differ(old: Site | None, new: Site) -> tuple[SiteFileDifference, ...]:
    """The same for two declarations; everything is new where there was none."""
    return find_differences("" if old is None else old.source, new.source)


StoredRun = Mapping[str, Any]  # `monitor.alerts.replay.scorecard.Run.to_json`
StoredEffect = TypedDict(
    "StoredEffect",
    {
        "from": str,
        "to": str,
        "months": int,
        "names": Sequence[str],
        "scorecard": Mapping[str, Any],  # `monitor.alerts.replay.scorecard.Scorecard.to_json`
        "skipped": str,
        "loosens": list[str],
    },
    total=False,
)
"""What a change would have done, as it is stored with a proposal; `skipped` says why nothing was computed."""


def format_effect(effect: StoredEffect) -> list[str]:
    """The effect on the past for people: both declarations side by side, then what differs."""
    if "scorecard" not in effect:
        return [_NOT_COMPUTED(text=effect.get("skipped") or _NOT_STORED())]
    card = effect["scorecard"]
    lines = [f"effect, replayed from {effect['from'][:10]} to {effect['to'][:10]}:"]
    for name, run in zip(effect["names"], card["runs"], strict=True):
        hours = ", ".join(f"{level} {h / 24.0:.2f} d" for level, h in list_hours(run))
        hazards = sum(a["ledger"] == "hazard" for a in run["alerts"])
        lines.append(
            f"  {name}: {hazards} hazard alerts, {run['alarm_days']} days with one, {run['misses']} of "
            f"{len(run['events'])} events missed; time in {hours}"
        )
    lines += [f"  {line}" for line in card["differences"]]
    return lines if len(card["runs"]) < 2 or card["differences"] else [*lines, "  no difference in that time"]


def name_levels(run: StoredRun) -> dict[int, str]:
    """The levels that a run reached, the lowest first: names in stored JSON have an order of their own."""
    return dict(sorted({(s["level"], s["level_name"]) for s in run.get("level_history", ())}))


def list_hours(run: StoredRun) -> list[tuple[str, float]]:
    """Hours at each level that a run reached, the lowest first."""
    return [(name, run["time_in_level_h"][name]) for name in name_levels(run).values()]


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        counts: dict[str, int] = {}
        for item in value:
            name = next((str(item[k]) for k in NAMES if k in item), "")
            if item.keys() >= {"station", "quantity"}:
                name = f"{item['station']}.{item['quantity']}"
            kind = str(item.get("kind", ""))
            counts[kind] = counts.get(kind, 0) + 1
            if not name or (kind and "id" not in item):  # a criterion is called by its kind and number
                name = f"{kind}-{counts[kind]}"
            yield from _flatten(f"{prefix}[{name}]", item)
    else:
        yield prefix, str(value) if not isinstance(value, str | int | float | bool | list) else value


def _format_value(value: Any) -> str:
    return "(not said)" if value is None else repr(value) if isinstance(value, str) else str(value)


def format_proposal(one: Proposal) -> list[str]:
    """A proposed change for people: who and why, what differs, what it would have done."""
    lines = [f"proposal {one.id} of {one.site}, {one.state}, by {one.author}: {one.reason}"]
    if one.decided_at is not None:
        lines.append(f"  {one.state} {format_iso(one.decided_at)[:16]}Z by {one.approved_by}: {one.decision_reason}")
    for d in one.differences or ():
        old, new = ("(not said)" if d[k] is None else d[k] for k in ("old", "new"))
        lines.append(f"  {d['key']}: {old} -> {new}")
    effect: StoredEffect = one.effect or StoredEffect()
    if one.loosens_high:
        lines.append("  loosens one of the two highest levels; its approver must be somebody else:")
        lines += [f"    {line}" for line in effect.get("loosens", ())]
    return [*lines, *(f"  {line}" for line in format_effect(effect))]
