"""Decide again from frozen inputs and the stored configuration, and say where the outcome differs, bit for bit.

Texts are compared by id and values: a wording is no decision.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from monitor.alerts.acts.answer_acts import TAKEN_BACK, reopen_questions
from monitor.alerts.acts.operator_acts import order_level
from monitor.alerts.audit.queries import OrderedChange, load_citations
from monitor.alerts.evaluate import FORMAT
from monitor.alerts.queries.alerts import Alert, load_alert_events
from monitor.alerts.queries.decision_seals import find_seal
from monitor.alerts.queries.evaluations import DecisionRow, load_decision
from monitor.canonical import canonical_json
from monitor.decision.alert_texts import EXERCISE, unwrap
from monitor.decision.decide import decide
from monitor.decision.headline import FrozenDecision
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory
from monitor.errors import ConfigError
from monitor.sites.criteria.registry import list_plugin_versions
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source
from monitor.sites.records import Site
from monitor.text.instants import epoch_s, parse_time
from monitor.text.message import is_same_text, plain_to_messages


@dataclass(frozen=True, slots=True)
class Recomputation:
    """What deciding again gave; `differences` is empty where everything is equal."""

    differences: tuple[str, ...]
    frozen: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecomputationRequest:
    """What a worker decides again: each decision with its site file, its seal, and the events that cite it."""

    decisions: tuple[tuple[DecisionRow, str, str | None, tuple[OrderedChange, ...]], ...]
    newest: int | None = None  # the decision that the alert rests on


@dataclass(frozen=True, slots=True)
class RecomputationResult:
    """What deciding again gave; no line where everything is equal bit for bit."""

    differences: tuple[str, ...]


def gather_decisions(connection: Connection, alert: Alert) -> RecomputationRequest:
    """Every decision behind an alert, with all that deciding again takes."""
    found = []
    ids = {e.decision_id for e in load_alert_events(connection, alert.id)} | {alert.decision_id}
    for number in sorted(i for i in ids if i is not None):
        row = load_decision(connection, number)
        source = load_site_source(connection, row.config_sha256) if '"view":' in row.evidence else ""
        found.append((row, source, find_seal(connection, number), load_citations(connection, number)))
    return RecomputationRequest(tuple(found), alert.decision_id)


def recompute_all(request: RecomputationRequest) -> RecomputationResult:
    """Decide again for every change of an alert; what differs, a line each."""
    found = []
    for row, source, seal, cited in request.decisions:
        again = recompute(row, source, seal=seal, cited=cited)
        found += [line if row.id == request.newest else f"decision {row.id}: {line}" for line in again.differences]
    return RecomputationResult(tuple(found))


def recompute(
    row: DecisionRow, source: str, *, seal: str | None = None, cited: Sequence[OrderedChange] = ()
) -> Recomputation:
    """Decide again.

    Args:
        source: text of the site file whose hash the decision names; "" where no reading was used.
        seal: the hash of the frozen inputs as the audit log has it; None where it has none.
        cited: what events of alerts say that this decision ordered.
    """
    found = []
    digest = hashlib.sha256(row.evidence.encode()).hexdigest()
    if digest != row.evidence_sha256:
        found.append("the frozen inputs were altered: their SHA-256 differs")
    if seal is not None and digest != seal:
        found.append("the frozen inputs were altered: the audit log names another SHA-256")
    try:
        frozen = plain_to_messages(json.loads(row.evidence))
    except ValueError:
        return Recomputation((*found, "the frozen inputs cannot be read"), {})
    if frozen.get("config_sha256", row.config_sha256) != row.config_sha256:
        found.append("the decision names another site file than its frozen inputs")
    if "view" in frozen and hashlib.sha256(source.encode()).hexdigest() != row.config_sha256:
        found.append("the site file was altered: its SHA-256 is not the one the decision names")
    try:
        found += _recompute_view(row, frozen, source) if "view" in frozen else _recompute_act(frozen)
        found += [line for one in cited for line in _check_cited(frozen, one)]
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        if not found:  # bytes that are as they were written and yet unreadable are a fault of this program
            raise
        found.append(f"the frozen inputs cannot be decided on: {type(error).__name__}: {error}")
    return Recomputation(tuple(found), frozen)


def parse_frozen_site(row: DecisionRow, source: str) -> Site:
    """The site file that a decision names."""
    return parse_site(source, f"site file {row.config_sha256[:12]}")


def _recompute_view(row: DecisionRow, frozen: FrozenDecision, source: str) -> list[str]:
    site = parse_frozen_site(row, source)
    decision = decide(
        PreparedSite(site),
        Memory.read(frozen["memory"]),
        DecisionInputs.read(frozen["view"]),
        parse_time(frozen["now"]),
    )
    found = _differences(
        "outcome", frozen["outcome"], plain_to_messages(json.loads(canonical_json(decision.to_json())))
    )
    if found and frozen["format"] != FORMAT:
        found.insert(0, f"decided by earlier rules (format {frozen['format']})")
    installed = list_plugin_versions(site)
    for name, version in frozen.get("plugins", {}).items():
        if found and version != installed.get(name):
            found.insert(0, f"decided with version {version} of the plugin {name}; installed is {installed.get(name)}")
    return found


def _recompute_act(frozen: FrozenDecision) -> list[str]:
    """What a person set must follow from the memory of before; an alarm of the service has nothing to compute."""
    if frozen.get("act") not in {"level.set", TAKEN_BACK}:
        return []
    before, now_s = Memory.read(frozen["memory"]), epoch_s(parse_time(frozen["now"]))
    if frozen["act"] == TAKEN_BACK:
        after = reopen_questions(before, before.answers.keys() - frozen["after"]["answers"].keys(), now_s)
    else:
        after = order_level(before, frozen["after"]["level"], now_s)
    return _differences("after", frozen["after"], plain_to_messages(json.loads(canonical_json(after.to_json()))))


def without_exercise(key: str, reason: str) -> tuple[str, str]:
    """Key and reason of an alert as the decision ordered them, without what a drill adds to them.

    >>> without_exercise("drill:7:hazard", EXERCISE(text="red")), without_exercise("hazard", "red")
    (('hazard', 'red'), ('hazard', 'red'))
    """
    if not key.startswith("drill:"):
        return key, reason
    return key.split(":", 2)[2], unwrap(EXERCISE, reason)


def _check_cited(frozen: FrozenDecision, cited: OrderedChange) -> list[str]:
    """An event of an alert must say what the decision ordered; what no change of it names is not its order."""
    name = f"alert {cited.ledger} {cited.key}"
    key, event_reason = without_exercise(cited.key, cited.reason)
    if "act" in frozen:
        level, reason = int(frozen["after"]["level"]), frozen["sentence"]
    elif "outcome" in frozen:
        orders = [x for x in frozen["outcome"]["changes"] if (x["ledger"], x["key"]) == (cited.ledger, key)]
        if not orders:
            return [f"{name}: the decision ordered nothing of it"]
        level, reason = (orders[0]["level"] if orders[0]["open"] else 0), orders[0]["reason"]
    else:
        return []
    found = [] if level == cited.level else [f"{name}: the event says level {cited.level}, the decision {level}"]
    return found if reason == event_reason else [*found, f"{name}: the event's reason is not the decision's"]


def _differences(where: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += _differences(f"{where}.{key}", old.get(key), new.get(key))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [d for i, (a, b) in pairs for d in _differences(f"{where}[{i}]", a, b)]
    if isinstance(old, str) and isinstance(new, str) and is_same_text(old, new):
        return []
    if where.endswith(".evidence") and isinstance(old, str) and isinstance(new, str):  # JSON, with texts of its own
        return _differences(where, plain_to_messages(json.loads(old)), plain_to_messages(json.loads(new)))
    if old == new and type(old) is type(new):
        return []
    return [f"{where}: was {old!r}, is {new!r}"]
