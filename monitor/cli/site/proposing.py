"""Changing a site file with two pairs of eyes: propose it, see what it would have done, approve or reject it."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.alerting.acts.site_diff import StoredEffect, format_effect
from monitor.cli.acts import add_acts
from monitor.cli.identity import By, narrow_to_reader, prove, require_readable
from monitor.cli.session import (
    LARGEST_ID,
    Commands,
    check_site,
    open_database,
    print_note,
    require_any,
    show,
)
from monitor.config.service import parse_site
from monitor.domain.instants import format_iso, record_to_json
from monitor.domain.site import Site
from monitor.domain.terms import read_text
from monitor.store.alerting.sites import Proposal
from monitor.store.database.engine import Database

app = Commands()
add_acts(app, "sites")


@app.command(epilog='Example: slopeward sites propose north-bench.toml --by "R. Mori" --reason "noise is lower"')
def propose(
    file: Annotated[Path, typer.Argument(help="Site file with the change.")],
    reason: Annotated[str, typer.Option("--reason", help="On what grounds.")],
    by: By = None,
    months: Annotated[
        int,
        typer.Option(
            "--months",
            min=0,
            max=1200,
            help="How far back the effect is computed, in months of 30 days; 0 computes none.",
        ),
    ] = 3,
) -> None:
    """Store a changed site file for approval, and show what it would have done in the last months."""
    from monitor.alerting.acts.change_control import propose as store_it

    with open_database() as db:
        text = read_text(file)
        author, now = prove(db, by, lambda _: parse_site(text, str(file)).id), datetime.now(UTC)
        found = store_it(db, text, str(file), author, reason, now, lambda old, new: _preview(db, old, new, now, months))
    _print(found)
    who = "somebody else" if found.loosens_high else "somebody"
    print_note(
        f"proposal {found.id} waits; {who} puts it in force by: slopeward sites approve {found.id} --by W --reason R"
    )


@app.command(epilog="Example: slopeward sites proposals 3")
def proposals(
    number: Annotated[
        int | None, typer.Argument(metavar="[ID]", min=1, max=LARGEST_ID, help="Show this one in full.")
    ] = None,
    site: Annotated[str | None, typer.Option("--site", help="Only this site.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Decided ones as well.")] = False,
) -> None:
    """List the changes that wait for approval, or show one with its differences and its effect."""
    from monitor.store.alerting.sites import load_proposal, load_proposals

    with open_database() as db, db.read() as c:
        if number is not None:
            one = load_proposal(c, number)
            require_readable(c, one.site)
            _print(one)
            return
        found = load_proposals(c, narrow_to_reader(c, site), everything=everything)
        check_site(c, site, found)
    for one in found:
        mark = ", loosens a high level" if one.loosens_high else ""
        line = (
            f"{one.id:>4} {format_iso(one.proposed_at)[:16]}Z {one.site}, {one.state}{mark}, {one.author}: {one.reason}"
        )
        show(record_to_json(one, "source"), line)
    require_any(found, "no proposal")


def _preview(db: Database, old: Site | None, new: Site, now: datetime, months: int) -> "StoredEffect":
    from monitor.replay.effect import preview_effect

    if months:
        print_note(f"replaying what it would have done in {months} month{'' if months == 1 else 's'} of 30 days")
    return preview_effect(
        db, old, new, now, months, on_progress=_make_progress_printer(written_over=sys.stderr.isatty())
    )


def _make_progress_printer(*, written_over: bool) -> Callable[[float], None]:
    """The share that is replayed, on stderr: a line written over itself on a terminal, else one line per tenth."""
    printed = -1

    def print_share(share: float) -> None:
        nonlocal printed
        if written_over:
            print(f"\rreplaying {share:4.0%}", end="\n" if share >= 1.0 else "", file=sys.stderr, flush=True)
        elif int(share * 10) > printed:
            printed = int(share * 10)
            print(f"replaying {printed * 10} %", file=sys.stderr, flush=True)

    return print_share


def _print(one: Proposal) -> None:
    lines = [f"proposal {one.id} of {one.site}, {one.state}, by {one.author}: {one.reason}"]
    if one.decided_at is not None:
        lines.append(f"  {one.state} {format_iso(one.decided_at)[:16]}Z by {one.approved_by}: {one.decision_reason}")
    lines += [f"  {d['key']}: {_format_value(d['old'])} -> {_format_value(d['new'])}" for d in one.differences or ()]
    effect: StoredEffect = one.effect or StoredEffect()
    if one.loosens_high:
        lines.append("  loosens one of the two highest levels; its approver must be somebody else:")
        lines += [f"    {line}" for line in effect.get("loosens", ())]
    lines += [f"  {line}" for line in format_effect(effect)]
    show(record_to_json(one, "source"), "\n".join(lines))


def _format_value(value: Any) -> str:
    return "(not said)" if value is None else str(value)
