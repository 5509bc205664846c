"""Whether detectors may count for the level of their site: what held-out time of its record says is kept as proof."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from detection.anomaly.records import ScoringRequest
from detection.reasons import Explanation
from monitor.api.database import Actor, Database
from monitor.api.queries.models import ModelRow, ModelTest, add_proof, list_subjects, load_proof_facts, load_watched
from monitor.api.sites import Criterion, Site, list_criteria_needing_proof
from monitor.api.text import Template, convert_reason, from_epoch_s, start_clock
from monitor.api.worker import read_record
from monitor.features.anomalies.jobs import budget_of_each

_SHOWN = ("heldout_alarms_per_sensor_month", "heldout_months", "budget_per_sensor_month", "recall_gain_over_rules")
_SILENT: Final = Template("proof.silent", "its card says no more")()


def find_asking(site: Site, detector: str) -> Criterion | None:
    """The criterion that asks for a test of a detector; None where it is advice anyway."""
    asking = (one for one in list_criteria_needing_proof(site) if one.kind.facts == "anomalies")
    return next((one for one in asking if detector in list_subjects(site, one)), None)


def is_untested(c: Connection, site: Site, detector: str, now: datetime) -> bool:
    """Whether a detector counts for the level by the site file, and no test of what serves is stored."""
    return any(
        f.tested_s is None or (f.weights, f.settings) != (f.weights_now, f.settings_now)
        for f in load_proof_facts(c, site, now)
        if f.name == detector
    )


def keep_test(
    c: Connection, site: Site, card: Mapping[str, Any], model_hash: str, made_by: str, actor: Actor, now: datetime
) -> ModelTest | None:
    """Keep what a card says of held-out time as the proof of its detector; None where no criterion asks for one."""
    asking = find_asking(site, str(card["detector"]))
    if asking is None:
        return None
    reasons = read_record(list[Explanation], card["may_not_vote_because"])
    against = [*map(convert_reason, reasons)] or [_SILENT]
    proof = ModelTest(
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
    add_proof(c, site, asking, proof, actor, now)
    return proof


def prove_serving(
    db: Database, site: Site, serving: ModelRow, since: datetime, now: datetime, actor: Actor, made_by: str
) -> ModelTest | None:
    """Test the checkpoint that serves a detector on the site's record as it is now, and keep what came of it."""
    from detection.anomaly.jobs import renew_card  # loads numpy, and torch for a network

    clock, step_s = start_clock(now), site.watched_step_s
    assert step_s is not None
    with db.read() as c:
        samples = {s.label: s.timed for s in load_watched(c, site, since, now)}
    card = renew_card(ScoringRequest(serving.kind, samples, step_s, serving.path), budget_of_each(site.anomaly))
    with db.write() as c:
        return keep_test(c, site, card, serving.model_hash, made_by, actor, clock())
