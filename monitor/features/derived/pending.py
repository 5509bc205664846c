"""Note in ingest's transaction which calculated series have to be computed; nothing is computed there."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from sqlalchemy import Connection

from monitor.api.queries.readings import AddResult
from monitor.api.readings import Observation
from monitor.api.sites import Site
from monitor.api.text import Span, join_spans
from monitor.features.derived.plans import plan_site
from monitor.features.derived.queries import Cause, PendingRow, add_pending

# Readings of one series that arrive together are noted as at most this many spans of time.
MOST_SPANS: Final = 16
# Readings that lie closer together than this are one span: to compute a value twice costs less than a row.
NEAR: Final = timedelta(minutes=10)


def note_readings(
    connection: Connection,
    sites: Mapping[str, Site],
    rows: Sequence[Observation],
    added: AddResult,
) -> None:
    """Note which readings were stored, in their transaction. The values are computed later."""
    if not added.stored:
        return
    instants: dict[str, dict[str, list[datetime]]] = {}
    for row in rows:
        site = sites.get(row.site)
        if site is not None and (row.station, row.quantity) in plan_site(site).scales:
            of_site = instants.setdefault(row.site, {})
            of_site.setdefault(f"{row.station}.{row.quantity}", []).append(row.observed_at)
    for site_id, by_series in instants.items():
        add_pending(connection, group_spans(site_id, {name: _join(found) for name, found in by_series.items()}))


def group_spans(
    site_id: str,
    spans: Mapping[str, Iterable[Span]],
    cause: Cause = Cause.READINGS,
    keep_before: datetime | None = None,
) -> list[PendingRow]:
    """Return rows in which series with the same span stand together."""
    names: dict[Span, list[str]] = {}
    for name, of_series in spans.items():
        for span in of_series:
            names.setdefault(span, []).append(name)
    return [
        PendingRow(site_id, tuple(sorted(of_span)), span[0], span[1], cause, keep_before)
        for span, of_span in names.items()
    ]


def limit_spans(spans: Iterable[Span], gap: timedelta = timedelta(0), most: int = MOST_SPANS) -> list[Span]:
    """Return disjoint spans in order; where there are more than `most`, those nearest to each other are joined."""
    joined = join_spans(spans, gap)
    while len(joined) > most:
        gaps = sorted(following[0] - span[1] for span, following in pairwise(joined))
        joined = join_spans(joined, gaps[len(joined) - most - 1])
    return joined


def _join(instants: Iterable[datetime]) -> list[Span]:
    return limit_spans(((at, at) for at in instants), NEAR)
