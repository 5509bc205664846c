"""`slopeward alerts`: what was reported and why, and what people answer."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from forecasting.message import Term
from monitor.cli import session
from monitor.cli.identity import SERVICE_SITE, act_by_two, acting, narrow_to_reader, prove, require_readable
from monitor.cli.people.teams import By
from monitor.cli.site import explaining
from monitor.cli.site.explaining import AlertId
from monitor.domain.alert import Actor, AlertCategory
from monitor.domain.causes import describe_cause, gather
from monitor.domain.message import name_level
from monitor.domain.site import Site
from monitor.errors import NotFoundError, RefusedError
from monitor.store.alerting import alerts as store
from monitor.store.alerting.alerts import Alert
from monitor.store.alerting.sites import load_sites_summary
from monitor.store.database.engine import Database
from monitor.store.people.countersign import TwoPersonAct

app = session.Commands(no_args_is_help=True, help=__doc__)
app.add_typer(explaining.app)
Reason = Annotated[str, typer.Option("--reason", help="Why, or what was seen")]
Second = Annotated[str | None, typer.Option("--second", help="Second person, for grave alerts")]


@app.command("cap")
def write_message(
    alert_id: AlertId,
    language: Annotated[
        list[str] | None, typer.Option("--language", help="One block each; else those of [language] cap")
    ] = None,
    holds: Annotated[
        str | None, typer.Option("--for", help="How long it holds (`24h`): `expires`; else as [cap] expires")
    ] = None,
    is_test: Annotated[bool, typer.Option("--test", help="Status Test: proves that messages arrive")] = False,
) -> None:
    """Print a hazard alert as a CAP 1.2 message, for other warning systems.

    Example: slopeward alerts cap 12 --language it --language en > alert-12.xml
    """
    from monitor.language.catalogue import read_language
    from monitor.notify.cap.chain import compose

    service = session.read_service()
    try:
        languages = [read_language(one) for one in language or ()]
    except ValueError as error:
        raise RefusedError(f"--language: {error}") from None
    span = None if holds is None else timedelta(seconds=session.read_duration_s("--for", holds))
    with session.open_database() as db, db.read() as c:
        require_readable(c, _find(store.find_alert(c, alert_id), alert_id).site)
        text = compose(c, service, alert_id, languages=languages, holds=span, is_test=is_test)
    if not session.print_if_json({"alert": alert_id, "xml": text}):
        typer.echo(text, nl=False)


@app.command("list")
def list_(
    site: Annotated[str | None, typer.Option("--site", help="Only this site; `status` for the service itself")] = None,
    ledger: Annotated[str | None, typer.Option("--ledger", help="hazard, health or advice")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones as well")] = False,
    each: Annotated[bool, typer.Option("--each", help="Every suggestion on a line of its own")] = False,
    limit: session.LimitOption = 100,
    utc: session.UtcOption = False,
) -> None:
    """List alerts: hazard, health, then advice, newest first; exit 4 when there are none.

    Open suggestions of one criterion at one site are one line with their numbers; `--each` and `--json` list each.

    Example: slopeward alerts list --site north-bench --ledger hazard --all
    """
    if ledger is not None and ledger not in list(AlertCategory):
        raise RefusedError(f"--ledger: expected one of: {', '.join(AlertCategory)}, got {ledger!r}")
    with session.open_database() as db, db.read() as c:
        found = store.load_alerts(
            c, narrow_to_reader(c, site), open_only=not everything, ledger=ledger, limit=limit, hazard_first=True
        )
        session.check_site(c, None if site == SERVICE_SITE else site, found)
        names = {s.id: s.levels for s in load_sites_summary(c, active_only=False)}
        zones = session.find_zones(c, utc=utc)
    apart = each or session.options().as_json
    for alert, *others in gather(
        found, lambda a: (a.site, "" if apart or a.closed_at is not None else a.ledger, a.key, a.exercise)
    ):
        if others:
            members = [alert, *others]
            numbers = ", ".join(str(a.id) for a in members)
            at = session.format_in_zone(alert.raised_at, zones(alert.site))
            cause = describe_cause([a.key for a in members])
            print(f"{alert.id:>5} {at} {alert.site} {alert.ledger}: {cause} (alerts {numbers})")
            continue
        level = name_level(names.get(alert.site, ()), alert.ledger, alert.level)
        at = session.format_in_zone(alert.raised_at, zones(alert.site))
        line = f"{alert.id:>5} {at} {alert.site} {alert.ledger} {level}, {_name(alert.state)}"
        session.show(
            session.record_to_json(alert), f"{line}: {session.translate_in_zone(alert.reason, zones(alert.site))}"
        )
    session.require_any(found, "no alert")


@app.command("show")
def show_(alert_id: AlertId, utc: session.UtcOption = False) -> None:
    """Show one alert with everything that happened to it.

    Example: slopeward alerts show 12 --json
    """
    with session.open_database() as db, db.read() as c:
        alert = _find(store.find_alert(c, alert_id), alert_id)
        require_readable(c, alert.site)
        events = store.load_alert_events(c, alert_id)
        zone = session.find_zones(c, utc=utc)(alert.site)
        names = {s.id: s.levels for s in load_sites_summary(c, active_only=False)}.get(alert.site, ())
    facts = {**session.record_to_json(alert), "events": [session.record_to_json(e) for e in events]}
    what = f"{alert.ledger} {name_level(names, alert.ledger, alert.level)}, {_name(alert.state)}"
    lines = [f"alert {alert.id} of {alert.site}: {what}"]
    lines += [
        f"  {session.format_in_zone(e.at, zone)} {_name(e.from_state or 'normal')} -> {_name(e.to_state)}, "
        f"{name_level(names, alert.ledger, e.to_level)}, "
        f"{e.actor} ({e.actor_kind}): {session.translate_in_zone(e.reason, zone)}"
        for e in events
    ]
    session.show(facts, "\n".join(lines))


@app.command("ack")
def ack(
    alert_id: AlertId,
    reason: Reason,
    seen: Annotated[
        int | None,
        typer.Option(
            "--seen",
            min=0,
            max=session.LARGEST_ID,
            help="Number of the level you saw; refused if it stands higher by now. Without it: the level at the call",
        ),
    ] = None,
    by: By = None,
) -> None:
    """Acknowledge: somebody has seen it and acts.

    Example: slopeward alerts ack 12 --seen 2 --by "R. Mori" --reason "on the way to the toe"
    """
    with session.open_database() as db, db.read() as c:
        shown = _find(store.find_alert(c, alert_id), alert_id).level if seen is None else seen
    _act(alert_id, by, lambda c, who, now: store.acknowledge(c, alert_id, who, reason, now, seen=shown))


@app.command("close")
def close(alert_id: AlertId, reason: Reason, second: Second = None, by: By = None) -> None:
    """Close an alert that is over; a hazard level that stands is ended by `slopeward level set`.

    An urgent alarm whose condition stands needs a second person: named by --second before the first account; with
    accounts one who gives the same command within four hours, the first one then ends with exit status 3.

    Example: slopeward alerts close 12 --reason "gauge was replaced"
    """

    def do(c: Connection, who: Actor, other: Actor | None, now: datetime) -> None:
        store.close_alert(c, alert_id, who, reason, now, second=other)

    _act_by_two(alert_id, by, second, reason, "close", {}, do)


@app.command("outcome")
def outcome(
    alert_id: AlertId,
    what: Annotated[str, typer.Argument(metavar="CLASS", help=f"One of {', '.join(store.OUTCOMES)}")],
    note: Annotated[str, typer.Option("--note", help="What was found")],
    by: By = None,
) -> None:
    """Record what an alert turned out to be.

    Example: slopeward alerts outcome 12 false_instrument --note "antenna was hit by a snow plough"
    """
    _act(alert_id, by, lambda c, who, now: store.set_outcome(c, alert_id, what, who, note, now))


@app.command("shelve")
def shelve(
    alert_id: AlertId,
    reason: Reason,
    for_: Annotated[str, typer.Option("--for", help="How long, such as 4h")] = "4h",
    second: Second = None,
    by: By = None,
) -> None:
    """Quiet an alert for a time; the second highest level needs a second person, as with `close`, the highest is never.

    Example: slopeward alerts shelve 12 --for 2h --reason "blasting until noon" --second "A. Rossi"
    """
    span = timedelta(seconds=session.read_duration_s("--for", for_))

    def do(c: Connection, who: Actor, other: Actor | None, now: datetime) -> None:
        store.shelve(c, alert_id, who, reason, now + span, now, second=other, top_level=_top(c, alert_id))

    _act_by_two(alert_id, by, second, reason, f"shelve --for {for_}", {"for_s": span.total_seconds()}, do)


@app.command("unshelve")
def unshelve(alert_id: AlertId, reason: Reason, by: By = None) -> None:
    """Bring an alert back from the shelf before its time.

    Example: slopeward alerts unshelve 12 --reason "blasting is over"
    """
    _act(alert_id, by, lambda c, who, now: store.unshelve(c, alert_id, who, reason, now))


@app.command("take-out")
def take_out(alert_id: AlertId, reason: Reason, second: Second = None, by: By = None) -> None:
    """Take a health or advice alert out of service until it is put back; an urgent one by two people, as with `close`.

    Example: slopeward alerts take-out 12 --reason "the gauge is dismantled until May"
    """

    def do(c: Connection, who: Actor, other: Actor | None, now: datetime) -> None:
        store.take_out(c, alert_id, who, reason, now, second=other)

    _act_by_two(alert_id, by, second, reason, "take-out", {}, do)


@app.command("put-back")
def put_back(alert_id: AlertId, reason: Reason, by: By = None) -> None:
    """Put an alert back in service; it asks to be acknowledged again.

    Example: slopeward alerts put-back 12 --reason "the gauge stands again"
    """
    _act(alert_id, by, lambda c, who, now: store.put_back(c, alert_id, who, reason, now))


@app.command("verify")
def verify(
    alert_id: AlertId,
    answer: Annotated[
        str,
        typer.Argument(help="movement: it counts; instrument, weather, work, earthquake or other: what it was instead"),
    ],
    reason: Reason,
    by: By = None,
) -> None:
    """Answer a "verify now": was it the slope, or what else?

    Where one of the two highest levels is asked for, a cause counts once a second person gives the same command.
    `slopeward alerts withdraw` takes a word back.

    Example: slopeward alerts verify 7 instrument --by "R. Mori" --reason "antenna was bumped, photo on file"
    """
    from monitor.alerting.acts.operator_acts import ANSWERS, find_signature, set_level, step_of_alert
    from monitor.alerting.acts.operator_acts import verify as answer_step
    from monitor.decision.series.steps import says_no

    first = None
    with session.open_database() as db:
        who, now = prove(db, by, _where(alert_id)), datetime.now(UTC)
        with db.read() as c:
            alert = _find(store.find_alert(c, alert_id), alert_id)
        site = _site_of(db, alert, "alerts verify")
        key = step_of_alert(alert.key)
        if key is not None:
            level = answer_step(db, site, key, answer, who, reason, now).level
            first = find_signature(db, site.id, key)
        elif alert.key == "health:site:lone_top" and answer == "movement":
            level = site.top_level
            set_level(db, site, level, who, reason, now)
        elif alert.key == "health:site:lone_top" and answer in ANSWERS and says_no(answer):
            db.do(store.acknowledge, alert_id, who, f"the {answer}: {reason}", now)
            level = alert.level
        else:
            raise RefusedError(
                f"alert {alert_id} asks for no verification, or the answer is none of: {', '.join(ANSWERS)}"
            )
    facts = {"alert_id": alert_id, "answer": answer, "level": level, "counts": first is None}
    waits = "" if first is None else f"; signed by {first.by} alone: it counts once a second person signs it as well"
    session.show(facts, f"{answer}: level {level}{waits}")


@app.command("withdraw")
def withdraw(
    alert_id: AlertId, reason: Annotated[str, typer.Option("--reason", help="Why it does not hold")], by: By = None
) -> None:
    """Take back what was said with `alerts verify`: a first answer that waits, or else the answer that counts.

    A first answer is withdrawn by who gave it, or by an admin of the site. Without its answer a question is open
    again, and a step requires confirmation with a new clock. "movement" may be what a level rests on: where accounts
    exist and one of the two highest levels stands or is asked for, to withdraw it takes two people, who give this
    command each.

    Example: slopeward alerts withdraw 7 --by "R. Mori" --reason "the photo was of another mast"
    """
    from monitor.alerting.acts.answer_acts import share_taking_back, withdraw_answer
    from monitor.alerting.acts.operator_acts import measure_stake, step_of_alert
    from monitor.alerting.evaluate import evaluate_site

    with session.open_database() as db:
        who, now = prove(db, by, _where(alert_id)), datetime.now(UTC)
        with db.read() as c:
            alert = _find(store.find_alert(c, alert_id), alert_id)
        key = step_of_alert(alert.key)
        if key is None:
            raise RefusedError(f"alert {alert_id} asks for no verification: nobody said anything to withdraw")
        site = _site_of(db, alert, "alerts withdraw")
        act = db.run_read(share_taking_back, site, key)
        outcome = act_by_two(
            db,
            act,
            who,
            None,
            reason,
            f"slopeward alerts withdraw {alert_id}",
            lambda c, second: withdraw_answer(c, site, key, who, reason, now, second=second),
            lambda c: measure_stake(c, site),
        )
        level = evaluate_site(db, site, datetime.now(UTC), "person").level
    facts = {"alert_id": alert_id, "withdrawn": outcome, "by": who.name, "level": level}
    session.show(facts, f"{key}: the {outcome} is withdrawn; {site.id} is at {site.levels[level].name}")


def _site_of(db: Database, alert: Alert, command: str) -> Site:
    return session.take_site(db, session.pick_site(session.read_service(), alert.site), command, datetime.now(UTC))


def _top(c: Any, alert_id: int) -> int:
    alert = _find(store.find_alert(c, alert_id), alert_id)
    return next((len(s.levels) - 1 for s in load_sites_summary(c, active_only=False) if s.id == alert.site), 3)


def _act(alert_id: int, by: str | None, do: Callable[[Connection, Actor, datetime], object]) -> None:
    with acting(by, _where(alert_id)) as (c, who, now):
        do(c, who, now)
        alert = _find(store.find_alert(c, alert_id), alert_id)
    _show(alert)


def _act_by_two(
    alert_id: int,
    by: str | None,
    second: str | None,
    reason: str,
    verb: str,
    terms: Mapping[str, Any],
    do: Callable[[Connection, Actor, Actor | None, datetime], None],
) -> None:
    """An act on an alert for which a grave one wants a second person; a signature holds for the level it saw."""
    name, _, options = verb.partition(" ")
    with session.open_database() as db:
        who = prove(db, by, _where(alert_id))

        def act(c: Connection, other: Actor | None) -> Alert:
            do(c, who, other, datetime.now(UTC))
            return _find(store.find_alert(c, alert_id), alert_id)

        alert = act_by_two(
            db,
            TwoPersonAct(f"alert.{name}", f"alert:{alert_id}", terms),
            who,
            second,
            reason,
            " ".join(filter(None, (f"slopeward alerts {name} {alert_id}", options))),
            act,
            lambda c: _find(store.find_alert(c, alert_id), alert_id).level,
        )
    _show(alert)


def _where(alert_id: int) -> Callable[[Connection], str | None]:
    return lambda c: _find(store.find_alert(c, alert_id), alert_id).site


def _show(alert: Alert) -> None:
    session.show(session.record_to_json(alert), f"alert {alert.id} is {_name(alert.state)}")


def _name(state: str) -> str:
    """The state of an alert as people read it."""
    return Term(state).english()


def _find(alert: Alert | None, alert_id: int) -> Alert:
    if alert is None:
        raise NotFoundError(f"alert {alert_id} does not exist; see `slopeward alerts list`")
    return alert
