"""The decision: from what was known at an instant to level, observability and alert changes. Pure and replayable."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from monitor.alerting.assessment import Assessment, Windows
from monitor.alerting.common_mode import find_common
from monitor.alerting.conditions import explain_level, list_changes, list_conditions
from monitor.alerting.criteria.registry import CRITERIA, MOTION
from monitor.alerting.ladder import Ask, climb, fuse, station_behind
from monitor.alerting.senses import SICK, Sense, Senses, examine
from monitor.alerting.steps import (
    ACTIVE,
    STEP,
    asked_level,
    clock_s,
    find_sightings,
    instant_of,
    station_of,
    update_steps,
)
from monitor.alerting.tracks import Track
from monitor.alerting.witness import find_groups, find_voting_series, reach
from monitor.domain.decision import Decision, Memory, Step, View, Vote, instant, seconds
from monitor.domain.site import Criterion, Site

ANSWER_KEPT_S = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the site could see and raise at this instant."""

    observability: str
    reachable_level: int
    witnesses: int
    unseen_since_s: float | None


def decide(site: Site, memory: Memory, view: View, now: datetime) -> Decision:
    """Decide once.

    Args:
        site: the declaration.
        memory: what the decision before left.
        view: everything that was known at `now`.
        now: the instant of the decision; no clock is read here.

    Returns:
        The decision; the same arguments give the same canonical JSON, bit for bit.
    """
    now_s = seconds(now)
    if memory.started_s is None:
        memory = replace(memory, started_s=now_s, since_s=now_s)
    if memory.level > site.top_level:  # a site file with fewer levels came: the highest there is stands for it
        memory = replace(memory, level=site.top_level, floor=min(memory.floor, site.top_level))
    windows = Windows(site, view, memory, now_s)
    groups = find_groups(site)
    words = [a for c in site.criteria for a in CRITERIA[c.kind](c).assess(windows)]
    asked_tracks = [
        (c, windows.track(c, s)) for c in site.criteria if c.kind in MOTION for s in c.stations
    ]  # fmt: skip
    tracks: dict[str, list[Track]] = {}
    for _, track in asked_tracks:
        tracks.setdefault(track.station, []).append(track)
    sightings = find_sightings(windows, asked_tracks)
    common, common_words = find_common(windows, words, sightings, groups)
    steps = update_steps(memory, sightings, tracks, windows, groups, [s for ids in common.values() for s in ids])
    healths, sick, senses = examine(windows, tracks, steps)

    witnesses = find_witness_criteria(site)
    votes = update_votes(memory, [w for w in words if w.criterion in witnesses], witnesses, steps, view)
    since = {r: memory.common.get(r, now_s) for r in common}
    suspects = {
        s: f"all on {r} move as one" for r, ids in common.items()
        if memory.answers.get(f"reference:{r}") == "instrument"
        or (
            now_s < since[r] + site.fusion.verify_within_s and memory.answers.get(f"reference:{r}") != "movement"
        )
        for s in ids
    }  # fmt: skip
    pended = find_pended(site, votes, witnesses, senses, suspects)
    counted = {k: v.level for k, v in votes.items() if v.level > 0 and v.valid_until_s >= now_s and k not in pended} | {
        f"{STEP}{k}": asked_level(s) for k, s in steps.items() if s.state in ACTIVE
    }
    ask = fuse(site, counted, lambda key: group_of(key, groups))
    fresh = {w.key for w in words if w.heard and w.fresh}
    rung = climb(
        site, memory, ask, lambda key, level: is_clear(key, level, votes, steps, fresh, pended),
        may_fall=not view.draining,
    )  # fmt: skip
    outlook = look_out(memory, windows, rung.supporters, rung.level, senses, steps, groups)
    newest_s = max((n.observed_s for n in view.newest.values() if n.observed_s <= now_s), default=memory.newest_s)
    conditions = list_conditions(windows, sick, steps, common, since, ask, outlook, rung, words)
    changed = rung.level != memory.level
    answers = keep_answers(memory.answers, {*common, *find_lasting(site, words, votes, now_s)}, now_s)
    after = Memory(
        started_s=memory.started_s, level=rung.level,
        level_source="auto" if changed else memory.level_source, since_s=now_s if changed else memory.since_s,
        floor=memory.floor, votes=dict(sorted(votes.items())), supporters=rung.supporters, answered=memory.answered,
        steps=steps, answers=answers, common=dict(sorted(since.items())), conditions=conditions,
        observability=outlook.observability, reachable_level=outlook.reachable_level, newest_s=newest_s, seen_s=now_s,
    )  # fmt: skip
    evidence = describe(site, memory, now, words, votes, pended, counted, steps, common_words, ask, rung.held_by, after)
    return Decision(
        after, rung.level, outlook.observability, outlook.reachable_level, outlook.witnesses, healths,
        list_changes(site, memory, after, evidence, newest_s), evidence,
        None if newest_s is None else instant(newest_s),
        find_next_due(windows, votes, steps, senses, outlook.unseen_since_s),
    )  # fmt: skip


def find_lasting(site: Site, words: Sequence[Assessment], votes: Mapping[str, Vote], now_s: float) -> set[str]:
    """References of which a rover still moves, whatever level a person let stand: its vote lives and is not clear."""
    moving = {
        w.station for w in words
        if (not w.heard or (w.motion is not None and w.hold_level > 0))
        and w.key in votes and votes[w.key].valid_until_s >= now_s
    }  # fmt: skip
    return {s.reference for s in site.stations if s.id in moving and s.reference is not None}


def keep_answers(answers: Mapping[str, str], lasting: Collection[str], now_s: float) -> dict[str, str]:
    """Answers that still matter: of a common motion while its rovers move, of a step for a year."""
    kept = {}
    for key, answer in answers.items():
        reference = key.removeprefix("reference:")
        if reference in lasting if key != reference else instant_of(key) > now_s - ANSWER_KEPT_S:
            kept[key] = answer
    return kept


def find_witness_criteria(site: Site) -> dict[str, Criterion]:
    """Criteria that vote; what models and single images suggest is advice until the site file promotes it."""
    return {c.id: c for c in site.criteria if c.role == "witness"}


# ---- votes -----------------------------------------------------------------------------------------------------
def update_votes(
    memory: Memory, words: Sequence[Assessment], criteria: Mapping[str, Criterion], steps: Mapping[str, Step],
    view: View,
) -> dict[str, Vote]:  # fmt: skip
    """Votes after this look: without evidence a vote stays and ages; it falls only on fresh evidence."""
    votes = {k: v for k, v in memory.votes.items() if k.partition("|")[0] in criteria}
    unsure = {station_of(k) for k, s in steps.items() if s.state != "instrument"}
    for word in words:
        old = votes.get(word.key)
        if not word.heard or word.newest_s is None:
            continue
        before = old.level if old else 0
        may_fall = word.fresh and not view.draining and word.station not in unsure
        level = max(word.raise_level, min(before, word.hold_level) if may_fall else before)
        if old is not None and word.newest_s < old.newest_s and level <= before:
            continue  # the newest datum was withdrawn: what is left says nothing new
        valid_until_s = word.newest_s + criteria[word.criterion].valid_for_s
        votes[word.key] = Vote(level, word.newest_s, valid_until_s, word.reason)
    return votes


def find_pended(
    site: Site, votes: Mapping[str, Vote], criteria: Mapping[str, Criterion], senses: Senses,
    suspects: Mapping[str, str],
) -> dict[str, str]:  # fmt: skip
    """Votes that do not count now, with the reason: their series is sick, or its reference is the suspect."""
    found = {}
    for key, vote in votes.items():
        criterion, _, station = key.partition("|")
        if vote.level == 0:
            continue
        places = [p for p in series_behind(site, key, {}) if p in senses]
        bad = next((p for p in places if senses[p].state in SICK), None)
        if bad is not None:
            found[key] = f"{station} is {senses[bad].state}: {bad[1]}: {senses[bad].reason}"
        elif station in suspects and criteria[criterion].kind in MOTION:
            found[key] = suspects[station]
    return found


def is_clear(
    key: str, level: int, votes: Mapping[str, Vote], steps: Mapping[str, Step], fresh: set[str],
    pended: Mapping[str, str],
) -> bool:  # fmt: skip
    """True when the witness behind a vote says with fresh data that the level is over."""
    if key.startswith(STEP):
        step = steps.get(key.removeprefix(STEP))
        return step is None or asked_level(step) < level
    vote = votes.get(key)
    return vote is not None and key in fresh and key not in pended and vote.level < level


def group_of(key: str, groups: Mapping[str, str]) -> str:
    """Independence group of a vote or step."""
    station = station_behind(key)
    return groups.get(station, station)


# ---- sight -----------------------------------------------------------------------------------------------------
def look_out(
    memory: Memory, windows: Windows, supporters: Mapping[str, int], level: int, senses: Senses,
    steps: Mapping[str, Step], groups: Mapping[str, str],
) -> Outlook:  # fmt: skip
    """What can be seen now; while a backlog drains the answer of before stands."""
    site = windows.site
    voting = find_voting_series(site)
    seen = {p for p in voting if senses[p].state == "ok"}
    # a station that has just been declared is expected, not missing
    expected = {p for p in voting if senses[p].state == "unknown"}
    reachable, witnesses = reach(site, seen | expected, groups)
    if windows.view.draining and memory.reachable_level is not None:
        return Outlook(memory.observability, memory.reachable_level, witnesses, None)
    behind = {p for k, v in supporters.items() if v >= level > 0 for p in series_behind(site, k, steps)} & voting
    unseen = behind - seen
    blind = (bool(voting) and not seen) or bool(behind and not behind & seen)
    observability = "blind" if blind else "full" if seen == voting else "degraded"
    since_s = None
    if unseen:  # one of those the level rests on is enough, and a second one that goes does not start the clock anew
        since_s = min(_unseen_since(windows, p, senses[p]) for p in unseen)
    elif blind:
        since_s = max(_unseen_since(windows, p, senses[p]) for p in voting)
    return Outlook(observability, reachable, witnesses, since_s)


def series_behind(site: Site, key: str, steps: Mapping[str, Step]) -> list[tuple[str, str]]:
    """The series behind a vote or step: the one it was read from, if named; else those of its station that may vote."""
    station = station_behind(key)
    if key.startswith(STEP):
        step = steps.get(key.removeprefix(STEP))
        quantity = "" if step is None else step.quantity
    else:
        quantity = next((c.quantity for c in site.criteria if c.id == key.partition("|")[0]), "")
    spec = site.series(station, quantity)
    if spec is not None:
        return [(station, spec.quantity)]
    return sorted(p for p in find_voting_series(site) if p[0] == station)


def _unseen_since(windows: Windows, place: tuple[str, str], sense: Sense) -> float:
    """When a series that is not seen ought to have said something sound at the latest.

    What arrives broken does not count as seen: the newest datum that a vote rests on does.
    """
    votes = windows.memory.votes
    heard = [v.newest_s for k, v in votes.items() if place in series_behind(windows.site, k, {})]
    newest_s = max(heard, default=sense.newest_s if sense.state == "silent" else None)
    return min(windows.now_s, _deadline(windows, place, newest_s))


def _deadline(windows: Windows, place: tuple[str, str], newest_s: float | None) -> float:
    """When a series ought to have spoken at the latest."""
    spec = windows.site.series(*place)
    started_s = windows.memory.started_s if windows.memory.started_s is not None else windows.now_s
    return (newest_s if newest_s is not None else started_s) + (spec.max_silence_s if spec else 0.0)


def find_next_due(
    windows: Windows, votes: Mapping[str, Vote], steps: Mapping[str, Step], senses: Senses, unseen_since_s: float | None
) -> float | None:
    """The next instant at which the decision could change without any new datum."""
    site = windows.site
    due = [v.valid_until_s for v in votes.values() if v.level > 0]
    due += [s.known_s + clock_s(site, station_of(k)) for k, s in steps.items() if s.state == "pending"]
    silent = [_deadline(windows, p, s.newest_s) for p, s in senses.items()]
    unseen = silent if unseen_since_s is None else [*silent, unseen_since_s]
    due += silent + [d + site.fusion.hold_when_missing_s for d in unseen]
    return min((d for d in due if d > windows.now_s), default=None)


# ---- evidence --------------------------------------------------------------------------------------------------
def describe(
    site: Site, memory: Memory, now: datetime, words: Sequence[Assessment], votes: Mapping[str, Vote],
    pended: Mapping[str, str], counted: Mapping[str, int], steps: Mapping[str, Step], common: Mapping[str, str],
    ask: Ask, held_by: Sequence[str], after: Memory,
) -> dict[str, Any]:  # fmt: skip
    """Why: who said what, who counted, who was set aside, JSON-ready."""
    return {
        "site": site.id,
        "at": seconds(now),
        "level_before": memory.level,
        "level": after.level,
        "asked": ask.level,
        "lone_top": list(ask.lone_top),
        "words": [
            {
                "criterion": w.criterion, "station": w.station, "raise_level": w.raise_level,
                "hold_level": w.hold_level, "heard": w.heard, "fresh": w.fresh, "newest_s": w.newest_s,
                "reason": w.reason, "facts": dict(w.facts),
            }
            for w in words
        ],
        "votes": {
            k: {"level": v.level, "newest_s": v.newest_s, "valid_until_s": v.valid_until_s, "counted": k in counted,
                "pended": pended.get(k)}
            for k, v in sorted(votes.items())
        },
        "steps": {k: {"level": asked_level(s), "state": s.state, "reason": s.reason} for k, s in steps.items()},
        "common": dict(common),
        "held_by": list(held_by),
        "sentence": explain_level(site, memory.level, after.level, ask, votes, counted, steps, held_by),
    }  # fmt: skip
