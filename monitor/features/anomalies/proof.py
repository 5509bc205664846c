"""Tests that decide whether a detector may count for the level of its site, on held-out time of its record."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from detection.anomaly.records import ScoringRequest
from detection.reasons import Explanation
from monitor.api.database import Actor, Database
from monitor.api.queries.models import ModelRow, ModelTest, add_proof, list_subjects, load_proof_facts
from monitor.api.sites import Criterion, Site, list_criteria_needing_proof
from monitor.api.text import Template, convert_reason, from_epoch_s, start_clock
from monitor.api.worker import plain_to_record
from monitor.features.anomalies.budgets import find_budget_of_each
from monitor.features.anomalies.samples import load_record

# Facts of a checkpoint that are stored with its test.
_SHOWN: Final = (
    "heldout_alarms_per_sensor_month",
    "heldout_months",
    "budget_per_sensor_month",
    "recall_gain_over_rules",
)
_NO_REASON: Final = Template("proof.silent", "its checkpoint states no reason")()


def find_criterion(site: Site, detector: str) -> Criterion | None:
    """Return the criterion that needs a test of a detector; None if the detector is advice only."""
    criteria = (criterion for criterion in list_criteria_needing_proof(site) if criterion.kind.facts == "anomalies")
    return next((criterion for criterion in criteria if detector in list_subjects(site, criterion)), None)


def is_untested(c: Connection, site: Site, detector: str, now: datetime) -> bool:
    """Return whether a detector counts for the level by the site file, and its present checkpoint has no test."""
    return any(
        fact.tested_s is None or (fact.weights, fact.settings) != (fact.weights_now, fact.settings_now)
        for fact in load_proof_facts(c, site, now)
        if fact.name == detector
    )


def store_test(
    c: Connection, site: Site, card: Mapping[str, Any], model_hash: str, made_by: str, actor: Actor, now: datetime
) -> ModelTest | None:
    """Store the facts of a checkpoint on held-out time as the test of its detector; None if no criterion needs one.

    Args:
        card: Facts of the checkpoint.
        made_by: Command that measured them.
    """
    criterion = find_criterion(site, str(card["detector"]))
    if criterion is None:
        return None
    reasons = plain_to_record(list[Explanation], card["may_not_vote_because"])
    against = [*map(convert_reason, reasons)] or [_NO_REASON]
    test = ModelTest(
        "anomaly",
        str(card["detector"]),
        made_by,
        model_hash,
        () if card["may_vote"] is True else tuple(against),
        {key: card[key] for key in _SHOWN if key in card},
        int(card["readings"]),
        from_epoch_s(card["from_s"]),
        from_epoch_s(card["to_s"]),
    )
    add_proof(c, site, criterion, test, actor, now)
    return test


def measure_active(
    db: Database, site: Site, active: ModelRow, since: datetime, now: datetime, actor: Actor, made_by: str
) -> ModelTest | None:
    """Test the active checkpoint of a detector on the record of the site as it is now, and store the result."""
    from detection.anomaly.jobs import measure_card  # imports numpy, and PyTorch for a network

    clock, step_s = start_clock(now), site.watched_step_s
    assert step_s is not None
    record = db.run_read(load_record, site, active.kind, since, now)
    request = ScoringRequest(active.kind, record.samples, step_s, active.path, rain=record.rain)
    card = measure_card(request, find_budget_of_each(site.anomaly))
    with db.write() as c:
        return store_test(c, site, card, active.model_hash, made_by, actor, clock())
