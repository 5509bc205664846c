"""`slopeward events`: work, blasting, reservoir operation or an earthquake that explains what instruments see."""

from datetime import UTC, datetime
from difflib import get_close_matches
from math import isfinite
from typing import Annotated

import typer
from sqlalchemy import Connection

from monitor.cli import session
from monitor.cli.identity import act_by_two, acting, narrow_to_reader, prove
from monitor.domain.alert import COMMAND, Actor
from monitor.domain.instants import format_iso
from monitor.domain.names import tidy_text
from monitor.domain.observation import SiteEvent
from monitor.errors import NotFoundError, RefusedError
from monitor.ingest.decoders.observer import read_given_time
from monitor.store.alerting import events
from monitor.store.people.countersign import TwoPersonAct
from monitor.store.schema.views import load_view

KINDS = ("work", "blasting", "reservoir", "earthquake")  # usual words; others are kept as they are
# the strongest record is of nearly 4 g (Aoi et al., Science 322, 2008): more was given in another unit
MOST_G = 5.0
app = session.Commands(no_args_is_help=True, help=__doc__)


@app.command("add")
def add(
    site: Annotated[str, typer.Option("--site", help="Site")],
    kind: Annotated[str, typer.Option("--kind", help="Such as work, blasting, reservoir, earthquake")],
    text: Annotated[str, typer.Option("--text", help="What happens, in words")],
    from_: Annotated[str | None, typer.Option("--from", help="Begin, with zone; now when not given")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, with zone; the begin when not given")] = None,
    value: Annotated[
        float | None,
        typer.Option(
            "--value", min=-1e9, max=1e9, help="A size; of an earthquake the peak ground acceleration at the site in g"
        ),
    ] = None,
    known_from: Annotated[
        str | None, typer.Option("--known-from", help="Since when people knew it, with zone; a replay goes by it")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who says so; else the account at the keyboard")] = None,
) -> None:
    """Add an event; it annotates, it raises and lowers no level.

    What is added later counts from now on. With --known-from a replay (`slopeward backtest`) knows it from then on; a
    decision of the past does not change.

    An earthquake makes bounds stricter where the site file says so. Who adds one stands behind it, as with `confirm`:
    steps of its hours stay questions instead of counting, for the two highest levels once a second person confirms it.

    Example: slopeward events add --site north-bench --kind blasting --from 2026-03-01T06:00:00Z --text "bench 4"
    """
    now = datetime.now(UTC)
    begin = read_given_time(from_, now)
    end = read_given_time(to, begin)
    if end < begin:
        raise RefusedError("--to lies before --from")
    kind, text = tidy_text(kind), tidy_text(text)
    if not text or not kind:
        raise RefusedError("an event needs a kind and a text")
    meant = find_meant(kind)
    if meant is not None:  # a misspelt earthquake would explain no step
        raise RefusedError(f"--kind {kind}: did you mean {meant}?")
    if value is not None and not isfinite(value):
        raise RefusedError("--value: expected a finite number")
    if kind == "earthquake":
        _check_earthquake(value, begin, now)
    knew = None if known_from is None else read_given_time(known_from, now)
    if knew is not None and not begin <= knew <= now:
        raise RefusedError("--known-from: nobody knows an event before it begins, or later than now")
    place = session.pick_site(session.read_service(), site)
    item = SiteEvent(place.id, begin, end, kind, text, value)
    with acting(by, place.id, urgent=True) as (c, who, now):
        number = events.add_event(c, item, now, who.name, via=COMMAND, known_from=knew, actor=who)
        known = events.find_event(c, item)
        alone = kind == "earthquake" and number is not None and not _confirm_own(c, number, who, text, now)
    if number is None:
        session.print_note(f"the very same event is there already: {known}; see `slopeward events confirm`")
        raise typer.Exit(session.NOTHING)
    if alone:
        session.print_note(
            f"{who.name!r} has no open account as operator: the event annotates, and explains no step until confirmed"
        )
    session.show(
        {
            "event_id": number,
            "site": place.id,
            "kind": kind,
            "from": format_iso(begin),
            "to": format_iso(end),
            "by": who.name,
        },
        f"{place.id}: {kind} noted as event {number}",
    )


def _check_earthquake(value: float | None, begin: datetime, now: datetime) -> None:
    """Refuse what no earthquake is: no shaking, more than ever was measured (`value` in g), or one to come."""
    if value is not None and value <= 0.0:
        raise RefusedError("--value: a peak ground acceleration is more than 0 g")
    if value is not None and value > MOST_G:
        gal = f"{value:g} gal (cm/s²) are {value / 980.665:.3g} g"
        raise RefusedError(f"--value {value:g}: no ground has shaken with more than {MOST_G:g} g; {gal}")
    if begin > now:
        raise RefusedError("--from: an earthquake cannot lie in the future")


def _confirm_own(c: Connection, number: int, who: Actor, text: str, now: datetime) -> bool:
    """Count who adds an event as the first who confirms it; False where that person may not."""
    try:
        events.confirm_event(c, number, who, text, now)
    except RefusedError:
        return False
    return True


@app.command("confirm")
def confirm(
    event_id: Annotated[
        int, typer.Argument(min=1, max=session.LARGEST_ID, help="Number of the event, see `slopeward events list`")
    ],
    reason: Annotated[str, typer.Option("--reason", help="How it is known")],
    by: Annotated[str | None, typer.Option("--by", help="Who confirms; else the account at the keyboard")] = None,
) -> None:
    """Stand behind an earthquake that was declared, so that it may explain steps of its hours.

    What came by MQTT came from nobody in particular: it is noted, may make bounds stricter, and explains nothing. With
    one person behind it a step of its hours stays a question instead of counting; one that an independent station
    shares, and that asks for one of the two highest levels, counts until a second person confirms.

    Example: slopeward events confirm 12 --by "R. Mori" --reason "felt in the office, and on the shake map"
    """
    with acting(by, lambda c: events.find_site_of_event(c, event_id), urgent=True) as (c, who, now):
        names = events.confirm_event(c, event_id, who, reason, now)
    waits = "" if len(names) > 1 else "; for the two highest levels a second person must confirm it as well"
    facts = {"event_id": event_id, "confirmed_by": list(names)}
    session.show(facts, f"event {event_id} is confirmed by {who.name}{waits}")


@app.command("withdraw")
def withdraw(
    event_id: Annotated[
        int, typer.Argument(min=1, max=session.LARGEST_ID, help="Number of the event, see `slopeward events list`")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why it does not hold")],
    confirmation_of: Annotated[
        str | None, typer.Option("--confirmation-of", help="Only what this person confirmed; the event stays")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who withdraws; else the account at the keyboard")] = None,
) -> None:
    """Take back an event that was wrong, or only that a person stands behind it.

    A step that it explained becomes a question again, with a new clock: the level may rise. Decisions of the past stay
    as they were, and the event stays in the list as withdrawn.

    Without an earthquake the bounds that it made stricter are those of the site file again. Where accounts exist, and
    one of the two highest levels stands or is asked for, that takes two people: the first command leaves a signature
    (exit 3), the same command by another account within four hours does it. To withdraw a confirmation takes one.

    Example: slopeward events withdraw 12 --by "R. Mori" --reason "it was the blasting of bench 4"
    """
    from monitor.alerting.acts.event_acts import take_event_back
    from monitor.alerting.acts.operator_acts import measure_stake
    from monitor.alerting.evaluate import evaluate_site

    with session.open_database() as db:
        who, now = prove(db, by, lambda c: events.find_site_of_event(c, event_id)), datetime.now(UTC)
        site_id = db.run_read(events.find_site_of_event, event_id)
        if site_id is None:
            raise NotFoundError(f"there is no event {event_id}; see `slopeward events list`")
        site = session.take_site(db, session.pick_site(session.read_service(), site_id), "events withdraw", now)
        if confirmation_of is None:
            act = TwoPersonAct("event.withdraw", f"site:{site.id}", {"event": event_id})
            act_by_two(
                db,
                act,
                who,
                None,
                reason,
                f"slopeward events withdraw {event_id}",
                lambda c, second: take_event_back(c, site, event_id, who, reason, now, second=second),
                lambda c: measure_stake(c, site),
            )
            line = f"event {event_id} is withdrawn by {who.name}"
        else:
            with db.write(urgent=True) as c:
                left = events.withdraw_confirmation(c, event_id, confirmation_of, who, reason, now)
            still = " and ".join(left) or "nobody"
            line = f"what {confirmation_of} confirmed of event {event_id} is withdrawn; {still} stands behind it now"
        level = evaluate_site(db, site, datetime.now(UTC), "person").level
    facts = {"event_id": event_id, "site": site.id, "confirmation_of": confirmation_of, "by": who.name, "level": level}
    session.show(facts, f"{line}; {site.id} is at {site.levels[level].name}")


@app.command("list")
def list_events(
    site: Annotated[str | None, typer.Option("--site", help="Only this site")] = None, limit: session.LimitOption = 100
) -> None:
    """List events with who said so, by which way, and how many people stand behind each; exit 4 when there are none.

    Example: slopeward events list --site north-bench
    """
    with session.open_database() as db, db.read() as c:
        sites = narrow_to_reader(c, site)
        rows = load_view(c, "site_events", order_by=("-from_at", "-event_id"), limit=limit, site=sites)
        session.check_site(c, site, rows)
    for row in rows:
        behind = f", confirmed by {row['confirmations']}" if row["confirmations"] else ""
        line = f"{row['event_id']:>4} {row['site']} {row['from_at'][:16]}Z {row['kind']} by {row['by']} ({row['via']})"
        gone = f", withdrawn by {row['withdrawn_by']}" if row["withdrawn_at"] else ""
        session.show(row, f"{line}{behind}{gone}: {row['text']}")
    session.require_any(rows, "no event is declared")


def find_meant(kind: str) -> str | None:
    """The usual word that another one was probably meant for; None where it is one, or something else."""
    if kind in KINDS:
        return None
    name = kind.strip().lower()
    near = get_close_matches(name, KINDS, 1, 0.75)
    near += [known for known in KINDS if len(name) >= len("work") and name in known]
    near += ["earthquake"] if "quake" in name else []
    return near[0] if near else None
