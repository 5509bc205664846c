"""List the differences between two site files, key by key. Tables of a list are matched by their names."""

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
# Keys that can name a table of a list.
NAMES: Final = ("id", "name", "topic", "quantity")


@dataclass(frozen=True, slots=True)
class SiteFileDifference:
    """A key whose value differs; None if a file does not contain the key."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_format_value(self.old)} -> {_format_value(self.new)}"


def find_differences(old: str, new: str) -> tuple[SiteFileDifference, ...]:
    r"""Return the keys whose values differ, in the order of the new file; removed keys are last.

    >>> [str(d) for d in find_differences("[fusion]\ntop_needs = 2", "[fusion]\ntop_needs = 3")]
    ['fusion.top_needs: 2 -> 3']
    >>> old, new = ("[[station]]\narea = 'x'\n" + line for line in ("id = 'A'", "id = 'B'\nwas = ['A']"))
    >>> [str(d) for d in find_differences(old, new)]
    ["station[B].id: 'A' -> 'B'", "station[B].was: (not set) -> ['A']"]
    """
    old_file, new_file = tomllib.loads(old), tomllib.loads(new)
    before, after = dict(_flatten("", old_file)), dict(_flatten("", new_file))
    old_ids = {station.get("id") for station in old_file.get("station", ())}
    for station in new_file.get("station", ()):
        if station.get("id") in old_ids:
            continue
        # A renamed station is compared with the station of its former id.
        new_prefix = f"station[{station.get('id')}]."
        for former_id in station.get("was", ()):
            old_prefix = f"station[{former_id}]."
            before = {
                new_prefix + key[len(old_prefix) :] if key.startswith(old_prefix) else key: value
                for key, value in before.items()
            }
    keys = [*after, *(key for key in before if key not in after)]
    return tuple(
        SiteFileDifference(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)
    )


def differ(old: Site | None, new: Site) -> tuple[SiteFileDifference, ...]:
    """Return the differences between two site files. Without an old file all keys are new."""
    return find_differences("" if old is None else old.source, new.source)


# See `monitor.alerts.replay.scorecard.Run.to_json`.
StoredRun = Mapping[str, Any]
# The effect of a proposed file on the past, as stored with the proposal. `skipped` contains why nothing was computed.
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


def format_effect(effect: StoredEffect) -> list[str]:
    """Return the effect on the past as lines for people: both files, then their differences."""
    if "scorecard" not in effect:
        return [_NOT_COMPUTED(text=effect.get("skipped") or _NOT_STORED())]
    card = effect["scorecard"]
    lines = [f"effect, replayed from {effect['from'][:10]} to {effect['to'][:10]}:"]
    for name, run in zip(effect["names"], card["runs"], strict=True):
        hours = ", ".join(f"{level} {hours_at_level / 24.0:.2f} d" for level, hours_at_level in list_hours(run))
        hazards = sum(a["ledger"] == "hazard" for a in run["alerts"])
        lines.append(
            f"  {name}: {hazards} hazard alerts, {run['alarm_days']} days with one, {run['misses']} of "
            f"{len(run['events'])} events missed; time in {hours}"
        )
    lines += [f"  {line}" for line in card["differences"]]
    return lines if len(card["runs"]) < 2 or card["differences"] else [*lines, "  no difference in that time"]


def name_levels(run: StoredRun) -> dict[int, str]:
    """Return the levels that a run reached, the lowest first. Stored JSON sorts names by the alphabet."""
    return dict(sorted({(s["level"], s["level_name"]) for s in run.get("level_history", ())}))


def list_hours(run: StoredRun) -> list[tuple[str, float]]:
    """Return the hours at each level that a run reached, the lowest level first."""
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
            # A criterion without an id is named by its kind and number.
            if not name or (kind and "id" not in item):
                name = f"{kind}-{counts[kind]}"
            yield from _flatten(f"{prefix}[{name}]", item)
    else:
        yield prefix, str(value) if not isinstance(value, str | int | float | bool | list) else value


def _format_value(value: Any) -> str:
    return "(not set)" if value is None else repr(value) if isinstance(value, str) else str(value)


def format_proposal(proposal: Proposal) -> list[str]:
    """Return a proposal as lines for people: author and reason, differences, effect on the past."""
    lines = [f"proposal {proposal.id} of {proposal.site}, {proposal.state}, by {proposal.author}: {proposal.reason}"]
    if proposal.decided_at is not None:
        decided_at = f"{format_iso(proposal.decided_at)[:16]}Z"
        lines.append(f"  {proposal.state} {decided_at} by {proposal.approved_by}: {proposal.decision_reason}")
    for difference in proposal.differences or ():
        old, new = ("(not set)" if difference[k] is None else difference[k] for k in ("old", "new"))
        lines.append(f"  {difference['key']}: {old} -> {new}")
    effect: StoredEffect = proposal.effect or StoredEffect()
    if proposal.loosens_high:
        lines.append("  loosens one of the two highest levels; its approver must be somebody else:")
        lines += [f"    {line}" for line in effect.get("loosens", ())]
    return [*lines, *(f"  {line}" for line in format_effect(effect))]
