"""Find changes of a site file that loosen it: a high level could be reached later, fall sooner, or reach fewer people.

High levels are the two highest. A difference that is not known to be stricter or neutral counts as loosening, and so
does a field that a later version adds. Only texts for people (names, authors, reasons, dates of review), and changes
that cannot affect a high level, need no second person.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from monitor.decision.alert_texts import CRITERION_NAMED, RULE_NAMED
from monitor.decision.changes import AlertCategory
from monitor.sites.channels import find_channel_traits
from monitor.sites.fusion import Clause, Fusion, list_leaves
from monitor.sites.records import Criterion, Recipient, Site, Station, rename_stations
from monitor.sites.shadow import list_notified_people
from monitor.sites.witnesses import find_groups
from monitor.text.message import LABELLED_TEXT, Message, Template, Term

_FIELD: Final = Template("loosening.field", "{name}: {field} changes from {old} to {new}")
_SITE: Final = Template("loosening.site", "site")
_STATION: Final = Template("loosening.station", "station {station}")
_SERIES: Final = Template("loosening.series", "series {series}")
_DENIED: Final = Template("loosening.criterion_denied", "criterion {criterion}, which a rule denies")
_BOUND: Final = Template("loosening.bound", "criterion {criterion}, level {number} ({level})")
_RECIPIENT: Final = Template("loosening.recipient", "recipient {name}")
_PLAN: Final = Template("loosening.plan", "{plan} differs, and a criterion that counts depends on it")
_LADDER: Final = Template("loosening.ladder", "the levels differ")
_FALLS: Final = Template("loosening.falls", "level {level} falls by itself")
_ACTION: Final = Template("loosening.action", "level {level}: the action differs")
_REVIEW: Final = Template("loosening.review", "level {level}: it is reviewed less often")
_STAGE_GONE: Final = Template("loosening.stage_gone", "movement.{stage} was removed")
_STAGE_NEW: Final = Template("loosening.stage_new", "movement.{stage} is new")
_STATION_GONE: Final = Template("loosening.station_gone", "station {station} was removed")
_STRANGER: Final = Template(
    "loosening.stranger", "readings from {other}, which was no station of this site, count for {station}"
)
_SERIES_GONE: Final = Template("loosening.series_gone", "series {series} was removed")
_ONE_WITNESS: Final = Template("loosening.one_witness", "{station} and {other} are one witness now")
_SHARES: Final = Template("loosening.shares", "station {station} shares {what} with others")
_CONTROL: Final = Template("loosening.control", "station {station} is a new control")
_RULE_GONE: Final = Template("loosening.rule_gone", "fusion rule {rule} was removed")
_NEIGHBOURS: Final = Template("loosening.neighbours", "votes for high levels are set aside if no neighbour moves")
_CRITERION_GONE: Final = Template("loosening.criterion_gone", "criterion {criterion} was removed")
_CRITERION_NEW: Final = Template("loosening.criterion_new", "criterion {criterion} is new, of kind {kind}")
_BOUND_GONE: Final = Template("loosening.bound_gone", "{name}: the bound was removed")
_RECIPIENT_GONE: Final = Template("loosening.recipient_gone", "recipient {name} was removed")
_HIGH_LEVELS: Final = Template("loosening.high_levels", "{name} is no longer notified of every high level")
_ORDER: Final = Template("loosening.order", "the order of recipients differs, and escalation follows it")
_NO_MEMBER: Final = Template("loosening.no_member", "{name} is no longer a member")
_SHADOW: Final = Template(
    "loosening.shadow", "shadow mode begins: only recipients with trial = true are notified, and no siren sounds"
)
_FEWER: Final = Template("loosening.fewer_channels", "{name} is reached by fewer channels")
# Returns whether a change from an old to a new value is known to be stricter or neutral.
IsSafe = Callable[[Any, Any], bool]


def _is_lower(old: Any, new: Any) -> bool:
    return old is not None and new is not None and new <= old


def _is_higher(old: Any, new: Any) -> bool:
    return old is not None and new is not None and new >= old


def _is_sooner(old: Any, new: Any) -> bool:
    return old is None or _is_lower(old, new)


def _covers(old: Sequence[Any], new: Sequence[Any]) -> bool:
    return set(old) <= set(new)


def _is_always_safe(old: Any, new: Any) -> bool:  # noqa: ARG001 - any change is safe
    return True


SIGNED: Final = ("author", "reason", "valid_until")
# Safe changes by field. A difference in any other field counts as loosening.
SITE: Final[Mapping[str, IsSafe]] = {
    **dict.fromkeys(("name", "timezone", "version", "source", "teams"), _is_always_safe),
    **dict.fromkeys(("quantities", "total_stations"), _covers),
    "decoders": lambda old, new: tuple(new[: len(old)]) == tuple(old),
}
STATION: Final[Mapping[str, IsSafe]] = {
    **dict.fromkeys(
        ("v_eq_reviewed", "gateway", "power", "calibrated_on", "calibrate_every_s", "name"), _is_always_safe
    ),
    "v_eq_mm_per_day": _is_lower,
    "was": _covers,
}
# A lower noise floor detects more jumps, which wait for verification, and a shorter silence sets votes aside sooner, so
# neither is safe.
SERIES: Final[Mapping[str, IsSafe]] = {
    "low": _is_lower,
    "high": _is_higher,
    "empty": _is_always_safe,
    "by_hand": _is_lower,
    "source": _is_always_safe,
}
CRITERION: Final[Mapping[str, IsSafe]] = {
    **dict.fromkeys(SIGNED, _is_always_safe),
    **dict.fromkeys(("min_sigma", "recover"), _is_lower),
    **dict.fromkeys(("stations", "kinds"), _covers),
    "valid_for_s": _is_higher,
    "role": lambda old, new: old == "advice" and new == "witness",
    "fast_track": lambda old, new: new is not None and _is_sooner(old, new),
}
BOUND: Final[Mapping[str, IsSafe]] = {"over": _is_lower, "under": _is_higher, "probability": _is_lower}
DWELL: Final[Mapping[str, IsSafe]] = {
    "hits": _is_lower,
    "of": _is_higher,
    "within_s": lambda old, new: new is None or _is_higher(old, new),
}
# Directions that a kind of criterion can declare safe for a parameter.
DIRECTIONS: Final[Mapping[str, IsSafe]] = {"lower": _is_lower, "higher": _is_higher}
FUSION: Final[Mapping[str, IsSafe]] = {
    **dict.fromkeys(("top_needs", "hold_when_missing_s", "verify_within_s"), _is_lower),
    "fast_track": _is_higher,
}
RULE: Final[Mapping[str, IsSafe]] = {"author": _is_always_safe, "reason": _is_always_safe, "level": _is_higher}
STAGE: Final[Mapping[str, IsSafe]] = {"evaluate_every_s": _is_lower, "forecast_every_s": _is_lower}
RECIPIENT: Final[Mapping[str, IsSafe]] = {
    **dict.fromkeys(("channels", "ledgers"), _covers),
    "escalate_after_s": _is_sooner,
    # Urgent messages ignore quiet hours, and recipients by team alone have no levels.
    **dict.fromkeys(("phone", "quiet", "digest", "by_team"), _is_always_safe),
    "trial": _is_higher,
}
# Plans that affect levels only if a criterion that depends on them is more than advice.
ADVISED: Final = ("forecast", "anomaly", "scenes")


def find_loosening(old: Site, new: Site) -> tuple[Message, ...]:
    """Return the differences that could loosen a high level, one line each; empty if there are none."""
    old_ids = {station.id for station in old.stations}
    # A renamed station is the same station, unless both ids existed before.
    names = {
        former_id: new_id
        for former_id, new_id in new.renamed_stations.items()
        if former_id in old_ids and new_id not in old_ids
    }
    former_ids = {former_id for station in old.stations for former_id in station.was}
    strangers = [
        _STRANGER(station=new_id, other=former_id)
        for former_id, new_id in new.renamed_stations.items()
        if former_id not in {*names, *former_ids, *old_ids}
    ]
    old = rename_stations(old, names)
    high = max(1, old.top_level - 1)
    differences = [*strangers, *_compare_levels(old, new, high)]
    # These parts are compared below.
    parts = {
        "levels",
        "stations",
        "criteria",
        "fusion",
        "recipients",
        "movement",
        "shadow",
        "recipients_outside_shadow",
    }
    differences += _compare_fields(_SITE(), old, new, SITE, skip={*parts, *ADVISED})
    for plan in ADVISED:
        if getattr(old, plan) != getattr(new, plan) and any(
            c.kind.plan == plan and c.role != "advice" for c in (*old.criteria, *new.criteria)
        ):
            differences.append(_PLAN(plan=plan))
    differences += _compare_fusion(old.fusion, new.fusion, high)
    differences += _compare_movement(old, new)
    differences += _compare_stations(old, new)
    differences += _compare_criteria(old, new, high)
    differences += _compare_recipients(old.all_recipients, new.all_recipients, high)
    if new.shadow and not old.shadow and _notifies_beyond_log(old):
        differences.append(_SHADOW())
    return tuple(differences)


def _notifies_beyond_log(site: Site) -> bool:
    """Return whether a site has a recipient that is notified by another channel than the log of the service."""
    channels = [channel for person in list_notified_people(site.all_recipients).values() for channel in person]
    traits = [find_channel_traits(channel) for channel in channels]
    return any(channel.reaches_person or channel.orders or channel.of_broker for channel in traits)


def _compare_fields(
    name: str, old: Any, new: Any, safe_changes: Mapping[str, IsSafe], skip: Iterable[str] = ()
) -> list[Message]:
    names = [f.name for f in fields(old) if f.name not in {*skip}]
    return _compare_values(name, {k: getattr(old, k) for k in names}, {k: getattr(new, k) for k in names}, safe_changes)


def _compare_values(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], safe_changes: Mapping[str, IsSafe]
) -> list[Message]:
    return [
        _FIELD(name=name, field=key, old=_format_value(before), new=_format_value(new[key]))
        for key, before in old.items()
        if before != new[key] and not (key in safe_changes and safe_changes[key](before, new[key]))
    ]


def _format_value(value: Any) -> str:
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _compare_levels(old: Site, new: Site, high: int) -> list[Message]:
    if [k.name for k in old.levels] != [k.name for k in new.levels]:
        return [_LADDER()]
    differences = []
    for before, after in zip(old.levels, new.levels, strict=True):
        if before.number < high:
            continue
        level = Term(before.name)
        if after.auto_lower and not before.auto_lower:
            differences.append(_FALLS(level=level))
        if before.action != after.action:
            differences.append(_ACTION(level=level))
        if before.review_every_s is not None and not _is_lower(before.review_every_s, after.review_every_s):
            differences.append(_REVIEW(level=level))
    return differences


def _compare_movement(old: Site, new: Site) -> list[Message]:
    differences = _compare_fields("movement", old.movement, new.movement, {}, skip={"stages"})
    for stage in old.movement.stages:
        after = new.movement.stage(stage.stage)
        if after is None:
            differences.append(_STAGE_GONE(stage=stage.stage))
        else:
            differences += _compare_fields(f"movement.{stage.stage}", stage, after, STAGE)
    known = {s.stage for s in old.movement.stages}
    return differences + [_STAGE_NEW(stage=s.stage) for s in new.movement.stages if s.stage not in known]


# ---- stations --------------------------------------------------------------------------------------------------
def _compare_stations(old: Site, new: Site) -> list[Message]:
    differences = []
    for station in old.stations:
        after = next((s for s in new.stations if s.id == station.id), None)
        if after is None:
            differences.append(_STATION_GONE(station=station.id))
            continue
        differences += _compare_fields(_STATION(station=station.id), station, after, STATION, skip={"series"})
        for spec in station.series:
            new_spec = next((s for s in after.series if s.quantity == spec.quantity), None)
            series = f"{station.id}.{spec.quantity}"
            if new_spec is None:
                differences.append(_SERIES_GONE(series=series))
            else:
                differences += _compare_fields(_SERIES(series=series), spec, new_spec, SERIES)
    joined = _list_joined_witnesses(old, new)
    # A new station that shares a reference takes part in the test for a common motion.
    added = [s for s in new.stations if old.station(s.id) is None]
    equipment = {item for station in old.stations for item in _list_shared_equipment(station)}
    sharing = []
    for station in added:
        shared = _list_shared_equipment(station) & equipment
        if shared:
            names = sorted(name for _, name in shared)
            sharing.append(_SHARES(station=station.id, what=_format_value(names)))
    return [*differences, *joined, *sharing, *[_CONTROL(station=s.id) for s in added if not s.on_slope]]


def _list_joined_witnesses(old: Site, new: Site) -> list[Message]:
    before, after = find_groups(old), find_groups(new)
    return [
        _ONE_WITNESS(station=station.id, other=other.id)
        for i, station in enumerate(old.stations)
        for other in old.stations[i + 1 :]
        if station.id in after
        and other.id in after
        and before[station.id] != before[other.id]
        and after[station.id] == after[other.id]
    ]


def _list_shared_equipment(station: Station) -> set[tuple[str, str]]:
    names = ("reference", "logger", "antenna", "footprint", "area")
    equipment = ((name, getattr(station, name)) for name in names)
    return {(name, value) for name, value in equipment if value is not None}


# ---- criteria and the rules over them --------------------------------------------------------------------------
def _compare_fusion(old: Fusion, new: Fusion, high: int) -> list[Message]:
    differences = _compare_fields("fusion", old, new, FUSION, skip={"rules", "neighbours"})
    after = {r.id: r for r in new.rules}
    for rule in old.rules:
        if rule.level < high:
            continue
        new_rule = after.get(rule.id)
        differences += (
            [_RULE_GONE(rule=rule.id)]
            if new_rule is None
            else _compare_fields(RULE_NAMED(rule=rule.id), rule, new_rule, RULE)
        )
    if old.neighbours is None and new.neighbours is not None:
        differences.append(_NEIGHBOURS())
    elif old.neighbours is not None and new.neighbours is not None:
        differences += _compare_fields("fusion.neighbours", old.neighbours, new.neighbours, {"above": _is_higher})
    return differences


def _compare_criteria(old: Site, new: Site, top_two: int) -> list[Message]:
    differences = []
    after = {c.id: c for c in new.criteria}
    references = [s.reference for s in old.stations if s.on_slope and s.reference is not None]
    shared = len(set(references)) < len(references)
    named, denied = _find_criteria_in_rules(old.fusion, top_two)
    for criterion in old.criteria:
        new_criterion = after.get(criterion.id)
        # If stations share a reference, low bounds also decide which vote is set aside as common motion.
        low = (shared and criterion.kind.motion) or criterion.id in named
        high = 1 if low else top_two
        if new_criterion is None:
            if _affects_high_level(criterion, high):
                differences.append(_CRITERION_GONE(criterion=criterion.id))
        elif criterion.id in denied:
            differences += _compare_fields(_DENIED(criterion=criterion.id), criterion, new_criterion, {}, skip=SIGNED)
        elif _affects_high_level(criterion, high) or _affects_high_level(new_criterion, high):
            differences += _compare_criterion(criterion, new_criterion, high, [k.name for k in old.levels])
    known = {c.id for c in old.criteria}
    # A new criterion can only raise a level, unless it is of an unknown kind.
    return differences + [
        _CRITERION_NEW(criterion=c.id, kind=str(c.kind))
        for c in new.criteria
        if c.id not in known and c.role != "advice" and c.kind.loosening == "unknown"
    ]


def _find_criteria_in_rules(fusion: Fusion, high: int) -> tuple[set[str], set[str]]:
    clauses = [r.when for r in fusion.rules if r.level >= high]
    named = {leaf.criterion for clause in clauses for leaf in list_leaves(clause)}
    denied = {
        leaf.criterion for clause in clauses for negation in _list_negations(clause) for leaf in list_leaves(negation)
    }
    return named, denied


def _list_negations(clause: Clause) -> Iterator[Clause]:
    if clause.op == "not":
        yield clause
    for part in clause.parts:
        yield from _list_negations(part)


def _affects_high_level(criterion: Criterion, high: int) -> bool:
    if criterion.kind.loosening == "reaching":
        return True
    if criterion.role == "advice":
        return False
    has_only_bounds = criterion.role == "witness" and criterion.kind.loosening == "bounds"
    return not has_only_bounds or any(bound.level >= high for bound in criterion.thresholds)


def _compare_criterion(old: Criterion, new: Criterion, high: int, levels: Sequence[str]) -> list[Message]:
    name = CRITERION_NAMED(criterion=old.id)
    differences = _compare_fields(name, old, new, CRITERION, skip={"thresholds", "dwell", "params"})
    differences += _compare_fields(CRITERION_NAMED(criterion=f"{old.id}.dwell"), old.dwell, new.dwell, DWELL)
    differences += _compare_params(name, old, new)
    after = {(b.level, b.side): b for b in new.thresholds}
    lowest = 0 if old.kind.loosening != "bounds" or old.role == "part" else high
    for bound in old.thresholds:
        if bound.level >= lowest:
            bound_name = _BOUND(criterion=old.id, number=bound.level, level=Term(levels[bound.level]))
            new_bound = after.get((bound.level, bound.side))
            differences += (
                [_BOUND_GONE(name=bound_name)]
                if new_bound is None
                else _compare_fields(bound_name, bound, new_bound, BOUND)
            )
    return differences


def _compare_params(name: str, old: Criterion, new: Criterion) -> list[Message]:
    safe_params = {param: DIRECTIONS[direction] for param, direction in old.kind.safe_params}
    keys = sorted({*dict(old.params), *dict(new.params)})
    before, after = ({key: dict(criterion.params).get(key) for key in keys} for criterion in (old, new))
    return _compare_values(name, before, after, safe_params)


# ---- recipients ------------------------------------------------------------------------------------------------
def _compare_recipients(old: Sequence[Recipient], new: Sequence[Recipient], high: int) -> list[Message]:
    differences = []
    after = {r.name: r for r in new}
    for recipient in old:
        name, new_recipient = _RECIPIENT(name=recipient.name), after.get(recipient.name)
        high_levels = {n for n in recipient.levels if n >= high and AlertCategory.HAZARD in recipient.ledgers}
        if not high_levels and AlertCategory.HEALTH not in recipient.ledgers:
            continue
        if new_recipient is None:
            differences.append(_RECIPIENT_GONE(name=recipient.name))
            continue
        if not high_levels <= set(new_recipient.levels):
            differences.append(_HIGH_LEVELS(name=name))
        differences += _compare_fields(name, recipient, new_recipient, RECIPIENT, skip={"levels", "team"})
        differences += _compare_team(name, recipient, new_recipient)
    # Escalation follows the list, so a new recipient may only be added at its end.
    if [r.name for r in new][: len(old)] != [r.name for r in old] and all(r.name in after for r in old):
        differences.append(_ORDER())
    return differences


def _compare_team(name: str, old: Recipient, new: Recipient) -> list[Message]:
    after = {m.name: m for m in new.everybody}
    differences = []
    for member in old.team.members if old.team is not None else ():
        new_member = after.get(member.name)
        if new_member is None:
            differences.append(LABELLED_TEXT(name=name, text=_NO_MEMBER(name=member.name)))
        elif not _covers(member.channels, new_member.channels):
            differences.append(LABELLED_TEXT(name=name, text=_FEWER(name=member.name)))
    return differences
