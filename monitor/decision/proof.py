"""Treat criteria that depend on a model as advice unless a test at this site was passed and is still valid."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from monitor.decision.criteria.proofs import WARN_S, format_command
from monitor.decision.records import Condition, ProofFact
from monitor.sites.records import Site
from monitor.sites.witnesses import list_criteria_needing_proof
from monitor.text.message import Message, Template, Term, Timestamp

_NO_SCORE: Final = Template("proof.no_score", "none of its detectors has a score that could be tested")
_NO_TEST: Final = Template("proof.no_test", "no test of {name} is stored for this site")
_NOT_PASSED: Final = Template("proof.not_passed", "the test of {name} on {day} was not passed: {text}")
_OTHER_WEIGHTS: Final = Template("proof.other_weights", "the test of {name} on {day} was made with other weights")
_OTHER_SETTINGS: Final = Template("proof.other_settings", "the test of {name} on {day} was made with other settings")
_WAS_VALID: Final = Template("proof.was_valid", "the test of {name} was valid until {day}")
_IS_ADVICE: Final = Template(
    "proof.is_advice", "{criterion} counts as advice only and raises no level: {text}; to test it, run {command}"
)
_NOT_ALL: Final = Template(
    "proof.not_all_weights", "{criterion} does not count all weights in use: {text}; to test them, run {command}"
)
_ENDS: Final = Template(
    "proof.ends",
    "{criterion} will count as advice only from {day}, because its test of {name} expires; to repeat it, run {command}",
)
_UNPROVEN: Final = Template(
    "proof.role_unproven",
    'criterion {criterion}: role = "{role}" is not proven on this site: {text}; run `{command}`, or write '
    'role = "advice"',
)


def find_unproven(facts: Sequence[ProofFact], now_s: float) -> dict[str, Message]:
    """Return the criteria that count as advice whatever their role in the site file, by id, with the reason.

    If there are several facts on one model, each for other weights, one valid test is enough, because the criterion
    uses only the weights with a valid test. Without facts, no criterion needs a proof.
    """
    unproven: dict[str, Message] = {}
    proven = {(fact.criterion, fact.name) for fact in facts if fact.holds(now_s)}
    for fact in facts:
        reason = explain_fact(fact, now_s)
        if reason is not None and (fact.criterion, fact.name) not in proven:
            unproven.setdefault(fact.criterion, reason)
    return unproven


def explain_fact(fact: ProofFact, now_s: float) -> Message | None:
    """Return why a test does not prove its criterion, or None if it does."""
    if not fact.name:
        return _NO_SCORE()
    name = Term(fact.name)
    if fact.tested_s is None:
        return _NO_TEST(name=name)
    day = _format_day(fact.tested_s)
    if not fact.passed:
        return _NOT_PASSED(name=name, day=day, text=fact.why)
    if fact.weights != fact.weights_now:
        return _OTHER_WEIGHTS(name=name, day=day)
    if fact.settings != fact.settings_now:
        return _OTHER_SETTINGS(name=name, day=day)
    if now_s > fact.until_s:
        return _WAS_VALID(name=name, day=_format_day(fact.until_s))
    return None


def as_advice(site: Site, unproven: Collection[str]) -> Site:
    """Return the site with the role `advice` for unproven criteria."""
    if not unproven:
        return site
    criteria = tuple(
        replace(criterion, role="advice") if criterion.id in unproven else criterion for criterion in site.criteria
    )
    return replace(site, criteria=criteria)


def list_unproven(site: Site, facts: Sequence[ProofFact], now_s: float) -> dict[str, Condition]:
    """Return the health conditions about unproven criteria and tests that expire soon, by alert key."""
    criteria = {fact.criterion for fact in facts}
    commands = {
        criterion.id: format_command(site, criterion) for criterion in site.criteria if criterion.id in criteria
    }
    unproven = find_unproven(facts, now_s)
    conditions: dict[str, Condition] = {}
    for name, reason in unproven.items():
        if name in commands:
            text = _IS_ADVICE(criterion=name, text=reason, command=commands[name])
            conditions[f"health:{name}:unproven"] = Condition("health", 2, now_s, text)
    for fact in facts:
        name = fact.criterion
        if name not in commands or name in unproven:
            continue
        reason_of_fact = explain_fact(fact, now_s)
        if reason_of_fact is not None:
            text = _NOT_ALL(criterion=name, text=reason_of_fact, command=commands[name])
            conditions.setdefault(f"health:{name}:unproven", Condition("health", 1, now_s, text))
        elif now_s > fact.until_s - WARN_S:
            day = _format_day(fact.until_s)
            text = _ENDS(criterion=name, day=day, name=Term(fact.name), command=commands[name])
            conditions.setdefault(f"health:{name}:proof_ends", Condition("health", 1, now_s, text))
    return conditions


def next_proof_s(facts: Sequence[ProofFact], now_s: float) -> list[float]:
    """Return the instants at which valid tests are announced to expire, and at which they expire, in epoch seconds."""
    expiries_s = [fact.until_s for fact in facts if explain_fact(fact, now_s) is None]
    return [*(expiry_s - WARN_S for expiry_s in expiries_s), *expiries_s]


def describe_unproven(site: Site, facts: Sequence[ProofFact], now_s: float) -> list[Message]:
    """Return one sentence for each criterion that can raise a level and has no valid test, with the remedy."""
    unproven = find_unproven(facts, now_s)
    return [
        _UNPROVEN(
            criterion=criterion.id,
            role=criterion.role,
            text=unproven[criterion.id],
            command=format_command(site, criterion),
        )
        for criterion in list_criteria_needing_proof(site)
        if criterion.id in unproven
    ]


def _format_day(at_s: float) -> Timestamp:
    return Timestamp(at_s, "day")
