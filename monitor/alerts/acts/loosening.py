"""Which changes of a site file could let one of the two highest levels come later, fall sooner or reach fewer people.

The judgement is conservative: a difference that is not known to be tightening or neutral counts as loosening, and so
does a field that a later version adds. Only what people are told to read (names, authors, reasons, dates of review)
and what cannot touch the two highest levels passes without a second person.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from monitor.decision.alert_texts import CRITERION_NAMED, RULE_NAMED
from monitor.decision.changes import AlertCategory
from monitor.sites.fusion import Clause, Fusion, list_leaves
from monitor.sites.records import Criterion, Recipient, Site, Station, rename_stations
from monitor.sites.witnesses import find_groups
from monitor.text.message import LABELLED_TEXT, Message, Template, Term

_FIELD: Final = Template("loosening.field", "{name}: {field} changes from {old} to {new}")
_SITE: Final = Template("loosening.site", "site")
_STATION: Final = Template("loosening.station", "station {station}")
_SERIES: Final = Template("loosening.series", "series {series}")
_DENIED: Final = Template("loosening.criterion_denied", "criterion {criterion}, which a rule denies")
_BOUND: Final = Template("loosening.bound", "criterion {criterion}, level {number} ({level})")
_RECIPIENT: Final = Template("loosening.recipient", "recipient {name}")
_PLAN: Final = Template("loosening.plan", "{plan} differs, and a criterion that counts rests on it")
_LADDER: Final = Template("loosening.ladder", "the ladder of levels differs")
_FALLS: Final = Template("loosening.falls", "level {level} falls by itself")
_ACTION: Final = Template("loosening.action", "level {level}: the action differs")
_REVIEW: Final = Template("loosening.review", "level {level}: it is reviewed less often")
_STAGE_GONE: Final = Template("loosening.stage_gone", "movement.{stage} is gone")
_STAGE_NEW: Final = Template("loosening.stage_new", "movement.{stage} is new")
_STATION_GONE: Final = Template("loosening.station_gone", "station {station} is gone")
_STRANGER: Final = Template(
    "loosening.stranger", "what comes from {other}, which was no station of this site, counts for {station}"
)
_SERIES_GONE: Final = Template("loosening.series_gone", "series {series} is gone")
_ONE_WITNESS: Final = Template("loosening.one_witness", "{station} and {other} are one witness now")
_SHARES: Final = Template("loosening.shares", "station {station} shares {what} with others")
_CONTROL: Final = Template("loosening.control", "station {station} is a new control")
_RULE_GONE: Final = Template("loosening.rule_gone", "fusion rule {rule} is gone")
_NEIGHBOURS: Final = Template("loosening.neighbours", "votes of high levels are set aside where no neighbour moves")
_CRITERION_GONE: Final = Template("loosening.criterion_gone", "criterion {criterion} is gone")
_CRITERION_NEW: Final = Template("loosening.criterion_new", "criterion {criterion} is new, of kind {kind}")
_BOUND_GONE: Final = Template("loosening.bound_gone", "{name}: the bound is gone")
_RECIPIENT_GONE: Final = Template("loosening.recipient_gone", "recipient {name} is gone")
_HIGH_LEVELS: Final = Template("loosening.high_levels", "{name} is no longer notified of every high level")
_ORDER: Final = Template("loosening.order", "recipients stand in another order, and escalation goes down the list")
_NO_MEMBER: Final = Template("loosening.no_member", "{name} belongs to it no more")
_FEWER: Final = Template("loosening.fewer_channels", "{name} is reached by fewer channels")
Safe = Callable[[Any, Any], bool]  # (old, new) -> known to be tightening or neutral


def _lower(old: Any, new: Any) -> bool:
    return old is not None and new is not None and new <= old


def _higher(old: Any, new: Any) -> bool:
    return old is not None and new is not None and new >= old


def _sooner(old: Any, new: Any) -> bool:
    return old is None or _lower(old, new)


def _covers(old: Sequence[Any], new: Sequence[Any]) -> bool:
    return set(old) <= set(new)


def _any(old: Any, new: Any) -> bool:  # noqa: ARG001 - what it was and is does not matter
    return True


SIGNED: Final = ("author", "reason", "valid_until")
# what is not named here counts as loosening as soon as it differs
SITE: Final[Mapping[str, Safe]] = {
    **dict.fromkeys(("name", "timezone", "version", "source", "teams"), _any),
    **dict.fromkeys(("quantities", "total_stations"), _covers),
    "decoders": lambda old, new: tuple(new[: len(old)]) == tuple(old),
}
STATION: Final[Mapping[str, Safe]] = {
    **dict.fromkeys(("v_eq_reviewed", "gateway", "power", "calibrated_on", "calibrate_every_s", "name"), _any),
    "v_eq_mm_per_day": _lower,
    "was": _covers,
}
# a lower noise floor finds more steps, which wait for verification; a shorter silence sets votes aside sooner
SERIES: Final[Mapping[str, Safe]] = {"low": _lower, "high": _higher, "empty": _any, "by_hand": _lower, "source": _any}
CRITERION: Final[Mapping[str, Safe]] = {
    **dict.fromkeys(SIGNED, _any),
    **dict.fromkeys(("min_sigma", "recover"), _lower),
    **dict.fromkeys(("stations", "kinds"), _covers),
    "valid_for_s": _higher,
    "role": lambda old, new: old == "advice" and new == "witness",
    "fast_track": lambda old, new: new is not None and _sooner(old, new),
}
BOUND: Final[Mapping[str, Safe]] = {"over": _lower, "under": _higher, "probability": _lower}
DWELL: Final[Mapping[str, Safe]] = {
    "hits": _lower,
    "of": _higher,
    "within_s": lambda old, new: new is None or _higher(old, new),
}
WAYS: Final[Mapping[str, Safe]] = {"lower": _lower, "higher": _higher}  # of the parameters that a kind calls safe
FUSION: Final[Mapping[str, Safe]] = {
    **dict.fromkeys(("top_needs", "hold_when_missing_s", "verify_within_s"), _lower),
    "fast_track": _higher,
}
RULE: Final[Mapping[str, Safe]] = {"author": _any, "reason": _any, "level": _higher}
STAGE: Final[Mapping[str, Safe]] = {"evaluate_every_s": _lower, "forecast_every_s": _lower}
RECIPIENT: Final[Mapping[str, Safe]] = {
    **dict.fromkeys(("channels", "ledgers"), _covers),
    "escalate_after_s": _sooner,
    # what is urgent passes quiet hours; who is notified by teams alone has no levels of his own
    **dict.fromkeys(("phone", "quiet", "digest", "by_team"), _any),
}
# plans that matter to levels only where a criterion that rests on them is more than advice
ADVISED: Final = ("forecast", "anomaly", "scenes")


def find_loosening(old: Site, new: Site) -> tuple[Message, ...]:
    """What of a change could loosen one of the two highest levels, a line each; empty when nothing could."""
    had = {s.id for s in old.stations}
    # a station with another id is the same one; where both ids had one, one of two is gone
    names = {was: now for was, now in new.renamed_stations.items() if was in had and now not in had}
    known = {*names, *(was for s in old.stations for was in s.was)}
    strangers = [
        _STRANGER(station=now, other=was) for was, now in new.renamed_stations.items() if was not in {*known, *had}
    ]
    old = rename_stations(old, names)
    high = max(1, old.top_level - 1)
    found = [*strangers, *_ladder(old, new, high)]
    parts = {"levels", "stations", "criteria", "fusion", "recipients", "movement"}  # judged one by one
    found += _fields(_SITE(), old, new, SITE, skip={*parts, *ADVISED})
    for plan in ADVISED:
        if getattr(old, plan) != getattr(new, plan) and any(
            c.kind.plan == plan and c.role != "advice" for c in (*old.criteria, *new.criteria)
        ):
            found.append(_PLAN(plan=plan))
    found += _fusion(old.fusion, new.fusion, high)
    found += _movement(old, new)
    found += _stations(old, new)
    found += _criteria(old, new, high)
    found += _recipients(old.recipients, new.recipients, high)
    return tuple(found)


def _fields(name: str, old: Any, new: Any, known: Mapping[str, Safe], skip: Iterable[str] = ()) -> list[Message]:
    left = [f.name for f in fields(old) if f.name not in {*skip}]
    return _values(name, {k: getattr(old, k) for k in left}, {k: getattr(new, k) for k in left}, known)


def _values(name: str, old: Mapping[str, Any], new: Mapping[str, Any], known: Mapping[str, Safe]) -> list[Message]:
    return [
        _FIELD(name=name, field=key, old=_format_value(before), new=_format_value(new[key]))
        for key, before in old.items()
        if before != new[key] and not (key in known and known[key](before, new[key]))
    ]


def _format_value(value: Any) -> str:
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _ladder(old: Site, new: Site, high: int) -> list[Message]:
    if [k.name for k in old.levels] != [k.name for k in new.levels]:
        return [_LADDER()]
    found = []
    for before, after in zip(old.levels, new.levels, strict=True):
        if before.number < high:
            continue
        level = Term(before.name)
        if after.auto_lower and not before.auto_lower:
            found.append(_FALLS(level=level))
        if before.action != after.action:
            found.append(_ACTION(level=level))
        if before.review_every_s is not None and not _lower(before.review_every_s, after.review_every_s):
            found.append(_REVIEW(level=level))
    return found


def _movement(old: Site, new: Site) -> list[Message]:
    found = _fields("movement", old.movement, new.movement, {}, skip={"stages"})
    for stage in old.movement.stages:
        after = new.movement.stage(stage.stage)
        if after is None:
            found.append(_STAGE_GONE(stage=stage.stage))
        else:
            found += _fields(f"movement.{stage.stage}", stage, after, STAGE)
    known = {s.stage for s in old.movement.stages}
    return found + [_STAGE_NEW(stage=s.stage) for s in new.movement.stages if s.stage not in known]


# ---- stations --------------------------------------------------------------------------------------------------
def _stations(old: Site, new: Site) -> list[Message]:
    found = []
    for station in old.stations:
        after = next((s for s in new.stations if s.id == station.id), None)
        if after is None:
            found.append(_STATION_GONE(station=station.id))
            continue
        found += _fields(_STATION(station=station.id), station, after, STATION, skip={"series"})
        for spec in station.series:
            now = next((s for s in after.series if s.quantity == spec.quantity), None)
            series = f"{station.id}.{spec.quantity}"
            if now is None:
                found.append(_SERIES_GONE(series=series))
            else:
                found += _fields(_SERIES(series=series), spec, now, SERIES)
    joined = _list_joined(old, new)
    # one more rover or control on a reference takes part in the test for a common motion
    added = [s for s in new.stations if old.station(s.id) is None]
    shared = {m for s in old.stations for m in _marks(s)}
    meets = [
        _SHARES(station=s.id, what=_format_value(sorted(v for _, v in _marks(s) & shared)))
        for s in added
        if _marks(s) & shared
    ]
    return [*found, *joined, *meets, *[_CONTROL(station=s.id) for s in added if not s.on_slope]]


def _list_joined(old: Site, new: Site) -> list[Message]:
    before, after = find_groups(old), find_groups(new)
    return [
        _ONE_WITNESS(station=one.id, other=other.id)
        for i, one in enumerate(old.stations)
        for other in old.stations[i + 1 :]
        if one.id in after
        and other.id in after
        and before[one.id] != before[other.id]
        and after[one.id] == after[other.id]
    ]


def _marks(station: Station) -> set[tuple[str, str]]:
    names = ("reference", "logger", "antenna", "footprint", "area")
    return {(n, v) for n in names if (v := getattr(station, n)) is not None}


# ---- criteria and the rules over them --------------------------------------------------------------------------
def _fusion(old: Fusion, new: Fusion, high: int) -> list[Message]:
    found = _fields("fusion", old, new, FUSION, skip={"rules", "neighbours"})
    after = {r.id: r for r in new.rules}
    for rule in old.rules:
        if rule.level < high:
            continue
        now = after.get(rule.id)
        found += [_RULE_GONE(rule=rule.id)] if now is None else _fields(RULE_NAMED(rule=rule.id), rule, now, RULE)
    if old.neighbours is None and new.neighbours is not None:
        found.append(_NEIGHBOURS())
    elif old.neighbours is not None and new.neighbours is not None:
        found += _fields("fusion.neighbours", old.neighbours, new.neighbours, {"above": _higher})
    return found


def _criteria(old: Site, new: Site, top_two: int) -> list[Message]:
    found = []
    after = {c.id: c for c in new.criteria}
    references = [s.reference for s in old.stations if s.on_slope and s.reference is not None]
    shared = len(set(references)) < len(references)
    named, denied = _named_by_rules(old.fusion, top_two)
    for criterion in old.criteria:
        now = after.get(criterion.id)
        # where motions are tested for a common one, low bounds too decide which vote is set aside
        low = (shared and criterion.kind.motion) or criterion.id in named
        high = 1 if low else top_two
        if now is None:
            if _matters(criterion, high):
                found.append(_CRITERION_GONE(criterion=criterion.id))
        elif criterion.id in denied:
            found += _fields(_DENIED(criterion=criterion.id), criterion, now, {}, skip=SIGNED)
        elif _matters(criterion, high) or _matters(now, high):
            found += _criterion(criterion, now, high, [k.name for k in old.levels])
    known = {c.id for c in old.criteria}
    # a new voice can only raise; what a later version knows may do anything
    return found + [
        _CRITERION_NEW(criterion=c.id, kind=str(c.kind))
        for c in new.criteria
        if c.id not in known and c.role != "advice" and c.kind.loosening == "unknown"
    ]


def _named_by_rules(fusion: Fusion, high: int) -> tuple[set[str], set[str]]:
    clauses = [r.when for r in fusion.rules if r.level >= high]
    named = {leaf.criterion for clause in clauses for leaf in list_leaves(clause)}
    denied = {leaf.criterion for clause in clauses for no in _denials(clause) for leaf in list_leaves(no)}
    return named, denied


def _denials(clause: Clause) -> Iterator[Clause]:
    if clause.op == "not":
        yield clause
    for part in clause.parts:
        yield from _denials(part)


def _matters(criterion: Criterion, high: int) -> bool:
    if criterion.kind.loosening == "reaching":
        return True
    if criterion.role == "advice":
        return False
    plain = criterion.role == "witness" and criterion.kind.loosening == "bounds"
    return not plain or any(bound.level >= high for bound in criterion.thresholds)


def _criterion(old: Criterion, new: Criterion, high: int, levels: Sequence[str]) -> list[Message]:
    name = CRITERION_NAMED(criterion=old.id)
    found = _fields(name, old, new, CRITERION, skip={"thresholds", "dwell", "params"})
    found += _fields(CRITERION_NAMED(criterion=f"{old.id}.dwell"), old.dwell, new.dwell, DWELL)
    found += _params(name, old, new)
    after = {(b.level, b.side): b for b in new.thresholds}
    lowest = 0 if old.kind.loosening != "bounds" or old.role == "part" else high
    for bound in old.thresholds:
        if bound.level >= lowest:
            of = _BOUND(criterion=old.id, number=bound.level, level=Term(levels[bound.level]))
            now = after.get((bound.level, bound.side))
            found += [_BOUND_GONE(name=of)] if now is None else _fields(of, bound, now, BOUND)
    return found


def _params(name: str, old: Criterion, new: Criterion) -> list[Message]:
    known = {param: WAYS[way] for param, way in old.kind.safe_params}
    keys = sorted({*dict(old.params), *dict(new.params)})
    before, after = ({key: dict(one.params).get(key) for key in keys} for one in (old, new))
    return _values(name, before, after, known)


# ---- recipients ------------------------------------------------------------------------------------------------
def _recipients(old: Sequence[Recipient], new: Sequence[Recipient], high: int) -> list[Message]:
    found = []
    after = {r.name: r for r in new}
    for recipient in old:
        name, now = _RECIPIENT(name=recipient.name), after.get(recipient.name)
        mine = {n for n in recipient.levels if n >= high and AlertCategory.HAZARD in recipient.ledgers}
        if not mine and AlertCategory.HEALTH not in recipient.ledgers:
            continue
        if now is None:
            found.append(_RECIPIENT_GONE(name=recipient.name))
            continue
        if not mine <= set(now.levels):
            found.append(_HIGH_LEVELS(name=name))
        found += _fields(name, recipient, now, RECIPIENT, skip={"levels", "team"})
        found += _team(name, recipient, now)
    # escalation goes down the list: nobody may step in between
    if [r.name for r in new][: len(old)] != [r.name for r in old] and all(r.name in after for r in old):
        found.append(_ORDER())
    return found


def _team(name: str, old: Recipient, new: Recipient) -> list[Message]:
    after = {m.name: m for m in new.everybody}
    found = []
    for member in old.team.members if old.team is not None else ():
        now = after.get(member.name)
        if now is None:
            found.append(LABELLED_TEXT(name=name, text=_NO_MEMBER(name=member.name)))
        elif not _covers(member.channels, now.channels):
            found.append(LABELLED_TEXT(name=name, text=_FEWER(name=member.name)))
    return found
