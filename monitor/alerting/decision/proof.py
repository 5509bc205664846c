"""Whether this site's own record shows that a model may count as a witness: until then what it says is advice."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.registry import CHECKS
from monitor.domain.site import Criterion, Site
from monitor.store.models.registry import find_active
from monitor.store.models.scores import load_shown_record
from monitor.store.scenes.reviews import load_reviewed

FEWEST_ISSUES: Final = 30  # scored issue times of a forecast; an interval of 80 % then has a standard error of 7 %
LEAST_COVERAGE: Final = 0.70  # of the 80 % interval
FEWEST_REVIEWS: Final = 10  # outlines that a person looked at
LEAST_ACCEPTED: Final = 0.8


def find_unproven(c: Connection, site: Site, now: datetime) -> list[str]:
    """Criteria that count for the warning level although nothing stored shows that they may, one line each.

    1. `anomaly`: each detector of the site has thresholds counted on this site that kept their budget on held-out time,
       and a network finds more than `persistence-z`.
    2. `forecast`: at the horizon of each bound, what was shown was scored at enough issue times, beat persistence, and
       its 80 % interval held.
    3. `scene`: a person accepted most of the outlines that were looked at.

    Args:
        c: a connection.
        site: the site.
        now: what was scored later does not count.
    """
    return [
        f'criterion {one.id}: role = "{one.role}" is not proven on this site: {why}; until then write role = "advice"'
        for one in needs_proof(site)
        for why in _JUDGED[one.kind.facts or ""](c, site, one, now)
    ]


def needs_proof(site: Site) -> list[Criterion]:
    """Criteria of the site that count for the warning level and rest on a model."""
    return [one for one in site.criteria if one.role in {"witness", "part"} and one.kind.facts in _JUDGED]


def _judge_anomaly(c: Connection, site: Site, _: Criterion, __: datetime) -> Iterator[str]:
    for detector in site.anomaly.detectors:
        if detector in CHECKS:  # certain, without a threshold
            continue
        active = find_active(c, task="anomaly", kind=detector, site=site.id)
        if active is None:
            yield f"{detector} has no threshold counted here (slopeward anomalies train --site {site.id})"
        elif not active.card.get("may_vote"):
            reasons = active.card.get("may_not_vote_because") or ["its card is of an earlier version; train it again"]
            yield f"{detector}: {'; '.join(str(reason) for reason in reasons)}"


def _judge_forecast(c: Connection, site: Site, criterion: Criterion, now: datetime) -> Iterator[str]:
    for horizon_s in sorted({t.window_s for t in criterion.thresholds if t.window_s is not None}):
        record = load_shown_record(c, site.id, horizon_s, now)
        days = f"{horizon_s / 86400.0:g} d"
        if record.issues < FEWEST_ISSUES:
            yield f"forecasts of {days} were scored at {record.issues} issue times, {FEWEST_ISSUES} are needed"
            continue
        assert record.mae_mm is not None
        assert record.mae_persistence_mm is not None
        assert record.coverage_80 is not None
        if record.mae_mm >= record.mae_persistence_mm:
            yield (
                f"forecasts of {days} are off by {record.mae_mm:.3g} mm on average, persistence by "
                f"{record.mae_persistence_mm:.3g} mm"
            )
        if record.coverage_80 < LEAST_COVERAGE:
            yield f"the 80 % interval of {days} held {record.coverage_80:.0%} of what came"


def _judge_scene(c: Connection, site: Site, _: Criterion, __: datetime) -> Iterator[str]:
    looked = [one for one in load_reviewed(c, site.id) if one.verdict is not None]
    accepted = sum(one.verdict == "accept" for one in looked)
    if len(looked) < FEWEST_REVIEWS:
        yield f"{len(looked)} of its outlines were reviewed, {FEWEST_REVIEWS} are needed (slopeward scenes review)"
    elif accepted < LEAST_ACCEPTED * len(looked):
        yield f"{accepted} of {len(looked)} reviewed outlines were accepted, {LEAST_ACCEPTED:.0%} are needed"


# by the facts that a criterion reads
_JUDGED: Final[dict[str, Callable[[Connection, Site, Criterion, datetime], Iterator[str]]]] = {
    "anomalies": _judge_anomaly, "forecasts": _judge_forecast, "footprints": _judge_scene,
}  # fmt: skip
