"""Changed site files that wait for approval: what differs, what it would have done; bounds tried on the page."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import AfterValidator

from monitor.alerts.acts import change_control
from monitor.alerts.acts.bound_edits import change_fields, list_fields
from monitor.alerts.acts.site_diff import StoredEffect, format_effect, list_hours
from monitor.alerts.replay.matrix import UNJUDGED, WAITING
from monitor.alerts.replay.proposals import WAITS_FOR_APPROVAL, preview_for_page
from monitor.decision.criteria.bound_units import find_declared_units
from monitor.errors import ConfigError, RefusedError
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import PROPOSED, Proposal, load_proposals
from monitor.text.message import Figure, Message, Template, Term, join
from monitor.text.names import is_same_person, tidy_text
from monitor.web.access.acting import FormAct
from monitor.web.access.callers import person_of
from monitor.web.context import WITHOUT_NUL
from monitor.web.parts.collect import SiteSnapshot, find_present_values, read_site
from monitor.web.parts.present_decision import evaluate_now
from monitor.web.parts.templating import render

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
        "runs": _sum_up_effect(effect),
        "card": effect.get("scorecard", {}),
        "span": (effect.get("from"), effect.get("to")),
        "lacks_effect": "skipped" in effect,
        "differences": [format_difference(d, units) for d in one.differences or ()],
        "source": one.source,
        "decided_by": one.approved_by,
        "decided_at": one.decided_at,
        "decision_reason": one.decision_reason,
    }


def _sum_up_effect(effect: StoredEffect) -> list[dict[str, Any]]:
    if "scorecard" not in effect:
        return []
    return [
        {
            "name": name,
            "hours": list_hours(run),
            "hazards": sum(a["ledger"] == "hazard" for a in run["alerts"]),
            "alarm_days": run["alarm_days"],
            "false_days": sum(run.get("false_alarm_days", {}).values()),
            "waiting_days": run.get("alarm_days_by_kind", {}).get(WAITING, 0),
            "unjudged_days": run.get("alarm_days_by_kind", {}).get(UNJUDGED, 0),
            "misses": run["misses"],
            "events": len(run["events"]),
        }
        for name, run in zip(effect["names"], effect["scorecard"]["runs"], strict=True)
    ]


def find_units(source: str) -> dict[str, str]:
    """Units of the bounds of a site file, by criterion."""
    try:
        return find_declared_units(parse_site(source, "the proposed file"))
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
Key = Annotated[str, Form(max_length=100, pattern=WITHOUT_NUL)]
Value = Annotated[str, Form(max_length=40, pattern=WITHOUT_NUL)]
ReasonText = Annotated[str, Form(max_length=500, pattern=WITHOUT_NUL), AfterValidator(tidy_text)]


@router.get("/sites/{site}/thresholds", response_class=HTMLResponse)
def show_thresholds(request: Request, site: str) -> HTMLResponse:
    """The bounds in force, each in a field of its own."""
    with read_site(request, site) as seen:
        return _form(request, seen, {}, "")


@router.post("/sites/{site}/thresholds", response_class=HTMLResponse)
def try_thresholds(
    act: FormAct,
    site: str,
    reason: ReasonText = "",
    key: Annotated[list[Key] | None, Form(max_length=MOST_FIELDS)] = None,
    value: Annotated[list[Value] | None, Form(max_length=MOST_FIELDS)] = None,
    months: Annotated[int, Form(ge=1, le=MOST_MONTHS)] = 3,
    base: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Propose other bounds with what they would have done; what cannot be used comes back with the reason."""
    values = dict(zip(key or (), value or (), strict=False))
    with read_site(act.request, site) as seen:
        try:
            if len(reason) < 3:
                raise RefusedError(_NO_REASON())
            in_force = change_control.require_in_force(seen.c, site)
            if base != in_force.version:  # fields that nobody touched would undo what others changed since
                raise RefusedError(_MEANWHILE())
            text = change_fields(in_force, values, act.actor.name, reason)
            change_control.compare(seen.c, parse_site(text, f"{site}.toml"))
        except (ConfigError, RefusedError) as error:
            return _form(act.request, seen, values, error.message, reason=reason, months=months)
    preview = partial(preview_for_page, act.db, act.context.config.compute.job_limit_s, act.now, months)
    one = change_control.propose(act.db, text, f"{site}.toml", act.actor, reason, act.now, preview)
    return act.back(f"/sites/{site}/proposals", WAITS_FOR_APPROVAL(number=one.id))


def _form(
    request: Request, seen: SiteSnapshot, values: Mapping[str, str], trouble: str, *, reason: str = "", months: int = 3
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
