"""Routes of actions: a form of the page and a request of the HTTP API for each entry of the table of acts.

The arguments of an act become the fields of its form and of its JSON document. The form is at the address of the act,
the request at the same address below `/api/v1`. One route exists on the page only: it computes the decision of an alert
again from its evidence.
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
from sqlalchemy import Connection
from starlette.datastructures import UploadFile

from monitor.alerts.acts.call import OWNER_OF, SITE_OF, ActCall, read_value
from monitor.alerts.acts.table import API, FORM, REQUEST, Act, ActParameter, ActResult, Secret, list_acts
from monitor.alerts.audit.recompute import RecomputationRequest, RecomputationResult, gather_decisions
from monitor.alerts.queries.alerts import UNKNOWN_ALERT, find_alert
from monitor.errors import JobError, NeedsSecondError, NotFoundError, RefusedError, acquire_or_refuse
from monitor.people.queries.users import explain_second_person
from monitor.sites.records import Site
from monitor.text.message import Message, Template, join
from monitor.web.access.acting import FormAct, PageAct, begin_act, begin_request
from monitor.web.access.callers import SERVICE_ALERTS
from monitor.web.access.guard import is_safe_path
from monitor.web.access.rules import find_return_page
from monitor.web.context import WITHOUT_NUL, AlertId, ModelHash, Station
from monitor.web.parts.act_forms import AGAIN, LONGEST_SECRET, SECRET_OF_OWN, SentForm
from monitor.web.parts.collect import find_card, require_declared
from monitor.web.parts.templating import render
from monitor.web.routes.people.accounts import prove_again
from monitor.web.routes.site.readings import IS_LATER_BY_TURN
from monitor.worker.records import WorkerTask
from monitor.worker.service_jobs import run_in_worker

router = APIRouter(include_in_schema=False)
requests = APIRouter(prefix=API, tags=["acts"])
_NO_SUCH: Final = Template("act.no_such", "there is no entry {number} of {site}")
_DIFFER: Final = Template("account.passwords_differ", "the two new passwords differ; nothing was changed")
_NOT_YOURS: Final = Template("token.not_yours", "you have no token {number}")
MOST_NAMES: Final = 100
_SIGNED: Final = Template(
    "act.signed",
    "not done yet, it waits for a second person: {reason}. {who} The second person must do the same within four hours.",
)


# ---- acts of the table -------------------------------------------------------------------------------------------
def _make_form_keeper(act: Act) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that stores the sent form. If it is refused, the page shows it again without its secrets."""
    secrets = [parameter.name for parameter in act.list_parameters() if parameter.kind is Secret]

    async def keep_form(request: Request) -> None:
        sent = await request.form()
        hidden = {SECRET_OF_OWN, *secrets, *(f"{name}{AGAIN}" for name in secrets)}
        values = {name: text for name, text in sent.items() if name not in hidden and isinstance(text, str)}
        request.state.sent = SentForm(act, values, request.url.path)

    return keep_form


def _add_routes(act: Act, address: str, *, own: bool = False) -> None:
    """Add the routes of an act at an address.

    Args:
        act: the act.
        address: path with placeholders for some arguments of the act.
        own: whether the act applies to the account that is logged in.
    """
    placeholders = findall(r"{(\w+)}", address)
    parameters = [parameter for parameter in act.list_offered(FORM) if not (own and parameter.name == "name")]
    fields = [parameter for parameter in parameters if parameter.name not in placeholders]

    def answer_form(acting: PageAct, turn: str = "", then: str = "", **given: Any) -> Response:
        return _answer_form(act, acting, given, turn, then, own=own)

    def answer_request(acting: PageAct, body: BaseModel, **given: Any) -> JSONResponse:
        values = given | {name: getattr(body, name) for name in type(body).model_fields}
        result = _prove_and_run(act, acting, values, own=own)
        return JSONResponse(_to_json(result), 200 if isinstance(result, ActResult) else 202)

    # Unknown keys are refused. Otherwise a misspelt key would be ignored without notice.
    model = create_model(
        f"{act.name.title().replace('.', '')}{'Own' if own else ''}",
        __config__=ConfigDict(extra="forbid"),
        **{field.name: _declare(field, is_form=False) for field in fields},  # type: ignore[call-overload]
        **({SECRET_OF_OWN: (Annotated[str, Field(max_length=LONGEST_SECRET)], "")} if act.proves else {}),
    )
    path_parameters = [inspect.Parameter(name, _KEYWORD, annotation=_PATH_TYPES[name]) for name in placeholders]
    body = [inspect.Parameter("body", _KEYWORD, annotation=model)]
    summary = str(act.load().__doc__).partition("\n")[0]
    ways: tuple[tuple[str, Any, Any, Any, APIRouter], ...] = (
        (FORM, answer_form, [*_list_form_fields(act, fields)], begin_act, router),
        (REQUEST, answer_request, body, begin_request, requests),
    )
    for way, endpoint, body_parameters, begin, target in ways:
        if way not in act.ways:
            continue
        acting = inspect.Parameter("acting", _KEYWORD, annotation=Annotated[PageAct, Depends(begin)])
        endpoint.__signature__ = inspect.Signature([acting, *path_parameters, *body_parameters])
        dependencies = [Depends(_make_form_keeper(act))] if way == FORM else []
        name = f"{act.name}{'.own' if own else ''}"
        target.add_api_route(
            address,
            endpoint,
            methods=["POST"],
            summary=summary,
            name=name,
            response_model=None,
            dependencies=dependencies,
        )


def _list_form_fields(act: Act, fields: Sequence[ActParameter]) -> Iterator[inspect.Parameter]:
    """Yield the fields of a form. Each secret occurs twice. An act that gives access needs the own password too."""
    yield _THEN
    if any(field.kind is datetime for field in fields):
        yield _TURN
    repeated = [f"{field.name}{AGAIN}" for field in fields if field.kind is Secret]
    for name in (*([SECRET_OF_OWN] if act.proves else []), *repeated):
        yield inspect.Parameter(name, _KEYWORD, default="", annotation=_SECRET)
    for field in fields:
        annotation, default = _declare(field, is_form=True)
        default = inspect.Parameter.empty if default is ... else default
        yield inspect.Parameter(field.name, _KEYWORD, default=default, annotation=annotation)


def _answer_form(act: Act, acting: PageAct, given: dict[str, object], turn: str, then: str, *, own: bool) -> Response:
    for name in [name for name in given if f"{name}{AGAIN}" in given]:
        if given.pop(f"{name}{AGAIN}") != given[name]:
            raise RefusedError(_DIFFER())
    result = _prove_and_run(act, acting, given, turn, own=own)
    text: str = join([result.text, *result.notes], "; ") if isinstance(result, ActResult) else result
    if "application/json" in acting.request.headers.get("accept", ""):
        # A script of the page sent the form and continues.
        return JSONResponse(_to_json(result), status_code=201)
    back = (act.own_back if own else find_return_page(act)).format(**acting.request.path_params)
    path, mark, part = (then if then and is_safe_path(then) else back).partition("#")
    if isinstance(result, ActResult) and result.secret:
        return render(acting.request, "shown_once.html", act=act, text=text, lines=result.secret, back=path)
    # The query of the form's address belongs to the page to which the browser returns.
    query = "" if own or then else acting.request.url.query
    text = "" if path.startswith("/login") else text
    return acting.back(f"{path}{'?' if query else ''}{query}{mark}{part}", text)


def _prove_and_run(
    act: Act, acting: PageAct, given: dict[str, object], turn: str | None = None, *, own: bool
) -> ActResult | Message:
    if act.proves:
        prove_again(acting, str(given.pop(SECRET_OF_OWN)))
    return _run_act(act, acting, given | _find_own_account(acting, given) if own else given, turn)


def _find_own_account(acting: PageAct, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the account that is logged in as an argument.

    If the request names a token, return nothing, but check that the token belongs to the account.

    Raises:
        NotFoundError: the token belongs to another account.
    """
    account = acting.actor.name
    key = next((name for name in OWNER_OF if name in given), None)
    if key is None:
        return {"name": account}
    if acting.db.run_read(OWNER_OF[key], given[key]) != account:
        raise NotFoundError(_NOT_YOURS(number=given[key]))
    return {}


_KEYWORD: Final = inspect.Parameter.KEYWORD_ONLY
# Field of forms with times: which of two equal times is meant when the clock of the site is set back.
_TURN: Final = inspect.Parameter("turn", _KEYWORD, default="", annotation=Annotated[str, Form(max_length=16)])
# Path of the page to show after the action.
_THEN: Final = inspect.Parameter("then", _KEYWORD, default="", annotation=Annotated[str, Form(max_length=500)])
_SECRET: Final = Annotated[str, Form(max_length=LONGEST_SECRET)]
_PATH_TYPES: Final[Mapping[str, Any]] = {
    "site": str,
    **dict.fromkeys(("station", "name"), Station),
    **dict.fromkeys(("model_hash", "scene_hash", "polygon_id"), ModelHash),
    **dict.fromkeys((*SITE_OF, "number", "token_id"), AlertId),
}


def _declare(parameter: ActParameter, *, is_form: bool) -> tuple[Any, Any]:
    """Return the type of a field with its limits for FastAPI, and its default (`...` if it is required)."""
    argument, kind = parameter.argument, parameter.given_kind
    options: dict[str, Any] = {"alias": parameter.name.rstrip("_"), "description": argument.help}
    if kind is str:
        options |= {"max_length": argument.longest, "pattern": WITHOUT_NUL}
    elif kind in {int, float}:
        options |= {"ge": argument.least, "le": argument.most}
    if not is_form:
        # JSON has numbers and booleans. A form has texts only, so they are converted.
        options["strict"] = True
    if kind is tuple:
        kind = list[str]
        options["max_length"] = MOST_NAMES
    read = [BeforeValidator(partial(_read_upload, longest=argument.longest))] if is_form and argument.is_file else []
    default = ... if parameter.is_required else parameter.default_text
    if default == ():
        default = []
    marker: Any = Form if is_form else Field
    return Annotated[kind | None if parameter.is_optional else kind, *read, marker(**options)], default


def _read_upload(sent: Any, longest: int) -> Any:
    """Return the text of an uploaded file, or a typed text as it is.

    At most one character more than allowed is read. The check of the length then refuses the text.
    """
    return sent.file.read(longest + 1).decode("utf-8", "replace") if isinstance(sent, UploadFile) else sent


def _run_act(act: Act, acting: PageAct, given: Mapping[str, Any], turn: str | None = None) -> ActResult | Message:
    """Run an act. Return its result, or a message if it waits for a second person.

    Args:
        act: the act.
        acting: the request.
        given: arguments as they were sent.
        turn: of a form, whose times are local times of the site: which of two equal times is meant. None for a request,
            in which a time without an offset is refused.
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
    values = {
        parameter.name: read_value(parameter, given[parameter.name], zone, IS_LATER_BY_TURN.get(turn or ""))
        for parameter in act.list_offered(FORM)
    }
    try:
        return act.load()(call, **values)
    except NeedsSecondError as missing:
        with context.db.read() as c:
            place = _find_place(c, given) if site is None else site
            who = explain_second_person(c, place, acting.actor.name, acting.now)
        return _SIGNED(reason=missing.message, who=who)


def _find_place(c: Connection, given: Mapping[str, Any]) -> str | None:
    """Return the site of the alert, offset or other thing that an action is about; None for an alarm of the service."""
    key = next((name for name in SITE_OF if name in given), None)
    site = None if key is None else SITE_OF[key](c, given[key])
    return None if site == SERVICE_ALERTS else site


def _to_json(result: ActResult | Message) -> dict[str, Any]:
    if isinstance(result, Message):
        return {"done": False, "text": str(result)}
    return {"done": True, "text": str(result.text), "notes": list(result.notes), **result.facts}


for _act in list_acts():
    _add_routes(_act, _act.address)
    if _act.own:
        _add_routes(_act, _act.own, own=True)


# ---- only on the page --------------------------------------------------------------------------------------------
RECOMPUTE: Final = WorkerTask("monitor.alerts.audit.recompute:recompute_all", RecomputationRequest, RecomputationResult)
RECOMPUTE_LIMIT_S: Final = 60.0
# One computation at a time, because the service needs the processor for decisions.
_recomputing: Final = threading.Semaphore(1)
_RECOMPUTING: Final = Template(
    "recompute.busy", "the decision of another alert is being computed; try again in a minute"
)
_EQUAL: Final = Template("recompute.equal", "recomputed: equal bit for bit")
_DIFFERS: Final = Template("recompute.differs", "recomputed, and it differs: {text}")
_NOT_RECOMPUTED: Final = Template("recompute.failed", "not recomputed: {problem}")


@router.post("/alerts/{alert_id}/recompute")
def recompute_alert(act: FormAct, alert_id: AlertId) -> Response:
    """Compute the decision of an alert again from its evidence, in a worker, and show if the result is the same."""
    plan = act.context.config.compute.model_copy(update={"dask": "", "job_limit_s": RECOMPUTE_LIMIT_S})
    with acquire_or_refuse(_recomputing, _RECOMPUTING()):
        with act.db.read() as c:
            alert = find_alert(c, alert_id)
            if alert is None:
                raise NotFoundError(UNKNOWN_ALERT(n=alert_id))
            decisions = gather_decisions(c, alert)
        try:
            differences = run_in_worker(plan, RECOMPUTE, decisions).differences
            text = _DIFFERS(text=differences[0][:120]) if differences else _EQUAL()
        except JobError as error:
            text = _NOT_RECOMPUTED(problem=error.message)
    return act.back(f"/alerts/{alert_id}#h-evidence", text)
