"""Changed site files that wait for approval: what differs in plain words, what it would have done, and yes or no."""

import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from forecasting.message import Figure, Message, Template, Term, join
from monitor.alerting.acts import change_control
from monitor.alerting.acts.site_diff import spell_effect
from monitor.config.service import parse_site
from monitor.domain.names import is_same_person
from monitor.errors import ConfigError, NotFoundError
from monitor.series.bounds import declared_units
from monitor.store.alerting.proposals import PROPOSED, Proposal, load_proposals
from monitor.web.access.acting import Act, Acting
from monitor.web.access.callers import person_of
from monitor.web.context import AlertId, Why
from monitor.web.parts.collect import read_site
from monitor.web.parts.effect import picture_effect
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
_IN_FORCE: Final = Template("proposal.in_force", "change No. {number} is in force; the service takes it within seconds")
_TURNED_DOWN: Final = Template("proposal.turned_down", "change No. {number} is turned down")
_NONE: Final = Template("proposal.none", "there is no proposal {number} of {site}")
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


@router.post("/sites/{site}/proposals/{number}/approve")
def approve(act: Acting, site: str, number: AlertId, reason: Why) -> Response:
    """Put a proposal in force: the site file is written, the running service takes it within seconds."""
    _require_of(act, site, number)
    change_control.approve(act.db, act.context.config.paths.sites, number, act.actor, reason, act.now)
    return act.back(f"/sites/{site}/proposals", _IN_FORCE(number=number))


@router.post("/sites/{site}/proposals/{number}/reject")
def reject(act: Acting, site: str, number: AlertId, reason: Why) -> Response:
    """Turn a proposal down, or withdraw one's own; it stays on record."""
    _require_of(act, site, number)
    change_control.reject(act.db, number, act.actor, reason, act.now)
    return act.back(f"/sites/{site}/proposals", _TURNED_DOWN(number=number))


def _require_of(act: Act, site: str, number: int) -> None:
    """Refuse a proposal of another site without telling that it exists; raises NotFoundError."""
    with act.db.read() as c:
        if all(one.id != number for one in load_proposals(c, site, everything=True)):
            raise NotFoundError(_NONE(number=number, site=site))


def _describe(one: Proposal, reader: str) -> dict[str, Any]:
    units = find_units(one.source)
    effect: Mapping[str, Any] = one.effect or {}
    return {
        "id": one.id, "state": one.state, "author": one.author, "reason": one.reason, "at": one.proposed_at,
        "is_own": is_same_person(one.author, reader), "loosens_high": one.loosens_high,
        "loosens": effect.get("loosens", ()), "effect": spell_effect(effect),
        "picture": picture_effect(effect), "lacks_effect": "skipped" in effect,
        "differences": [spell_difference(d, units) for d in one.differences or ()], "source": one.source,
        "decided_by": one.approved_by, "decided_at": one.decided_at, "decision_reason": one.decision_reason,
    }  # fmt: skip


def find_units(source: str) -> dict[str, str]:
    """Units of the bounds of a site file, by criterion."""
    try:
        return declared_units(parse_site(source, "the proposed file"))
    except ConfigError:
        return {}  # of a version that this program cannot read: figures come without unit


def spell_difference(difference: Mapping[str, Any], units: Mapping[str, str]) -> dict[str, Message]:
    """A stored difference as people read it: key, old and new."""
    key = str(difference["key"])
    bound = _BOUNDED.match(key)
    unit = "" if bound is None else units.get(bound[1], "")
    return {"key": spell_key(key), **{k: spell_value(difference[k], unit) for k in ("old", "new")}}


def spell_key(key: str) -> Message:
    """A key of a site file as people read it.

    >>> spell_key("criterion[rate-1].red.over"), spell_key("fusion.top_needs")
    ('criterion rate-1, red, over', 'fusion, top needs')
    """
    parts = [_OF(word=Term(name), name=of) if of else Term(name) for name, of in _PART.findall(key)]
    return join(parts, ", ")


def spell_value(value: Any, unit: str = "") -> Message:
    """A value of a site file as people read it.

    >>> spell_value(90.0, "mm/day"), spell_value(None), spell_value(["log", "log:second"]), spell_value(True)
    ('90 mm/day', 'not said', 'log, log:second', 'yes')
    """
    if value is None:
        return _VALUE(value=Term("not said"))
    if isinstance(value, bool):
        return _VALUE(value=Term("yes" if value else "no"))
    if isinstance(value, list):
        return join([spell_value(one) for one in value], ", ") if value else _VALUE(value=Term("none"))
    if isinstance(value, int | float):
        return _VALUE(value=Figure(value, "g" if isinstance(value, float) else "d", unit))
    return _WITH_UNIT(value=str(value), unit=unit) if unit else _VALUE(value=str(value))
