"""Tests that a model must pass at a site before criteria that use it can raise a level."""

from collections.abc import Mapping
from math import fsum
from typing import Final

from monitor.sites.records import Criterion, Site
from monitor.text.message import Duration, Figure, Message, Template

# A notice reminds people this long before a test expires.
WARN_S: Final = 14.0 * 86400.0
# Scored issue times of a forecast. The measured coverage of an 80 % interval then has a standard error of 7 %.
MIN_ISSUES: Final = 30
# Share of the readings that the 80 % interval must contain.
MIN_INTERVAL_COVERAGE: Final = 0.70
# Outlines that a person has reviewed, and the share of them that must be accepted.
MIN_REVIEWS: Final = 10
MIN_ACCEPTED_SHARE: Final = 0.8
# Images or blocks of ground of the site that were not used for training.
MIN_BLOCKS: Final = 20
_FEW_ISSUES: Final = Template(
    "proof.few_issues", "forecasts for {span} were scored at {n} issue times, {n2} are needed"
)
_NO_BETTER: Final = Template(
    "proof.no_better",
    "the mean error of forecasts for {span} is {error} mm; that of persistence is {persistence} mm, which is no larger",
)
_NARROW: Final = Template(
    "proof.narrow", "the 80 % interval of forecasts for {span} contains {share} of the readings, {share2} are needed"
)
_NO_EVENT: Final = Template("proof.no_event", "no event is recorded that the forecasts could have announced")
_NO_EARLIER: Final = Template(
    "proof.no_earlier",
    "with the forecasts the warning is no earlier than by velocity alone, for the same number of days of false alarm",
)
_LATER: Final = Template(
    "proof.later",
    "with the forecasts the warning is {duration} later than by velocity alone, for the same number of days of false "
    "alarm",
)
_FEW_BLOCKS: Final = Template(
    "proof.few_blocks", "{n} images or blocks of ground that were not used for training were scored, {n2} are needed"
)
_NOT_COMPARED: Final = Template("proof.not_compared", "the network could not be compared with logistic regression")
_NO_GAIN: Final = Template(
    "proof.no_gain",
    "the network may be no better than logistic regression: the lower end of the difference of their F1 scores is {n}",
)
_FEW_REVIEWS: Final = Template(
    "proof.few_reviews", "{n} of its outlines were reviewed, {n2} are needed: run slopeward scenes review"
)
_FEW_ACCEPTED: Final = Template("proof.few_accepted", "{n} of {n2} reviewed outlines were accepted, {share} are needed")
# Commands that run the test, by the facts that a criterion reads.
_COMMANDS: Final[Mapping[str, str]] = {
    "anomalies": "slopeward anomalies bench --site {site}",
    "forecasts": "slopeward backtest --site {site} --prove {criterion}",
    "footprints": "slopeward scenes score --site {site} --layout folder --folder FOLDER",
}


def format_command(site: Site, criterion: Criterion) -> str:
    """Return the command that runs the test of a criterion."""
    return _COMMANDS[criterion.kind.facts or ""].format(site=site.id, criterion=criterion.id)


def check_forecasts(
    records: Mapping[float, tuple[int, float | None, float | None, float | None]], gained_s: list[float]
) -> list[Message]:
    """Return the reasons why forecasts must not raise a level at a site; empty if they may.

    Args:
        records: By horizon in seconds: the number of scored issue times, the mean absolute errors of the forecasts and
            of persistence in mm, and the share of the readings inside the 80 % interval. None means not computed.
        gained_s: For each event, how many seconds earlier the warning is with velocity and forecasts than with velocity
            alone, for the same number of days of false alarm. It is 0 if neither announced the event.
    """
    reasons = []
    for horizon_s, (issues, mae, persistence, coverage) in sorted(records.items()):
        days = Figure(horizon_s / 86400.0, "g", "d")
        if issues < MIN_ISSUES or mae is None or persistence is None or coverage is None:
            reasons.append(_FEW_ISSUES(span=days, n=issues, n2=MIN_ISSUES))
            continue
        if mae >= persistence:
            reasons.append(_NO_BETTER(span=days, error=Figure(mae, ".3g"), persistence=Figure(persistence, ".3g")))
        if coverage < MIN_INTERVAL_COVERAGE:
            share, needed = Figure(coverage, ".0%"), Figure(MIN_INTERVAL_COVERAGE, ".0%")
            reasons.append(_NARROW(span=days, share=share, share2=needed))
    if not gained_s:
        reasons.append(_NO_EVENT())
        return reasons
    mean_gain_s = fsum(gained_s) / len(gained_s)
    if mean_gain_s < 0.0:
        reasons.append(_LATER(duration=Duration(round(-mean_gain_s))))
    elif mean_gain_s == 0.0:
        reasons.append(_NO_EARLIER())
    return reasons


def check_outlines(blocks: int, gain_low: float | None, reviewed: int, accepted: int) -> list[Message]:
    """Return the reasons why outlines of landslides must not raise a level at a site; empty if they may.

    Args:
        blocks: Images or blocks of ground of the site that were not used for training. The patches of one block are
            neighbours, so they count as one.
        gain_low: Lower end of the confidence interval of the F1 score of the network minus that of logistic regression,
            over these blocks; None if they could not be compared.
        reviewed: Outlines of the network that a person has reviewed.
        accepted: Those of them that were accepted without a change.
    """
    reasons = []
    if blocks < MIN_BLOCKS:
        reasons.append(_FEW_BLOCKS(n=blocks, n2=MIN_BLOCKS))
    if gain_low is None:
        reasons.append(_NOT_COMPARED())
    elif gain_low <= 0.0:
        reasons.append(_NO_GAIN(n=Figure(gain_low, "+.3f")))
    if reviewed < MIN_REVIEWS:
        reasons.append(_FEW_REVIEWS(n=reviewed, n2=MIN_REVIEWS))
    elif accepted < MIN_ACCEPTED_SHARE * reviewed:
        reasons.append(_FEW_ACCEPTED(n=accepted, n2=reviewed, share=Figure(MIN_ACCEPTED_SHARE, ".0%")))
    return reasons
