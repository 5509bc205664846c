"""Responses to requests that fail: JSON for programs, a page with an explanation for people."""

import logging
from dataclasses import replace
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from monitor import errors
from monitor.alerts.acts.call import INVALID_VALUE, TOO_LONG
from monitor.alerts.queries.alerts import RISEN, find_alert
from monitor.alerts.queries.overview import load_cards
from monitor.text.message import Message, Template, join
from monitor.text.rendering import translate
from monitor.web.access.rules import PLAIN_NUMBER, find_return_page
from monitor.web.context import context_of
from monitor.web.parts.act_forms import SentForm, list_choices
from monitor.web.parts.templating import render
from monitor.web.routes.people import login

_LOG = logging.getLogger(__name__)
_NOT_FOUND: Final = Template("page.nothing_here", "this address does not exist")
_WRONG_METHOD: Final = Template("page.no_method", "this address does not accept this HTTP method")
_INTERNAL_ERROR: Final = Template(
    "page.broken", "an internal error occurred; the cause is in the log of the web process"
)
_NOT_A_NUMBER: Final = Template("value.number", "give a number that is allowed here, such as 12.5")
# Explanations of validation errors, by prefix of the error type of pydantic. The first match counts.
_EXPLANATIONS: Final = {
    "missing": Template("value.missing", "a value is required"),
    "extra_forbidden": Template("value.extra", "there is no such field"),
    "string_too_long": TOO_LONG,
    # An uploaded file.
    "too_long": TOO_LONG,
    "string_type": Template("value.text", "give a text"),
    "string_": Template("value.characters", "the text contains characters that are not allowed"),
    "bool_": Template("value.truth", "give true or false"),
    "float_": _NOT_A_NUMBER,
    "int_": _NOT_A_NUMBER,
    "finite_number": _NOT_A_NUMBER,
    "greater_than": _NOT_A_NUMBER,
    "less_than": _NOT_A_NUMBER,
}
_MAX_EXPLAINED_ERRORS: Final = 3
# The first match counts.
_STATUS_BY_ERROR: Final[tuple[tuple[type[errors.SlopewardError], int], ...]] = (
    (errors.NotFoundError, 404),
    (errors.NotSignedInError, 401),
    (errors.NotAllowedError, 403),
    (errors.RefusedError, 409),
    (errors.ConfigError, 422),
    (errors.StoreBusyError, 503),
)
_HEADERS_BY_STATUS: Final = {
    401: {"WWW-Authenticate": 'Bearer realm="slopeward"'},
    503: {"Retry-After": "2"},
}
# Programs and scripts request these paths.
_JSON_PATHS: Final = ("/api/", "/health", "/metrics", "/live/")
# If a form was sent and one of these statuses follows, the response contains the form with what the person typed.
_FORM_STATUSES: Final = frozenset({404, 409, 422})


def add_error_handlers(app: FastAPI) -> None:
    """Register the handlers of this module in an application."""
    app.add_exception_handler(errors.SlopewardError, _handle_slopeward_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(Exception, _handle_unexpected_error)


def _handle_slopeward_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.SlopewardError)
    status = next((status for kind, status in _STATUS_BY_ERROR if isinstance(error, kind)), 500)
    sent = _find_sent_form(request)
    if isinstance(error, errors.SupersededError) and sent is not None:
        # The message contains the newer answer, so that the form can be sent again without the number of the old one.
        request.state.sent = replace(sent, values={**sent.values, "seen": ""})
    return _make_response(request, status, error.message)


def _handle_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    explanations = [_explain(detail) for detail in error.errors()[:_MAX_EXPLAINED_ERRORS]]
    return _make_response(request, 422, join(explanations, "; "))


def _explain(detail: dict[str, Any]) -> str:
    """Return the explanation of one error of pydantic, with the name of the field."""
    location = [str(part) for part in detail["loc"]]
    name = ".".join(location[1:]) or location[0]
    template = next((text for prefix, text in _EXPLANATIONS.items() if detail["type"].startswith(prefix)), None)
    if template is None:
        return INVALID_VALUE(name=name, problem=detail["msg"])
    limits = detail.get("ctx", {})
    values = {"n": limits["max_length"]} if "max_length" in limits else {}
    return INVALID_VALUE(name=name, problem=template(**values))


def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {404: _NOT_FOUND(), 405: _WRONG_METHOD()}
    return _make_response(request, error.status_code, texts.get(error.status_code, str(error.detail)))


def _handle_unexpected_error(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    return _make_response(request, 500, _INTERNAL_ERROR())


def _make_response(request: Request, status: int, text: str) -> Response:
    headers = _HEADERS_BY_STATUS.get(status)
    if request.url.path.startswith(_JSON_PATHS):
        return JSONResponse({"error": translate(text)}, status_code=status, headers=headers)
    response = _render_page(request, status, text)
    response.status_code = status
    response.headers.update(headers or {})
    return response


def _render_page(request: Request, status: int, text: str) -> Response:
    if status == 401 and request.method == "GET":
        # The page follows after the login.
        return login.show_login(request, request.url.path)
    sent = _find_sent_form(request)
    if sent is not None and status in _FORM_STATUSES:
        return _render_form_again(request, status, text, sent)
    # A site can refuse an action because of its state, so its page explains more.
    site = request.path_params.get("site") if status == 409 else None
    page: Response = render(request, "error.html", status=status, text=text, site=site)
    return page


def _find_sent_form(request: Request) -> SentForm | None:
    """Return the form of the request; None before its act is found."""
    sent: SentForm | None = getattr(request.state, "sent", None)
    return sent


def _render_form_again(request: Request, status: int, text: str, sent: SentForm) -> Response:
    """Return a page with the refusal and the form, filled in as it was sent."""
    path_values = dict(request.path_params)
    values = dict(sent.values)
    if isinstance(text, Message) and text.id == RISEN.id:
        # The page shows the new level of the alert, so that sending the form again acknowledges that level.
        path_values["alert_id"] = str(text.values["number"])
        values["seen"] = str(text.values["level"])
    alert_id = path_values.get("alert_id")
    with context_of(request).db.read() as connection:
        is_number = alert_id is not None and PLAIN_NUMBER.fullmatch(str(alert_id)) is not None
        alert = find_alert(connection, int(str(alert_id))) if is_number else None
        site = path_values.get("site")
        if not site and alert is not None:
            site = alert.site
        card = next(iter(load_cards(connection, site)), None) if site is not None else None
        choices = list_choices(connection, site)
    path = sent.act.address.format(**path_values) if alert_id is not None else sent.path
    page: Response = render(
        request,
        "refused.html",
        status=status,
        text=text,
        sent=SentForm(sent.act, values, path),
        choices=choices,
        card=card,
        back=find_return_page(sent.act).format(**path_values) or "/",
        path=path,
    )
    return page
