"""Telephony: what it adds to the service. Tables, keys of the service file and receipts of messages are the core's."""

from typing import Final

from monitor.domain.extension import Address, Channel, Command, Extension

_HERE: Final = "monitor.extensions.telephony"
_CODE: Final = f"{_HERE}.telephone:make_reply_code"
EXTENSION: Final = Extension(
    name="telephony",
    description="text messages and calls with their replies, messages on devices, sirens",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={
        "POST /account/devices": Address("viewer", in_person=True, of_no_site=True),
        "POST /account/devices/{number}/remove": Address("viewer", in_person=True, of_no_site=True),
        # signed by the provider, which has no account
        **{f"POST /gateway/{one}": Address("open") for one in ("status", "reply", "digit")},
    },
    commands={
        "notify push": Command(
            f"{_HERE}.cli", "Create the key of push messages; list the devices", after="notify channels"
        )
    },
    panels={"account.devices": ("devices.html",)},
    checks=(f"{_HERE}.parts:CHECKS",),
    channels={
        "push": Channel(f"{_HERE}.push:PushNotifier", digest_rank=3, needs_database=True, holds=True),
        "sms": Channel(f"{_HERE}.telephone:SmsNotifier", digest_rank=6, reply_code=_CODE),
        "voice": Channel(f"{_HERE}.telephone:VoiceNotifier", rings=True, reply_code=_CODE),
        "siren": Channel(
            f"{_HERE}.sirens:SirenNotifier",
            orders=True,
            reaches_person=False,
            needs_database=True,
            holds=True,
            of_broker=True,
        ),
    },
    functions={"service.parts": f"{_HERE}.parts:build_parts", "account.devices": f"{_HERE}.routes:collect_devices"},
)
