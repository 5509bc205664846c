"""Reports by schedule: made when their period has ended, then mailed, patiently and beside what is urgent."""

import hashlib
import json
import logging
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from monitor.api.database import Database
from monitor.api.delivery import MailNotifier, backoff_s, channel_settings
from monitor.api.errors import ConfigError, DeliveryError, JobError, NotFoundError, SlopewardError, StoreBusyError
from monitor.api.queries.sites import SiteSummary, load_sites_summary
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site, split_channel
from monitor.api.text import canonical_json, code_version, format_local, gettext, plain_to_messages, use_language
from monitor.features.reports import queries as store
from monitor.features.reports.facts import ReportFacts, digest_of, find_changed, gather_facts
from monitor.features.reports.pdf import make_pdf
from monitor.features.reports.period import WEEKDAYS, Period, find_newest, read_times
from monitor.features.reports.queries import IssuedReport, ReportMail
from monitor.features.reports.render import TITLES, find_state, render_report

log = logging.getLogger(__name__)
LATE: Final = timedelta(days=2)  # what ended longer ago is not made any more
GIVE_UP_AFTER: Final = timedelta(hours=48)
AT_ONCE: Final = 20  # mails of one run
LONGEST_S: Final = 6 * 3600.0  # between two tries


@dataclass(slots=True)
class DueReport:
    """A report that is due, and who gets it."""

    site: SiteSummary
    period: Period
    language: str
    mails: dict[tuple[str, str], str] = field(default_factory=dict)  # (channel, form) -> key


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Make what is due, then mail what waits.

    Raises JobError: a mail was not taken, or a report could not be made; the others were.
    """
    troubles: list[str] = []
    made = sum(_issue(db, due, now, troubles) for due in list_due(db, config, now))
    with db.read() as c:
        waiting = store.load_due_mails(c, now, AT_ONCE)
    sent, documents = 0, dict[tuple[int, str], EmailMessage]()
    for mail in waiting:
        try:
            _send(db, config, mail, now, documents)
            sent += 1
        except StoreBusyError:
            raise
        except Exception as error:  # whatever one report holds, the others are mailed
            line = _one_line(error)
            troubles.append(line)
            _settle_failure(db, mail, error, line, now)
    if troubles:
        raise JobError(f"{len(troubles)} reports were not made or not mailed, the first: {troubles[0]}")
    return f"{made} reports made, {sent} mailed"


def list_due(db: Database, config: ServiceConfig, now: datetime) -> list[DueReport]:
    """The newest period of each planned report, of each site; each report once, with all who get it."""
    found: dict[tuple[str, str, str, datetime], DueReport] = {}
    with db.read() as c:
        sites = load_sites_summary(c)
    for plan in config.report:
        for site in sites:
            if not any(fnmatchcase(site.id, pattern) for pattern in plan.sites):
                continue
            weekday = WEEKDAYS.index(plan.weekday)
            period = find_newest(plan.kind, now, ZoneInfo(site.timezone), read_times(plan.at), weekday)
            if period.to_at < now - LATE:
                continue
            language = plan.language or config.language.default
            due = found.setdefault((site.id, plan.kind, language, period.to_at), DueReport(site, period, language))
            for channel in plan.to:
                text = f"{site.id}\n{plan.kind}\n{language}\n{period.to_at}\n{channel}\n{plan.form}"
                due.mails[channel, plan.form] = hashlib.sha256(text.encode()).hexdigest()
    return list(found.values())


def _issue(db: Database, due: DueReport, now: datetime, troubles: list[str]) -> bool:
    """Make a report that is not there yet; True where it was made."""
    period = due.period
    try:
        with db.read() as c:
            known = store.find_issue(c, due.site.id, period.kind, due.language, period.to_at)
            if known is not None and due.mails.keys() <= store.list_channels(c, known.id):
                return False
            if (issue := known) is None:
                facts, span = gather_facts(c, due.site.id, period), (period.kind, period.from_at, period.to_at)
                stored = digest_of(facts), code_version(), canonical_json(facts)
                issue = IssuedReport(0, due.site.id, *span, now, due.language, *stored)
    except NotFoundError:  # it was declared after the period
        return False
    except StoreBusyError:
        raise
    except Exception as error:  # whatever one site holds, the others get theirs
        troubles.append(f"{due.site.id} {period.kind}: {_one_line(error)}")
        return False
    with db.write() as c:
        store.add_issue(c, issue, [(*who, key) for who, key in due.mails.items()], now)
    return known is None


def make_document(db: Database, issue: IssuedReport, late: timedelta) -> tuple[str, ReportFacts]:
    """A report that was issued: the document and its facts, as they were stored with it.

    Where none were stored, or what is stored does not give the digest of then, it is made again from its rows. What
    does not give that digest either (rows were pruned, or altered) is logged, and the document bears its own.
    """
    with db.read() as c:
        period = Period(issue.kind, issue.from_at, issue.to_at)
        stored = plain_to_messages(json.loads(issue.facts or "")) if _is_whole(issue) else None
        facts = gather_facts(c, issue.site, period) if stored is None else stored
    digest = digest_of(facts) if stored is None else issue.facts_sha256
    if digest != issue.facts_sha256:
        log.warning("report %d of %s comes out otherwise than when it was issued", issue.id, issue.site)
    return render_report(facts, digest, issue.language, issue.made_at, late), facts


def _is_whole(issue: IssuedReport) -> bool:
    return issue.facts is not None and hashlib.sha256(issue.facts.encode()).hexdigest() == issue.facts_sha256


@dataclass(frozen=True, slots=True)
class ReissueCheck:
    """What a report that is made again says of the one that was issued."""

    facts_sha256: str  # of the one made now
    same: bool
    stored: bool | None  # whether what is stored of it still gives its digest; None: nothing was kept
    older: bool  # another version made it, which may have read the same rows otherwise
    changed: tuple[str, ...] = ()  # parts of the facts


def prove(c: Connection, issue: IssuedReport) -> ReissueCheck:
    """Make the facts of a report again from its rows, and compare them with what is stored of it."""
    facts = gather_facts(c, issue.site, Period(issue.kind, issue.from_at, issue.to_at))
    whole, digest = _is_whole(issue), digest_of(facts)
    changed = find_changed(plain_to_messages(json.loads(issue.facts or "")), facts) if whole else []
    same, older = whole and digest == issue.facts_sha256, issue.code_version != code_version()
    return ReissueCheck(digest, same, whole, older, tuple(changed))


def _send(
    db: Database, config: ServiceConfig, mail: ReportMail, now: datetime, done: dict[tuple[int, str], EmailMessage]
) -> None:
    if (mail.report_id, mail.form) not in done:
        with db.read() as c:
            issue = store.load_issue(c, mail.report_id)
        if issue is None:
            raise NotFoundError(f"report {mail.report_id} does not exist")
        done[mail.report_id, mail.form] = _compose(db, config, issue, mail.form)
    message = done[mail.report_id, mail.form]
    notifier = MailNotifier(split_channel(mail.channel)[1], channel_settings(config, os.environ))
    del message["From"], message["To"], message["Message-ID"]
    message["From"], message["To"] = notifier.sender, notifier.recipient
    message["Message-ID"] = f"<{mail.idempotency_key}@slopeward>"
    notifier.send(message)
    with db.write() as c:
        store.mark_mailed(c, mail.id, now)


def _compose(db: Database, config: ServiceConfig, issue: IssuedReport, form: str) -> EmailMessage:
    """The mail of a report, without its addresses."""
    html, facts = make_document(db, issue, config.schedule.late)
    state = find_state(facts, issue.language, config.schedule.late)
    with use_language(issue.language):
        title, at = gettext(TITLES[issue.kind]), format_local(issue.to_at, facts["site"]["timezone"])
        lines = [f"{facts['site']['name']}: {title}, {at}", f"{gettext('Level')}: {state.line}"]
        lines += [gettext("Do: %(action)s") % {"action": state.action}] if state.action else []
    if page := config.web.public_url.rstrip("/"):
        lines.append(f"{page}/sites/{issue.site}/reports")
    name, content, subtype = f"{issue.site}-{issue.kind}-{issue.to_at:%Y%m%dT%H%MZ}", html.encode(), "html"
    if form == "pdf":
        try:
            content, subtype = make_pdf(config.compute, html), "pdf"
        except JobError as error:  # the report as HTML is better than none
            lines.append(f"PDF: {error}")
    message = EmailMessage()
    message["Subject"] = " ".join(f"[{facts['site']['name']}] {title}: {state.line}. {at}".split())
    message["Date"] = format_datetime(issue.made_at)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834
    message.set_content("\n".join(lines) + "\n")
    main = "application" if subtype == "pdf" else "text"
    message.add_attachment(content, maintype=main, subtype=subtype, filename=f"{name}.{subtype}")
    return message


def _one_line(error: Exception) -> str:
    if isinstance(error, SlopewardError):
        return str(error)
    log.error("a report was not made or not mailed", exc_info=error)
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _settle_failure(db: Database, mail: ReportMail, error: Exception, line: str, now: datetime) -> None:
    final = (isinstance(error, DeliveryError) and error.permanent) or now - mail.queued_at > GIVE_UP_AFTER
    wait_s = (
        600.0 if isinstance(error, ConfigError) else 60.0 * backoff_s(mail.attempts + 1, lambda: 0.5, None, LONGEST_S)
    )
    again = None if final else now + timedelta(seconds=min(wait_s, LONGEST_S))
    with db.write() as c:
        store.mark_not_mailed(c, mail.id, line, again)
