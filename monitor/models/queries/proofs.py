"""Tests that show whether a criterion that rests on a model may count for the level of a site; rows are only added."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, select

from detection.anomaly.registry import CHECKS
from monitor.canonical import canonical_json
from monitor.decision.records import ProofFact
from monitor.models.tables import model, model_proof
from monitor.plugins import hooks
from monitor.sites.records import Criterion, ForecastPlan, Site
from monitor.sites.witnesses import list_criteria_needing_proof
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.rows import add_row, fill_row
from monitor.text.instants import epoch_s
from monitor.text.message import join, read_columns

LASTS_S: Final = 180.0 * 86400.0  # a test speaks for the half year after it: thresholds are promises about the past
FORECASTS, OUTLINES = "forecasts", "outlines"  # how people read what was tested; a detector has its own name


@dataclass(frozen=True, slots=True)
class ModelTest:
    """One test of what a criterion rests on."""

    kind: str  # of the criterion: anomaly, forecast or scene
    subject: str  # A detector, a criterion of forecasts, or `outlines`
    made_by: str  # the command or job
    weights: str  # that were tested, as `weights_in_use` names them; empty where there are none
    reasons: Sequence[str]  # why it was not passed; empty where it was
    result: Mapping[str, Any]  # the figures
    rows: int  # how many readings, forecasts or images were tested on
    from_at: datetime | None = None  # begin of the time of these rows, where they have one
    until_at: datetime | None = None  # its end

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


def list_subjects(site: Site, criterion: Criterion) -> dict[str, str]:
    """What is to be tested for a criterion: how it is kept, and how people read it; checks are certain."""
    if criterion.kind.facts == "anomalies":
        return {name: name for name in site.anomaly.detectors if name not in CHECKS}
    return {criterion.id: FORECASTS} if criterion.kind.facts == "forecasts" else {OUTLINES: OUTLINES}


def digest_settings(site: Site, criterion: Criterion) -> str:
    """What the site file says of all that the test of a criterion rests on, as a digest.

    Another budget, detector, horizon or bound is another question; recipients, levels and bounds of others are not.
    """
    settings: dict[str, Any]
    if criterion.kind.facts == "anomalies":
        named = sorted(list_subjects(site, criterion))
        settings = {
            "detectors": named,
            "budget": site.anomaly.budget_per_sensor_month,
            "step_s": site.watched_step_s or 0.0,
        }
    elif criterion.kind.facts == "forecasts":
        # other settings count where they leave their default: a new one asks for no test
        plan, usual = site.forecast, ForecastPlan()
        others = {k.name: getattr(plan, k.name) for k in fields(plan) if k.name != "every_s"}
        changed = {name: value for name, value in others.items() if value != getattr(usual, name)}
        settings = {
            "plan": {"models": plan.models, "horizons_s": plan.horizons_s, "covariates": plan.covariates} | changed,
            "stations": criterion.stations,
            "quantity": criterion.quantity,
            "recover": criterion.recover,
            "bounds": [[t.level, t.over, t.window_s, t.probability] for t in criterion.thresholds],
        }
    else:
        settings = {
            "weights": site.scenes.weights,
            "area": site.scenes.minimum_area_m2,
            "near_m": dict(criterion.params).get("near_m", site.scenes.near_m),
        }
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:32]


def add_proof(c: Connection, site: Site, criterion: Criterion, proof: ModelTest, actor: Actor, now: datetime) -> None:
    """Keep a test, whether it was passed or not; the newest one of a subject counts."""
    until = now + timedelta(seconds=LASTS_S)
    tested = {"rows_from": proof.from_at, "rows_until": proof.until_at, "rows_tested": proof.rows, "tested_at": now}
    facts = {"site": site.id, "by": actor.name, "by_kind": actor.kind, "config_sha256": site.version}
    facts |= {"settings": digest_settings(site, criterion), "reasons": join(proof.reasons)}
    row = fill_row(model_proof, proof, **tested, **facts, result=dict(proof.result), valid_until=until)
    add_row(c, model_proof, row)
    detail = {"kind": proof.kind, "passed": proof.passed, "reasons": list(proof.reasons), "weights": proof.weights}
    add_audit(c, actor, "model.proof", f"proof:{site.id}/{proof.subject}", detail, now)


def load_proof_facts(c: Connection, site: Site, now: datetime) -> tuple[ProofFact, ...]:
    """The newest test of all that the criteria of a site rest on, beside what is in use, as known at `now`.

    Of scenes, that several networks may have read, each network has a fact of its own.
    What was never tested has its fact as well, so that nothing is taken for proven because a row is missing.
    """
    p = model_proof.c
    found = []
    for criterion in list_criteria_needing_proof(site):
        settings = digest_settings(site, criterion)
        subjects = list_subjects(site, criterion)
        if not subjects:
            found.append(ProofFact(criterion.id, ""))
        for subject, name in subjects.items():
            rows = c.execute(
                select(model_proof)
                .where(p.site == site.id, p.kind == criterion.kind.id, p.subject == subject, p.tested_at <= now)
                .order_by(p.tested_at.desc(), p.id.desc())
            ).all()
            if not rows:
                found.append(ProofFact(criterion.id, name))
                continue
            served: Sequence[str | None]
            if criterion.kind.facts == "footprints":  # all weights whose outlines may still count
                served = hooks().models_in_use(connection=c, site=site, criterion=criterion, now=now) or [None]
            else:
                served = [weights_in_use(c, site, criterion, subject, now)]
            for in_use in served:
                row = rows[0]
                if criterion.kind.facts == "footprints":
                    row = next((one for one in rows if one.weights == in_use), row)
                found.append(
                    ProofFact(
                        criterion.id,
                        name,
                        epoch_s(row.tested_at),
                        epoch_s(row.valid_until),
                        bool(row.passed),
                        read_columns(row, "reasons"),
                        row.weights,
                        row.settings,
                        row.weights if in_use is None else in_use,
                        settings,
                    )
                )
    return tuple(found)


def weights_in_use(c: Connection, site: Site, criterion: Criterion, subject: str, now: datetime) -> str:
    """Return the hash of the checkpoint that a criterion on anomalies rests on at `now`; empty without one.

    A criterion on forecasts rests on no checkpoint: the forecast that is shown weighs its models by their past errors,
    so that a newly trained network needs no new test.
    """
    if criterion.kind.facts == "forecasts":
        return ""
    m = model.c
    mine = (m.task == "anomaly", m.kind == subject, m.site == site.id, m.state.in_(("active", "retired")))
    stood = (m.created_at <= now, (m.retired_at.is_(None)) | (m.retired_at > now))
    served = select(m.model_hash).where(*mine, *stood).order_by(m.created_at.desc())
    return c.execute(served.limit(1)).scalar() or ""
