"""Issue scheduled reports when their period has ended, and mail them.

Mails of reports have a queue of their own, so that they never delay the messages of alerts.
"""

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
from monitor.api.delivery import MailNotifier, backoff_s, channel_settings, find_declaration
from monitor.api.errors import ConfigError, DeliveryError, JobError, NotFoundError, SlopewardError, StoreBusyError
from monitor.api.queries.sites import SiteSummary, load_sites_summary
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site, list_notified_people, split_channel
from monitor.api.text import canonical_json, code_version, format_local, gettext, plain_to_messages, use_language
from monitor.features.reports import queries
from monitor.features.reports.facts import ReportFacts, find_changed, gather_facts, make_digest
from monitor.features.reports.pdf import make_pdf
from monitor.features.reports.period import WEEKDAYS, Period, find_last_period, read_times
from monitor.features.reports.queries import IssuedReport, ReportMail
from monitor.features.reports.render import TITLES, describe_end, render_report

log = logging.getLogger(__name__)
MAX_AGE: Final = timedelta(days=2)  # a report whose period ended earlier is not issued
GIVE_UP_AFTER: Final = timedelta(hours=48)
MAILS_PER_RUN: Final = 20
MAX_WAIT_S: Final = 6 * 3600.0  # between two attempts
# A wrong setting is corrected by a person, so that frequent attempts are of no use.
WAIT_AFTER_CONFIG_ERROR_S: Final = 600.0


@dataclass(slots=True)
class DueReport:
    """A report to issue, and the mails with it."""

    site: SiteSummary
    period: Period
    language: str
    # (channel, file format) -> idempotency key
    mails: dict[tuple[str, str], str] = field(default_factory=dict)


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - signature of jobs
    """Issue the reports that are due, then send the mails that are due. Return one line about what was done.

    Raises:
        JobError: A report could not be issued or a mail could not be sent. All others were.
    """
    failures: list[str] = []
    issued = sum(_issue(db, due, now, failures) for due in list_due(db, config, now))
    with db.read() as c:
        mails = queries.load_due_mails(c, now, MAILS_PER_RUN)
    sent = 0
    composed: dict[tuple[int, str], EmailMessage] = {}
    for mail in mails:
        try:
            _send(db, config, mail, now, composed)
            sent += 1
        except StoreBusyError:
            raise
        # An error in one report must not keep back the others.
        except Exception as error:
            line = _describe_error(error)
            failures.append(line)
            _record_failure(db, mail, error, line, now)
    if failures:
        raise JobError(f"{len(failures)} reports were not issued or not mailed; the first: {failures[0]}")
    return f"{issued} reports issued, {sent} mailed"


def list_due(db: Database, config: ServiceConfig, now: datetime) -> list[DueReport]:
    """Return the newest report of each schedule and site. Schedules with equal reports share one, with all mails.

    The report of a site in shadow mode is mailed only to the addresses of people of the trial.
    """
    reports: dict[tuple[str, str, str, datetime], DueReport] = {}
    with db.read() as c:
        sites = load_sites_summary(c)
        trial_channels = _load_trial_channels(c)
    for schedule in config.report:
        for site in sites:
            if not any(fnmatchcase(site.id, pattern) for pattern in schedule.sites):
                continue
            weekday = WEEKDAYS.index(schedule.weekday)
            period = find_last_period(schedule.kind, now, ZoneInfo(site.timezone), read_times(schedule.at), weekday)
            if period.to_at < now - MAX_AGE:
                continue
            language = schedule.language or config.language.default
            key = (site.id, schedule.kind, language, period.to_at)
            due = reports.setdefault(key, DueReport(site, period, language))
            for channel in schedule.to:
                if site.id in trial_channels and channel not in trial_channels[site.id]:
                    continue
                text = f"{site.id}\n{schedule.kind}\n{language}\n{period.to_at}\n{channel}\n{schedule.form}"
                due.mails[channel, schedule.form] = hashlib.sha256(text.encode()).hexdigest()
    return list(reports.values())


def _load_trial_channels(c: Connection) -> dict[str, set[str]]:
    """Return the channels of the people of the trial by site, for the sites in shadow mode."""
    channels_by_site: dict[str, set[str]] = {}
    for site in load_sites_summary(c):
        if site.shadow:
            channels_by_site[site.id] = set()
            declared = find_declaration(c, site.config_sha256)
            for channels in list_notified_people(declared.recipients if declared else ()).values():
                channels_by_site[site.id] |= channels
    return channels_by_site


def _issue(db: Database, due: DueReport, now: datetime, failures: list[str]) -> bool:
    """Store a report and queue its mails. Return whether the report is new. Append errors to `failures`."""
    period = due.period
    try:
        with db.read() as c:
            existing = queries.find_issue(c, due.site.id, period.kind, due.language, period.to_at)
            if existing is not None and due.mails.keys() <= queries.list_channels(c, existing.id):
                return False
            issue = existing or _make_issue(c, due, now)
    except NotFoundError:
        # The site was declared after the period.
        return False
    except StoreBusyError:
        raise
    # An error in the report of one site must not keep back those of other sites.
    except Exception as error:
        failures.append(f"{due.site.id} {period.kind}: {_describe_error(error)}")
        return False
    mails = [(channel, form, key) for (channel, form), key in due.mails.items()]
    with db.write() as c:
        queries.add_issue(c, issue, mails, now)
    return existing is None


def _make_issue(c: Connection, due: DueReport, now: datetime) -> IssuedReport:
    period = due.period
    facts = gather_facts(c, due.site.id, period)
    return IssuedReport(
        id=0,
        site=due.site.id,
        kind=period.kind,
        from_at=period.from_at,
        to_at=period.to_at,
        made_at=now,
        language=due.language,
        facts_sha256=make_digest(facts),
        code_version=code_version(),
        facts=canonical_json(facts),
    )


def make_document(db: Database, issue: IssuedReport, late: timedelta) -> tuple[str, ReportFacts]:
    """Return an issued report as HTML, and its facts.

    The facts are those that were stored with the report. If the stored facts do not match their digest, they are
    gathered again from the rows of the period. If those do not match either, because rows were pruned or altered, a
    warning is logged and the document contains the digest of the gathered facts.
    """
    if _has_intact_facts(issue):
        facts = plain_to_messages(json.loads(issue.facts or ""))
        digest = issue.facts_sha256
    else:
        with db.read() as c:
            facts = gather_facts(c, issue.site, Period(issue.kind, issue.from_at, issue.to_at))
        digest = make_digest(facts)
    if digest != issue.facts_sha256:
        log.warning("report %d of %s differs from the report that was issued", issue.id, issue.site)
    return render_report(facts, digest, issue.language, issue.made_at, late), facts


def _has_intact_facts(issue: IssuedReport) -> bool:
    return issue.facts is not None and hashlib.sha256(issue.facts.encode()).hexdigest() == issue.facts_sha256


@dataclass(frozen=True, slots=True)
class ReissueCheck:
    """The comparison of an issued report with facts that are gathered again.

    Attributes:
        facts_sha256: Digest of the facts that are gathered again.
        same: Whether nothing differs.
        stored: Whether the stored facts match their digest.
        older: Whether another version of Slopeward issued the report. It may have computed other facts from the same
            rows.
        changed: Names of the parts of the facts that differ.
    """

    facts_sha256: str
    same: bool
    stored: bool
    older: bool
    changed: tuple[str, ...] = ()


def check_issue(c: Connection, issue: IssuedReport) -> ReissueCheck:
    """Gather the facts of a report again from the rows of its period, and compare them with the stored facts."""
    facts = gather_facts(c, issue.site, Period(issue.kind, issue.from_at, issue.to_at))
    digest = make_digest(facts)
    is_intact = _has_intact_facts(issue)
    changed = find_changed(plain_to_messages(json.loads(issue.facts or "")), facts) if is_intact else []
    return ReissueCheck(
        facts_sha256=digest,
        same=is_intact and digest == issue.facts_sha256,
        stored=is_intact,
        older=issue.code_version != code_version(),
        changed=tuple(changed),
    )


def _send(
    db: Database, config: ServiceConfig, mail: ReportMail, now: datetime, composed: dict[tuple[int, str], EmailMessage]
) -> None:
    """Send a mail and record that it was sent. `composed` caches the messages by report and file format.

    Raises:
        DeliveryError: The server did not take the mail, or it was queued before the site entered shadow mode.
    """
    with db.read() as c:
        site = queries.find_site_of_report(c, mail.report_id)
        trial_channels = _load_trial_channels(c)
    if site in trial_channels and mail.channel not in trial_channels[site]:
        raise DeliveryError(f"{site} is in shadow mode and notifies only the people of the trial", permanent=True)
    if (mail.report_id, mail.form) not in composed:
        with db.read() as c:
            issue = queries.load_issue(c, mail.report_id)
        if issue is None:
            raise NotFoundError(f"report {mail.report_id} does not exist")
        composed[mail.report_id, mail.form] = _compose(db, config, issue, mail.form)
    message = composed[mail.report_id, mail.form]
    notifier = MailNotifier(split_channel(mail.channel)[1], channel_settings(config, os.environ))
    del message["From"], message["To"], message["Message-ID"]
    message["From"], message["To"] = notifier.sender, notifier.recipient
    message["Message-ID"] = f"<{mail.idempotency_key}@slopeward>"
    notifier.send(message)
    with db.write() as c:
        queries.mark_mailed(c, mail.id, now)


def _compose(db: Database, config: ServiceConfig, issue: IssuedReport, form: str) -> EmailMessage:
    """Return the mail with a report, without sender and recipient."""
    html, facts = make_document(db, issue, config.schedule.stale_after)
    state = describe_end(facts, issue.language, config.schedule.stale_after)
    with use_language(issue.language):
        title = gettext(TITLES[issue.kind])
        at = format_local(issue.to_at, facts["site"]["timezone"])
        lines = [f"{facts['site']['name']}: {title}, {at}", f"{gettext('Level')}: {state.line}"]
        if state.action:
            lines.append(gettext("Do: %(action)s") % {"action": state.action})
    public_url = config.web.public_url.rstrip("/")
    if public_url:
        lines.append(f"{public_url}/sites/{issue.site}/reports")
    file_name = f"{issue.site}-{issue.kind}-{issue.to_at:%Y%m%dT%H%MZ}"
    content = html.encode()
    subtype = "html"
    if form == "pdf":
        try:
            content = make_pdf(config.compute, html)
            subtype = "pdf"
        # The report as HTML is better than no report.
        except JobError as error:
            lines.append(f"PDF: {error}")
    message = EmailMessage()
    message["Subject"] = " ".join(f"[{facts['site']['name']}] {title}: {state.line}. {at}".split())
    message["Date"] = format_datetime(issue.made_at)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834
    message.set_content("\n".join(lines) + "\n")
    maintype = "application" if subtype == "pdf" else "text"
    message.add_attachment(content, maintype=maintype, subtype=subtype, filename=f"{file_name}.{subtype}")
    return message


def _describe_error(error: Exception) -> str:
    """Return an error in one line. An error that Slopeward did not expect is also logged."""
    if isinstance(error, SlopewardError):
        return str(error)
    log.error("a report was not issued or not mailed", exc_info=error)
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _record_failure(db: Database, mail: ReportMail, error: Exception, line: str, now: datetime) -> None:
    """Record a failed attempt to send a mail, and when the next one is due."""
    is_final = (isinstance(error, DeliveryError) and error.permanent) or now - mail.queued_at > GIVE_UP_AFTER
    if isinstance(error, ConfigError):
        wait_s = WAIT_AFTER_CONFIG_ERROR_S
    else:
        wait_s = 60.0 * backoff_s(mail.attempts + 1, lambda: 0.5, None, MAX_WAIT_S)
    next_attempt_at = None if is_final else now + timedelta(seconds=min(wait_s, MAX_WAIT_S))
    with db.write() as c:
        queries.mark_not_mailed(c, mail.id, line, next_attempt_at)
