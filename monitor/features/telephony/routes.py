"""Routes for the devices of a person, and for reports and replies of the provider of text messages and calls.

A person switches messages on while signed in on the device. Each request of the provider is signed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from monitor.api.delivery import find_sent, mark_undelivered, note_progress, note_received, note_test
from monitor.api.errors import NotAllowedError, NotFoundError, RefusedError
from monitor.api.text import ENGLISH, Template, gettext, use_language
from monitor.api.web import AlertId, Context, FormAct, context_of, run_in_pool
from monitor.features.telephony.by_telephone import take_digit, take_reply
from monitor.features.telephony.gateway import (
    DIGIT,
    FAILED,
    RECEIVED,
    REPLY,
    SIGNATURE,
    STATUS,
    is_signed,
    write_answer,
)
from monitor.features.telephony.push import is_served
from monitor.features.telephony.queries.devices import add_device, find_push_key, load_devices, remove_device
from monitor.features.telephony.queries.replies import ANSWERS, REFUSED, ReplyResult
from monitor.features.telephony.web_push import check_keys, encode

router = APIRouter(include_in_schema=False)
_MOST_FIELDS: Final = 100
# Requests of the provider have their own threads, so that replies do not wait for other requests.
_THREADS: Final = 4
_UNDELIVERED: Final = Template("gateway.undelivered", "the provider could not deliver the message: {status}")
_UNDELIVERED_CODE: Final = Template(
    "gateway.undelivered_code", "the provider could not deliver the message: {status}, code {code}"
)
Message = Annotated[int | None, Query(ge=1, lt=1 << 63)]
Fields = dict[str, str]
_NOT_SERVED: Final = Template(
    "device.not_served", "the push service of this browser is not among push.services of the service file"
)
_NO_KEYS: Final = Template("device.no_keys", "the keys of this browser are invalid")
_ON: Final = Template("device.on", "this device receives messages")
_OFF: Final = Template("device.off", "the device receives no more messages")


@router.post(STATUS)
async def take_status(request: Request, message: Message = None) -> Response:
    """Store the report of a message or call: it was received, or could not be delivered."""
    form = await _read_signed(request)
    await run_in_pool(request, "gateway", _THREADS, lambda: _store_report(context_of(request), message, form))
    return Response(status_code=204)


@router.post(REPLY)
async def take_text(request: Request) -> Response:
    """Process a text message and return the answer for the telephone."""
    form, context = await _read_signed(request), context_of(request)
    name = form.get("MessageSid") or form.get("SmsSid") or ""

    def take() -> ReplyResult:
        return take_reply(context.db, "sms", form.get("From", ""), form.get("Body", ""), name, context.clock())

    answer = await run_in_pool(request, "gateway", _THREADS, take)
    return _answer(answer, "Message") if answer.language else _send(write_answer("Message", ""))


@router.post(DIGIT)
async def take_key(request: Request, message: Message = None) -> Response:
    """Process a key pressed during a call; 1 acknowledges."""
    form = await _read_signed(request)
    if form.get("Digits") != "1" or message is None:
        return _send(write_answer("Say", gettext(ANSWERS[REFUSED])))
    context = context_of(request)

    def press() -> ReplyResult:
        return take_digit(context.db, message, form.get("To", ""), form.get("CallSid", ""), context.clock())

    return _answer(await run_in_pool(request, "gateway", _THREADS, press), "Say")


def _store_report(context: Context, message: int | None, form: Fields) -> None:
    status = form.get("MessageStatus") or form.get("CallStatus") or ""
    provider_id = form.get("MessageSid") or form.get("CallSid") or ""
    error_code = form.get("ErrorCode", "")[:20]
    now = context.clock()
    with context.db.write() as c:
        number = find_sent(c, provider_id) if provider_id else None
        if number is None and message is None:
            note_test(c, provider_id, status, now, good=status in RECEIVED)
        elif status in RECEIVED:
            note_received(c, number or message or 0, status, now)
        # The message must have this id at the provider: a report about an earlier attempt must not end a later one.
        elif status in FAILED and number is not None:
            why = _UNDELIVERED(status=status)
            if error_code:
                why = _UNDELIVERED_CODE(status=status, code=error_code)
            mark_undelivered(c, number, status, why, now)
        elif status and number is not None:
            note_progress(c, number, status)


async def _read_signed(request: Request) -> Fields:
    """Return the fields of a request that the provider signed.

    Raises:
        NotFoundError: No provider is set up, or the page has no public address.
        NotAllowedError: The provider did not sign the request.
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
    # The provider signs the public address, which a proxy in front of the page may change.
    address = f"{base}{request.url.path}{f'?{request.url.query}' if request.url.query else ''}"
    if not is_signed(config.sms.token, address, fields, request.headers.get(SIGNATURE, "")):
        raise NotAllowedError("this is not signed by the provider of text messages")
    return {name: value.replace("\0", "") for name, value in fields}


def _answer(answer: ReplyResult, tag: str) -> Response:
    language = answer.language or ENGLISH
    with use_language(language):
        text = gettext(ANSWERS[answer.outcome]).format(person=answer.person)
    return _send(write_answer(tag, text, language))


def _send(twiml: str) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{twiml}', media_type="text/xml")


@router.post("/account/devices")
def switch_on(
    act: FormAct,
    endpoint: Annotated[str, Form(max_length=2000, pattern=r"^https?://[!-~]+$")],
    p256dh: Annotated[str, Form(max_length=100)],
    auth: Annotated[str, Form(max_length=30)],
) -> Response:
    """Switch messages on: this browser receives the messages of the person who is signed in."""
    if not is_served(endpoint, act.context.config.push.services):
        raise RefusedError(_NOT_SERVED())
    try:
        check_keys(p256dh, auth)
    except ValueError:
        raise RefusedError(_NO_KEYS()) from None
    name = describe_browser(act.request.headers.get("user-agent", ""))
    with act.db.write() as c:
        add_device(c, act.actor, endpoint, p256dh, auth, name, act.now)
    return act.back("/account", _ON())


@router.post("/account/devices/{number}/remove")
def switch_off(act: FormAct, number: AlertId) -> Response:
    """Switch messages off on a device."""
    with act.db.write() as c:
        remove_device(c, number, act.actor, act.now)
    return act.back("/account", _OFF())


def describe_browser(agent: str) -> str:
    """Return browser and system, by which people recognise their devices.

    >>> describe_browser("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36")
    'Chrome, Android'
    >>> describe_browser("")
    'browser'
    """
    browsers = (("Edg", "Edge"), ("Firefox", "Firefox"), ("Chrom", "Chrome"), ("Safari", "Safari"))
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
    browser = next((name for sign, name in browsers if sign in agent), "browser")
    return ", ".join([browser, *[name for name in systems if name in agent][:1]])


def collect_devices(c: Connection, person: str) -> dict[str, object]:
    """Return the devices of a person for the account page. A browser recognises itself by the digest."""
    devices = [
        {**asdict(device), "digest": encode(hashlib.sha256(device.endpoint.encode()).digest())}
        for device in load_devices(c, person)
    ]
    return {"devices": devices, "push_key": find_push_key(c)}
