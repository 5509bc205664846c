"""Why an alert is as it is, from frozen inputs alone: inputs, margins, who voted and who was set aside.

Times are those of the zone in use.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.decision.criteria.bound_units import find_bound_units
from monitor.decision.criteria.kinds.forecast import describe_chance, describe_quantiles
from monitor.decision.headline import DecisionEvidence, FrozenDecision, StoredAssessment, StoredStep, StoredVote
from monitor.errors import ConfigError
from monitor.sites.parsing import parse_site
from monitor.sites.quantities import QUANTITIES
from monitor.text.instants import from_epoch_s, parse_time
from monitor.text.local_time import format_instant
from monitor.text.message import plain_to_messages
from monitor.text.rendering import translate

# positions in a frozen reading, see `monitor.decision.records.DecisionInputs.spell`
_OBSERVED, _RECEIVED, _REVISION, _RAW, _OFFSET, _VALUE, _FLAGS = 0, 1, 2, 3, 4, 5, 7
BESIDES: Final = ("forecasts", "anomalies", "footprints", "reports", "events", "failures", "maintenance", "points")


@dataclass(frozen=True, slots=True)
class SeriesInput:
    """What was read of one series."""

    series: str
    count: int
    from_at: str
    to_at: str
    last_received_at: str
    first_value: float
    last_value: float
    revised: int
    offsets: tuple[float, ...]
    flags: Mapping[str, int]

    def __str__(self) -> str:
        known = QUANTITIES.get(self.series.partition(".")[2])
        unit = "" if known is None else f" {known.unit}"
        text = (
            f"{self.series}: {self.count} readings of {_minute(self.from_at)} to {_minute(self.to_at)}, "
            f"{self.first_value:g} to {self.last_value:g}{unit}, the last received {_minute(self.last_received_at)}"
        )
        more = [f"{self.revised} revised"] if self.revised else []
        more += [f"offsets {', '.join(f'{o:g}' for o in self.offsets)}{unit}"] if any(self.offsets) else []
        more += [f"{n} flagged {flag}" for flag, n in self.flags.items()]
        return f"{text}; {'; '.join(more)}" if more else text


def list_inputs(frozen: FrozenDecision) -> tuple[SeriesInput, ...]:
    """The series that were read, each with its span, revisions, offsets and flags."""
    found = []
    for name, rows in frozen.get("view", {}).get("readings", {}).items():
        if not rows:
            continue
        flags = Counter(flag for row in rows for flag in row[_FLAGS])
        found.append(
            SeriesInput(
                series=name,
                count=len(rows),
                from_at=rows[0][_OBSERVED],
                to_at=rows[-1][_OBSERVED],
                last_received_at=max(row[_RECEIVED] for row in rows),
                first_value=rows[0][_VALUE],
                last_value=rows[-1][_VALUE],
                revised=sum(row[_REVISION] > 0 for row in rows),
                offsets=tuple(sorted({row[_OFFSET] for row in rows})),
                flags=dict(sorted(flags.items())),
            )
        )
    return tuple(found)


def read_units(source: str) -> dict[str, str]:
    """The unit of each criterion's bounds from a stored site file; none where it is missing or cannot be read."""
    try:
        return find_bound_units(parse_site(source, "stored site file")) if source else {}
    except ConfigError:
        return {}


def explain(frozen: FrozenDecision, units: Mapping[str, str] | None = None) -> list[str]:
    """Frozen inputs as lines for people; an act of a person and an alarm of the service have fewer.

    Args:
        units: the unit of each criterion's bounds by its id (`find_bound_units`), where known.
    """
    frozen = plain_to_messages(frozen)
    if "act" in frozen:
        before, after = frozen["memory"], frozen["after"]
        who = f"{frozen['actor']} ({frozen['act']})"
        return [
            f"decided at {_minute(frozen['now'])} by {who}: {translate(frozen['sentence'])}",
            f"level before {before['level']}, after {after['level']}; data may not lower it below {after['floor']}",
            f"newest datum known: {_at(before['newest_s'])}",
            "votes that stood:",
            *(_stood(before["votes"]) or ["  none"]),
        ]
    evidence = frozen.get("outcome", {}).get("evidence")
    if evidence is None:
        return [f"decided: {translate(frozen.get('sentence') or frozen.get('reason', ''))}"]
    view = frozen["view"]
    lines = [
        f"decided at {_minute(frozen['now'])}: {translate(frozen['sentence'])}",
        f"level before {evidence['level_before']}, asked {evidence['asked']}, after {evidence['level']}",
        "inputs: " + ("none" if not any(view["readings"].values()) else ""),
        *(f"  {one}" for one in list_inputs(frozen)),
        *(f"  {len(view[name])} {name}" for name in BESIDES if view[name]),
    ]
    if view["draining"]:
        lines.append("  a backlog was being read: nothing could fall, silence was not judged")
    lines += ["what each rule said:", *_describe_assessments(evidence["words"], units or {})]
    lines += ["votes:", *(_votes(evidence["votes"]) or ["  none"])]
    rules = evidence.get("rules", {}).values()
    lines += [f"{translate(r['sentence'])}; behind it: {', '.join(r['behind']) or 'nobody'}" for r in rules]
    lines += [translate(evidence["bounds"])] if "bounds" in evidence else []
    lines += [*_describe_events(evidence), *_describe_steps(evidence["steps"])]
    lines += map(translate, evidence["common"].values())
    sick = [h for h in frozen["outcome"]["health"] if h["state"] != "ok"]
    lines += [f"station {h['station']} is {h['state']}: {translate(h['reason'])}" for h in sick]
    if evidence["held_by"]:
        lines.append(f"held by: {', '.join(evidence['held_by'])}")
    return lines


def _stood(votes: Mapping[str, StoredVote]) -> list[str]:
    return [
        f"  {key}: level {v['level']}, datum of {_at(v['newest_s'])}; {translate(v['reason'])}"
        for key, v in sorted(votes.items())
        if v["level"] > 0
    ]


def _describe_assessments(words: Sequence[StoredAssessment], units: Mapping[str, str]) -> Iterator[str]:
    for assessment in words:
        name = f"  {assessment['criterion']} {assessment['station']}"
        if not assessment["heard"]:
            yield f"{name}: excluded, no data: {translate(assessment['reason'])}"
            continue
        levels = f"asks for level {assessment['raise_level']}, holds {assessment['hold_level']}"
        yield f"{name}: {levels}; {translate(assessment['reason'])}"
        yield from (f"    {line}" for line in _margins(assessment, units.get(assessment["criterion"], "")))


def _describe_events(evidence: DecisionEvidence) -> Iterator[str]:
    for event in evidence.get("events", ()):
        who = f", confirmed by {' and '.join(event['confirmed_by'])}" if event["confirmed_by"] else ""
        line = f"event {event['event']} ({event['kind']}) by {event['by']}, by way of {event['via']}{who}"
        yield f"{line}: {'; '.join(map(translate, event['effects']))}"


def _describe_steps(steps: Mapping[str, StoredStep]) -> Iterator[str]:
    for key, step in steps.items():
        pended = f"; pended: {translate(step['pended'])}" if "pended" in step else ""
        yield f"step {key}: level {step['level']}, {step['state']}; {translate(step['reason'])}{pended}"


def _margins(assessment: StoredAssessment, unit: str) -> Iterator[str]:
    """How far from each bound: the margin where the rule gives one, else its ratio to the bound."""
    of, facts = f" {unit}" if unit else "", assessment["facts"]
    for bound in facts.get("bounds", ()):
        if "chance_from" in bound:
            chance = f"{describe_chance(bound)}; {describe_quantiles(bound)} by {bound['model']}"
            yield f"level {bound['level']}: {chance}; {facts['distribution']}"
        if "margin" in bound:
            hits = (
                f", {bound['hits']} reading{'' if bound['hits'] == 1 else 's'} beyond it, {bound['needs']} needed"
                if "needs" in bound
                else ""
            )
            yield f"level {bound['level']}: bound {bound['bound']:g}{of}, margin {bound['margin']:+.3g}{of}{hits}"
    for fact in facts.get("levels", ()):
        if isinstance(fact, Mapping) and "ratio" in fact:
            yield f"level {fact['level']}: {fact['ratio']:.0%} of its bound"


def _votes(votes: Mapping[str, StoredVote]) -> list[str]:
    lines = []
    for key, vote in votes.items():
        if vote["level"] == 0:
            continue
        part = vote.get("part")
        state = (
            f"pended: {translate(vote['pended'])}"
            if vote["pended"]
            else "counted"
            if vote["counted"]
            else translate(part)
            if part
            else "expired"
        )
        if "capped" in vote:
            state += f", for less than it asks: {translate(vote['capped'])}"
        lines.append(
            f"  vote {key}: level {vote['level']}, {state}; datum of {_at(vote['newest_s'])}, "
            f"valid until {_at(vote['valid_until_s'])}"
        )
    return lines


def _at(at_s: float | None) -> str:
    return "none" if at_s is None else format_instant(from_epoch_s(at_s))


def _minute(spelled: str) -> str:
    return format_instant(parse_time(spelled))
