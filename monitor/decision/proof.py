"""Criteria that rest on a model count only while a test on this site shows that they may; else they are advice."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from monitor.decision.criteria.proofs import WARN_S, format_command
from monitor.decision.records import Condition, ProofFact
from monitor.sites.records import Site, once_per_record
from monitor.sites.witnesses import list_criteria_needing_proof
from monitor.text.message import Message, Template, Term, Timestamp

_NO_SCORE: Final = Template("proof.no_score", "none of its detectors has a score that could be tested")
_NO_TEST: Final = Template("proof.no_test", "no test of {name} is stored for this site")
_NOT_PASSED: Final = Template("proof.not_passed", "the test of {name} on {day} was not passed: {text}")
_OTHER_WEIGHTS: Final = Template("proof.other_weights", "the test of {name} on {day} was made with other weights")
_OTHER_SETTINGS: Final = Template("proof.other_settings", "the test of {name} on {day} was made with other settings")
_WAS_VALID: Final = Template("proof.was_valid", "the test of {name} was valid until {day}")
_IS_ADVICE: Final = Template(
    "proof.is_advice", "{criterion} counts as advice, no level rests on it: {text}; the test: {command}"
)
_NOT_ALL: Final = Template(
    "proof.not_all_weights", "{criterion} does not count all weights in use: {text}; the test: {command}"
)
_ENDS: Final = Template(
    "proof.ends",
    "{criterion} will count as advice from {day} on: its test of {name} is valid until then; the test: {command}",
)
_UNPROVEN: Final = Template(
    "proof.role_unproven",
    'criterion {criterion}: role = "{role}" is not proven on this site: {text}; until `{command}` shows it, write '
    'role = "advice"',
)


def find_unproven(facts: Sequence[ProofFact], now_s: float) -> dict[str, Message]:
    """Why criteria are advice whatever the site file says, by id; without facts none asks for a proof.

    Of several facts on one subject, each of other weights, one is enough: the rule hears its weights alone.
    """
    found: dict[str, Message] = {}
    held = {(fact.criterion, fact.name) for fact in facts if fact.holds(now_s)}
    for fact in facts:
        why = explain_fact(fact, now_s)
        if why is not None and (fact.criterion, fact.name) not in held:
            found.setdefault(fact.criterion, why)
    return found


def explain_fact(fact: ProofFact, now_s: float) -> Message | None:
    """Why one test does not show that its criterion may count; None where it does."""
    if not fact.name:
        return _NO_SCORE()
    name = Term(fact.name)
    if fact.tested_s is None:
        return _NO_TEST(name=name)
    day = _day(fact.tested_s)
    if not fact.passed:
        return _NOT_PASSED(name=name, day=day, text=fact.why)
    if fact.weights != fact.weights_now:
        return _OTHER_WEIGHTS(name=name, day=day)
    if fact.settings != fact.settings_now:
        return _OTHER_SETTINGS(name=name, day=day)
    if now_s > fact.until_s:
        return _WAS_VALID(name=name, day=_day(fact.until_s))
    return None


def as_advice(site: Site, unproven: Collection[str]) -> Site:
    """The site in which criteria that are not proven are advice."""
    if not unproven:
        return site
    known, names = _variants(site), frozenset(unproven)
    if names not in known:
        criteria = tuple(replace(c, role="advice") if c.id in names else c for c in site.criteria)
        known[names] = replace(site, criteria=criteria)
    return known[names]


@once_per_record
def _variants(_: Site) -> dict[frozenset[str], Site]:
    """A site by what of it is advice: made once, since much is kept for the very site that a decision asks about."""
    return {}


def list_unproven(site: Site, facts: Sequence[ProofFact], now_s: float) -> dict[str, Condition]:
    """Conditions of health: what counts as advice against the site file, and which test is soon to be made again."""
    commands = {c.id: format_command(site, c) for c in site.criteria if any(f.criterion == c.id for f in facts)}
    unproven = find_unproven(facts, now_s)
    found = {
        f"health:{name}:unproven": Condition(
            "health", 2, now_s, _IS_ADVICE(criterion=name, text=why, command=commands[name])
        )
        for name, why in unproven.items()
        if name in commands
    }
    for fact in facts:
        if fact.criterion not in commands or fact.criterion in unproven:
            continue
        if (why := explain_fact(fact, now_s)) is not None:
            text = _NOT_ALL(criterion=fact.criterion, text=why, command=commands[fact.criterion])
            found.setdefault(f"health:{fact.criterion}:unproven", Condition("health", 1, now_s, text))
        elif now_s > fact.until_s - WARN_S:
            text = _ENDS(
                criterion=fact.criterion, day=_day(fact.until_s), name=Term(fact.name), command=commands[fact.criterion]
            )
            found.setdefault(f"health:{fact.criterion}:proof_ends", Condition("health", 1, now_s, text))
    return found


def next_proof_s(facts: Sequence[ProofFact], now_s: float) -> list[float]:
    """Instants at which a test is to be made again, or ends."""
    untils = [f.until_s for f in facts if explain_fact(f, now_s) is None]
    return [at_s for until_s in untils for at_s in (until_s - WARN_S, until_s)]


def describe_unproven(site: Site, facts: Sequence[ProofFact], now_s: float) -> list[Message]:
    """Criteria that count although nothing stored shows that they may, one line each, with what to do."""
    unproven = find_unproven(facts, now_s)
    return [
        _UNPROVEN(criterion=one.id, role=one.role, text=unproven[one.id], command=format_command(site, one))
        for one in list_criteria_needing_proof(site)
        if one.id in unproven
    ]


def _day(at_s: float) -> Timestamp:
    return Timestamp(at_s, "day")
