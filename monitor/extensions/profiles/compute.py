"""Profiles as readings come in, in the same transaction; and anew where their declaration, zero or offsets change."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import sqrt, ulp
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from forecasting.message import message_columns
from monitor.domain.canonical import canonical_json, digest_text
from monitor.domain.instants import Span, epoch_s, format_iso, join_spans, parse
from monitor.domain.observation import HARMLESS, Observation, Reading
from monitor.domain.site import Site
from monitor.extensions.profiles.declare import DEPTHS, DISPLACEMENT, SLIP_RATE, list_profiles
from monitor.extensions.profiles.reduction import (
    OF_STATE,
    Column,
    Profile,
    Slip,
    Survey,
    accumulate,
    compute_noise,
    compute_rates,
    find_slip,
    list_names,
    read_survey,
    subtract_zero,
)
from monitor.extensions.profiles.store import find_epoch
from monitor.store.database.engine import Database
from monitor.store.readings.observations import AddResult, SeriesIds, add_observations, find_series_id
from monitor.store.readings.reading_stamps import load_known, load_later_entries
from monitor.store.service_state import IDLE, find_stamp, stamp

_BIT: Final = timedelta(microseconds=1)
CHUNK: Final = timedelta(days=30)
AHEAD: Final = timedelta(days=1)  # what a clock that is ahead received is there as well
WAITS: Final = timedelta(minutes=10)  # a profile of which depths are missing is not stored before: they may come
FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
PLACES: Final = 4  # decimals of what is stored
WITHDRAWN: Final = "bad"
Known = Mapping[str, Sequence[Reading]]  # by quantity


class DerivedValue(NamedTuple):
    """A value that follows from a profile; None where nothing does."""

    quantity: str
    unit: str
    value: float | None
    sigma: float | None = None
    extra: str | None = None


def add_profiles(
    c: Connection, sites: Mapping[str, Site], rows: Sequence[Observation], _: AddResult, now: datetime, ids: SeriesIds
) -> list[Observation]:
    """Store what follows from readings that were just stored, and give it back; call in their transaction."""
    found: list[Observation] = []
    for name in {o.site for o in rows}:
        for profile in list_profiles(sites[name]) if name in sites else ():
            wanted = {*list_names(profile)}
            mine = [o for o in rows if (o.site, o.station) == (name, profile.station) and o.quantity in wanted]
            within, window = timedelta(seconds=profile.within_s), timedelta(seconds=profile.window_s)
            spans = join_spans((o.observed_at - within, o.observed_at + within + window) for o in mine)
            received_at = max((o.received_at for o in mine), default=now)
            for span in spans:
                found += _renew_span(c, sites[name], profile, span, received_at, now, ids)
    return found


def _renew_span(
    c: Connection, site: Site, profile: Profile, span: Span, received_at: datetime, now: datetime, ids: SeriesIds
) -> list[Observation]:
    """Compute the profiles of a time, ends included, and store what is new."""
    known_at = received_at + AHEAD
    zero_at = _find_zero(c, site, profile, known_at, ids)
    if zero_at is None:
        return []
    within, names = timedelta(seconds=profile.within_s), list_names(profile)
    begin = span[0] - timedelta(seconds=profile.window_s) - within
    known = _load(c, site, profile, names, (begin, span[1] + within), known_at, ids)
    zero = _load(c, site, profile, names, (zero_at - within, zero_at + within), known_at, ids)
    made = _load(c, site, profile, (DEPTHS, DISPLACEMENT, SLIP_RATE), span, known_at, ids)
    there = {(name, one.observed_at): one for name, rows in made.items() for one in rows}
    first = _gather(profile, zero, epoch_s(zero_at))
    instants = [one.observed_at for one in known.get(_find_anchor(profile), ())]
    surveys = [subtract_zero(profile, _gather(profile, known, epoch_s(at)), first) for at in instants]
    rows: list[Observation] = []
    for number, at in enumerate(instants):
        is_whole = all(None not in _read_column(profile, known, face, epoch_s(at)) for face in profile.faces)
        if span[0] <= at <= span[1] and (is_whole or at <= received_at - WAITS):
            recent = [one for one in surveys[: number + 1] if one.at_s > epoch_s(at) - profile.window_s]
            for part in _list_parts(profile, recent, _gather_values(profile, known, zero, at, zero_at)):
                rows += _revise(site, profile, part, at, received_at, there.get((part.quantity, at)))
    add_observations(c, rows, now, ids)
    return rows


def _find_anchor(profile: Profile) -> str:
    """The series whose instants a profile has: that at the fixed end."""
    return profile.name(profile.faces[0], profile.outwards[0])


def _find_zero(c: Connection, site: Site, profile: Profile, known_at: datetime, ids: SeriesIds) -> datetime | None:
    """The instant of the zero reading."""
    number = find_series_id(c, site.id, profile.station, _find_anchor(profile), ids)
    since = profile.zero or FIRST
    return None if number is None else find_epoch(c, number, since, known_at)


def _load(
    c: Connection, site: Site, profile: Profile, names: Iterable[str], span: Span, known_at: datetime, ids: SeriesIds
) -> Known:
    """Readings of series of a time, ends included."""
    since = {(profile.station, name): span[0] - _BIT for name in names}
    return {name: rows for (_, name), rows in load_known(c, site.id, since, span[1], known_at, ids).items()}


def _find_nearest(readings: Sequence[Reading], at_s: float, within_s: float) -> float | None:
    """The usable value next to an instant."""
    place = bisect_left(readings, at_s, key=lambda one: epoch_s(one.observed_at))
    near = min(readings[max(0, place - 1) : place + 1], key=lambda r: abs(epoch_s(r.observed_at) - at_s), default=None)
    if near is None or abs(epoch_s(near.observed_at) - at_s) > within_s or {*near.flags} - HARMLESS:
        return None
    return near.value


def _read_column(profile: Profile, known: Known, face: str, at_s: float) -> Column:
    names = (profile.name(face, place) for place in range(len(profile.depths_m)))
    return [_find_nearest(known.get(name, ()), at_s, profile.within_s) for name in names]


def _gather(profile: Profile, known: Known, at_s: float) -> Survey:
    return read_survey(profile, at_s, {face: _read_column(profile, known, face, at_s) for face in profile.faces})


def _gather_values(profile: Profile, known: Known, zero: Known, at: datetime, zero_at: datetime) -> list[Column]:
    """Of what is no displacement: the readings, and their change since the zero reading."""
    if profile.kind not in OF_STATE:
        return [[None] * len(profile.depths_m)] * 2
    now, first = (_read_column(profile, k, profile.faces[0], epoch_s(t)) for k, t in ((known, at), (zero, zero_at)))
    return [now, [None if a is None or b is None else a - b for a, b in zip(now, first, strict=True)]]


def _list_parts(profile: Profile, surveys: Sequence[Survey], values: Sequence[Column]) -> Iterator[DerivedValue]:
    """What follows from the newest of surveys."""
    newest = surveys[-1]
    nothing: Column = [None] * len(profile.depths_m)
    rates = compute_rates(surveys)
    slip = find_slip(profile, surveys)
    both = [*newest.steps, nothing][:2] + [*rates, nothing][:2]
    is_state = profile.kind in OF_STATE
    columns = [nothing if one is nothing or is_state else accumulate(profile, one) for one in both]
    table = zip(profile.depths_m, *columns, newest.checksums, *values, strict=True)
    extra = {"rows": [[_round(one) for one in row] for row in table], "slip": [_write_slip(slip)]}
    count = sum(one is not None for one in newest.steps[0])
    yield DerivedValue(DEPTHS, "1", float(count), None, canonical_json(extra))
    if is_state:
        return
    ends = [column[profile.outwards[-1]] for column in columns[: profile.axes]]
    known = [one for one in ends if one is not None]
    moved = None if len(known) < len(ends) else known[0] if len(known) == 1 else sqrt(sum(one**2 for one in known))
    noise = max(compute_noise(column)[1] for column in newest.steps) * sqrt(count)
    yield DerivedValue(DISPLACEMENT, "mm", _round(moved), _round(noise) if noise < 1e6 else None)
    yield DerivedValue(SLIP_RATE, "mm/day", _round(slip.rate_mm_per_day), _round(slip.sigma_mm_per_day) or None)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, PLACES) + 0.0


def _write_slip(slip: Slip) -> list[Any]:
    """As the view reads it: the numbers, then text, id and values of the reason."""
    reason, template_id, values = message_columns("reason", slip.reason).values()
    numbers = [_round(one) for one in slip[:-1]]
    return [*numbers, reason, template_id, None if values is None else canonical_json(values)]


def _revise(
    site: Site, profile: Profile, part: DerivedValue, at: datetime, received_at: datetime, there: Reading | None
) -> Iterator[Observation]:
    """A value where it differs from the one that stands there.

    The store takes what an instant had before for a duplicate: a later value is a last digit higher each time. What
    can be computed no more stays, as unusable.
    """
    place = (site.id, profile.station, part.quantity, part.unit, at, received_at)
    if there is None:
        if part.value is not None:
            yield Observation(*place, part.value, part.sigma, extra=part.extra)
        return
    is_withdrawn = WITHDRAWN in there.flags
    if part.value is None:
        if not is_withdrawn:
            value = there.value_raw + ulp(max(abs(there.value_raw), 1.0))
            yield Observation(*place, value, there.sigma, "corrected", (WITHDRAWN,), extra=there.extra)
        return
    is_same = abs(part.value - there.value_raw) < 10.0**-PLACES / 2.0 and part.sigma == there.sigma
    if is_withdrawn or not is_same or part.extra != there.extra:
        value = part.value + (there.revision + 1) * ulp(max(abs(part.value), 1.0))
        yield Observation(*place, value, part.sigma, "corrected", extra=part.extra)


def run(db: Database, _config: Any, site: Site, now: datetime) -> str:
    """Compute all profiles anew whose declaration, zero reading or offsets are others than before."""
    profiles, name = list_profiles(site), f"profiles:{site.id}"
    if not profiles:
        return IDLE
    known = db.run_read(lambda c: find_stamp(c, name))
    before = {} if known is None else known[1]
    with db.read() as c:
        state = {one.station: [_digest(c, site, one, now), _find_end(c, site, one, now)] for one in profiles}
    if state == before:
        return IDLE
    count = 0
    for profile in profiles:
        (digest, end), (former, until) = state[profile.station], before.get(profile.station, ["", ""])
        if digest != former:
            count += _renew(db, site, profile, FIRST, now)
        elif end != until:
            count += _renew(db, site, profile, parse(until) if until else FIRST, now)
    with db.write() as c:
        stamp(c, name, state, now)
    return f"{count} values of depth profiles"


def _find_end(c: Connection, site: Site, profile: Profile, now: datetime) -> str:
    """Up to when profiles are stored although depths of them are missing; an empty text where there are none."""
    number = find_series_id(c, site.id, profile.station, _find_anchor(profile))
    found = None if number is None else find_epoch(c, number, FIRST, now - WAITS, last=True)
    return "" if found is None else format_iso(found)


def _digest(c: Connection, site: Site, profile: Profile, now: datetime) -> str:
    """What past profiles follow from, beside their readings."""
    zero_at = _find_zero(c, site, profile, now, {})
    names = list_names(profile)
    within = timedelta(seconds=profile.within_s)
    read = {} if zero_at is None else _load(c, site, profile, names, (zero_at - within, zero_at + within), now, {})
    zero = {name: [(one.value, one.flags) for one in rows] for name, rows in read.items()}
    entries = load_later_entries(c, site.id, now)
    numbers = [find_series_id(c, site.id, profile.station, one) for one in names]
    offsets = [entries[n].offsets for n in numbers if n in entries]
    return digest_text(canonical_json([repr(profile), str(zero_at), zero, offsets]))


def _renew(db: Database, site: Site, profile: Profile, since: datetime, now: datetime) -> int:
    """Compute the profiles after an instant anew, a month at a time; values that are the same stay."""
    count = 0
    while True:
        with db.write() as c:
            number = find_series_id(c, site.id, profile.station, _find_anchor(profile))
            begin = None if number is None else find_epoch(c, number, since + _BIT, now + AHEAD)
            if begin is None:
                return count
            since = begin + CHUNK
            count += len(_renew_span(c, site, profile, (begin, since), now, now, {}))
