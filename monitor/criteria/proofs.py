"""What must be shown on a site before a criterion that rests on a model counts for its level, and how it is shown."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from math import fsum
from typing import Any, Final

from detection.anomaly.registry import CHECKS, FANS
from monitor.domain.canonical import canonical_json
from monitor.domain.instants import spell_duration
from monitor.domain.site import Criterion, ForecastPlan, Site

LASTS_S: Final = 180.0 * 86400.0  # a test speaks for the half year after it: thresholds are promises about the past
WARN_S: Final = 14.0 * 86400.0  # before the end it is said that the test is to be made again
FORECASTS, OUTLINES = "forecasts", "outlines"  # how people read what was tested; a detector has its own name
FEWEST_ISSUES: Final = 30  # scored issue times of a forecast; an interval of 80 % then has a standard error of 7 %
LEAST_COVERAGE: Final = 0.70  # of the 80 % interval
FEWEST_REVIEWS: Final = 10  # outlines that a person looked at
LEAST_ACCEPTED: Final = 0.8
FEWEST_BLOCKS: Final = 20  # held-out images or blocks of the site's own ground

_MADE_BY: Final[Mapping[str, str]] = {
    "anomalies": "slopeward anomalies bench --site {site}",
    "forecasts": "slopeward backtest --site {site} --prove {criterion}",
    "footprints": "slopeward scenes score --site {site} --layout folder --folder FOLDER",
}  # by the facts that a criterion reads


def needs_proof(site: Site) -> list[Criterion]:
    """Criteria of a site that its file lets count for the warning level and that rest on a model."""
    return [one for one in site.criteria if one.role in {"witness", "part"} and one.kind.facts in _MADE_BY]


def list_subjects(site: Site, criterion: Criterion) -> dict[str, str]:
    """What is to be tested for a criterion: how it is kept, and how people read it; checks are certain."""
    if criterion.kind.facts == "anomalies":
        return {name: name for name in site.anomaly.detectors if name not in CHECKS}
    return {criterion.id: FORECASTS} if criterion.kind.facts == "forecasts" else {OUTLINES: OUTLINES}


def spell_command(site: Site, criterion: Criterion) -> str:
    """The command that makes the proof of a criterion."""
    return _MADE_BY[criterion.kind.facts or ""].format(site=site.id, criterion=criterion.id)


def digest_settings(site: Site, criterion: Criterion) -> str:
    """What the site file says of all that the test of a criterion rests on, as a digest.

    Another budget, detector, horizon or bound is another question; recipients, levels and bounds of others are not.
    """
    said: dict[str, Any]
    if criterion.kind.facts == "anomalies":
        named = sorted(list_subjects(site, criterion))
        said = {
            "detectors": named, "budget": site.anomaly.budget_per_sensor_month, "step_s": site.watched_step_s or 0.0,
        }  # fmt: skip
        if FANS.keys() & named:  # their fans are of the forecasts of the site, by this cadence of the nearest horizon
            said |= {"forecasts": _spell_forecasts(site.forecast), "every_s": site.forecast.every_s}
    elif criterion.kind.facts == "forecasts":
        said = {
            "plan": _spell_forecasts(site.forecast), "stations": criterion.stations, "quantity": criterion.quantity,
            "recover": criterion.recover,
            "bounds": [[t.level, t.over, t.window_s, t.probability] for t in criterion.thresholds],
        }  # fmt: skip
    else:
        said = {
            "weights": site.scenes.weights, "triage": site.scenes.triage, "area": site.scenes.minimum_area_m2,
            "near_m": dict(criterion.params).get("near_m", site.scenes.near_m),
        }  # fmt: skip
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()[:32]


def _spell_forecasts(plan: ForecastPlan) -> dict[str, Any]:
    """Which forecasts are made; other settings count where they leave their default: a new one asks for no test."""
    always = {"models": plan.models, "horizons_s": plan.horizons_s, "covariates": plan.covariates}
    usual = ForecastPlan()
    named = {f.name: getattr(plan, f.name) for f in fields(plan) if f.name != "every_s"}
    return always | {name: value for name, value in named.items() if value != getattr(usual, name)}


def judge_forecasts(
    records: Mapping[float, tuple[int, float | None, float | None, float | None]], gained_s: list[float]
) -> list[str]:
    """Why forecasts may not count; empty where they may.

    Args:
        records: by horizon, s: scored issue times, mean absolute error of what was shown and of persistence, mm, and
            the share of observations inside the 80 % interval.
        gained_s: by event, lead of velocity and forecast together less that of velocity alone at equal days of false
            alarm, s; 0 where neither met it.
    """
    found = []
    for horizon_s, (issues, mae, persistence, coverage) in sorted(records.items()):
        days = f"{horizon_s / 86400.0:g} d"
        if issues < FEWEST_ISSUES or mae is None or persistence is None or coverage is None:
            found.append(f"forecasts of {days} were scored at {issues} issue times, {FEWEST_ISSUES} are needed")
            continue
        if mae >= persistence:
            found.append(f"forecasts of {days} are off by {mae:.3g} mm on average, persistence by {persistence:.3g} mm")
        if coverage < LEAST_COVERAGE:
            found.append(f"the 80 % interval of {days} held {coverage:.0%} of what came")
    if not gained_s:
        found.append("no event is known that they could have been early for")
    elif (mean_s := fsum(gained_s) / len(gained_s)) <= 0.0:
        later = f"with them the warning comes {spell_duration(round(-mean_s))} later than"
        late = later if mean_s < 0.0 else "with them the warning comes no earlier than"
        found.append(f"{late} by velocity alone at equal days of false alarm")
    return found


def judge_outlines(blocks: int, gain_low: float | None, looked: int, accepted: int) -> list[str]:
    """Why outlines of scenes may not count; empty where they may.

    Args:
        blocks: held-out images or blocks of the site's own ground; patches of one block are neighbours and count once.
        gain_low: lower end of the interval of F1 of the weights less that of logistic regression, by these blocks.
        looked: outlines of these weights that a person looked at.
        accepted: those that were accepted as they are.
    """
    found = []
    if blocks < FEWEST_BLOCKS:
        found.append(f"{blocks} held-out images or blocks of ground were scored, {FEWEST_BLOCKS} are needed")
    if gain_low is None:
        found.append("the weights could not be compared with logistic regression")
    elif gain_low <= 0.0:
        found.append(f"F1 of the weights less that of logistic regression is {gain_low:+.3f} at its lower end")
    if looked < FEWEST_REVIEWS:
        found.append(f"{looked} of its outlines were reviewed, {FEWEST_REVIEWS} are needed (slopeward scenes review)")
    elif accepted < LEAST_ACCEPTED * looked:
        found.append(f"{accepted} of {looked} reviewed outlines were accepted, {LEAST_ACCEPTED:.0%} are needed")
    return found
