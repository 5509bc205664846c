"""Pages of changed site files: proposals that wait for approval with their effect, and a form for new bounds."""

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
from monitor.people.queries.users import explain_second_person
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
DECIDED: Final = 10  # newest decided proposals on the page
_PART: Final = re.compile(r"([^.\[\]]+)(?:\[([^\]]*)\])?")
_BOUNDED: Final = re.compile(r"criterion\[([^\]]*)\]\.\w+\.(over|under)$")


@router.get("/sites/{site}/proposals", response_class=HTMLResponse)
def show_proposals(request: Request, site: str) -> HTMLResponse:
    """Show the changes of the site file that wait for approval, and the newest decided ones."""
    caller = person_of(request)
    reader = "" if caller is None else caller.name
    with read_site(request, site) as snapshot:
        proposals = [
            _describe_proposal(proposal, reader) for proposal in load_proposals(snapshot.c, site, everything=True)
        ]
        waiting = [
            proposal | {"who": explain_second_person(snapshot.c, site, proposal["author"], snapshot.now)}
            for proposal in proposals
            if proposal["state"] == PROPOSED
        ]
    decided = [proposal for proposal in reversed(proposals) if proposal["state"] != PROPOSED][:DECIDED]
    return render(request, "proposals.html", card=snapshot.card, waiting=waiting, decided=decided)


def _describe_proposal(proposal: Proposal, reader: str) -> dict[str, Any]:
    units = find_units(proposal.source)
    effect: StoredEffect = proposal.effect or StoredEffect()
    return {
        "id": proposal.id,
        "state": proposal.state,
        "author": proposal.author,
        "reason": proposal.reason,
        "at": proposal.proposed_at,
        "is_own": is_same_person(proposal.author, reader),
        "loosens_high": proposal.loosens_high,
        "loosens": effect.get("loosens", ()),
        "effect": format_effect(effect),
        "runs": _sum_up_effect(effect),
        "card": effect.get("scorecard", {}),
        "span": (effect.get("from"), effect.get("to")),
        "lacks_effect": "skipped" in effect,
        "differences": [format_difference(difference, units) for difference in proposal.differences or ()],
        "source": proposal.source,
        "decided_by": proposal.approved_by,
        "decided_at": proposal.decided_at,
        "decision_reason": proposal.decision_reason,
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
    """Return the units of the bounds of a site file, by id of the criterion."""
    try:
        return find_declared_units(parse_site(source, "the proposed file"))
    except ConfigError:
        # The file was written for another version of this program. Numbers are shown without units.
        return {}


def format_difference(difference: Mapping[str, Any], units: Mapping[str, str]) -> dict[str, Message]:
    """Return key, old value and new value of a stored difference as texts for people."""
    key = str(difference["key"])
    bound = _BOUNDED.match(key)
    unit = "" if bound is None else units.get(bound[1], "")
    return {"key": format_key(key), **{k: format_value(difference[k], unit) for k in ("old", "new")}}


def format_key(key: str) -> Message:
    """Return a key of a site file as a text for people.

    >>> format_key("criterion[rate-1].red.over"), format_key("fusion.top_needs")
    ('criterion rate-1, red, over', 'fusion, top needs')
    """
    parts = [_OF(word=Term(name), name=of) if of else Term(name) for name, of in _PART.findall(key)]
    return join(parts, ", ")


def format_value(value: Any, unit: str = "") -> Message:
    """Return a value of a site file as a text for people.

    >>> format_value(90.0, "mm/day"), format_value(None), format_value(["log", "log:second"]), format_value(True)
    ('90 mm/day', 'not set', 'log, log:second', 'yes')
    """
    if value is None:
        return _VALUE(value=Term("not set"))
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
    "the site file changed while you edited it; check the thresholds now in force and enter the change again",
)
_NO_REASON: Final = Template("threshold.no_reason", "a reason is needed; it is stored in the history of the site file")
Key = Annotated[str, Form(max_length=100, pattern=WITHOUT_NUL)]
Value = Annotated[str, Form(max_length=40, pattern=WITHOUT_NUL)]
ReasonText = Annotated[str, Form(max_length=500, pattern=WITHOUT_NUL), AfterValidator(tidy_text)]


@router.get("/sites/{site}/thresholds", response_class=HTMLResponse)
def show_thresholds(request: Request, site: str) -> HTMLResponse:
    """Show a form with the bounds in force."""
    with read_site(request, site) as snapshot:
        return _render_form(request, snapshot, {}, "")


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
    """Propose other bounds, with their effect on the past. Show the form again if the bounds cannot be used.

    Args:
        act: the request.
        site: id of the site.
        reason: reason of the change.
        key: keys of the fields, in the order of `value`.
        value: entered values.
        months: how many months of the past are evaluated again with the new bounds.
        base: SHA-256 of the site file that the form showed.
    """
    values = dict(zip(key or (), value or (), strict=False))
    with read_site(act.request, site) as snapshot:
        try:
            if len(reason) < 3:
                raise RefusedError(_NO_REASON())
            in_force = change_control.require_in_force(snapshot.c, site)
            if base != in_force.version:
                # The form contains all bounds, so it would revert what other people have changed since.
                raise RefusedError(_MEANWHILE())
            text = change_fields(in_force, values, act.actor.name, reason)
            change_control.compare(snapshot.c, parse_site(text, f"{site}.toml"))
        except (ConfigError, RefusedError) as error:
            return _render_form(act.request, snapshot, values, error.message, reason=reason, months=months)
    preview = partial(preview_for_page, act.db, act.context.config.compute.job_limit_s, act.now, months)
    proposal = change_control.propose(act.db, text, f"{site}.toml", act.actor, reason, act.now, preview)
    return act.back(f"/sites/{site}/proposals", WAITS_FOR_APPROVAL(number=proposal.id))


def _render_form(
    request: Request,
    snapshot: SiteSnapshot,
    values: Mapping[str, str],
    trouble: str,
    *,
    reason: str = "",
    months: int = 3,
) -> HTMLResponse:
    """Return the page with the form. Entered values take precedence over those of the site file in force."""
    c, site = snapshot.c, snapshot.card.id
    in_force = change_control.require_in_force(c, site)
    shown: dict[str, Any] = {
        "criteria": list_fields(in_force),
        "base": in_force.version,
        "rates": find_present_values(c, snapshot.declared, snapshot.card),
        "reasons": evaluate_now(snapshot.context, snapshot.declared).reasons,
        "written": values,
        "trouble": trouble,
        "reason": reason,
        "months": months,
        "most_months": MOST_MONTHS,
        "waiting": len(load_proposals(c, site)),
    }
    answer = render(request, "thresholds.html", card=snapshot.card, **shown)
    answer.status_code = 422 if trouble else 200
    return answer
