"""`slopeward evaluate`: compute the level of a site, and explain it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from monitor.alerts.evaluate import evaluate_site, load_inputs
from monitor.alerts.queries.evaluations import find_state
from monitor.alerts.replay.failure_windows import start_window_replay
from monitor.alerts.replay.history import MODES, History, VisibilityRule
from monitor.cli import session
from monitor.decision.decide import decide
from monitor.decision.incomplete_series import summarize_reasons
from monitor.decision.judgements import describe_reach
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, Memory
from monitor.plugins import hooks
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s, format_iso

app = session.Commands()


@app.command(epilog="Example: slopeward evaluate north-bench --at 2026-03-01T06:00:00Z --dry-run")
def evaluate(
    site_id: session.SiteArgument,
    at: Annotated[
        str | None, typer.Option("--at", help="Evaluate at this time with the readings known then; write nothing")
    ] = None,
    known: Annotated[
        str | None,
        typer.Option(
            "--known", help=f"With --at, from when on a reading was known: {', '.join(MODES)}. Default: received"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing")] = False,
    utc: session.UtcOption = False,
) -> None:
    """Compute the level of a site now, and explain it.

    With --at nothing is written, and the level starts from the lowest one.
    """
    if known is not None and at is None:
        raise typer.BadParameter("--known applies to a past instant only; add --at")
    service, db = session.open_service()
    now = datetime.now(UTC)
    with db:
        site = session.pick_site(service, site_id)
        if at is not None:
            rule = VisibilityRule(known or "received")
            decision = _evaluate_at(db, site, session.read_instant("--at", at), rule)
        else:
            site, decision = evaluate_now(db, site, now, dry_run=dry_run)
        with db.read() as c:
            zone = session.find_zones(c, utc=utc)(site.id)
    facts: dict[str, Any] = {
        "site": site.id,
        "at": at or format_iso(now),
        "level": decision.level,
        "level_name": site.levels[decision.level].name,
        "observability": decision.observability,
        "reachable_level": decision.reachable_level,
        "incomplete": dict(decision.memory.incomplete),
        "sentence": decision.evidence["sentence"],
        "evidence": dict(decision.evidence),
    }
    if session.print_if_json(facts):
        return
    for line in describe_decision(site, decision, zone):
        print(line)


def evaluate_now(db: Database, site: Site, now: datetime, *, dry_run: bool = False) -> tuple[Site, Decision]:
    """Evaluate a site with everything that is stored, and print a note if its newest reading is too old to count.

    Args:
        dry_run: Store nothing, and use the site file as it is in force.

    Returns:
        The site as it is in force, and the decision.
    """
    if not dry_run:
        site = session.put_site_in_force(db, site, "evaluate", now)
        # The jobs that compute facts run only in the service.
        hooks().update_facts(database=db, site=site, now=now)
    decision = evaluate_site(db, site, now, "person", dry_run=dry_run).decision
    session.print_hint_if_record_is_old(db, site, now)
    return site, decision


def describe_decision(site: Site, decision: Decision, zone: str, *, only_with_data: bool = False) -> Iterator[str]:
    """Return the lines that explain a decision: level and observability, the sentence, and each criterion.

    Args:
        site: The site as it is in force.
        decision: The decision.
        zone: Time zone in which instants are shown.
        only_with_data: Leave out criteria without data.
    """
    reasons = summarize_reasons(decision.memory.incomplete)
    missing = "" if reasons is None else f" ({session.translate_in_zone(reasons, zone)})"
    reach = describe_reach(PreparedSite(site)) if decision.reachable_level < site.top_level else None
    limits = "" if reach is None else f" ({session.translate_in_zone(reach, zone)})"
    yield (
        f"{site.levels[decision.level].name} | sees: {decision.observability}{missing} | reachable: "
        f"{site.levels[decision.reachable_level].name}{limits}"
    )
    yield session.translate_in_zone(decision.evidence["sentence"], zone)
    for entry in decision.evidence["words"]:
        if only_with_data and not entry["heard"]:
            continue
        level = site.levels[entry["raise_level"]].name if entry["heard"] else "no data"
        reason = session.translate_in_zone(entry["reason"], zone)
        yield f"  {entry['criterion']} {entry['station']}: {level}; {reason}"


def _evaluate_at(db: Database, site: Site, at: datetime, visibility: VisibilityRule) -> Decision:
    """Decide for a past instant with the readings that count as known then. Nothing is stored."""
    with db.read() as c:
        if visibility.mode != "received":
            history = History(c, [site], at, at, visibility)
            history.move(epoch_s(at))
            inputs = start_window_replay(history).add_to(history.find_inputs(site), site, Memory(), epoch_s(at))
            return decide(PreparedSite(site), Memory(), inputs, at)
        row = find_state(c, site.id)
        view, _ = load_inputs(c, site, at, draining=False)
    if not view.newest:
        session.print_note(
            f"nothing of {site.id} was known at {format_iso(at)}; what was imported later counts with --known observed"
        )
    memory = Memory() if row is None else Memory.read(row.state)
    # A memory with newer readings would use what was not known then.
    if (memory.newest_s or 0.0) > at.timestamp():
        memory = Memory()
    return decide(PreparedSite(site), memory, view, at)
