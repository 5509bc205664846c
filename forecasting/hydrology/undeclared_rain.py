"""Rain from the readings of a gauge whose kind nobody declares, as in measured records."""

from collections.abc import Sequence

from forecasting.hydrology.rain_amounts import adds_up, are_tips, find_interval
from forecasting.hydrology.rain_counters import count_up
from forecasting.hydrology.rain_sums import resolve_sums


def count_undeclared(rows: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return what fell, recognising counters and sums that are stored twice. Tips count one by one.

    Args:
        rows: Instant in seconds and amount in mm, in order of time.

    >>> count_undeclared([(600.0 * k, 0.5 * (k // 2)) for k in range(40)])[:3]
    [(600.0, 0.0), (1200.0, 0.5), (1800.0, 0.0)]
    """
    if len(rows) < 2:
        return list(rows)
    interval_s, is_interval = find_interval([at_s for at_s, _ in rows])
    if adds_up(rows):
        return count_up(rows, interval_s).known
    if not is_interval or are_tips(rows, interval_s):
        return list(rows)
    return resolve_sums(rows, interval_s).rows
