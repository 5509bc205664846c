"""Acts as forms of the page and as requests of the HTTP API: the arguments of an act become fields of both.

What the table of acts names is answered at its address by a form, and below `/api/v1` by JSON. On the page alone one
decides again from frozen evidence.
"""

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from re import findall
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from starlette.datastructures import UploadFile

from monitor.alerts.acts.call import OWNER_OF, SITE_OF, ActCall, read_value
from monitor.alerts.acts.table import API, FORM, REQUEST, Act, ActParameter, ActResult, Secret, list_acts
from monitor.alerts.audit.recompute import RecomputationRequest, RecomputationResult, gather_decisions
from monitor.alerts.queries.alerts import UNKNOWN_ALERT, find_alert
from monitor.errors import JobError, NeedsSecondError, NotFoundError, RefusedError, acquire_or_refuse
from monitor.sites.records import Site
from monitor.text.message import Message, Template, join
from monitor.web.access.acting import FormAct, PageAct, begin_act, begin_request
from monitor.web.access.guard import is_safe_path
from monitor.web.access.rules import find_back
from monitor.web.context import WITHOUT_NUL, AlertId, ModelHash, Station
from monitor.web.parts.act_forms import AGAIN, LONGEST_SECRET, SECRET_OF_OWN, SentForm
from monitor.web.parts.collect import find_card, require_declared
from monitor.web.parts.templating import render
from monitor.web.routes.people.accounts import prove_again
from monitor.web.routes.site.readings import LATER
from monitor.worker.configured import run_in_worker
from monitor.worker.records import WorkerTask

router = APIRouter(include_in_schema=False)
requests = APIRouter(prefix=API, tags=["acts"])
_NO_SUCH: Final = Template("act.no_such", "there is no {number} of {site}")
_DIFFER: Final = Template("account.passwords_differ", "the two new passwords differ; nothing was changed")
_NOT_YOURS: Final = Template("token.not_yours", "you have no token {number}")
MOST_NAMES: Final = 100
_SIGNED: Final = Template(
    "act.signed", "signed, not done yet; within four hours a second person must do the same. {reason}"
)


# ---- acts of the table -------------------------------------------------------------------------------------------
def _keep_form(act: Act) -> Callable[[Request], Awaitable[None]]:
    """A dependency that keeps what was sent, so that a refusal shows the form again, filled in but for its secrets."""
    secrets = [one.name for one in act.list_parameters() if one.kind is Secret]

    async def keep(request: Request) -> None:
        sent = await request.form()
        hidden = {SECRET_OF_OWN, *(name for one in secrets for name in (one, f"{one}{AGAIN}"))}
        values = {name: text for name, text in sent.items() if name not in hidden and isinstance(text, str)}
        request.state.sent = SentForm(act, values, request.url.path)

    return keep


def _add(act: Act, address: str, *, own: bool = False) -> None:
    """Answer at an address of an act, by a form and by JSON; `own`: for whatever is of who is logged in."""
    places = findall(r"{(\w+)}", address)
    offered = [one for one in act.list_offered(FORM) if not (own and one.name == "name")]
    fields = [one for one in offered if one.name not in places]

    def by_form(acting: PageAct, turn: str = "", then: str = "", **given: Any) -> Response:
        return _answer_form(act, acting, given, turn, then, own=own)

    def by_request(acting: PageAct, body: BaseModel, **given: Any) -> JSONResponse:
        done = _prove_and_do(act, acting, given | {k: getattr(body, k) for k in type(body).model_fields}, own=own)
        return JSONResponse(_describe(done), 200 if isinstance(done, ActResult) else 202)

    # a misspelt key is refused: what it was to say would not be done
    model = create_model(
        f"{act.name.title().replace('.', '')}{'Own' if own else ''}",
        __config__=ConfigDict(extra="forbid"),
        **{one.name: _declare(one, is_form=False) for one in fields},  # type: ignore[call-overload]
        **({SECRET_OF_OWN: (Annotated[str, Field(max_length=LONGEST_SECRET)], "")} if act.proves else {}),
    )
    shown = [inspect.Parameter(name, _KEYWORD, annotation=_PLACES[name]) for name in places]
    body = [inspect.Parameter("body", _KEYWORD, annotation=model)]
    summary = str(act.load().__doc__).partition("\n")[0]
    ways: tuple[tuple[str, Any, Any, Any, APIRouter], ...] = (
        (FORM, by_form, [*_list_form_fields(act, fields)], begin_act, router),
        (REQUEST, by_request, body, begin_request, requests),
    )
    for way, run, given, begin, where in ways:
        if way not in act.ways:
            continue
        who = inspect.Parameter("acting", _KEYWORD, annotation=Annotated[PageAct, Depends(begin)])
        run.__signature__ = inspect.Signature([who, *shown, *given])
        kept = [Depends(_keep_form(act))] if way == FORM else []
        name = f"{act.name}{'.own' if own else ''}"
        where.add_api_route(
            address, run, methods=["POST"], summary=summary, name=name, response_model=None, dependencies=kept
        )


def _list_form_fields(act: Act, fields: Sequence[ActParameter]) -> Iterator[inspect.Parameter]:
    """What the form of an act sends: its fields, each secret twice, the own password where it opens a way in."""
    yield _THEN
    if any(one.kind is datetime for one in fields):
        yield _TURN
    typed = [f"{one.name}{AGAIN}" for one in fields if one.kind is Secret]
    for name in (*([SECRET_OF_OWN] if act.proves else []), *typed):
        yield inspect.Parameter(name, _KEYWORD, default="", annotation=_SECRET)
    for one in fields:
        annotation, default = _declare(one, is_form=True)
        default = inspect.Parameter.empty if default is ... else default
        yield inspect.Parameter(one.name, _KEYWORD, default=default, annotation=annotation)


def _answer_form(act: Act, acting: PageAct, given: dict[str, object], turn: str, then: str, *, own: bool) -> Response:
    if any(given.pop(f"{name}{AGAIN}") != given[name] for name in [k for k in given if f"{k}{AGAIN}" in given]):
        raise RefusedError(_DIFFER())
    done = _prove_and_do(act, acting, given, turn, own=own)
    text: str = join([done.text, *done.notes], "; ") if isinstance(done, ActResult) else done
    if "application/json" in acting.request.headers.get("accept", ""):  # a script that goes on from here
        return JSONResponse(_describe(done), status_code=201)
    back = (act.own_back if own else find_back(act)).format(**acting.request.path_params)
    path, mark, part = (then if then and is_safe_path(then) else back).partition("#")
    if isinstance(done, ActResult) and done.secret:
        return render(acting.request, "shown_once.html", act=act, text=text, lines=done.secret, back=path)
    # what the address of the form had after `?` is of the page that goes on
    query = "" if own or then else acting.request.url.query
    text = "" if path.startswith("/login") else text
    return acting.back(f"{path}{'?' if query else ''}{query}{mark}{part}", text)


def _prove_and_do(
    act: Act, acting: PageAct, given: dict[str, object], turn: str | None = None, *, own: bool
) -> ActResult | Message:
    if act.proves:
        prove_again(acting, str(given.pop(SECRET_OF_OWN)))
    return _do(act, acting, given | _find_own(acting, given) if own else given, turn)


def _find_own(acting: PageAct, given: Mapping[str, Any]) -> dict[str, str]:
    """The account of who is logged in, where no thing is named that must be of it; raises NotFoundError."""
    mine = acting.actor.name
    key = next((name for name in OWNER_OF if name in given), None)
    if key is None:
        return {"name": mine}
    if acting.db.run_read(OWNER_OF[key], given[key]) != mine:
        raise NotFoundError(_NOT_YOURS(number=given[key]))
    return {}


_KEYWORD: Final = inspect.Parameter.KEYWORD_ONLY
# of a form with times: which is meant where the clock of the site shows one twice
_TURN: Final = inspect.Parameter("turn", _KEYWORD, default="", annotation=Annotated[str, Form(max_length=16)])
# a page that leads on from one thing to the next
_THEN: Final = inspect.Parameter("then", _KEYWORD, default="", annotation=Annotated[str, Form(max_length=500)])
_SECRET: Final = Annotated[str, Form(max_length=LONGEST_SECRET)]
_PLACES: Final[Mapping[str, Any]] = {
    "site": str,
    **dict.fromkeys(("station", "name"), Station),
    **dict.fromkeys(("model_hash", "scene_hash", "polygon_id"), ModelHash),
    **dict.fromkeys((*SITE_OF, "number", "token_id"), AlertId),
}


def _declare(one: ActParameter, *, is_form: bool) -> tuple[Any, Any]:
    argument, kind = one.argument, one.given_kind
    known: dict[str, Any] = {"alias": one.name.rstrip("_"), "description": argument.help}
    if kind is str:
        known |= {"max_length": argument.longest, "pattern": WITHOUT_NUL}
    elif kind in {int, float}:
        known |= {"ge": argument.least, "le": argument.most}
    if not is_form:
        known["strict"] = True  # JSON has numbers and truths, a form texts
    if kind is tuple:
        kind = list[str]
        known["max_length"] = MOST_NAMES
    read = [BeforeValidator(partial(_read_upload, longest=argument.longest))] if is_form and argument.is_file else []
    default = ... if one.is_required else one.default_text
    if default == ():
        default = []
    marker: Any = Form if is_form else Field
    return Annotated[kind | None if one.is_optional else kind, *read, marker(**known)], default


def _read_upload(sent: Any, longest: int) -> Any:
    """A text as it was typed, or that of a file; one sign more than is good shows that it is too long."""
    return sent.file.read(longest + 1).decode("utf-8", "replace") if isinstance(sent, UploadFile) else sent


def _do(act: Act, acting: PageAct, given: Mapping[str, Any], turn: str | None = None) -> ActResult | Message:
    """What it did; the sentence where it waits for a second person.

    `turn`: of a form, whose times are those of the site: which of two is meant; None = a time without an offset is
    refused, never guessed.
    """
    context, site = acting.context, given.get("site")
    key = next((name for name in SITE_OF if name in given and name != "alert_id"), None)
    zone = None
    with context.db.read() as c:
        if site is not None:
            card = find_card(c, site)
            zone = None if turn is None else card.timezone
            if key is not None and SITE_OF[key](c, given[key]) != site:
                raise NotFoundError(_NO_SUCH(number=given[key], site=site))

    def find_site(site_id: str) -> Site:
        with context.db.read() as c:
            return require_declared(context, c, site_id)

    call = ActCall(
        db=context.db,
        actor=acting.actor,
        now=acting.now,
        find_site=find_site,
        check_site=find_card,
        config=context.config,
    )
    offered = act.list_offered(FORM)
    values = {one.name: read_value(one, given[one.name], zone, LATER.get(turn or "")) for one in offered}
    try:
        return act.load()(call, **values)
    except NeedsSecondError as missing:
        return _SIGNED(reason=missing.message)


def _describe(done: ActResult | Message) -> dict[str, Any]:
    if isinstance(done, Message):
        return {"done": False, "text": str(done)}
    return {"done": True, "text": str(done.text), "notes": list(done.notes), **done.facts}


for _act in list_acts():
    _add(_act, _act.address)
    if _act.own:
        _add(_act, _act.own, own=True)


# ---- on the page alone -------------------------------------------------------------------------------------------
RECOMPUTE: Final = WorkerTask("monitor.alerts.audit.recompute:recompute_all", RecomputationRequest, RecomputationResult)
RECOMPUTE_LIMIT_S: Final = 60.0
_recomputing: Final = threading.Semaphore(1)  # one worker at a time: alarms need the processor too
_RECOMPUTING: Final = Template("recompute.busy", "another alert is being decided again; try again in a minute")
_EQUAL: Final = Template("recompute.equal", "recomputed: equal bit for bit")
_DIFFERS: Final = Template("recompute.differs", "recomputed, and it differs: {text}")
_NOT_RECOMPUTED: Final = Template("recompute.failed", "not recomputed: {problem}")


@router.post("/alerts/{alert_id}/recompute")
def recompute_alert(act: FormAct, alert_id: AlertId) -> Response:
    """Decide again from the frozen evidence of an alert, in a worker, and say whether it comes out bit for bit."""
    plan = act.context.config.compute.model_copy(update={"dask": "", "job_limit_s": RECOMPUTE_LIMIT_S})
    with acquire_or_refuse(_recomputing, _RECOMPUTING()):
        with act.db.read() as c:
            alert = find_alert(c, alert_id)
            if alert is None:
                raise NotFoundError(UNKNOWN_ALERT(n=alert_id))
            decisions = gather_decisions(c, alert)
        try:
            found = run_in_worker(plan, RECOMPUTE, decisions).differences
            text = _DIFFERS(text=found[0][:120]) if found else _EQUAL()
        except JobError as error:
            text = _NOT_RECOMPUTED(problem=error.message)
    return act.back(f"/alerts/{alert_id}#h-evidence", text)
