"""Pages of reports: issued reports, reports of a period that ends now, and the quick card."""

import threading
from typing import Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from monitor.api.documents import find_policy
from monitor.api.errors import JobError, NotFoundError, RefusedError, acquire_or_refuse
from monitor.api.text import NameList, Template, current_language
from monitor.api.web import Context, context_of, read_site, redactor_of
from monitor.api.web import render_page as render
from monitor.features.reports.facts import gather_facts, make_digest
from monitor.features.reports.issue import make_document
from monitor.features.reports.pdf import make_pdf
from monitor.features.reports.period import KINDS, make_period
from monitor.features.reports.queries import load_issue, load_issues, load_mails
from monitor.features.reports.render import render_card, render_report

router = APIRouter(include_in_schema=False)
MAX_LISTED: Final = 60
_NO_REPORT: Final = Template("report.none", "site '{site}' has no report {name}")
_UNKNOWN_NAME: Final = Template(
    "report.odd_name", "there is no report '{name}'; use {names} or the number of an issued report"
)
_UNKNOWN_FORMAT: Final = Template("report.odd_form", "a report is available as html or pdf, not as '{form}'")
_BUSY: Final = Template("report.busy", "{count} reports are being written at the moment; try again in a minute")
MAX_CONCURRENT: Final = 2  # reports that are gathered or printed at the same time
MAX_PDF_S: Final = 120.0
MEDIA_TYPES: Final = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}
_SLOTS: Final = threading.BoundedSemaphore(MAX_CONCURRENT)


@router.get("/sites/{site}/reports", response_class=HTMLResponse)
def show_reports(request: Request, site: str) -> HTMLResponse:
    """Return the page with issued reports, the state of their mails, and links to reports that end now."""
    with read_site(request, site) as seen:
        issues = load_issues(seen.c, site, MAX_LISTED)
        mails = load_mails(seen.c, [issue.id for issue in issues])
        redactor = redactor_of(request, seen.c)
    names = ("channel", "state", "sent_at", "next_attempt_at", "last_error")
    rows = [
        {
            "issue": issue,
            "mails": [
                redactor.hide_addresses({name: getattr(mail, name) for name in names}) for mail in mails[issue.id]
            ],
        }
        for issue in issues
    ]
    return render(request, "reports.html", card=seen.card, rows=rows, kinds=KINDS)


@router.get("/sites/{site}/reports/{name}.{form}")
def send_report(request: Request, site: str, name: str, form: str) -> Response:
    """Return an issued report by its number, or a daily, weekly or shift report that ends now, as HTML or PDF."""
    context = context_of(request)
    _require_form(form)
    with acquire_or_refuse(_SLOTS, _BUSY(count=MAX_CONCURRENT)):
        if name in KINDS:
            with read_site(request, site) as seen:
                now = seen.now.replace(second=0, microsecond=0)
                timezone = "UTC" if seen.declared is None else seen.declared.timezone
                period = make_period(name, now, ZoneInfo(timezone))
                facts = gather_facts(seen.c, site, period)
            html = render_report(
                facts, make_digest(facts), current_language(), now, context.config.schedule.stale_after
            )
        elif name.isascii() and name.isdigit() and len(name) < 19:
            with read_site(request, site) as seen:
                issue = load_issue(seen.c, int(name))
            if issue is None or issue.site != site:
                raise NotFoundError(_NO_REPORT(site=site, name=name))
            html, _ = make_document(context.db, issue, context.config.schedule.stale_after)
        else:
            raise NotFoundError(_UNKNOWN_NAME(name=name[:20], names=NameList(tuple(KINDS))))
        return _answer(context, html, f"{site}-{name}", form)


@router.get("/sites/{site}/card.{form}")
def send_card(request: Request, site: str, form: str) -> Response:
    """Return the quick card. The access rule requires a login because the card contains phone numbers."""
    _require_form(form)
    with acquire_or_refuse(_SLOTS, _BUSY(count=MAX_CONCURRENT)):
        with read_site(request, site) as seen:
            html = render_card(seen.c, site, seen.context.config.web.url, current_language(), seen.now)
        return _answer(seen.context, html, f"{site}-card", form)


def _require_form(form: str) -> None:
    """Raise NotFoundError unless the format is known, before anything is gathered."""
    if form not in MEDIA_TYPES:
        raise NotFoundError(_UNKNOWN_FORMAT(form=form[:10]))


def _answer(context: Context, html: str, name: str, form: str) -> Response:
    if form == "html":
        return Response(html, media_type=MEDIA_TYPES[form], headers={"Content-Security-Policy": find_policy()})
    compute = context.config.compute
    limit_s = min(compute.job_limit_s, MAX_PDF_S)
    try:
        content = make_pdf(compute.model_copy(update={"job_limit_s": limit_s}), html)
    except JobError as error:
        raise RefusedError(error.message) from None
    return Response(
        content, media_type=MEDIA_TYPES[form], headers={"Content-Disposition": f'inline; filename="{name}.pdf"'}
    )
