"""What a person may do on a site: set its level, declare work, events and offsets, report what was seen."""

from contextlib import suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Final

from sqlalchemy import Connection

from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.event_acts import take_event_back
from monitor.alerts.acts.on_alerts import LARGEST_ID
from monitor.alerts.acts.operator_acts import find_asking, measure_stake, order_level_of
from monitor.alerts.acts.table import ActResult, Argument
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries import events, maintenance, offsets, reports
from monitor.alerts.queries.signatures import TwoPersonAct
from monitor.alerts.queries.signatures import withdraw_signature as take_signature_back
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

EVENT_KINDS: Final = ("work", "blasting", "reservoir", "earthquake")  # usual ones; others are stored as they are
REPORT_KINDS: Final = ("crack", "rockfall", "road_damage", "water", "sound", "verification", "other")
# the strongest record is of nearly 4 g (Aoi et al., Science 322, 2008): more was given in another unit
MOST_G: Final = 5.0
SENT_TWICE: Final = timedelta(minutes=1)
EXIT_ALREADY_DONE: Final = 4  # exit status
_LEVEL: Final = Template("act.level_set", "{site}: {before} -> {level}")
_NO_LEVEL: Final = Template("act.no_level", "{site} has no level '{name}'; expected one of: {names}")
_MAINTENANCE: Final = Template("act.maintenance", "maintenance {number}: {site} {station} until {until}")
_MAINTENANCE_BY_TWO: Final = Template("act.maintenance_two", "a maintenance by two people")
_MAINTENANCE_OVER: Final = Template(
    "act.maintenance_over",
    "maintenance {number} is over; was a sensor replaced or moved? Declare the offset once it has sent readings",
)
_MAINTENANCE_STANDS: Final = Template("act.maintenance_stands", "maintenance {numbers} of {station} still stands")
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
    "what {of} confirmed of event {number} is withdrawn; {left} stands behind it now; {site} is at {level}",
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
_KNEW: Final = Template("act.knew", "known from: nobody knows an event before it begins, or later than now")
_NO_SHAKING: Final = Template("act.no_shaking", "value: a peak ground acceleration is more than 0 g")
_TOO_STRONG: Final = Template(
    "act.too_strong", "value {value}: no ground has shaken with more than {most}; {gal} (cm/s²) are {g}"
)
_NO_FUTURE: Final = Template("act.no_future", "from: an earthquake cannot lie in the future")
_NO_EVENT: Final = Template("act.no_event", "there is no event {number}; see `slopeward events list`")
_NO_STATION: Final = Template("act.no_station", "station: '{station}' is no station id")
SiteId = Annotated[str, Argument("Site", metavar="SITE", longest=64)]
SiteOption = Annotated[str, Argument("Site", "--site", longest=64)]
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
    yes: Annotated[bool, Argument(N_("Lower the level although something asks for more"), "--yes")] = False,
) -> ActResult:
    """Set the hazard level. Raised, it stands until a person lowers it; lowered, only newer data raise it again.

    A lower level is refused while something asks for more; what asks is shown, and `--yes` lowers it all the same.
    Where accounts exist, below one of the two highest levels takes two people: the first one leaves a signature (exit
    3), the same act by another account within four hours does it.

    Example: slopeward level set north-bench yellow --by "R. Mori" --reason "inspected on foot, crack is dry"
    """
    declared = call.find_site(site)
    wanted = next((one for one in declared.levels if level in {one.name, str(one.number)}), None)
    if wanted is None:
        names = NameList(tuple(one.name for one in declared.levels))
        raise RefusedError(_NO_LEVEL(site=declared.id, name=level, names=names))
    asking = find_asking(call.db, declared, wanted.number, call.now) if yes else []
    signers: list[str] = []

    def do(connection: Connection, second: Actor | None) -> int:
        signers[:] = [call.actor.name] if second is None else [second.name, call.actor.name]
        return order_level_of(
            connection, declared, wanted.number, call.actor, reason, call.now, sure=yes, second=second
        )

    shared = TwoPersonAct("level.set", f"site:{declared.id}", {"level": wanted.name}, choice="level")
    before = call.by_two(shared, reason, do, lambda connection: measure_stake(connection, declared))
    text = _LEVEL(site=declared.id, before=Term(declared.levels[before].name), level=Term(wanted.name))
    facts = {"site": declared.id, "from": before, "to": wanted.number, "level_name": wanted.name, "signed_by": signers}
    return ActResult(text, facts, tuple(map(str, asking)) if wanted.number < before else ())


# ---- maintenance -------------------------------------------------------------------------------------------------
def add_maintenance(
    call: ActCall,
    site: SiteId,
    station: Annotated[str, Argument(N_("Station that is worked on"), metavar="STATION", longest=64)],
    reason: Annotated[str, Argument(N_("What is done there"), "--reason")],
    for_: Annotated[timedelta, Argument(N_("How long, such as 4h; 7d at most"), "--for")] = timedelta(hours=4),
    from_: Annotated[
        datetime | None, Argument("Begin, such as 2026-03-01T06:00Z; else now", "--from", label=N_("Begin; else now"))
    ] = None,
    two: Annotated[bool, Argument(N_("With a second person: its votes for the second highest level wait too"))] = False,
) -> ActResult:
    """Declare work on a station: its votes are set aside, with this as the reason, until the time is over.

    Where accounts exist, --second asks for a second person: it is in force (exit 3 until then) once another account
    does the same within four hours.

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
    """The window that this person has declared a moment ago in the same words: a form that was sent twice."""
    return next(
        (
            m
            for m in maintenance.load_maintenance(connection, site, now)
            if (m.station, m.by, m.reason, m.second_by) == (station, by, reason, None)
            and m.to_at - m.from_at == span
            and abs(m.from_at - begin) < SENT_TWICE
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
    """End a maintenance before its time; the votes count again within seconds.

    Example: slopeward maintenance end 3 --reason "mast stands, readings are sound"
    """
    with call.write() as connection:
        ended = maintenance.end_maintenance(connection, maintenance_id, call.actor, reason, call.now)
        done = _find_maintenance(connection, maintenance_id, call.now)
        left = [
            m.id for m in maintenance.load_maintenance(connection, done.site, call.now) if m.station == done.station
        ]
    command = f"slopeward offsets propose --site {done.site} --station {done.station} --maintenance {maintenance_id}"
    facts = {"id": maintenance_id, "ended": True, "propose": command}
    if not ended:
        return ActResult(_WAS_OVER(number=maintenance_id), facts, status=EXIT_ALREADY_DONE)
    notes = [str(_MAINTENANCE_STANDS(numbers=NameList(tuple(map(str, left))), station=done.station))] if left else []
    return ActResult(_MAINTENANCE_OVER(number=maintenance_id), facts, tuple(notes), hint=command)


def _find_maintenance(connection: Connection, number: int, now: datetime) -> maintenance.Maintenance:
    return next(m for m in maintenance.load_maintenance(connection, None, now, everything=True) if m.id == number)


# ---- events ------------------------------------------------------------------------------------------------------
def add_event(
    call: ActCall,
    site: SiteOption,
    kind: Annotated[
        str,
        Argument(
            "Such as work, blasting, reservoir, earthquake", "--kind", label=N_("Kind"), longest=64, usual=EVENT_KINDS
        ),
    ],
    text: Annotated[str, Argument(N_("What happens, in words"), "--text", longest=1000)],
    from_: Annotated[
        datetime | None, Argument("Begin, with zone; now when not given", "--from", label=N_("Begin; else now"))
    ] = None,
    to: Annotated[
        datetime | None, Argument("End, with zone; the begin when not given", "--to", label=N_("End; else the begin"))
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
            "Since when people knew it, with zone; a replay goes by it",
            "--known-from",
            label=N_("Known since; else now"),
        ),
    ] = None,
) -> ActResult:
    """Add an event; it annotates, it raises and lowers no level.

    What is added later counts from now on. With --known-from a replay (`slopeward backtest`) knows it from then on; a
    decision of the past does not change.

    An earthquake makes bounds stricter where the site file says so. Who adds one stands behind it, as with `confirm`:
    steps of its hours stay questions instead of counting, for the two highest levels once a second person confirms it.

    Example: slopeward events add --site north-bench --kind blasting --from 2026-03-01T06:00:00Z --text "bench 4"
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
            found = events.find_event(connection, item)
            hint = f"slopeward events confirm {found}"
            return ActResult(_SAME_EVENT(number=found or 0), {"event_id": found}, status=EXIT_ALREADY_DONE, hint=hint)
        if kind == "earthquake":
            try:
                events.confirm_event(connection, number, call.actor, text, call.now)
            except RefusedError:
                notes.append(
                    f"{by!r} has no open account as operator: the event annotates, and explains no step until confirmed"
                )
    facts = {"event_id": number, "site": site, "kind": kind, "from": format_iso(begin), "to": format_iso(end), "by": by}
    return ActResult(_EVENT(site=site, kind=Term(kind), number=number), facts, tuple(notes))


def _check_event(item: SiteEvent, known_from: datetime | None, now: datetime) -> None:
    """Refuse what is no event, and of an earthquake what is none: no shaking, more than was ever measured, to come."""
    kind, value = item.kind, item.value
    if item.to_at < item.from_at:
        raise RefusedError(_ENDS_FIRST())
    if not item.text or not kind:
        raise RefusedError(_WORDS_WANTED())
    if (meant := _find_meant(kind, EVENT_KINDS)) is not None:  # a misspelt earthquake would explain no step
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


def _find_meant(kind: str, known: tuple[str, ...]) -> str | None:
    if kind in known:
        return None
    name = kind.strip().lower()
    near = get_close_matches(name, known, 1, 0.75)
    near += [one for one in known if len(name) >= len("work") and name in one]
    near += [one for one in known if one == "earthquake" and "quake" in name]
    return near[0] if near else None


def confirm_event(
    call: ActCall, event_id: EventId, reason: Annotated[str, Argument(N_("How it is known"), "--reason")]
) -> ActResult:
    """Stand behind an earthquake that was declared, so that it may explain steps of its hours.

    What came by MQTT came from nobody in particular: it is noted, may make bounds stricter, and explains nothing. With
    one person behind it a step of its hours stays a question instead of counting; one that an independent station
    shares, and that asks for one of the two highest levels, counts until a second person confirms.

    Example: slopeward events confirm 12 --by "R. Mori" --reason "felt in the office, and on the shake map"
    """
    with call.write() as connection:
        names = events.confirm_event(connection, event_id, call.actor, reason, call.now)
    text = (_EVENT_CONFIRMED if len(names) > 1 else _EVENT_WAITS)(number=event_id, name=call.actor.name)
    return ActResult(text, {"event_id": event_id, "confirmed_by": list(names)})


def withdraw_event(
    call: ActCall,
    event_id: EventId,
    reason: Annotated[str, Argument(N_("Why it does not hold"), "--reason")],
    confirmation_of: Annotated[
        str | None, Argument(N_("Only what this person confirmed; the event stays"), "--confirmation-of", longest=64)
    ] = None,
) -> ActResult:
    """Take back an event that was wrong, or only that a person stands behind it.

    A step that it explained becomes a question again, with a new clock: the level may rise. Decisions of the past stay
    as they were, and the event stays in the list as withdrawn.

    Without an earthquake the bounds that it made stricter are those of the site file again. Where accounts exist, and
    one of the two highest levels stands or is asked for, that takes two people: the first one leaves a signature (exit
    3), the same act by another account within four hours does it. To withdraw a confirmation takes one.

    Example: slopeward events withdraw 12 --by "R. Mori" --reason "it was the blasting of bench 4"
    """
    site_id = call.db.run_read(partial(find_site_of, "event"), event_id)
    if site_id is None:
        raise NotFoundError(_NO_EVENT(number=event_id))
    if confirmation_of is not None and not fold_name(confirmation_of):  # it would mean everybody
        raise RefusedError("whose confirmation? A name is needed")
    site, who = call.find_site(site_id), call.actor
    left: tuple[str, ...] = ()
    if confirmation_of is None:
        call.by_two(
            TwoPersonAct("event.withdraw", f"site:{site.id}", {"event": event_id}),
            reason,
            lambda connection, second: take_event_back(
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
    site: SiteOption,
    station: StationOption,
    quantity: Annotated[
        str, Argument("Quantity, such as displacement_east", "--quantity", label=N_("Quantity"), longest=64)
    ],
    at: Annotated[
        datetime,
        Argument(
            "First epoch that carries the jump, with zone: 2026-03-01T06:00:00Z",
            "--at",
            label=N_("First reading with the jump"),
        ),
    ],
    size: Annotated[float, Argument(N_("The jump as raw shows it"), "--size", least=-1e9, most=1e9)],
    unit: Annotated[str, Argument(N_("Unit of the size"), "--unit", longest=32)],
    reason: Annotated[str, Argument(N_("Why"), "--reason")],
    kind: Annotated[
        str, Argument(f"One of {', '.join(offsets.KINDS)}", "--kind", label=N_("Kind"), choices=tuple(offsets.KINDS))
    ] = "other",
    known_from: Annotated[
        datetime | None,
        Argument("Since when we know; now when not given", "--known-from", label=N_("Known since; else now")),
    ] = None,
) -> ActResult:
    """Declare an offset; once a second person confirms it: value = raw - sum(offsets at or before the epoch).

    On a site on which fewer than two people may act, it counts at once.

    Example: slopeward offsets add --site north-bench --station G1 --quantity displacement_east
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
    """Withdraw an offset from now on; past decisions keep what they knew.

    What two people stand behind is taken back by the opposite offset, which a second person confirms.

    Example: slopeward offsets revoke 3 --reason "wrong station"
    """
    with call.write() as connection:
        offsets.revoke_offset(connection, offset_id, call.actor, reason, call.now)
    return ActResult(_OFFSET_REVOKED(number=offset_id), {"offset_id": offset_id})


# ---- reports and signatures --------------------------------------------------------------------------------------
def add_report(
    call: ActCall,
    site: SiteOption,
    kind: Annotated[
        str,
        Argument("Such as crack, rockfall, road_damage", "--kind", label=N_("Kind"), longest=32, usual=REPORT_KINDS),
    ],
    text: Annotated[str, Argument(N_("What was seen, in words"), "--text", longest=1000)],
    time: Annotated[datetime | None, Argument(N_("When, with zone; now when not given"), "--time")] = None,
    station: Annotated[str | None, Argument(N_("The station it is near"), "--station", longest=64)] = None,
    photo_url: Annotated[str | None, Argument(N_("Where a picture lies"), "--photo-url", longest=500)] = None,
) -> ActResult:
    """Add an observer's report; a report criterion of the site may vote on it.

    Where a criterion needs several observers, they are counted by account, else by the user of the machine: two names
    from one keyboard are one observer.

    Example: slopeward report add --site north-bench --kind crack --text "new crack above G1, 3 cm" --by Ada
    """
    kind, text, who = tidy_text(kind), tidy_text(text), call.actor
    if not text or not kind:
        raise RefusedError(_WORDS_WANTED())
    if station is not None and not is_station(station):
        raise RefusedError(_NO_STATION(station=station))
    meant, declared = _find_meant(kind, REPORT_KINDS), None
    if station is not None or meant is not None:
        with suppress(RefusedError):  # where nobody can read its file, what was seen is noted all the same
            declared = call.find_site(site)
    if declared is not None and station is not None:
        station = declared.find_current_id(station)
        if declared.station(station) is None:
            names = NameList(tuple(one.id for one in declared.stations))
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
    reason: Annotated[str, Argument(N_("Why it does not hold any more"), "--reason")],
) -> ActResult:
    """Take back a first signature before the second person gives theirs; its signer may, and an admin of the site.

    Example: slopeward people signatures withdraw 7 --by Ada --reason "the crack opened again"
    """
    with call.write() as connection:
        act = take_signature_back(connection, signature_id, call.actor, reason, call.now)
    text = _SIGNATURE_GONE(number=signature_id, act=act)
    return ActResult(text, {"signature_id": signature_id, "act": act, "withdrawn_by": call.actor.name})
