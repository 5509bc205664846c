"""What is told besides the level: conditions of health and advice as they open and close, and the sentence of why."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.alerting.assessment import Assessment, Windows
from monitor.alerting.ladder import Ask, Rung
from monitor.alerting.steps import ACTIVE, clock_s, station_of, station_of_vote
from monitor.domain.alert import AlertChange, Ledger
from monitor.domain.decision import Condition, Memory, Step, Vote, instant
from monitor.domain.instants import spell, spell_duration
from monitor.domain.site import Site
from monitor.store.types import canonical_json

if TYPE_CHECKING:
    from monitor.alerting.decide import Outlook

HAZARD_KEY = "hazard"


def list_conditions(
    windows: Windows, sick: Mapping[str, Condition], steps: Mapping[str, Step], common: Mapping[str, Sequence[str]],
    since: Mapping[str, float], ask: Ask, outlook: "Outlook", rung: Rung, words: Sequence[Assessment],
) -> dict[str, Condition]:  # fmt: skip
    """All conditions that are open now, by alert key."""
    site, now_s, before = windows.site, windows.now_s, windows.memory.conditions
    found = dict(sick)
    if windows.view.draining:
        # silence is not judged while a backlog drains: what was known stays
        found |= {k: c for k, c in before.items() if k.endswith((":stale", ":cannot_see", ":reachable"))}
    for key, step in steps.items():
        name = f"health:{station_of(key)}:verify"
        if step.state in {"pending", *ACTIVE} and (name not in found or step.state in ACTIVE):
            clock = (
                f"counts as movement at {spell(instant(step.known_s + clock_s(site, station_of(key))))}"
                if step.state == "pending" else "counts as movement until a person says no"
            )  # fmt: skip
            text = f"verify now: {step.reason}; {clock}"
            found[name] = Condition("health", 2, step.known_s, text)
    for reference, stations in common.items():
        text = f"verify now: {', '.join(stations)} move as one on reference {reference} and nothing else moves"
        found[f"health:reference:{reference}:verify"] = Condition("health", 2, since[reference], text)
    if ask.lone_top:
        top = sorted({station_of_vote(k) for k, level in ask.by_vote.items() if level >= site.top_level})
        text = (
            f"verify now: only {', '.join(top)} (one group) asks for {site.levels[-1].name}, "
            f"which needs {site.fusion.top_needs} independent witnesses"
        )
        found["health:site:lone_top"] = Condition("health", 2, now_s, text)
    if not windows.view.draining:
        found |= _list_sight(site, now_s, outlook, rung)
    found |= _list_advice(windows, words)
    return {
        k: replace(c, since_s=before[k].since_s) if k in before and before[k].level == c.level else c
        for k, c in sorted(found.items())
    }


def _list_sight(site: Site, now_s: float, outlook: "Outlook", rung: Rung) -> dict[str, Condition]:
    found = {}
    if outlook.reachable_level < site.top_level:
        text = (
            f"level {site.levels[-1].name} cannot be reached: {outlook.witnesses} of {site.fusion.top_needs} "
            f"independent witnesses can speak; highest reachable is {site.levels[outlook.reachable_level].name}"
        )
        found["health:site:reachable"] = Condition("health", 2, now_s, text)
    unseen_s = outlook.unseen_since_s
    if unseen_s is not None and now_s - unseen_s >= site.fusion.hold_when_missing_s:
        text = (
            f"cannot see: decide. {site.levels[rung.level].name} is held without data since "
            f"{spell(instant(unseen_s))}, longer than {spell_duration(site.fusion.hold_when_missing_s)}"
        )
        found["health:site:cannot_see"] = Condition("health", 2, unseen_s, text)
    return found


def _list_advice(windows: Windows, words: Sequence[Assessment]) -> dict[str, Condition]:
    advice = {c.id: c for c in windows.site.criteria if c.role != "witness"}
    return {
        f"advice:{w.criterion}:{w.station}": Condition("advice", 1, windows.now_s, f"{w.station}: {w.reason}")
        for w in words
        if w.criterion in advice and w.raise_level > 0 and w.newest_s is not None
        and windows.now_s - w.newest_s <= advice[w.criterion].valid_for_s
    }  # fmt: skip


def list_changes(
    site: Site, before: Memory, after: Memory, evidence: Mapping[str, Any], newest_s: float | None
) -> tuple[AlertChange, ...]:
    """What opened, changed or closed between two memories."""
    data_time = None if newest_s is None else instant(newest_s)
    changes = []
    if after.level != before.level:
        summary = canonical_json({k: evidence[k] for k in ("sentence", "votes", "steps", "common", "held_by", "at")})
        changes.append(
            AlertChange(
                Ledger.HAZARD, HAZARD_KEY, after.level, after.level > 0, str(evidence["sentence"]), data_time, summary
            )
        )
    for key in sorted({*before.conditions, *after.conditions}):
        old, new = before.conditions.get(key), after.conditions.get(key)
        if new is not None and (old is None or old.level != new.level):
            changes.append(_change(key, new, new.level, data_time, is_open=True, reason=new.reason))
        elif new is None and old is not None:
            changes.append(
                _change(
                    key,
                    old,
                    old.level,
                    data_time,
                    is_open=False,
                    reason=f"over: {old.reason.removeprefix('verify now: ')}",
                )
            )
    assert all(0 <= c.level < len(site.levels) for c in changes if c.ledger == Ledger.HAZARD)
    return tuple(changes)


def _change(key: str, condition: Condition, level: int, data_time: Any, *, is_open: bool, reason: str) -> AlertChange:
    evidence = canonical_json({"key": key, "since_s": condition.since_s, "reason": condition.reason})
    return AlertChange(Ledger(condition.ledger), key, level, is_open, reason, data_time, evidence)


def explain_level(
    site: Site, before: int, level: int, ask: Ask, votes: Mapping[str, Vote], counted: Mapping[str, int],
    steps: Mapping[str, Step], held_by: Sequence[str],
) -> str:  # fmt: skip
    """One sentence: the level, what moved it or what holds it."""
    name = site.levels[level].name
    if level > before:
        who = []
        for key, asked in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
            if min(asked, level) < level:
                continue
            vote = votes.get(key)
            step = steps.get(key.removeprefix("step|"))
            said = vote.reason if vote else step.reason if step else ""
            who.append(f"{key.partition('|')[2] or key}: {said}")
        more = f" and {len(who) - 3} more" if len(who) > 3 else ""
        lone = f"; {site.levels[-1].name} is asked for by too few independent witnesses" if ask.lone_top else ""
        return f"{name}: {'; '.join(who[:3])}{more}{lone}"
    if level < before:
        return f"{name}: every witness of {site.levels[before].name} is beyond its recovery limit with fresh data"
    if held_by:
        return f"{name} holds: {', '.join(held_by[:5])}"
    return f"{name}: nothing asks for more"
