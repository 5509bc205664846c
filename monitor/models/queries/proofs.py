"""Tests that show whether a criterion that uses a model may count for the level of a site. Rows are only added."""

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

# A test is valid for half a year, because the slope and the instruments can change after it.
LASTS_S: Final = 180.0 * 86400.0
# Names in texts of what was tested. A detector has its own name.
FORECASTS: Final = "forecasts"
OUTLINES: Final = "outlines"


@dataclass(frozen=True, slots=True)
class ModelTest:
    """One test of a model that a criterion uses.

    Attributes:
        kind: Kind of the criterion: anomaly, forecast or scene.
        subject: A detector, the id of a criterion of forecasts, or `outlines`.
        made_by: Command or job that made the test.
        weights: Hash of the tested weights (`weights_in_use`); empty if there are none.
        reasons: Conditions that were not met; empty if the test was passed.
        result: Numbers of the test, JSON-ready.
        rows: Number of tested readings, forecasts or images.
        from_at: Start of the tested period, if it has one.
        until_at: End of the tested period.
    """

    kind: str
    subject: str
    made_by: str
    weights: str
    reasons: Sequence[str]
    result: Mapping[str, Any]
    rows: int
    from_at: datetime | None = None
    until_at: datetime | None = None

    @property
    def passed(self) -> bool:
        """Whether every condition was met."""
        return not self.reasons


def list_subjects(site: Site, criterion: Criterion) -> dict[str, str]:
    """Return the subjects that a criterion needs tests of, and their names in texts. Checks need no test."""
    if criterion.kind.facts == "anomalies":
        return {name: name for name in site.anomaly.detectors if name not in CHECKS}
    return {criterion.id: FORECASTS} if criterion.kind.facts == "forecasts" else {OUTLINES: OUTLINES}


def digest_settings(site: Site, criterion: Criterion) -> str:
    """Return a digest of the settings in the site file that the test of a criterion depends on.

    A changed budget, detector, horizon or bound needs a new test. Recipients, levels and other criteria do not.
    """
    settings: dict[str, Any]
    if criterion.kind.facts == "anomalies":
        settings = {
            "detectors": sorted(list_subjects(site, criterion)),
            "budget": site.anomaly.budget_per_sensor_month,
            "step_s": site.watched_step_s or 0.0,
        }
    elif criterion.kind.facts == "forecasts":
        # Other settings are included only if they differ from their default, so that a setting that a later version
        # of Slopeward adds needs no new test.
        plan = site.forecast
        default = ForecastPlan()
        names = [field.name for field in fields(plan) if field.name != "every_s"]
        changed = {name: getattr(plan, name) for name in names if getattr(plan, name) != getattr(default, name)}
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
    """Store a test, whether it was passed or not. The newest test of a subject counts."""
    until = now + timedelta(seconds=LASTS_S)
    tested = {"rows_from": proof.from_at, "rows_until": proof.until_at, "rows_tested": proof.rows, "tested_at": now}
    facts = {"site": site.id, "by": actor.name, "by_kind": actor.kind, "config_sha256": site.version}
    facts |= {"settings": digest_settings(site, criterion), "reasons": join(proof.reasons)}
    row = fill_row(model_proof, proof, **tested, **facts, result=dict(proof.result), valid_until=until)
    add_row(c, model_proof, row)
    detail = {"kind": proof.kind, "passed": proof.passed, "reasons": list(proof.reasons), "weights": proof.weights}
    add_audit(c, actor, "model.proof", f"proof:{site.id}/{proof.subject}", detail, now)


def load_proof_facts(c: Connection, site: Site, now: datetime) -> tuple[ProofFact, ...]:
    """Load the newest test of each model that the criteria of a site use, and the model in use, as known at `now`.

    Several networks can have read the scenes of a site. Each of them has a fact. A subject without any test has a
    fact as well, so that it does not count as proven.
    """
    p = model_proof.c
    facts: list[ProofFact] = []
    for criterion in list_criteria_needing_proof(site):
        settings = digest_settings(site, criterion)
        subjects = list_subjects(site, criterion)
        if not subjects:
            facts.append(ProofFact(criterion.id, ""))
        for subject, name in subjects.items():
            rows = c.execute(
                select(model_proof)
                .where(p.site == site.id, p.kind == criterion.kind.id, p.subject == subject, p.tested_at <= now)
                .order_by(p.tested_at.desc(), p.id.desc())
            ).all()
            if not rows:
                facts.append(ProofFact(criterion.id, name))
                continue
            weights: Sequence[str | None]
            if criterion.kind.facts == "footprints":
                # The weights of all outlines that can still count.
                weights = hooks().models_in_use(connection=c, site=site, criterion=criterion, now=now) or [None]
            else:
                weights = [weights_in_use(c, site, criterion, subject, now)]
            for in_use in weights:
                row = rows[0]
                if criterion.kind.facts == "footprints":
                    row = next((tested for tested in rows if tested.weights == in_use), row)
                facts.append(
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
    return tuple(facts)


def weights_in_use(c: Connection, site: Site, criterion: Criterion, subject: str, now: datetime) -> str:
    """Return the hash of the checkpoint that a criterion on anomalies uses at `now`; empty without one.

    A criterion on forecasts depends on no single checkpoint. Its forecast weights the models by their past errors, so
    a newly trained network needs no new test.
    """
    if criterion.kind.facts == "forecasts":
        return ""
    m = model.c
    is_detector = (m.task == "anomaly", m.kind == subject, m.site == site.id, m.state.in_(("active", "retired")))
    was_in_use = (m.created_at <= now, (m.retired_at.is_(None)) | (m.retired_at > now))
    query = select(m.model_hash).where(*is_detector, *was_in_use).order_by(m.created_at.desc())
    return c.execute(query.limit(1)).scalar() or ""
