"""Corrections of stored values, and who signs them.

A *revision* is a later value of an epoch. The reference is the value that two people signed last, or else the value
that arrived first. A revision is a *correction* if its value differs from the reference by more than five standard
errors of the reference, if its own stated error is larger than that, or if it carries a flag that keeps it from
counting. If one value of a station is a
correction, all revisions of the station in the batch are. A correction is stored with the flag `unsigned`, and readers
leave it out until two people have signed it. Other revisions count at once, and so do all revisions of an unusable
reading, completed calculated values, and series that no site file declares. The evaluation alone also reads unsigned
values, because they may raise a level.

A value that a file puts between two readings of an instrument is a correction if it differs from the line between
them by more than five standard errors.

The value that counts now is not the reference, because ten small changes would then move a value as far as one large
change.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, text

from monitor.readings.queries import latest, observations
from monitor.readings.records import BROUGHT_BY, CHANGED, HARMLESS, UNSIGNED, Observation, Reading
from monitor.readings.tables import observation, observation_flag, series
from monitor.sites.queries.in_force import find_in_force
from monitor.sites.records import SeriesSpec, Site
from monitor.text.instants import format_iso, parse_time
from monitor.text.message import Template

# Number of standard errors by which two solutions of one epoch seldom differ.
SIGMAS: Final = 5.0
# A value of a file is compared with a reading if it is nearer than this share of an interval. A value that fills a gap
# is a whole interval away from its neighbours.
NEAR: Final = 0.75
# Number of newest epochs from which the scatter of a series without stated errors is computed.
SCATTER_EPOCHS: Final = 200
# Standard deviation of normally distributed values, in median absolute deviations.
_MAD_TO_SIGMA: Final = 1.4826
_REOPENED: Final = Template("flag.correction_reopened", "the answer that the correction is right was withdrawn")
_INSTANT: Final = timedelta(microseconds=1)
# Condition of the partial index. Flags at arrival do not change, so signed corrections fulfil it as well.
_ARRIVED_UNSIGNED: Final = text("observation.flags LIKE '%unsigned%'")
_SIGNED: Final = Template("flag.correction_signed", "two people have signed the correction")
_SIGNED_BY_ONE: Final = Template(
    "flag.correction_signed_by_one", "one person has signed the correction; fewer than two people may act on this site"
)


@dataclass(frozen=True, slots=True)
class NewRevision:
    """A value that will be stored, with the number of its revision."""

    series_id: int
    observed_at: str
    revision: int
    item: Observation

    @property
    def key(self) -> tuple[int, str, int]:
        """Primary key of its row."""
        return self.series_id, self.observed_at, self.revision


def find_unsigned(
    connection: Connection,
    new_revisions: Sequence[NewRevision],
    sites: Mapping[str, Site] | None,
    *,
    imported_into: Collection[int] = (),
) -> set[tuple[int, str, int]]:
    """Return the keys of new values that must not count before two people have signed them.

    If one value of a station is a correction, all revisions of the station in this batch must be signed. A record that
    is corrected in part would be a record that no instrument measured.

    Args:
        sites: Site files in force, by id; None loads them. Nothing reads a series that they do not declare.
        imported_into: Series that had readings before, if the values come from a file. Values of the file may lie
            between readings of the instrument.
    """
    in_force: dict[str, Site | None] = {} if sites is None else dict(sites)
    by_series: dict[int, list[NewRevision]] = defaultdict(list)
    for new in new_revisions:
        if new.revision or new.series_id in imported_into:
            by_series[new.series_id].append(new)
    unsigned: set[tuple[int, str, int]] = set()
    for series_id, revisions in by_series.items():
        item = revisions[0].item
        if sites is None and item.site not in in_force:
            in_force[item.site] = find_in_force(connection, item.site)
        site = in_force.get(item.site)
        spec = None if site is None else site.series(item.station, item.quantity)
        if spec is not None:
            unsigned |= _find_unsigned_in_series(
                connection, series_id, revisions, spec, from_file=series_id in imported_into
            )
    if not unsigned:
        return unsigned
    stations = {(new.item.site, new.item.station) for new in new_revisions if new.key in unsigned}
    return unsigned | {
        new.key for new in new_revisions if new.revision and (new.item.site, new.item.station) in stations
    }


def _find_unsigned_in_series(
    connection: Connection, series_id: int, new_revisions: Sequence[NewRevision], spec: SeriesSpec, *, from_file: bool
) -> set[tuple[int, str, int]]:
    revised = [new for new in new_revisions if new.revision]
    references = _load_references(connection, series_id, [new.observed_at for new in revised])
    unsigned: set[tuple[int, str, int]] = set()
    instrument_readings: list[Reading] | None = None
    scatter: float | None = None
    if any(_needs_scatter(reference, spec) for reference in references.values()) or from_file:
        instrument_readings = _load_instrument_readings(
            connection, series_id, [new.item.observed_at for new in new_revisions], spec
        )
        scatter = measure_scatter(instrument_readings)
    for new in revised:
        reference = references.get(new.observed_at)
        if reference is not None and _is_correction(new.item, reference, spec, scatter or 0.0):
            unsigned.add(new.key)
    if from_file and instrument_readings is not None:
        for new in new_revisions:
            if not new.revision and _differs_from_neighbours(new.item, instrument_readings, spec, scatter or 0.0):
                unsigned.add(new.key)
    return unsigned


@dataclass(frozen=True, slots=True)
class _Reference:
    """The value that corrections of an epoch are compared with: the value signed last, or the first that arrived."""

    value: float
    sigma: float | None
    flags: tuple[str, ...]


def _load_references(connection: Connection, series_id: int, epochs: Sequence[str]) -> dict[str, _Reference]:
    if not epochs:
        return {}
    first, last = parse_time(min(epochs)), parse_time(max(epochs))
    rows = observations.load_revisions(connection, series_id, first - _INSTANT, last, observations.END)
    later = observations.load_later_flags(connection, series_id, first - _INSTANT, last, observations.END)
    wanted = set(epochs)
    references: dict[str, _Reference] = {}
    solutions: dict[str, str | None] = {}
    for row in rows:
        observed, _, revision, value, sigma, solution, flags, _ = tuple(row)
        if observed not in wanted:
            continue
        first_flags = tuple(flags.split(",")) if flags else ()
        present_flags = observations.change_flags(first_flags, later.get((observed, revision), ()))
        is_signed = UNSIGNED in first_flags and UNSIGNED not in present_flags
        is_first = observed not in references
        # A person may send a `corrected` value before the value of the instrument arrives. It is not the reference.
        if not is_first and observations.rank(solution) < observations.rank(solutions[observed]) == 2:
            is_first = True
        if is_first or is_signed:
            references[observed] = _Reference(value, sigma, tuple(flag for flag in present_flags if flag != UNSIGNED))
            solutions[observed] = solution
    return references


def _needs_scatter(reference: _Reference, spec: SeriesSpec) -> bool:
    return max(reference.sigma or 0.0, spec.noise_floor) <= 0.0


def _is_correction(item: Observation, reference: _Reference, spec: SeriesSpec, scatter: float) -> bool:
    """Return whether a revision must be signed before it counts.

    It must if its value differs from the reference by more than `SIGMAS` standard errors of the reference, if its own
    stated error is larger than that, or if it carries a flag that keeps it from counting.
    """
    is_completed = spec.calculation is not None and f'"{CHANGED}":' not in (item.extra or "")
    # A calculated value is completed when an input arrives late.
    if is_completed:
        return False
    # The reference is unusable, so the correction cannot hide anything.
    if not HARMLESS.issuperset(reference.flags):
        return False
    error = max(reference.sigma or 0.0, spec.noise_floor) or scatter
    return (
        abs(item.value - reference.value) > SIGMAS * error
        or (item.sigma or 0.0) > SIGMAS * error
        or not HARMLESS.issuperset(item.flags)
    )


def _load_instrument_readings(
    connection: Connection, series_id: int, epochs: Iterable[datetime], spec: SeriesSpec
) -> list[Reading]:
    """Return the usable readings around the epochs that were not imported from a file, in order of epoch."""
    instants = sorted(epochs)
    interval = timedelta(seconds=spec.interval_s)
    since = instants[0] - SCATTER_EPOCHS * interval
    readings = observations.load_readings(connection, series_id, since, instants[-1] + interval, observations.END)
    return [r for r in readings if HARMLESS.issuperset(r.flags) and not (r.extra is not None and BROUGHT_BY in r.extra)]


def measure_scatter(readings: Sequence[Reading]) -> float:
    """Return one standard deviation of a reading, from the differences between neighbours, robust against outliers."""
    values = [(r.first or r).value_raw for r in readings]
    differences = [b - a for a, b in pairwise(values)]
    if not differences:
        return 0.0
    middle = median(differences)
    return _MAD_TO_SIGMA * median(abs(difference - middle) for difference in differences) / sqrt(2.0)


def _differs_from_neighbours(
    item: Observation, instrument_readings: Sequence[Reading], spec: SeriesSpec, scatter: float
) -> bool:
    """Return whether a value of a file is near readings of the instrument in time, but not in value."""
    if not HARMLESS.issuperset(item.flags):
        return False
    index = bisect_left(instrument_readings, item.observed_at, key=lambda reading: reading.observed_at)
    neighbours = instrument_readings[max(index - 1, 0) : index + 1]
    gaps_s = [abs((r.observed_at - item.observed_at).total_seconds()) for r in neighbours]
    if not any(gap_s < NEAR * spec.interval_s for gap_s in gaps_s):
        return False
    share = gaps_s[0] / sum(gaps_s) if len(neighbours) == 2 else 0.0
    first, last = neighbours[0].value_raw, neighbours[-1].value_raw
    expected = first + share * (last - first)
    return abs(item.value - expected) > SIGMAS * (max(item.sigma or 0.0, spec.noise_floor) or scatter)


def load_unsigned(
    connection: Connection, since: Mapping[int, datetime], to_at: datetime, known_at: datetime
) -> dict[int, tuple[Reading, ...]]:
    """Return the corrections that would count if they were signed, by series and in order of epoch.

    Args:
        since: By series, the instant after which epochs are wanted.
        to_at: The newest epoch.
        known_at: Readings and signatures that arrived later are ignored.
    """
    if not since:
        return {}
    o = observation.c
    # Every evaluation executes this statement. With a condition on series or epochs, SQLite would scan all readings of
    # the series by the primary key instead of the small partial index.
    spans = connection.execute(
        select(o.series_id, func.min(o.observed_at), func.max(o.observed_at))
        .where(_ARRIVED_UNSIGNED)
        .group_by(o.series_id)
    )
    corrections: dict[int, tuple[Reading, ...]] = {}
    for series_id, first, last in spans.all():
        if series_id not in since or last <= since[series_id]:
            continue
        from_at, until = max(since[series_id], first - _INSTANT), min(last, to_at)
        counting = observations.load_readings(connection, series_id, from_at, until, known_at)
        if_signed = observations.load_readings(connection, series_id, from_at, until, known_at, with_unsigned=True)
        revisions = {reading.observed_at: reading.revision for reading in counting}
        unsigned = [reading for reading in if_signed if revisions.get(reading.observed_at) != reading.revision]
        if unsigned:
            corrections[series_id] = tuple(unsigned)
    return corrections


def sign_corrections(
    connection: Connection, site: str, station: str, until: datetime, by: str, now: datetime, *, countersigned: bool
) -> int:
    """Let the corrections of a station that arrived up to an instant count from `now` on.

    Args:
        by: The people who signed, as it is shown.
        countersigned: Whether two people signed.

    Returns:
        The number of values that were signed.
    """
    rows = _list_corrections(connection, site, station, until, signed=False)
    # A correction that a later correction replaced remains unsigned, because nobody was shown its value.
    first_at = {row.series_id: row.observed_at - _INSTANT for row in reversed(rows)}
    would_count = {
        (series_id, reading.observed_at, reading.revision)
        for series_id, readings in load_unsigned(connection, first_at, observations.END, now).items()
        for reading in readings
    }
    rows = [row for row in rows if (row.series_id, row.observed_at, row.revision) in would_count]
    reason = _SIGNED if countersigned else _SIGNED_BY_ONE
    _add_flags(connection, rows, f"-{UNSIGNED}", by, reason, now)
    newest = {row.series_id: row for row in rows}
    latest.renew_latest(connection, [_to_latest(row) for row in newest.values()])
    return len(rows)


def reopen_corrections(connection: Connection, site: str, station: str, until: datetime, by: str, now: datetime) -> int:
    """Withdraw the signatures of corrections of a station, so that they wait for two people again.

    Returns:
        The number of values that wait again.
    """
    rows = _list_corrections(connection, site, station, until, signed=True)
    _add_flags(connection, rows, UNSIGNED, by, _REOPENED, now)
    for series_id in sorted({row.series_id for row in rows}):
        latest.recompute_latest(connection, series_id)
    return len(rows)


def _list_corrections(
    connection: Connection, site: str, station: str, until: datetime, *, signed: bool
) -> Sequence[Row[Any]]:
    """Return the corrections of a station that arrived up to an instant and are signed, or are not."""
    o, f, s = observation.c, observation_flag.c, series.c
    last_change = (
        select(f.flag)
        .where(f.series_id == o.series_id, f.observed_at == o.observed_at, f.revision == o.revision)
        .where(f.flag.in_([UNSIGNED, f"-{UNSIGNED}"]))
        .order_by(f.id.desc())
        .limit(1)
        .correlate(observation)
        .scalar_subquery()
    )
    is_signed = func.coalesce(last_change, UNSIGNED) == f"-{UNSIGNED}"
    query = (
        select(observation)
        .join(series, s.id == o.series_id)
        .where(s.site == site, s.station == station, _ARRIVED_UNSIGNED, o.received_at <= until)
        .where(is_signed if signed else ~is_signed)
        .order_by(o.series_id, o.observed_at, o.revision)
    )
    return connection.execute(query).all()


def _add_flags(
    connection: Connection, rows: Sequence[Row[Any]], flag: str, by: str, reason: Template, now: datetime
) -> None:
    facts = {"flag": flag, "known_from": now, "by": by, "reason": reason()}
    places = [{"series_id": row.series_id, "observed_at": row.observed_at, "revision": row.revision} for row in rows]
    if places:
        connection.execute(insert(observation_flag), [place | facts for place in places])


def _to_latest(row: Row[Any]) -> tuple[Any, ...]:
    """Return a row of `observation` as a row of `series_latest`."""
    return (
        row.series_id,
        format_iso(row.observed_at),
        row.revision,
        format_iso(row.received_at),
        row.value_raw,
        row.sigma,
        row.solution,
        row.flags,
    )
