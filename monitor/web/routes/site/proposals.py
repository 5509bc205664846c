"""Changed site files that wait for approval: what differs, what it would have done; bounds tried on the page."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import AfterValidator

from forecasting.message import Figure, Message, Template, Term, join
from monitor.alerting.acts import change_control
from monitor.alerting.acts.bound_edits import change_fields, list_fields
from monitor.alerting.acts.site_diff import StoredEffect, format_effect
from monitor.config.service import parse_site
from monitor.decision.series.bounds import declared_units
from monitor.domain.errors import ConfigError, RefusedError
from monitor.domain.names import is_same_person, tidy_text
from monitor.domain.site import Site
from monitor.store.alerting.sites import PROPOSED, Proposal, load_proposals
from monitor.web.access.acting import Acting
from monitor.web.access.callers import person_of
from monitor.web.context import NO_NUL
from monitor.web.drafts import Draft, Drafts
from monitor.web.parts.collect import SiteSnapshot, find_present_values, read_site
from monitor.web.parts.past_pictures import picture_effect
from monitor.web.parts.templating import render
from monitor.web.routes.site.movement import evaluate_now

router = APIRouter(include_in_schema=False)
_OF: Final = Template("site_file.of", "{word} {name}")
_VALUE: Final = Template("site_file.value", "{value}")
_WITH_UNIT: Final = Template("site_file.with_unit", "{value} {unit}")
DECIDED: Final = 10  # of those that wait no more, the newest
_PART: Final = re.compile(r"([^.\[\]]+)(?:\[([^\]]*)\])?")
_BOUNDED: Final = re.compile(r"criterion\[([^\]]*)\]\.\w+\.(over|under)$")


@router.get("/sites/{site}/proposals", response_class=HTMLResponse)
def show_proposals(request: Request, site: str) -> HTMLResponse:
    """What waits for approval on a site, and what became of the last ones."""
    caller = person_of(request)
    reader = "" if caller is None else caller.name
    with read_site(request, site) as seen:
        every = [_describe(one, reader) for one in load_proposals(seen.c, site, everything=True)]
    waiting = [one for one in every if one["state"] == PROPOSED]
    decided = [one for one in reversed(every) if one["state"] != PROPOSED][:DECIDED]
    return render(request, "proposals.html", card=seen.card, waiting=waiting, decided=decided)


def _describe(one: Proposal, reader: str) -> dict[str, Any]:
    units = find_units(one.source)
    effect: StoredEffect = one.effect or StoredEffect()
    return {
        "id": one.id,
        "state": one.state,
        "author": one.author,
        "reason": one.reason,
        "at": one.proposed_at,
        "is_own": is_same_person(one.author, reader),
        "loosens_high": one.loosens_high,
        "loosens": effect.get("loosens", ()),
        "effect": format_effect(effect),
        "picture": picture_effect(effect),
        "lacks_effect": "skipped" in effect,
        "differences": [format_difference(d, units) for d in one.differences or ()],
        "source": one.source,
        "decided_by": one.approved_by,
        "decided_at": one.decided_at,
        "decision_reason": one.decision_reason,
    }


def find_units(source: str) -> dict[str, str]:
    """Units of the bounds of a site file, by criterion."""
    try:
        return declared_units(parse_site(source, "the proposed file"))
    except ConfigError:
        return {}  # of a version that this program cannot read: figures come without unit


def format_difference(difference: Mapping[str, Any], units: Mapping[str, str]) -> dict[str, Message]:
    """A stored difference as people read it: key, old and new."""
    key = str(difference["key"])
    bound = _BOUNDED.match(key)
    unit = "" if bound is None else units.get(bound[1], "")
    return {"key": format_key(key), **{k: format_value(difference[k], unit) for k in ("old", "new")}}


def format_key(key: str) -> Message:
    """A key of a site file as people read it.

    >>> format_key("criterion[rate-1].red.over"), format_key("fusion.top_needs")
    ('criterion rate-1, red, over', 'fusion, top needs')
    """
    parts = [_OF(word=Term(name), name=of) if of else Term(name) for name, of in _PART.findall(key)]
    return join(parts, ", ")


def format_value(value: Any, unit: str = "") -> Message:
    """A value of a site file as people read it.

    >>> format_value(90.0, "mm/day"), format_value(None), format_value(["log", "log:second"]), format_value(True)
    ('90 mm/day', 'not said', 'log, log:second', 'yes')
    """
    if value is None:
        return _VALUE(value=Term("not said"))
    if isinstance(value, bool):
        return _VALUE(value=Term("yes" if value else "no"))
    if isinstance(value, list):
        return join([format_value(one) for one in value], ", ") if value else _VALUE(value=Term("none"))
    if isinstance(value, int | float):
        return _VALUE(value=Figure(value, "g" if isinstance(value, float) else "d", unit))
    return _WITH_UNIT(value=str(value), unit=unit) if unit else _VALUE(value=str(value))


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
ReasonText = Annotated[str, Form(max_length=500, pattern=NO_NUL), AfterValidator(tidy_text)]


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
    act: Acting,
    site: str,
    reason: ReasonText = "",
    key: Annotated[list[Key] | None, Form(max_length=MOST_FIELDS)] = None,
    value: Annotated[list[Value] | None, Form(max_length=MOST_FIELDS)] = None,
    months: Annotated[int, Form(ge=1, le=MOST_MONTHS)] = 3,
    base: Annotated[str, Form(max_length=64)] = "",
) -> Response:
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
        request,
        "threshold_draft.html",
        card=card,
        draft=found,
        effect=picture_effect(found.effect),
        skipped=found.effect.get("skipped", ""),
        loosens=found.change.loosens,
        differences=[
            format_difference({"key": d.key, "old": d.old, "new": d.new}, units) for d in found.change.differences
        ],
    )


@router.get("/sites/{site}/thresholds/{draft}/state")
def get_draft_state(request: Request, site: str, draft: DraftId) -> Response:
    """Whether the replay is done, for the page that waits."""
    found = _find(request, site, draft)
    return JSONResponse({"stage": "done" if found.effect else "replay", "share": found.share})


@router.post("/sites/{site}/thresholds/{draft}/propose")
def propose_draft(act: Acting, site: str, draft: DraftId) -> Response:
    """Store the change for approval, with the effect that was seen."""
    found = _find(act.request, site, draft)
    if not found.effect:
        raise RefusedError(_NOT_DONE())

    def describe_effect(old: Site | None, _new: Site) -> StoredEffect:
        if (old and old.version) != (found.change.old and found.change.old.version):
            raise RefusedError(_MEANWHILE())  # what was replayed is not what would be proposed
        return found.effect

    one = change_control.propose(act.db, found.text, f"{site}.toml", act.actor, found.reason, act.now, describe_effect)
    drafts_of(act.request).drop(found)
    return act.back(f"/sites/{site}/proposals", _WAITS(number=one.id))


def _find(request: Request, site: str, draft_id: str) -> Draft:
    caller = person_of(request)
    return drafts_of(request).find(draft_id, site, "" if caller is None else caller.name)


def _form(
    request: Request,
    seen: SiteSnapshot,
    values: Mapping[str, str],
    trouble: str,
    *,
    reason: str = "",
    months: int = 3,
) -> HTMLResponse:
    """The form with what the file says, or with what was written where that could not be used."""
    c, site = seen.c, seen.card.id
    in_force = change_control.require_in_force(c, site)
    shown: dict[str, Any] = {
        "criteria": list_fields(in_force),
        "base": in_force.version,
        "rates": find_present_values(c, seen.declared, site),
        "reasons": evaluate_now(seen.context, seen.declared).reasons,
        "written": values,
        "trouble": trouble,
        "reason": reason,
        "months": months,
        "most_months": MOST_MONTHS,
        "waiting": len(load_proposals(c, site)),
    }
    answer = render(request, "thresholds.html", card=seen.card, **shown)
    answer.status_code = 422 if trouble else 200
    return answer
