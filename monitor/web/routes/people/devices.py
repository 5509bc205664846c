"""Devices that take messages: switched on by the person who is signed in on them, removed by the same."""

import hashlib
from typing import Annotated, Final

from fastapi import APIRouter, Form
from fastapi.responses import Response

from forecasting.message import Template
from monitor.domain.errors import RefusedError
from monitor.notify.notifiers.push import is_served
from monitor.notify.web_push import check_keys, encode
from monitor.store.delivery.devices import Device, add_device, remove_device
from monitor.web.access.acting import Acting
from monitor.web.context import AlertId

router = APIRouter(include_in_schema=False)
_NOT_SERVED: Final = Template(
    "device.not_served", "the push service of this browser is not among push.services of the service file"
)
_NO_KEYS: Final = Template("device.no_keys", "the keys of this browser are none")
_ON: Final = Template("device.on", "this device takes messages")
_OFF: Final = Template("device.off", "the device takes no messages any more")


@router.post("/account/devices")
def switch_on(
    act: Acting,
    endpoint: Annotated[str, Form(max_length=2000, pattern=r"^https?://[!-~]+$")],
    p256dh: Annotated[str, Form(max_length=100)],
    auth: Annotated[str, Form(max_length=30)],
) -> Response:
    """Send messages of who is signed in to this browser."""
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
def switch_off(act: Acting, number: AlertId) -> Response:
    """Send nothing to a device any more."""
    with act.db.write() as c:
        remove_device(c, number, act.actor, act.now)
    return act.back("/account", _OFF())


def describe_browser(agent: str) -> str:
    """Browser and system, as people tell their devices apart.

    >>> describe_browser("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36")
    'Chrome, Android'
    >>> describe_browser("")
    'browser'
    """
    browsers = (("Edg", "Edge"), ("Firefox", "Firefox"), ("Chrom", "Chrome"), ("Safari", "Safari"))
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
    browser = next((name for sign, name in browsers if sign in agent), "browser")
    return ", ".join([browser, *[one for one in systems if one in agent][:1]])


def devices_to_json(devices: list[Device]) -> list[dict[str, object]]:
    """Devices as the page shows them; a digest lets a browser find itself."""
    return [
        {
            "id": one.id,
            "name": one.name,
            "added_at": one.added_at,
            "sent_at": one.sent_at,
            "ended_at": one.ended_at,
            "ended_why": one.ended_why,
            "digest": encode(hashlib.sha256(one.endpoint.encode()).digest()),
        }
        for one in devices
    ]
