"""The commands of `slopeward report` that write reports and the quick card, and prove those that went out."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from monitor.api.cli import require_readable, session
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.text import format_iso

if TYPE_CHECKING:
    from monitor.features.reports.issue import ReissueCheck

app = session.Commands()
Site = Annotated[str, typer.Argument(help="Site id")]
At = Annotated[str | None, typer.Option("--at", help="End of the period, with zone: 2026-03-01T07:00+01:00; else now")]
Out = Annotated[Path, typer.Option("--out", help="FILE.html or FILE.pdf; `-` prints HTML")]
Language = Annotated[str | None, typer.Option("--language", help="en, it, zh or es; else that of the service")]


@app.command("daily")
def write_daily(site: Site, out: Out, at: At = None, language: Language = None) -> None:
    """Write the bulletin of a day: level, alerts, movement, water, forecast, instruments, messages, what people did.

    Every figure is as it was known at the end of the day, whenever it is asked for.

    Example: slopeward report daily north-bench --out today.pdf
    """
    _write(site, "daily", 0, out, at, language)


@app.command("weekly")
def write_weekly(site: Site, out: Out, at: At = None, language: Language = None) -> None:
    """Write the bulletin of a week.

    Example: slopeward report weekly north-bench --at 2026-03-02T07:00+01:00 --out week-9.pdf
    """
    _write(site, "weekly", 0, out, at, language)


@app.command("shift")
def write_shift(
    site: Site,
    out: Out,
    at: At = None,
    hours: Annotated[int, typer.Option("--hours", min=1, max=48, help="Length of the shift")] = 8,
    language: Language = None,
) -> None:
    """Write the report of a shift.

    Example: slopeward report shift north-bench --hours 12 --out shift.pdf
    """
    _write(site, "shift", hours, out, at, language)


def _write(site: str, kind: str, hours: int, out: Path, at: str | None, language: str | None) -> None:
    from monitor.features.reports.facts import digest_of, gather_facts, load_site_then
    from monitor.features.reports.period import find_before
    from monitor.features.reports.render import render_report

    service = session.read_service()
    wanted, now = _read_language(language, service.language.default), datetime.now(UTC)
    end = _read_end(at, now)
    with session.open_database() as db, db.read() as c:
        require_readable(c, site)
        session.check_site(c, site)
        zone = ZoneInfo(load_site_then(c, site, end).timezone)
        period = find_before(kind, end, zone, hours or 8)
        facts = gather_facts(c, site, period)
    digest = digest_of(facts)
    _save(out, render_report(facts, digest, wanted, now, service.schedule.late))
    written = {
        "site": site,
        "kind": kind,
        "from": format_iso(period.from_at),
        "to": format_iso(period.to_at),
        "facts_sha256": digest,
        "file": str(out),
    }
    if str(out) != "-":
        session.show(written, f"{out}: {kind} report of {site}, {written['from'][:16]}Z to {written['to'][:16]}Z")


@app.command("card")
def write_card(site: Site, out: Out, language: Language = None) -> None:
    """Write the quick card of a site for its operators: one page with levels, actions, whom to call and words.

    Example: slopeward report card north-bench --out card.pdf
    """
    from monitor.features.reports.render import render_card

    service = session.read_service()
    wanted = _read_language(language, service.language.default)
    with session.open_database() as db, db.read() as c:
        require_readable(c, site)
        session.check_site(c, site)
        html = render_card(c, site, service.web.url, wanted, datetime.now(UTC))
    _save(out, html)
    if str(out) != "-":
        session.show({"site": site, "file": str(out)}, f"{out}: quick card of {site}")


def _save(out: Path, html: str) -> None:
    from monitor.features.reports.pdf import make_pdf

    if str(out) == "-":
        sys.stdout.write(html)
        return
    if out.suffix not in {".html", ".pdf"}:
        raise RefusedError(f"--out: expected FILE.html or FILE.pdf, got {out}")
    content = make_pdf(session.read_service().compute, html) if out.suffix == ".pdf" else html.encode()
    try:
        out.write_bytes(content)
    except OSError as error:
        raise RefusedError(f"--out: {out} cannot be written: {error.strerror or error}") from None


def _read_language(named: str | None, default: str) -> str:
    from monitor.api.text import read_language

    return session.read_option("--language", read_language, named or default)


def _read_end(at: str | None, now: datetime) -> datetime:
    if at is None:
        return now.replace(second=0, microsecond=0)
    end = session.read_instant("--at", at)
    if not datetime(1970, 2, 1, tzinfo=UTC) <= end <= now:
        raise RefusedError("--at: a report ends in the past, after 1970")
    return end


@app.command("list")
def list_issues(site: Site, limit: session.LimitOption = 20) -> None:
    """List the reports that the service issued, and what became of their mails; exit 4 when there are none.

    Example: slopeward report list north-bench
    """
    from monitor.features.reports.queries import load_issues, load_mails

    with session.open_database() as db, db.read() as c:
        require_readable(c, site)
        session.check_site(c, site)
        issues = load_issues(c, site, limit)
        mails = load_mails(c, [one.id for one in issues])
    for one in issues:
        states = [mail.state for mail in mails[one.id]]
        sent = f"{states.count('delivered')} of {len(states)} mailed"
        facts = {
            "report_id": one.id,
            "site": site,
            "kind": one.kind,
            "from": format_iso(one.from_at),
            "to": format_iso(one.to_at),
            "made_at": format_iso(one.made_at),
            "facts_sha256": one.facts_sha256,
            "mails": states,
        }
        session.show(facts, f"{one.id:>5} {one.kind} to {format_iso(one.to_at)[:16]}Z, {sent}, {one.facts_sha256[:12]}")
    session.require_any(issues, "no report was issued")


@app.command("prove")
def prove_issue(
    number: Annotated[int, typer.Argument(min=1, max=session.LARGEST_ID, help="Number, see `slopeward report list`")],
) -> None:
    """Make a report again from its rows and compare it with what was stored of it.

    Exit 1 where it says something else, 3 where it does and another version made it.

    Example: slopeward report prove 12
    """
    from monitor.features.reports.issue import prove
    from monitor.features.reports.queries import load_issue

    with session.open_database() as db, db.read() as c:
        issue = load_issue(c, number)
        if issue is None:
            raise NotFoundError(f"report {number} does not exist; see `slopeward report list SITE`")
        require_readable(c, issue.site)
        found = prove(c, issue)
    facts = {
        "report_id": number,
        "code_version": issue.code_version,
        "issued_sha256": issue.facts_sha256,
        **asdict(found),
        "changed": list(found.changed),
    }
    digests = (
        "" if found.same else f"; digest {issue.facts_sha256[:12]} as issued, {found.facts_sha256[:12]} as made now"
    )
    session.show(facts, f"report {number}: {_describe_proof(found, issue.code_version)}{digests}")
    if not found.same:
        raise typer.Exit(3 if found.older and found.stored else 1)


def _describe_proof(found: "ReissueCheck", made_by: str) -> str:
    if found.same:
        return "the same"
    if not found.stored:
        return "what is stored of it was altered: it does not give its digest"
    parts = f" in {', '.join(found.changed)}" if found.changed else ""
    why = f"another one{parts}: rows of its period were pruned, altered, or are read otherwise by now"
    if not found.older:
        return why
    kept = "what it said is stored and gives its digest"
    return f"made by version {made_by}, {kept}; made again by this version it is {why}"
