"""Recompute decisions from their frozen inputs and site files, and report each bit that differs.

Texts are compared by template id and values, because a new wording is not another decision.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from monitor.alerts.acts.answer_acts import TAKEN_BACK, reopen_questions
from monitor.alerts.acts.operator_acts import set_level_in_memory
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
    """A recomputed decision. `differences` is empty if all values are equal."""

    differences: tuple[str, ...]
    frozen: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecomputationRequest:
    """The decisions to recompute, each with its site file, its seal, and the changes attributed to it.

    Attributes:
        newest: Id of the newest decision of the alert.
    """

    decisions: tuple[tuple[DecisionRow, str, str | None, tuple[OrderedChange, ...]], ...]
    newest: int | None = None


@dataclass(frozen=True, slots=True)
class RecomputationResult:
    """One line for each difference; empty if all decisions are equal bit for bit."""

    differences: tuple[str, ...]


def gather_decisions(connection: Connection, alert: Alert) -> RecomputationRequest:
    """Return all decisions of an alert, with everything that recomputing them needs."""
    decisions = []
    ids = {e.decision_id for e in load_alert_events(connection, alert.id)} | {alert.decision_id}
    for number in sorted(i for i in ids if i is not None):
        row = load_decision(connection, number)
        source = load_site_source(connection, row.config_sha256) if '"view":' in row.evidence else ""
        decisions.append((row, source, find_seal(connection, number), load_citations(connection, number)))
    return RecomputationRequest(tuple(decisions), alert.decision_id)


def recompute_all(request: RecomputationRequest) -> RecomputationResult:
    """Recompute all decisions of a request."""
    differences = []
    for row, source, seal, cited in request.decisions:
        prefix = "" if row.id == request.newest else f"decision {row.id}: "
        recomputation = recompute(row, source, seal=seal, cited=cited)
        differences += [f"{prefix}{line}" for line in recomputation.differences]
    return RecomputationResult(tuple(differences))


def recompute(
    row: DecisionRow, source: str, *, seal: str | None = None, cited: Sequence[OrderedChange] = ()
) -> Recomputation:
    """Recompute a decision, and compare everything that depends on it.

    Args:
        source: Text of the site file with the hash of the decision; empty if the decision used no readings.
        seal: Hash of the frozen inputs in the audit log; None without an entry.
        cited: The changes that events of alerts attribute to this decision.
    """
    differences = []
    digest = hashlib.sha256(row.evidence.encode()).hexdigest()
    if digest != row.evidence_sha256:
        differences.append("the frozen inputs were altered: their SHA-256 differs")
    if seal is not None and digest != seal:
        differences.append("the frozen inputs were altered: the audit log names another SHA-256")
    try:
        frozen = plain_to_messages(json.loads(row.evidence))
    except ValueError:
        return Recomputation((*differences, "the frozen inputs cannot be read"), {})
    if frozen.get("config_sha256", row.config_sha256) != row.config_sha256:
        differences.append("the decision names another site file than its frozen inputs")
    if "view" in frozen and hashlib.sha256(source.encode()).hexdigest() != row.config_sha256:
        differences.append("the site file was altered: its SHA-256 is not the one the decision names")
    try:
        differences += _recompute_view(row, frozen, source) if "view" in frozen else _recompute_act(frozen)
        for change in cited:
            differences += _check_cited(frozen, change)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        if not differences:
            # Unaltered inputs that cannot be read are a fault of this program.
            raise
        differences.append(f"the frozen inputs cannot be decided on: {type(error).__name__}: {error}")
    return Recomputation(tuple(differences), frozen)


def parse_frozen_site(row: DecisionRow, source: str) -> Site:
    """Return the site file of a decision."""
    return parse_site(source, f"site file {row.config_sha256[:12]}")


def _recompute_view(row: DecisionRow, frozen: FrozenDecision, source: str) -> list[str]:
    site = parse_frozen_site(row, source)
    decision = decide(
        PreparedSite(site),
        Memory.read(frozen["memory"]),
        DecisionInputs.read(frozen["view"]),
        parse_time(frozen["now"]),
    )
    differences = _list_differences(
        "outcome", frozen["outcome"], plain_to_messages(json.loads(canonical_json(decision.to_json())))
    )
    if differences and frozen["format"] != FORMAT:
        differences.insert(0, f"decided by earlier rules (format {frozen['format']})")
    installed = list_plugin_versions(site)
    for name, version in frozen.get("plugins", {}).items():
        if differences and version != installed.get(name):
            differences.insert(
                0, f"decided with version {version} of the plugin {name}; installed is {installed.get(name)}"
            )
    return differences


def _recompute_act(frozen: FrozenDecision) -> list[str]:
    """Recompute the memory after an act of a person. Alarms of the service have nothing to recompute."""
    if frozen.get("act") not in {"level.set", TAKEN_BACK}:
        return []
    before = Memory.read(frozen["memory"])
    now_s = epoch_s(parse_time(frozen["now"]))
    if frozen["act"] == TAKEN_BACK:
        after = reopen_questions(before, before.answers.keys() - frozen["after"]["answers"].keys(), now_s)
    else:
        after = set_level_in_memory(before, frozen["after"]["level"], now_s)
    return _list_differences("after", frozen["after"], plain_to_messages(json.loads(canonical_json(after.to_json()))))


def remove_exercise_marks(key: str, reason: str) -> tuple[str, str]:
    """Return key and reason of an alert without the marks of a drill.

    >>> remove_exercise_marks("drill:7:hazard", EXERCISE(text="red")), remove_exercise_marks("hazard", "red")
    (('hazard', 'red'), ('hazard', 'red'))
    """
    if not key.startswith("drill:"):
        return key, reason
    return key.split(":", 2)[2], unwrap(EXERCISE, reason)


def _check_cited(frozen: FrozenDecision, cited: OrderedChange) -> list[str]:
    """Compare an event of an alert with the change that its decision ordered."""
    name = f"alert {cited.ledger} {cited.key}"
    key, event_reason = remove_exercise_marks(cited.key, cited.reason)
    if "act" in frozen:
        level = int(frozen["after"]["level"])
        reason = frozen["sentence"]
    elif "outcome" in frozen:
        changes = [
            item for item in frozen["outcome"]["changes"] if (item["ledger"], item["key"]) == (cited.ledger, key)
        ]
        if not changes:
            return [f"{name}: the decision ordered nothing of it"]
        level = changes[0]["level"] if changes[0]["open"] else 0
        reason = changes[0]["reason"]
    else:
        return []
    differences = [] if level == cited.level else [f"{name}: the event has level {cited.level}, the decision {level}"]
    return (
        differences
        if reason == event_reason
        else [*differences, f"{name}: the reason of the event differs from that of the decision"]
    )


def _list_differences(where: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        differences = []
        for key in sorted({*old, *new}):
            differences += _list_differences(f"{where}.{key}", old.get(key), new.get(key))
        return differences
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [d for i, (a, b) in pairs for d in _list_differences(f"{where}[{i}]", a, b)]
    if isinstance(old, str) and isinstance(new, str) and is_same_text(old, new):
        return []
    if where.endswith(".evidence") and isinstance(old, str) and isinstance(new, str):  # JSON with translatable texts
        return _list_differences(where, plain_to_messages(json.loads(old)), plain_to_messages(json.loads(new)))
    if old == new and type(old) is type(new):
        return []
    return [f"{where}: was {old!r}, is {new!r}"]
