"""Profiles as readings come in, in the same transaction; and anew where their declaration, zero or offsets change."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import hypot, isnan, nan, sqrt, ulp
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection

from forecasting.message import message_columns
from monitor.domain.canonical import canonical_json, digest_text
from monitor.domain.extension import find_functions
from monitor.domain.instants import Span, epoch_s, format_iso, join_spans, parse
from monitor.domain.observation import HARMLESS, Observation, Reading
from monitor.domain.site import Site
from monitor.extensions.profiles.declare import (
    DEPTHS,
    DISPLACEMENT,
    MADE,
    OF_STATE,
    SLIP_RATE,
    Profile,
    list_names,
    list_profiles,
)
from monitor.extensions.profiles.reduction import (
    Slip,
    Survey,
    accumulate,
    compute_noise,
    compute_rates,
    find_slip,
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
    value: float | None
    sigma: float | None = None
    extra: str | None = None


def renew_near(
    c: Connection, sites: Mapping[str, Site], rows: Sequence[Observation], now: datetime, ids: SeriesIds
) -> list[Observation]:
    """Store what follows from readings that were just stored, and give it back; call in their transaction."""
    found: list[Observation] = []
    for name in {o.site for o in rows}:
        for profile in list_profiles(sites[name]):
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
    known_at, within = received_at + AHEAD, timedelta(seconds=profile.within_s)
    zero_at = _find_zero(c, site, profile, known_at, ids)
    if zero_at is None:
        return []

    def load(names: Iterable[str], since: datetime, until: datetime) -> Known:
        return _load(c, site, profile, names, (since, until), known_at, ids)

    names = list_names(profile)
    known = load(names, span[0] - timedelta(seconds=profile.window_s) - within, span[1] + within)
    *_, (_, of_zero) = (
        one for one in _list_surveys(profile, load(names, zero_at - within, zero_at + within)) if one[0] <= zero_at
    )
    made = load(MADE, *span)
    there = {(name, one.observed_at): one for name, rows in made.items() for one in rows}
    first = _read(profile, of_zero, zero_at)
    surveys: list[Survey] = []
    # what stands at an instant that is that of no survey any more can be computed no more
    parts = {(name, at): DerivedValue(name, None, extra=one.extra) for (name, at), one in there.items()}
    for at, values in _list_surveys(profile, known):
        surveys.append(subtract_zero(profile, _read(profile, values, at), first))
        if not span[0] <= at <= span[1]:
            continue
        for name in MADE:
            parts.pop((name, at), None)
        is_whole = all(name in values and not isnan(values[name]) for name in names)
        if is_whole or at <= received_at - WAITS:
            recent = [one for one in surveys if one.at_s > epoch_s(at) - profile.window_s]
            parts |= {(part.quantity, at): part for part in _list_parts(profile, recent, first)}
    rows = [
        one
        for (name, at), part in parts.items()
        for one in _revise(site, profile, part, at, received_at, there.get((name, at)))
    ]
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


def _list_surveys(profile: Profile, known: Known) -> list[tuple[datetime, dict[str, float]]]:
    """Surveys by their instants, with the value of each series that is nearest to it and usable, else nan.

    Where one soon after another reads only some of its depths again, those count and the others stay.
    """
    instants = [one.observed_at for one in known.get(_find_anchor(profile), ())]
    middles = [a + (b - a) / 2 for a, b in pairwise(instants)]
    each: list[dict[str, float]] = [{} for _ in instants]
    within = timedelta(seconds=profile.within_s)
    for name, one in ((name, one) for name, rows in known.items() for one in rows):
        place = bisect_left(middles, one.observed_at)
        if instants and abs(one.observed_at - instants[place]) <= within:
            is_usable = not {*one.flags} - HARMLESS
            each[place][name] = one.value if is_usable else each[place].get(name, nan)
    found: list[tuple[datetime, dict[str, float]]] = []
    for at, mine in zip(instants, each, strict=True):
        if found and at - found[-1][0] <= within and not found[-1][1].keys() <= mine.keys():
            found[-1][1].update({name: value for name, value in mine.items() if not isnan(value)})
        else:
            found.append((at, mine))
    return found


def _read(profile: Profile, values: Mapping[str, float], at: datetime) -> Survey:
    places = range(len(profile.depths_m))
    faces = {face: [values.get(profile.name(face, place)) for place in places] for face in profile.faces}
    return read_survey(profile, epoch_s(at), faces)


def _list_parts(profile: Profile, surveys: Sequence[Survey], zero: Survey) -> Iterator[DerivedValue]:
    """What follows from the newest of surveys."""
    newest, slip = surveys[-1], find_slip(profile, surveys)
    is_state = profile.kind in OF_STATE
    nothing = np.full(len(profile.depths_m), nan)
    both = [*newest.steps, nothing][:2] + [*compute_rates(surveys), nothing][:2]
    columns = [nothing if is_state else accumulate(profile, one) for one in both]
    values = [newest.faces[0], newest.faces[0] - zero.faces[0]] if is_state else [nothing, nothing]
    table = zip(profile.depths_m, *columns, newest.checksums[0], *values, strict=True)
    extra = {"rows": [[_round(one) for one in row] for row in table], "slip": [_write_slip(slip)]}
    count = int((~np.isnan(newest.faces[: 1 + profile.is_paired])).all(0).sum())
    yield DerivedValue(DEPTHS, float(count), None, canonical_json(extra))
    if is_state:
        return
    ends = [column[profile.outwards[-1]] for column in columns[: profile.axes]]
    moved = ends[0] if profile.axes == 1 else hypot(*ends)
    noise = max(compute_noise(column)[1] for column in newest.steps) * sqrt(count)
    yield DerivedValue(DISPLACEMENT, _round(moved), _round(noise) if 0.0 < noise < 1e6 else None)
    yield DerivedValue(SLIP_RATE, _round(slip.rate_mm_per_day), _round(slip.sigma_mm_per_day) or None)


def _round(value: float | None) -> float | None:
    return None if value is None or isnan(value) else round(float(value), PLACES) + 0.0


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
    place = (site.id, profile.station, part.quantity, MADE[part.quantity], at, received_at)
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


def renew_changed(db: Database, site: Site, now: datetime) -> str:
    """Compute all profiles anew whose declaration, zero reading or offsets are others than before."""
    profiles, name = list_profiles(site), f"profiles:{site.id}"
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
    count, ids = 0, dict[tuple[str, str, str], tuple[int, str]]()
    while True:
        with db.write() as c:
            number = find_series_id(c, site.id, profile.station, _find_anchor(profile))
            begin = None if number is None else find_epoch(c, number, since + _BIT, now + AHEAD)
            if begin is None:
                return count
            since = begin + CHUNK
            rows = _renew_span(c, site, profile, (begin, since), now, now, ids)
            for add in find_functions("ingest.readings"):  # what is calculated from them
                add(c, {site.id: site}, rows, AddResult(len(rows), 0, 0, frozenset()), now, ids)
            count += len(rows)
