"""Acts of people on a site: set its level, announce work, add events, offsets and reports."""

from contextlib import suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Final

from sqlalchemy import Connection

from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.event_acts import withdraw_event_of_site
from monitor.alerts.acts.on_alerts import LARGEST_ID
from monitor.alerts.acts.operator_acts import find_requests_above, measure_stake, set_level_in_transaction
from monitor.alerts.acts.table import ActResult, Argument
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries import events, maintenance, offsets, reports
from monitor.alerts.queries.signatures import TwoPersonAct
from monitor.alerts.queries.signatures import withdraw_signature as withdraw_stored_signature
from monitor.alerts.queries.subjects import find_site_of
from monitor.errors import NeedsSecondError, NotFoundError, RefusedError
from monitor.people.queries.users import load_users, name_credential
from monitor.readings.queries.observations import find_series_id
from monitor.readings.records import ObserverReport, SiteEvent
from monitor.storage.actor import Actor
from monitor.text.catalogue import N_
from monitor.text.instants import format_iso, record_to_json
from monitor.text.message import Figure, NameList, Template, Term, Timestamp
from monitor.text.names import fold_name, is_station, tidy_text

# Usual kinds. Other kinds are stored as they are.
EVENT_KINDS: Final = ("work", "blasting", "reservoir", "earthquake")
REPORT_KINDS: Final = ("crack", "rockfall", "road_damage", "water", "sound", "verification", "other")
# The strongest recorded shaking is nearly 4 g (Aoi et al., Science 322, 2008). A larger value has another unit.
MOST_G: Final = 5.0
# The same form within this time was sent twice.
SENT_TWICE: Final = timedelta(minutes=1)
# Exit status if nothing had to be done.
EXIT_ALREADY_DONE: Final = 4
_LEVEL: Final = Template("act.level_set", "{site}: {before} -> {level}")
_NO_LEVEL: Final = Template("act.no_level", "{site} has no level '{name}'; expected one of: {names}")
_MAINTENANCE: Final = Template("act.maintenance", "maintenance {number}: {site} {station} until {until}")
_MAINTENANCE_BY_TWO: Final = Template("act.maintenance_two", "a maintenance by two people")
_MAINTENANCE_OVER: Final = Template(
    "act.maintenance_over",
    "maintenance {number} is over; was a sensor replaced or moved? Declare the offset once it has sent readings",
)
_MAINTENANCE_STANDS: Final = Template("act.maintenance_stands", "maintenance {numbers} of {station} is still in force")
_WAS_OVER: Final = Template("act.maintenance_was_over", "maintenance {number} is over already")
_SAME_MAINTENANCE: Final = Template("act.maintenance_there", "the very same maintenance is there already: {number}")
_EVENT: Final = Template("act.event_added", "{site}: {kind} noted as event {number}")
_SAME_EVENT: Final = Template("act.event_there", "the very same event is there already: {number}")
_EVENT_CONFIRMED: Final = Template("act.event_confirmed_by", "event {number} is confirmed by {name}")
_EVENT_WAITS: Final = Template(
    "act.event_confirmed_alone",
    "event {number} is confirmed by {name}; for the two highest levels a second person must confirm it as well",
)
_EVENT_GONE: Final = Template("act.event_withdrawn", "event {number} is withdrawn by {name}; {site} is at {level}")
_CONFIRMATION_GONE: Final = Template(
    "act.confirmation_withdrawn",
    "the confirmation of event {number} by {of} is withdrawn; still confirmed by: {left}; {site} is at {level}",
)
_OFFSET: Final = Template(
    "act.offset_added",
    "offset {number} is declared; it counts as soon as a second person confirms it",
)
_OFFSET_COUNTS: Final = Template(
    "act.offset_counts", "offset {number} is declared and counts; fewer than two people may act on {site}"
)
_OFFSET_CONFIRMED: Final = Template("act.offset_confirmed", "offset {number} is confirmed")
_OFFSET_CONFIRMED_ALONE: Final = Template(
    "act.offset_confirmed_alone",
    "offset {number} is confirmed by its author; it counts as soon as a second person confirms it",
)
_OFFSET_REVOKED: Final = Template("act.offset_revoked", "offset {number} is revoked")
_NOT_SEEN_YET: Final = Template("act.not_seen_yet", "time: nobody has seen what lies in the future")
_ODD_STATION: Final = Template("act.odd_station", "{site} has no station '{station}'; it has: {names}")
_REPORTED: Final = Template("act.report_added", "{site}: {kind} noted")
_SAME_REPORT: Final = Template("act.report_there", "the very same report is there already")
_SIGNATURE_GONE: Final = Template("act.signature_withdrawn", "signature {number} is withdrawn: {act} is not done by it")
_NO_SERIES: Final = Template(
    "act.no_series", "there is no series {site} {station} {quantity} yet; see the view latest_observation"
)
_WORDS_WANTED: Final = Template("act.kind_and_text", "a kind and a text are needed")
_ENDS_FIRST: Final = Template("act.ends_first", "the end lies before the begin")
_MEANT: Final = Template("act.meant", "kind '{kind}': did you mean {meant}?")
_KNEW: Final = Template("act.knew", "known from: give a time between the start of the event and now")
_NO_SHAKING: Final = Template("act.no_shaking", "value: a peak ground acceleration is more than 0 g")
_TOO_STRONG: Final = Template(
    "act.too_strong", "value {value}: no ground has shaken with more than {most}; {gal} (cm/s²) are {g}"
)
_NO_FUTURE: Final = Template("act.no_future", "from: an earthquake cannot lie in the future")
_NO_EVENT: Final = Template("act.no_event", "there is no event {number}; see `slopeward events list`")
_NO_STATION: Final = Template("act.no_station", "station: '{station}' is no station id")
SiteId = Annotated[str, Argument("Site", metavar="SITE", longest=64)]
StationOption = Annotated[str, Argument(N_("Station"), "--station", longest=64)]
EventId = Annotated[
    int, Argument("Number of the event, see `slopeward events list`", metavar="EVENT_ID", least=1, most=LARGEST_ID)
]
OffsetId = Annotated[
    int, Argument("Number of the offset, see `slopeward offsets list`", metavar="OFFSET_ID", least=1, most=LARGEST_ID)
]


# ---- the level ---------------------------------------------------------------------------------------------------
def set_level(
    call: ActCall,
    site: SiteId,
    level: Annotated[str, Argument("Name of the level, or its number", label=N_("Level"), metavar="LEVEL", longest=64)],
    reason: Annotated[str, Argument(N_("Why; it is sent with the level"), "--reason")],
    yes: Annotated[bool, Argument(N_("Lower the level although data request more"), "--yes")] = False,
) -> ActResult:
    """Set the hazard level. A raised level stays until a person lowers it; newer data can raise a lowered one.

    A lower level is refused while data request more. The command lists these requests, and `--yes` lowers the level
    nevertheless. If accounts exist, setting less than one of the two highest levels needs two people: the first command
    stores a signature (exit 3), and the same act by another account within four hours does it.

    Example: slopeward level set north-bench yellow --by "R. Mori" --reason "inspected on foot, crack is dry"
    """
    declared = call.find_site(site)
    new_level = next((each for each in declared.levels if level in {each.name, str(each.number)}), None)
    if new_level is None:
        names = NameList(tuple(each.name for each in declared.levels))
        raise RefusedError(_NO_LEVEL(site=declared.id, name=level, names=names))
    requests = find_requests_above(call.db, declared, new_level.number, call.now) if yes else []
    signers: list[str] = []

    def do(connection: Connection, second: Actor | None) -> int:
        signers[:] = [call.actor.name] if second is None else [second.name, call.actor.name]
        return set_level_in_transaction(
            connection, declared, new_level.number, call.actor, reason, call.now, sure=yes, second=second
        )

    shared_act = TwoPersonAct("level.set", f"site:{declared.id}", {"level": new_level.name}, choice="level")
    before = call.by_two(shared_act, reason, do, lambda connection: measure_stake(connection, declared))
    text = _LEVEL(site=declared.id, before=Term(declared.levels[before].name), level=Term(new_level.name))
    facts = {
        "site": declared.id,
        "from": before,
        "to": new_level.number,
        "level_name": new_level.name,
        "signed_by": signers,
    }
    return ActResult(text, facts, tuple(map(str, requests)) if new_level.number < before else ())


# ---- maintenance -------------------------------------------------------------------------------------------------
def add_maintenance(
    call: ActCall,
    site: SiteId,
    station: Annotated[str, Argument(N_("Station at which the work is"), metavar="STATION", longest=64)],
    reason: Annotated[str, Argument(N_("What is done there"), "--reason")],
    for_: Annotated[timedelta, Argument(N_("How long, such as 4h; 7d at most"), "--for")] = timedelta(hours=4),
    from_: Annotated[
        datetime | None, Argument("Begin, such as 2026-03-01T06:00Z; else now", "--since", label=N_("Begin; else now"))
    ] = None,
    two: Annotated[
        bool, Argument(N_("With a second person: votes for the second highest level are set aside too"))
    ] = False,
) -> ActResult:
    """Announce work on a station: its votes are set aside until the time is over.

    If accounts exist, --second asks for a second person: the maintenance starts once another account does the same
    within four hours. Until then the exit status is 3.

    Example: slopeward maintenance add north-bench G1 --for 4h --by "R. Mori" --reason "new mast"
    """
    begin = call.now if from_ is None else from_

    def do(connection: Connection, second: Actor | None) -> tuple[maintenance.Maintenance, bool]:
        call.check_site(connection, site)
        if two and second is None and load_users(connection):
            raise NeedsSecondError(_MAINTENANCE_BY_TWO())
        if not two and (same := _find_same(connection, site, station, begin, for_, call.actor.name, reason, call.now)):
            return same, True
        number = maintenance.add_maintenance(
            connection, site, station, begin, begin + for_, call.actor, reason, call.now, second=second if two else None
        )
        return _find_maintenance(connection, number, call.now), False

    begin_text = None if from_ is None else format_iso(from_)
    terms = {"for_s": for_.total_seconds(), "from": begin_text, "two": two}
    added, is_there = call.by_two(TwoPersonAct("maintenance.add", f"station:{site}/{station}", terms), reason, do)
    if is_there:
        return ActResult(_SAME_MAINTENANCE(number=added.id), record_to_json(added), status=EXIT_ALREADY_DONE)
    until = Timestamp.of(added.to_at, "minute")
    return ActResult(_MAINTENANCE(number=added.id, site=site, station=station, until=until), record_to_json(added))


def _find_same(
    connection: Connection,
    site: str,
    station: str,
    begin: datetime,
    span: timedelta,
    by: str,
    reason: str,
    now: datetime,
) -> maintenance.Maintenance | None:
    """Return the window that the same person announced with the same text a moment ago, if the form was sent twice."""
    return next(
        (
            window
            for window in maintenance.load_maintenance(connection, site, now)
            if (window.station, window.by, window.reason, window.second_by) == (station, by, reason, None)
            and window.to_at - window.from_at == span
            and abs(window.from_at - begin) < SENT_TWICE
        ),
        None,
    )


def end_maintenance(
    call: ActCall,
    maintenance_id: Annotated[
        int, Argument("Number, see `slopeward maintenance list`", metavar="ID", least=1, most=LARGEST_ID)
    ],
    reason: Annotated[str, Argument(N_("Why; such as: work is done"), "--reason")],
) -> ActResult:
    """End a maintenance early; the votes count again within seconds.

    Example: slopeward maintenance end 3 --reason "new mast is installed, readings are good"
    """
    with call.write() as connection:
        ended = maintenance.end_maintenance(connection, maintenance_id, call.actor, reason, call.now)
        window = _find_maintenance(connection, maintenance_id, call.now)
        remaining_ids = [
            m.id for m in maintenance.load_maintenance(connection, window.site, call.now) if m.station == window.station
        ]
    command = f"slopeward offsets propose {window.site} --station {window.station} --maintenance {maintenance_id}"
    facts = {"id": maintenance_id, "ended": True, "propose": command}
    if not ended:
        return ActResult(_WAS_OVER(number=maintenance_id), facts, status=EXIT_ALREADY_DONE)
    notes = (
        [str(_MAINTENANCE_STANDS(numbers=NameList(tuple(map(str, remaining_ids))), station=window.station))]
        if remaining_ids
        else []
    )
    return ActResult(_MAINTENANCE_OVER(number=maintenance_id), facts, tuple(notes), hint=command)


def _find_maintenance(connection: Connection, number: int, now: datetime) -> maintenance.Maintenance:
    return next(m for m in maintenance.load_maintenance(connection, None, now, everything=True) if m.id == number)


# ---- events ------------------------------------------------------------------------------------------------------
def add_event(
    call: ActCall,
    site: SiteId,
    kind: Annotated[
        str,
        Argument(
            "Such as work, blasting, reservoir, earthquake", "--kind", label=N_("Kind"), longest=64, usual=EVENT_KINDS
        ),
    ],
    text: Annotated[str, Argument(N_("What happens"), "--text", longest=1000)],
    from_: Annotated[
        datetime | None, Argument("Begin, with zone. Default: now.", "--since", label=N_("Begin; else now"))
    ] = None,
    to: Annotated[
        datetime | None,
        Argument("End, with zone. Default: the begin.", "--until", label=N_("End; else the begin")),
    ] = None,
    value: Annotated[
        float | None,
        Argument(
            N_("A size; of an earthquake the peak ground acceleration at the site in g"),
            "--value",
            least=-1e9,
            most=1e9,
        ),
    ] = None,
    known_from: Annotated[
        datetime | None,
        Argument(
            "When people knew of it, with zone; used by a replay",
            "--known-since",
            label=N_("Known since; else now"),
        ),
    ] = None,
) -> ActResult:
    """Add an event. It is shown beside the data, and changes no level by itself.

    A past event counts from now on; past decisions do not change. With --known-since a replay (`slopeward backtest`)
    uses it from that time.

    An earthquake lowers bounds if the site file says so. Adding an earthquake also confirms it, see `confirm`: jumps in
    its hours remain questions instead of counting, for the two highest levels once a second person confirms it.

    Example: slopeward events add north-bench --kind blasting --since 2026-03-01T06:00:00Z --text "bench 4"
    """
    begin = call.now if from_ is None else from_
    end = begin if to is None else to
    kind, text = tidy_text(kind), tidy_text(text)
    item = SiteEvent(site, begin, end, kind, text, value)
    _check_event(item, known_from, call.now)
    notes = []
    with call.write() as connection:
        call.check_site(connection, site)
        by, via = call.actor.name, call.actor.via or call.actor.name
        number = events.add_event(connection, item, call.now, by, via=via, known_from=known_from, actor=call.actor)
        if number is None:
            event_id = events.find_event(connection, item)
            hint = f"slopeward events confirm {event_id}"
            return ActResult(
                _SAME_EVENT(number=event_id or 0), {"event_id": event_id}, status=EXIT_ALREADY_DONE, hint=hint
            )
        if kind == "earthquake":
            try:
                events.confirm_event(connection, number, call.actor, text, call.now)
            except RefusedError:
                notes.append(
                    f"{by!r} has no open account as operator: the event explains no jump until somebody confirms it"
                )
    facts = {"event_id": number, "site": site, "kind": kind, "from": format_iso(begin), "to": format_iso(end), "by": by}
    return ActResult(_EVENT(site=site, kind=Term(kind), number=number), facts, tuple(notes))


def _check_event(item: SiteEvent, known_from: datetime | None, now: datetime) -> None:
    """Refuse an event without text or with impossible times, and an earthquake with an impossible acceleration.

    Raises:
        RefusedError: The event is not valid.
    """
    kind, value = item.kind, item.value
    if item.to_at < item.from_at:
        raise RefusedError(_ENDS_FIRST())
    if not item.text or not kind:
        raise RefusedError(_WORDS_WANTED())
    # A misspelt earthquake would explain no jump.
    meant = _find_similar_kind(kind, EVENT_KINDS)
    if meant is not None:
        raise RefusedError(_MEANT(kind=kind, meant=meant))
    if known_from is not None and not item.from_at <= known_from <= now:
        raise RefusedError(_KNEW())
    if kind != "earthquake":
        return
    if value is not None and value <= 0.0:
        raise RefusedError(_NO_SHAKING())
    if value is not None and value > MOST_G:
        gal, g = Figure(value, "g", "gal"), Figure(value / 980.665, ".3g", "g")
        raise RefusedError(_TOO_STRONG(value=Figure(value), most=Figure(MOST_G, "g", "g"), gal=gal, g=g))
    if item.from_at > now:
        raise RefusedError(_NO_FUTURE())


def _find_similar_kind(kind: str, kinds: tuple[str, ...]) -> str | None:
    """Return the usual kind that a misspelt one probably means; None for a usual or a new kind."""
    if kind in kinds:
        return None
    name = kind.strip().lower()
    matches = get_close_matches(name, kinds, 1, 0.75)
    matches += [usual for usual in kinds if len(name) >= len("work") and name in usual]
    matches += [usual for usual in kinds if usual == "earthquake" and "quake" in name]
    return matches[0] if matches else None


def confirm_event(
    call: ActCall, event_id: EventId, reason: Annotated[str, Argument(N_("How you know"), "--reason")]
) -> ActResult:
    """Confirm an earthquake, so that it can explain jumps in its hours.

    An event by MQTT has no authenticated sender: it may lower bounds, but explains nothing. After one person confirmed
    it, a jump in its hours remains a question instead of counting. A jump that an independent station shows too, and
    that requests one of the two highest levels, counts until a second person confirms.

    Example: slopeward events confirm 12 --by "R. Mori" --reason "felt in the office, and on the shake map"
    """
    with call.write() as connection:
        names = events.confirm_event(connection, event_id, call.actor, reason, call.now)
    text = (_EVENT_CONFIRMED if len(names) > 1 else _EVENT_WAITS)(number=event_id, name=call.actor.name)
    return ActResult(text, {"event_id": event_id, "confirmed_by": list(names)})


def withdraw_event(
    call: ActCall,
    event_id: EventId,
    reason: Annotated[str, Argument(N_("Why it is wrong"), "--reason")],
    confirmation_of: Annotated[
        str | None,
        Argument(N_("Withdraw only the confirmation by this person; the event stays"), "--confirmation-of", longest=64),
    ] = None,
) -> ActResult:
    """Withdraw an event that was wrong, or only its confirmation by a person.

    A jump that it explained becomes a question again, with a new deadline, so the level may rise. Past decisions remain
    as they are, and the event stays in the list as withdrawn.

    Bounds that an earthquake lowered are those of the site file again. If accounts exist, and one of the two highest
    levels is in force or requested, this needs two people: the first command stores a signature (exit 3), and the same
    act by another account within four hours does it. One person can withdraw a confirmation.

    Example: slopeward events withdraw 12 --by "R. Mori" --reason "it was the blasting of bench 4"
    """
    site_id = call.db.run_read(partial(find_site_of, "event"), event_id)
    if site_id is None:
        raise NotFoundError(_NO_EVENT(number=event_id))
    if confirmation_of is not None and not fold_name(confirmation_of):
        raise RefusedError("--confirmation-of: give the name of the person whose confirmation is withdrawn")
    site, who = call.find_site(site_id), call.actor
    left: tuple[str, ...] = ()
    if confirmation_of is None:
        call.by_two(
            TwoPersonAct("event.withdraw", f"site:{site.id}", {"event": event_id}),
            reason,
            lambda connection, second: withdraw_event_of_site(
                connection, site, event_id, who, reason, call.now, second=second
            ),
            lambda connection: measure_stake(connection, site),
        )
    else:
        with call.write() as connection:
            left = events.withdraw_confirmation(connection, event_id, confirmation_of, who, reason, call.now)
    level = evaluate_site(call.db, site, call.now, "person").level
    name = Term(site.levels[level].name)
    if confirmation_of is None:
        text = _EVENT_GONE(number=event_id, name=who.name, site=site.id, level=name)
    else:
        still = " and ".join(left) or Term("nobody")
        text = _CONFIRMATION_GONE(of=confirmation_of, number=event_id, left=still, site=site.id, level=name)
    facts = {"event_id": event_id, "site": site.id, "confirmation_of": confirmation_of, "by": who.name, "level": level}
    return ActResult(text, facts)


# ---- offsets -----------------------------------------------------------------------------------------------------
def add_offset(
    call: ActCall,
    site: SiteId,
    station: StationOption,
    quantity: Annotated[
        str, Argument("Quantity, such as displacement_east", "--quantity", label=N_("Quantity"), longest=64)
    ],
    at: Annotated[
        datetime,
        Argument(
            "First reading after the jump, with zone: 2026-03-01T06:00:00Z",
            "--at",
            label=N_("First reading with the jump"),
        ),
    ],
    size: Annotated[float, Argument(N_("Size of the jump in the raw values"), "--size", least=-1e9, most=1e9)],
    unit: Annotated[str, Argument(N_("Unit of the size"), "--unit", longest=32)],
    reason: Annotated[str, Argument(N_("Why"), "--reason")],
    kind: Annotated[
        str, Argument(f"One of {', '.join(offsets.KINDS)}", "--kind", label=N_("Kind"), choices=tuple(offsets.KINDS))
    ] = "other",
    known_from: Annotated[
        datetime | None,
        Argument("When it became known; else now", "--known-since", label=N_("Known since; else now")),
    ] = None,
) -> ActResult:
    """Declare an offset; once a second person confirms it: value = raw - sum(offsets at or before the epoch).

    If fewer than two people may act on the site, it counts at once.

    Example: slopeward offsets add north-bench --station G1 --quantity displacement_east
    --at 2026-03-01T06:00:00Z --size 12.5 --unit mm --kind antenna --reason "antenna replaced"
    """
    with call.write() as connection:
        series_id = find_series_id(connection, site, station, quantity)
        if series_id is None:
            call.check_site(connection, site)
            raise NotFoundError(_NO_SERIES(site=site, station=station, quantity=quantity))
        number = offsets.add_offset(
            connection,
            series_id,
            at=at,
            known_from=known_from or call.now,
            size=size,
            unit=unit,
            kind=kind,
            author=call.actor,
            reason=reason,
            now=call.now,
        )
        counts = offsets.find_offset(connection, number).counts_from is not None
    text = _OFFSET_COUNTS(number=number, site=site) if counts else _OFFSET(number=number)
    return ActResult(text, {"offset_id": number, "counts": counts}, hint=f"slopeward offsets confirm {number}")


def confirm_offset(
    call: ActCall, offset_id: OffsetId, reason: Annotated[str, Argument(N_("What was checked"), "--reason")]
) -> ActResult:
    """Confirm a declared offset; it counts as soon as another person than its author has confirmed it.

    Example: slopeward offsets confirm 3 --reason "compared with the field book"
    """
    with call.write() as connection:
        offsets.confirm_offset(connection, offset_id, call.actor, reason, call.now)
        counts = offsets.find_offset(connection, offset_id).counts_from is not None
    text = (_OFFSET_CONFIRMED if counts else _OFFSET_CONFIRMED_ALONE)(number=offset_id)
    return ActResult(text, {"offset_id": offset_id})


def revoke_offset(
    call: ActCall, offset_id: OffsetId, reason: Annotated[str, Argument(N_("Why"), "--reason")]
) -> ActResult:
    """Revoke an offset from now on; past decisions remain as they are.

    If two people confirmed it, declare the opposite offset, which a second person confirms.

    Example: slopeward offsets revoke 3 --reason "wrong station"
    """
    with call.write() as connection:
        offsets.revoke_offset(connection, offset_id, call.actor, reason, call.now)
    return ActResult(_OFFSET_REVOKED(number=offset_id), {"offset_id": offset_id})


# ---- reports and signatures --------------------------------------------------------------------------------------
def add_report(
    call: ActCall,
    site: SiteId,
    kind: Annotated[
        str,
        Argument("Such as crack, rockfall, road_damage", "--kind", label=N_("Kind"), longest=32, usual=REPORT_KINDS),
    ],
    text: Annotated[str, Argument(N_("What was seen"), "--text", longest=1000)],
    time: Annotated[datetime | None, Argument(N_("When, with zone; now when not given"), "--at")] = None,
    station: Annotated[str | None, Argument(N_("The station it is near"), "--station", longest=64)] = None,
    photo_url: Annotated[str | None, Argument(N_("Address of a picture"), "--photo-url", longest=500)] = None,
) -> ActResult:
    """Add a report of an observer; a criterion of the site may vote on it.

    If a criterion requires several observers, they are counted by account, or else by the user of the machine. Two
    names from one keyboard are one observer.

    Example: slopeward report add north-bench --kind crack --text "new crack above G1, 3 cm" --by Ada
    """
    kind, text, who = tidy_text(kind), tidy_text(text), call.actor
    if not text or not kind:
        raise RefusedError(_WORDS_WANTED())
    if station is not None and not is_station(station):
        raise RefusedError(_NO_STATION(station=station))
    meant = _find_similar_kind(kind, REPORT_KINDS)
    declared = None
    if station is not None or meant is not None:
        # The report is stored even if this version cannot read the site file.
        with suppress(RefusedError):
            declared = call.find_site(site)
    if declared is not None and station is not None:
        station = declared.find_current_id(station)
        if declared.station(station) is None:
            names = NameList(tuple(each.id for each in declared.stations))
            raise RefusedError(_ODD_STATION(site=site, station=station, names=names))
    votes = declared is not None and any(kind in criterion.kinds for criterion in declared.criteria)
    if meant is not None and not votes:
        raise RefusedError(_MEANT(kind=kind, meant=meant))
    if time is not None and time > call.now + SENT_TWICE:
        raise RefusedError(_NOT_SEEN_YET())
    item = ObserverReport(site, time or call.now, kind, text, who.name, station, photo_url)
    with call.write() as connection:
        call.check_site(connection, site)
        credential = name_credential(connection, who.name, f"user {who.os_user} of this machine")
        added = reports.add_report(connection, item, call.now, actor=who, credential=credential)
        number = reports.find_report(connection, item)
    facts = {"site": site, "kind": kind, "at": format_iso(item.at), "by": who.name, "report": number}
    if not added:
        return ActResult(_SAME_REPORT(), facts, status=EXIT_ALREADY_DONE)
    return ActResult(_REPORTED(site=site, kind=Term(kind)), facts)


def withdraw_signature(
    call: ActCall,
    signature_id: Annotated[
        int,
        Argument(
            "Number of the signature, see `slopeward people signatures list`", metavar="ID", least=1, most=LARGEST_ID
        ),
    ],
    reason: Annotated[str, Argument(N_("Why it is withdrawn"), "--reason")],
) -> ActResult:
    """Withdraw a first signature before the second person signs. The signer and admins of the site may.

    Example: slopeward people signatures withdraw 7 --by Ada --reason "the crack opened again"
    """
    with call.write() as connection:
        act = withdraw_stored_signature(connection, signature_id, call.actor, reason, call.now)
    text = _SIGNATURE_GONE(number=signature_id, act=act)
    return ActResult(text, {"signature_id": signature_id, "act": act, "withdrawn_by": call.actor.name})
