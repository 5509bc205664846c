"""Where a provider of text messages and calls reports, and brings replies; each report bears its signature."""

from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from forecasting.message import Template
from monitor.alerting.acts.by_telephone import take_digit, take_reply
from monitor.domain.errors import NotAllowedError, NotFoundError
from monitor.domain.language.catalogue import ENGLISH, gettext, use
from monitor.notify.notifiers.gateway import DIGIT, FAILED, RECEIVED, REPLY, SIGNATURE, STATUS, is_signed, write_answer
from monitor.store.delivery.receipts import find_sent, mark_undelivered, note_progress, note_received, note_test
from monitor.store.delivery.replies import ANSWERS, REFUSED, ReplyResult
from monitor.web.context import Context, context_of, run_apart

router = APIRouter(include_in_schema=False)
_MOST_FIELDS: Final = 100
_UNDELIVERED: Final = Template("gateway.undelivered", "the provider could not deliver it: {status}")
_UNDELIVERED_CODE: Final = Template(
    "gateway.undelivered_code", "the provider could not deliver it: {status}, code {code}"
)
Message = Annotated[int | None, Query(ge=1, lt=1 << 63)]
Form = dict[str, str]


@router.post(STATUS)
async def take_status(request: Request, message: Message = None) -> Response:
    """What became of a message or a call: on the device, or it could not be delivered."""
    form = await _read(request)
    await run_apart(request, "gateway", lambda: _note(context_of(request), message, form))
    return Response(status_code=204)


@router.post(REPLY)
async def take_text(request: Request) -> Response:
    """A text message that came in; the answer is sent back to the telephone."""
    form, context = await _read(request), context_of(request)
    name = form.get("MessageSid") or form.get("SmsSid") or ""

    def take() -> ReplyResult:
        return take_reply(context.db, "sms", form.get("From", ""), form.get("Body", ""), name, context.clock())

    answer = await run_apart(request, "gateway", take)
    return _answer(answer, "Message") if answer.language else _send(write_answer("Message", ""))


@router.post(DIGIT)
async def take_key(request: Request, message: Message = None) -> Response:
    """A key pressed during a call; 1 acknowledges."""
    form = await _read(request)
    if form.get("Digits") != "1" or message is None:
        return _send(write_answer("Say", gettext(ANSWERS[REFUSED])))
    context = context_of(request)

    def press() -> ReplyResult:
        return take_digit(context.db, message, form.get("To", ""), form.get("CallSid", ""), context.clock())

    return _answer(await run_apart(request, "gateway", press), "Say")


def _note(context: Context, message: int | None, form: Form) -> None:
    status = form.get("MessageStatus") or form.get("CallStatus") or ""
    name, code = form.get("MessageSid") or form.get("CallSid") or "", form.get("ErrorCode", "")[:20]
    now = context.clock()
    with context.db.write() as c:
        number = find_sent(c, name) if name else None
        if number is None and message is None:
            note_test(c, name, status, now, good=status in RECEIVED)
        elif status in RECEIVED:
            note_received(c, number or message or 0, status, now)
        elif status in FAILED and number is not None:  # by its name: a report of an earlier try ends no later one
            why = _UNDELIVERED_CODE(status=status, code=code) if code else _UNDELIVERED(status=status)
            mark_undelivered(c, number, status, why, now)
        elif status and number is not None:
            note_progress(c, number, status)


async def _read(request: Request) -> Form:
    """The fields of a report that the provider signed.

    Raises:
        NotFoundError: no provider is set up, or people and providers have no address of the page.
        NotAllowedError: it is not signed by the provider.
    """
    config = context_of(request).config
    base = config.web.public_url.rstrip("/")
    if config.sms.gateway != "http" or not config.sms.token or not base:
        raise NotFoundError("no provider of text messages is set up here")
    body = (await request.body()).decode("utf-8", "replace")
    try:
        fields: Sequence[tuple[str, str]] = parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        fields = ()
    # the address as the provider knows it, whatever the proxy in front made of it
    address = f"{base}{request.url.path}{f'?{request.url.query}' if request.url.query else ''}"
    if not is_signed(config.sms.token, address, fields, request.headers.get(SIGNATURE, "")):
        raise NotAllowedError("this is not signed by the provider of text messages")
    return {name: value.replace("\0", "") for name, value in fields}


def _answer(answer: ReplyResult, tag: str) -> Response:
    language = answer.language or ENGLISH
    with use(language):
        text = gettext(ANSWERS[answer.outcome]).format(person=answer.person)
    return _send(write_answer(tag, text, language))


def _send(twiml: str) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{twiml}', media_type="text/xml")
