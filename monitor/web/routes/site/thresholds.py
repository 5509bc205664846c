"""Bounds of a site changed on the page: a form, what the change would have done, and the proposal that follows."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import AfterValidator

from forecasting.message import Template
from monitor.alerting.acts import change_control
from monitor.alerting.acts.bound_edits import change_fields, list_fields
from monitor.config.service import parse_site
from monitor.domain.names import tidy_text
from monitor.domain.site import Site
from monitor.errors import ConfigError, RefusedError
from monitor.store.alerting.proposals import load_proposals
from monitor.web.access.acting import Acting
from monitor.web.access.callers import person_of
from monitor.web.context import NO_NUL
from monitor.web.drafts import Draft, Drafts
from monitor.web.parts.collect import Seen, read_site
from monitor.web.parts.effect import picture_effect
from monitor.web.parts.templating import render
from monitor.web.routes.site.proposals import find_units, spell_difference

router = APIRouter(include_in_schema=False)
MOST_MONTHS: Final = 24
MOST_FIELDS: Final = 2000
_MEANWHILE: Final = Template(
    "threshold.meanwhile",
    "the site file changed meanwhile; look at the thresholds now in force and enter the change anew",
)
_NO_REASON: Final = Template("threshold.no_reason", "a reason is needed: it stands in the history of the site file")
_NOT_DONE: Final = Template("threshold.not_done", "the replay is not done yet")
_WAITS: Final = Template("threshold.waits", "change No. {number} waits for approval")
DraftId = Annotated[str, Path(max_length=32)]
Key = Annotated[str, Form(max_length=100, pattern=NO_NUL)]
Value = Annotated[str, Form(max_length=40, pattern=NO_NUL)]
Told = Annotated[str, Form(max_length=500, pattern=NO_NUL), AfterValidator(tidy_text)]


def drafts_of(request: Request) -> Drafts:
    """Those of the application."""
    found: Drafts = request.app.state.drafts
    return found


@router.get("/sites/{site}/thresholds", response_class=HTMLResponse)
def show_thresholds(request: Request, site: str) -> HTMLResponse:
    """The bounds in force, each in a field of its own."""
    with read_site(request, site) as seen:
        return _form(request, seen, {}, "")


@router.post("/sites/{site}/thresholds", response_class=HTMLResponse)
def try_thresholds(
    act: Acting, site: str, reason: Told = "",
    key: Annotated[list[Key] | None, Form(max_length=MOST_FIELDS)] = None,
    value: Annotated[list[Value] | None, Form(max_length=MOST_FIELDS)] = None,
    months: Annotated[int, Form(ge=1, le=MOST_MONTHS)] = 3, base: Annotated[str, Form(max_length=64)] = "",
) -> Response:  # fmt: skip
    """Look what a change would have done; what cannot be used comes back with the reason beside it."""
    values = dict(zip(key or (), value or (), strict=False))
    with read_site(act.request, site) as seen:
        try:
            if len(reason) < 3:
                raise RefusedError(_NO_REASON())
            in_force = change_control.require_in_force(seen.c, site)
            if base != in_force.version:  # fields that nobody touched would undo what others changed since
                raise RefusedError(_MEANWHILE())
            text = change_fields(in_force, values, act.actor.name, reason)
            change = change_control.compare(seen.c, parse_site(text, f"{site}.toml"))
            draft = drafts_of(act.request).begin(text, change, act.actor.name, reason, months)
        except (ConfigError, RefusedError) as error:
            return _form(act.request, seen, values, error.message, reason=reason, months=months)
    return RedirectResponse(f"/sites/{site}/thresholds/{draft.id}", status_code=303)


@router.get("/sites/{site}/thresholds/{draft}", response_class=HTMLResponse)
def show_draft(request: Request, site: str, draft: DraftId) -> HTMLResponse:
    """What differs, and what it would have done, as far as that is known."""
    found = _find(request, site, draft)
    units = find_units(found.text)
    with read_site(request, site) as seen:
        card = seen.card
    return render(
        request, "threshold_draft.html", card=card, draft=found, effect=picture_effect(found.effect),
        skipped=found.effect.get("skipped", ""), loosens=found.change.loosens,
        differences=[
            spell_difference({"key": d.key, "old": d.old, "new": d.new}, units) for d in found.change.differences
        ],
    )  # fmt: skip


@router.get("/sites/{site}/thresholds/{draft}/state")
def tell_draft(request: Request, site: str, draft: DraftId) -> Response:
    """Whether the replay is done, for the page that waits."""
    found = _find(request, site, draft)
    return JSONResponse({"stage": "done" if found.effect else "replay", "share": found.share})


@router.post("/sites/{site}/thresholds/{draft}/propose")
def propose_draft(act: Acting, site: str, draft: DraftId) -> Response:
    """Store the change for approval, with the effect that was seen."""
    found = _find(act.request, site, draft)
    if not found.effect:
        raise RefusedError(_NOT_DONE())

    def tell_effect(old: Site | None, _new: Site) -> Mapping[str, Any]:
        if (old and old.version) != (found.change.old and found.change.old.version):
            raise RefusedError(_MEANWHILE())  # what was replayed is not what would be proposed
        return found.effect

    one = change_control.propose(act.db, found.text, f"{site}.toml", act.actor, found.reason, act.now, tell_effect)
    drafts_of(act.request).drop(found)
    return act.back(f"/sites/{site}/proposals", _WAITS(number=one.id))


def _find(request: Request, site: str, draft_id: str) -> Draft:
    caller = person_of(request)
    return drafts_of(request).find(draft_id, site, "" if caller is None else caller.name)


def _form(
    request: Request, seen: Seen, values: Mapping[str, str], trouble: str, *,
    reason: str = "", months: int = 3,
) -> HTMLResponse:  # fmt: skip
    """The form with what the file says, or with what was written where that could not be used."""
    c, site = seen.c, seen.card.id
    in_force = change_control.require_in_force(c, site)
    shown: dict[str, Any] = {
        "criteria": list_fields(in_force), "base": in_force.version, "written": values, "trouble": trouble,
        "reason": reason, "months": months, "most_months": MOST_MONTHS, "waiting": len(load_proposals(c, site)),
    }  # fmt: skip
    answer = render(request, "thresholds.html", card=seen.card, **shown)
    answer.status_code = 422 if trouble else 200
    return answer
