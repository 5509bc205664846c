"""What `slopeward status` shows about forecasts."""

from collections.abc import Callable, Iterable

from monitor.api.cli import translate_in_zone
from monitor.api.hooks import StatusSection
from monitor.api.sites import Site
from monitor.features.forecasts.series_text import describe_not_forecast


def describe_series_left_out(sites: Iterable[Site], zones: Callable[[str], str]) -> StatusSection:
    """Return which declared series of the sites are not forecast, and why."""
    entries = []
    lines = []
    for site in sites:
        line = describe_not_forecast(site)
        if line is not None:
            entries.append({"site": site.id, "reason": str(line)})
            lines.append(f"{site.id}: {translate_in_zone(line, zones(site.id))}")
    return StatusSection("not_forecast", entries, lines)
