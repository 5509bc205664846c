"""How much history the kinds of criteria read: the usual answers for `KindEntry.history_s`."""

from monitor.sites.records import DEFAULT_WINDOW_S, Criterion


def longest_window(criterion: Criterion) -> float:
    """Return the longest window of the bounds, in seconds. A bound without a window is compared over one day."""
    return max((threshold.effective_window_s for threshold in criterion.thresholds), default=DEFAULT_WINDOW_S)


def no_window(criterion: Criterion) -> float:
    """Return zero: the kind compares the newest readings themselves, or reads no series at all."""
    del criterion
    return 0.0


def longest_rain_window(criterion: Criterion) -> float:
    """Return the longest window of the bounds, or how long an issue of expected rain counts if that is longer."""
    return max(longest_window(criterion), issue_age(criterion))


def issue_age(criterion: Criterion) -> float:
    """Return how many seconds an issue of expected rain counts; zero where the criterion reads none."""
    return dict(criterion.params).get("forecast_valid_s", 0.0)
