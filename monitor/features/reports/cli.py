"""Commands of `slopeward report`: write reports and the quick card, list issued reports and check them."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from monitor.api.cli import find_readable_sites, require_readable, session
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.text import format_iso

if TYPE_CHECKING:
    from monitor.features.reports.issue import ReissueCheck

app = session.Commands()
At = Annotated[
    str | None, typer.Option("--at", help="End of the period, with zone: 2026-03-01T07:00+01:00. Default: now.")
]
Out = Annotated[Path, typer.Option("--out", help="File to write: FILE.html or FILE.pdf; `-` prints HTML.")]
Language = Annotated[
    str | None, typer.Option("--language", help="en, it, zh or es. Default: the language of the service.")
]


@app.command("daily")
def write_daily(site: session.SiteArgument, out: Out, at: At = None, language: Language = None) -> None:
    """Write the bulletin of a day: level, alerts, movement, water, forecast, instruments, messages, acts of people.

    The report contains the facts that were known at the end of the day, even if it is written later.

    Example: slopeward report daily north-bench --out today.pdf
    """
    _write(site, "daily", 0, out, at, language)


@app.command("weekly")
def write_weekly(site: session.SiteArgument, out: Out, at: At = None, language: Language = None) -> None:
    """Write the bulletin of a week, with the same contents as that of a day.

    Example: slopeward report weekly north-bench --at 2026-03-02T07:00+01:00 --out week-9.pdf
    """
    _write(site, "weekly", 0, out, at, language)


@app.command("shift")
def write_shift(
    site: session.SiteArgument,
    out: Out,
    at: At = None,
    hours: Annotated[int, typer.Option("--hours", min=1, max=48, help="Length of the shift in hours.")] = 8,
    language: Language = None,
) -> None:
    """Write the report of a shift: what happened in the last hours, and what is open at its end.

    Example: slopeward report shift north-bench --hours 12 --out shift.pdf
    """
    _write(site, "shift", hours, out, at, language)


def _write(site: str, kind: str, hours: int, out: Path, at: str | None, language: str | None) -> None:
    from monitor.features.reports.facts import gather_facts, load_site_at, make_digest
    from monitor.features.reports.period import make_period
    from monitor.features.reports.render import render_report

    service = session.read_service()
    language_code = _read_language(language, service.language.default)
    now = datetime.now(UTC)
    end = _read_end(at, now)
    with session.open_database() as db, db.read() as c:
        require_readable(c, site)
        session.check_site(c, site)
        zone = ZoneInfo(load_site_at(c, site, end).timezone)
        period = make_period(kind, end, zone, hours or 8)
        facts = gather_facts(c, site, period)
    digest = make_digest(facts)
    _save(out, render_report(facts, digest, language_code, now, service.schedule.stale_after))
    written = {
        "site": site,
        "kind": kind,
        "from": format_iso(period.from_at),
        "to": format_iso(period.to_at),
        "facts_sha256": digest,
        "file": str(out),
    }
    if str(out) != "-":
        session.print_result(
            written, f"{out}: {kind} report of {site}, {written['from'][:16]}Z to {written['to'][:16]}Z"
        )


@app.command("card")
def write_card(site: session.SiteArgument, out: Out, language: Language = None) -> None:
    """Write the quick card of a site for its operators: levels, actions, who to call and terms on one page.

    Example: slopeward report card north-bench --out card.pdf
    """
    from monitor.features.reports.render import render_card

    service = session.read_service()
    language_code = _read_language(language, service.language.default)
    with session.open_database() as db, db.read() as c:
        require_readable(c, site)
        session.check_site(c, site)
        html = render_card(c, site, service.web.url, language_code, datetime.now(UTC))
    _save(out, html)
    if str(out) != "-":
        session.print_result({"site": site, "file": str(out)}, f"{out}: quick card of {site}")


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


def _read_language(option: str | None, default: str) -> str:
    from monitor.api.text import read_language

    return session.read_option("--language", read_language, option or default)


def _read_end(at: str | None, now: datetime) -> datetime:
    if at is None:
        return now.replace(second=0, microsecond=0)
    end = session.read_instant("--at", at)
    if not datetime(1970, 2, 1, tzinfo=UTC) <= end <= now:
        raise RefusedError("--at: a report must end between 1970-02-01 and now")
    return end


@app.command("list")
def list_issues(site: session.SiteFilter = None, limit: session.LimitOption = 20) -> None:
    """List the reports that the service issued, and whether their mails were delivered. Exit 4 if there are none.

    Example: slopeward report list --site north-bench
    """
    from monitor.features.reports.queries import load_issues, load_mails

    with session.open_database() as db, db.read() as c:
        issues = load_issues(c, find_readable_sites(c, site), limit)
        session.check_site(c, site, issues)
        mails = load_mails(c, [issue.id for issue in issues])
    for issue in issues:
        states = [mail.state for mail in mails[issue.id]]
        sent = f"{states.count('delivered')} of {len(states)} mailed"
        facts = {
            "report_id": issue.id,
            "site": issue.site,
            "kind": issue.kind,
            "from": format_iso(issue.from_at),
            "to": format_iso(issue.to_at),
            "made_at": format_iso(issue.made_at),
            "facts_sha256": issue.facts_sha256,
            "mails": states,
        }
        session.print_result(
            facts,
            f"{issue.id:>5} {issue.site} {issue.kind} until {format_iso(issue.to_at)[:16]}Z, {sent}, "
            f"{issue.facts_sha256[:12]}",
        )
    session.require_any(issues, "no report was issued")


@app.command("prove")
def prove_issue(
    number: Annotated[int, typer.Argument(min=1, max=session.LARGEST_ID, help="Number, see `slopeward report list`")],
) -> None:
    """Verify an issued report: collect its facts again and compare them with the stored facts.

    Exit 1 if they differ, 3 if they differ and another version of Slopeward issued the report.

    Example: slopeward report prove 12
    """
    from monitor.features.reports.issue import check_issue
    from monitor.features.reports.queries import load_issue

    with session.open_database() as db, db.read() as c:
        issue = load_issue(c, number)
        if issue is None:
            raise NotFoundError(f"report {number} does not exist; see `slopeward report list`")
        require_readable(c, issue.site)
        check = check_issue(c, issue)
    facts = {
        "report_id": number,
        "code_version": issue.code_version,
        "issued_sha256": issue.facts_sha256,
        **asdict(check),
        "changed": list(check.changed),
    }
    digests = "" if check.same else f"; digest {issue.facts_sha256[:12]} when issued, {check.facts_sha256[:12]} now"
    session.print_result(facts, f"report {number}: {_describe_check(check, issue.code_version)}{digests}")
    if not check.same:
        raise typer.Exit(3 if check.older and check.stored else 1)


def _describe_check(check: "ReissueCheck", issued_by: str) -> str:
    if check.same:
        return "unchanged: the rows of its period give the same facts"
    if not check.stored:
        return "altered: the stored facts do not match their digest"
    parts = f" in {', '.join(check.changed)}" if check.changed else ""
    difference = f"the rows of its period now give other facts{parts}, because they were pruned or altered"
    if not check.older:
        return difference
    return (
        f"the stored facts match their digest; {difference}, or because version {issued_by}, which issued the report, "
        "computed them differently"
    )
