"""Functions for `KindEntry.history_s`: the length of the history, in seconds, that a criterion reads."""

from monitor.sites.records import DEFAULT_WINDOW_S, Criterion


def longest_window(criterion: Criterion) -> float:
    """Return the longest window of the bounds, in seconds. A bound without a window is compared over one day."""
    return max((threshold.effective_window_s for threshold in criterion.thresholds), default=DEFAULT_WINDOW_S)


def no_window(criterion: Criterion) -> float:
    """Return zero: the kind compares the newest readings themselves, or reads no series at all."""
    del criterion
    return 0.0


def longest_rain_window(criterion: Criterion) -> float:
    """Return the longest window of the bounds, or the largest age of an issue of expected rain if it is longer."""
    return max(longest_window(criterion), find_issue_age_s(criterion))


def find_issue_age_s(criterion: Criterion) -> float:
    """Return the largest age, in seconds, of an issue of expected rain; zero if the criterion reads no such rain."""
    return dict(criterion.params).get("forecast_valid_s", 0.0)
