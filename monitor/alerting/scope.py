"""Which series a site's criteria look at, and how far back: nothing more is read."""

from collections.abc import Mapping

from monitor.alerting.criteria.registry import MEASURED
from monitor.domain.site import Criterion, SeriesSpec, Site

CONTEXT_EPOCHS = 10  # before the window, so that a jump at its start is seen against what was there


def wanted_series(site: Site) -> Mapping[tuple[str, str], float]:
    """(station, declared quantity) -> seconds of history; controls on a shared reference are looked at as well."""
    found: dict[tuple[str, str], float] = {}
    for criterion in site.criteria:
        if criterion.kind not in MEASURED:
            continue
        stations = set(criterion.stations)
        if criterion.kind == "velocity":
            stations |= {s.id for s in site.stations if not s.on_slope and s.reference is not None}
        for station in stations:
            spec = site.series(station, criterion.quantity)
            if spec is not None:
                key = (station, criterion.quantity)
                found[key] = max(found.get(key, 0.0), history_s(site, criterion, spec))
    return found


def history_s(site: Site, criterion: Criterion, spec: SeriesSpec) -> float:
    """How far back a criterion must see: its widest window, its dwell, the clock of a step, and some context."""
    params = dict(criterion.params)
    windows = [t.window_s for t in criterion.thresholds if t.window_s] + [params.get("duration_to_s", 0.0)]
    dwell_s = criterion.dwell.within_s or (criterion.dwell.of + 1) * spec.interval_s
    clock_s = max(site.fusion.verify_within_s, 2.5 * spec.interval_s)
    return max(windows) + max(dwell_s, clock_s) + spec.max_silence_s + CONTEXT_EPOCHS * spec.interval_s
