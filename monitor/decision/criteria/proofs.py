"""Tests that a model must pass at a site before criteria that use it can raise a level."""

from collections.abc import Mapping
from math import fsum
from typing import Final

from monitor.sites.records import Criterion, Site
from monitor.text.message import Duration, Figure, Message, Template

# How long before a test expires the site is reminded to repeat it.
WARN_S: Final = 14.0 * 86400.0
FEWEST_ISSUES: Final = 30  # scored issue times of a forecast; an interval of 80 % then has a standard error of 7 %
LEAST_COVERAGE: Final = 0.70  # of the 80 % interval
FEWEST_REVIEWS: Final = 10  # outlines that a person looked at
LEAST_ACCEPTED: Final = 0.8
FEWEST_BLOCKS: Final = 20  # held-out images or blocks of the site's own ground
_FEW_ISSUES: Final = Template("proof.few_issues", "forecasts of {span} were scored at {n} issue times, {n2} are needed")
_NO_BETTER: Final = Template(
    "proof.no_better", "forecasts of {span} are off by {error} mm on average, persistence by {persistence} mm"
)
_THIN: Final = Template("proof.thin", "the 80 % interval of {span} held {share} of what came")
_NO_EVENT: Final = Template("proof.no_event", "no event is known that they could have been early for")
_NO_EARLIER: Final = Template(
    "proof.no_earlier", "with them the warning comes no earlier than by velocity alone at equal days of false alarm"
)
_LATER: Final = Template(
    "proof.later", "with them the warning comes {duration} later than by velocity alone at equal days of false alarm"
)
_FEW_BLOCKS: Final = Template(
    "proof.few_blocks", "{n} held-out images or blocks of ground were scored, {n2} are needed"
)
_NOT_COMPARED: Final = Template("proof.not_compared", "the weights could not be compared with logistic regression")
_NO_GAIN: Final = Template(
    "proof.no_gain", "F1 of the weights less that of logistic regression is {n} at its lower end"
)
_FEW_REVIEWS: Final = Template(
    "proof.few_reviews", "{n} of its outlines were reviewed, {n2} are needed (slopeward scenes review)"
)
_FEW_ACCEPTED: Final = Template("proof.few_accepted", "{n} of {n2} reviewed outlines were accepted, {share} are needed")
_MADE_BY: Final[Mapping[str, str]] = {
    "anomalies": "slopeward anomalies bench --site {site}",
    "forecasts": "slopeward backtest --site {site} --prove {criterion}",
    "footprints": "slopeward scenes score --site {site} --layout folder --folder FOLDER",
}  # by the facts that a criterion reads


def format_command(site: Site, criterion: Criterion) -> str:
    """Return the command that runs the test of a criterion."""
    return _MADE_BY[criterion.kind.facts or ""].format(site=site.id, criterion=criterion.id)


def check_forecasts(
    records: Mapping[float, tuple[int, float | None, float | None, float | None]], gained_s: list[float]
) -> list[Message]:
    """Return the reasons why forecasts do not count; empty if they do.

    Args:
        records: by horizon, s: scored issue times, mean absolute error of what was shown and of persistence, mm, and
            the share of observations inside the 80 % interval.
        gained_s: by event, lead of velocity and forecast together less that of velocity alone at equal days of false
            alarm, s; 0 where neither met it.
    """
    found = []
    for horizon_s, (issues, mae, persistence, coverage) in sorted(records.items()):
        days = Figure(horizon_s / 86400.0, "g", "d")
        if issues < FEWEST_ISSUES or mae is None or persistence is None or coverage is None:
            found.append(_FEW_ISSUES(span=days, n=issues, n2=FEWEST_ISSUES))
            continue
        if mae >= persistence:
            found.append(_NO_BETTER(span=days, error=Figure(mae, ".3g"), persistence=Figure(persistence, ".3g")))
        if coverage < LEAST_COVERAGE:
            found.append(_THIN(span=days, share=Figure(coverage, ".0%")))
    if not gained_s:
        found.append(_NO_EVENT())
    elif (mean_s := fsum(gained_s) / len(gained_s)) <= 0.0:
        found.append(_LATER(duration=Duration(round(-mean_s))) if mean_s < 0.0 else _NO_EARLIER())
    return found


def check_outlines(blocks: int, gain_low: float | None, looked: int, accepted: int) -> list[Message]:
    """Return the reasons why outlines of scenes do not count; empty if they do.

    Args:
        blocks: held-out images or blocks of the site's own ground; patches of one block are neighbours and count once.
        gain_low: lower end of the interval of F1 of the weights less that of logistic regression, by these blocks.
        looked: outlines of these weights that a person looked at.
        accepted: those that were accepted as they are.
    """
    found = []
    if blocks < FEWEST_BLOCKS:
        found.append(_FEW_BLOCKS(n=blocks, n2=FEWEST_BLOCKS))
    if gain_low is None:
        found.append(_NOT_COMPARED())
    elif gain_low <= 0.0:
        found.append(_NO_GAIN(n=Figure(gain_low, "+.3f")))
    if looked < FEWEST_REVIEWS:
        found.append(_FEW_REVIEWS(n=looked, n2=FEWEST_REVIEWS))
    elif accepted < LEAST_ACCEPTED * looked:
        found.append(_FEW_ACCEPTED(n=accepted, n2=looked, share=Figure(LEAST_ACCEPTED, ".0%")))
    return found
