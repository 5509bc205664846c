"""Fewer points for a picture without losing what matters: every bucket keeps its first, lowest, highest and last."""

from collections.abc import Sequence
from math import cos, hypot, radians, sin

from monitor.domain.observation import Reading


def pick(values: Sequence[float], most: int) -> list[int]:
    """Which of some values a picture of about `most` points needs, by rising position.

    Buckets hold equal numbers of values; of each the M4 points are kept (Jugel et al. 2014,
    doi:10.14778/2732951.2732953).
    """
    if len(values) <= most:
        return list(range(len(values)))
    buckets = max(most // 4, 1)
    keep: set[int] = set()
    for k in range(buckets):
        low, high = k * len(values) // buckets, (k + 1) * len(values) // buckets
        if low < high:
            inside = range(low, high)
            keep |= {low, high - 1, min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)}
    return sorted(keep)


def sample(readings: Sequence[Reading], most: int) -> list[Reading]:
    """At most about `most` readings in their order; extremes survive, and flagged ones up to a quarter of the bound."""
    if len(readings) <= most:
        return list(readings)
    flagged = [i for i, reading in enumerate(readings) if reading.flags]
    keep = {*pick([r.value for r in readings], most), *flagged[-max(most // 4, 1) :]}
    return [readings[i] for i in sorted(keep)]


def component_weights(azimuth_deg: float, plunge_deg: float) -> tuple[float, float, float]:
    """East, north and up of one unit of movement along azimuth (clockwise from north) and plunge (below the horizon).

    >>> [round(w, 3) + 0.0 for w in component_weights(90.0, 30.0)]
    [0.866, 0.0, -0.5]
    """
    azimuth, plunge = radians(azimuth_deg), radians(plunge_deg)
    return sin(azimuth) * cos(plunge), cos(azimuth) * cos(plunge), -sin(plunge)


def project_downslope(components: Sequence[Sequence[Reading]], weights: Sequence[float]) -> list[Reading]:
    """Displacement along the direction of movement, where all three components (east, north, up) have the epoch.

    d = (e sin A + n cos A) cos P - u sin P, with azimuth A clockwise from north and plunge P below the horizon: the
    weights are those of `component_weights`.
    """
    by_epoch = [{r.observed_at: r for r in part} for part in components]
    found = []
    for at in by_epoch[0]:
        parts = [part.get(at) for part in by_epoch]
        three = [p for p in parts if p is not None]
        if len(three) < 3:
            continue
        sigmas = [p.sigma for p in three]
        sigma = None if None in sigmas else hypot(*(w * (s or 0.0) for w, s in zip(weights, sigmas, strict=True)))
        total = [
            sum(w * getattr(p, name) for w, p in zip(weights, three, strict=True))
            for name in ("value_raw", "offset_applied")
        ]
        found.append(
            Reading(
                at, max(p.received_at for p in three), max(p.revision for p in three), total[0], total[1],
                total[0] - total[1], sigma, tuple(sorted({f for p in three for f in p.flags})),
            )
        )  # fmt: skip
    return found
