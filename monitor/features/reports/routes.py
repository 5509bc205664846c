"""Reports of a site: those issued, each made again from its rows, one of the period that ends now, and the card."""

import threading
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from monitor.api.errors import JobError, NotFoundError, RefusedError, acquire_or_refuse
from monitor.api.text import NameList, Template, current_language
from monitor.api.web import Context, context_of, find_policy, read_site, redactor_of
from monitor.api.web import render_page as render
from monitor.features.reports.facts import digest_of, gather_facts
from monitor.features.reports.issue import make_document
from monitor.features.reports.pdf import make_pdf
from monitor.features.reports.period import KINDS, find_before
from monitor.features.reports.queries import load_issue, load_issues, load_mails
from monitor.features.reports.render import render_card, render_report

router = APIRouter(include_in_schema=False)
LISTED: Final = 60
_NONE: Final = Template("report.none", "site '{site}' has no report {name}")
_ODD_NAME: Final = Template("report.odd_name", "there is no report '{name}'; there are: {names} and numbers")
_ODD_FORM: Final = Template("report.odd_form", "a report is html or pdf, not '{form}'")
_BUSY: Final = Template("report.busy", "{count} reports are being made; try again in a minute")
AT_ONCE: Final = 2  # that are gathered or printed at the same time
FORMS: Final = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}
_TURNS: Final = threading.BoundedSemaphore(AT_ONCE)


@router.get("/sites/{site}/reports", response_class=HTMLResponse)
def show_reports(request: Request, site: str) -> HTMLResponse:
    """What was issued, what became of the mails, and what can be made now."""
    with read_site(request, site) as seen:
        issues = load_issues(seen.c, site, LISTED)
        mails = load_mails(seen.c, [one.id for one in issues])
        redactor = redactor_of(request, seen.c)
    names = ("channel", "state", "sent_at", "next_attempt_at", "last_error")
    rows = [
        {
            "issue": one,
            "mails": [redactor.hide_addresses({n: getattr(mail, n) for n in names}) for mail in mails[one.id]],
        }
        for one in issues
    ]
    return render(request, "reports.html", card=seen.card, rows=rows, kinds=KINDS)


@router.get("/sites/{site}/reports/{name}.{form}")
def send_report(request: Request, site: str, name: str, form: str) -> Response:
    """A report by its number, or `daily`, `weekly`, `shift` for the period that ends now; as HTML or PDF."""
    context = context_of(request)
    _require_form(form)
    with acquire_or_refuse(_TURNS, _BUSY(count=AT_ONCE)):
        if name in KINDS:
            with read_site(request, site) as seen:
                now, declared = seen.now.replace(second=0, microsecond=0), seen.declared
                period = find_before(name, now, ZoneInfo(declared.timezone if declared is not None else "UTC"))
                facts = gather_facts(seen.c, site, period)
            html = render_report(facts, digest_of(facts), current_language(), now, context.config.schedule.late)
        elif name.isascii() and name.isdigit() and len(name) < 19:
            with read_site(request, site) as seen:
                issue = load_issue(seen.c, int(name))
            if issue is None or issue.site != site:
                raise NotFoundError(_NONE(site=site, name=name))
            html, _ = make_document(context.db, issue, context.config.schedule.late)
        else:
            raise NotFoundError(_ODD_NAME(name=name[:20], names=NameList(tuple(KINDS))))
        return _answer(context, html, f"{site}-{name}", form)


@router.get("/sites/{site}/card.{form}")
def send_card(request: Request, site: str, form: str) -> Response:
    """The quick card, for who is logged in: it holds telephone numbers."""
    _require_form(form)
    with acquire_or_refuse(_TURNS, _BUSY(count=AT_ONCE)):
        with read_site(request, site) as seen:
            html = render_card(seen.c, site, seen.context.config.web.url, current_language(), seen.now)
        return _answer(seen.context, html, f"{site}-card", form)


def _require_form(form: str) -> None:
    """Refused before anything is gathered."""
    if form not in FORMS:
        raise NotFoundError(_ODD_FORM(form=form[:10]))


def _answer(context: Context, html: str, name: str, form: str) -> Response:
    if form == "html":
        return Response(html, media_type=FORMS[form], headers={"Content-Security-Policy": find_policy()})
    plan = context.config.compute
    limit_s = min(plan.job_limit_s, timedelta(minutes=2).total_seconds())
    try:
        content = make_pdf(plan.model_copy(update={"job_limit_s": limit_s}), html)
    except JobError as error:
        raise RefusedError(error.message) from None
    return Response(content, media_type=FORMS[form], headers={"Content-Disposition": f'inline; filename="{name}.pdf"'})
