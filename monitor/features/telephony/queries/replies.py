"""Replies from telephones: each message has a code that acknowledges its alert, from the number of its recipient only.

A code is short because people type it at night. Therefore it is valid for hours only, the number of wrong codes is
limited, and each wrong code is in the audit log. Acknowledging ends the escalation and lowers no level.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from monitor.api.alerts import AlertState, Notification
from monitor.api.database import Actor, add_audit, add_if_absent, fill_row
from monitor.api.delivery import mark_confirmed
from monitor.api.errors import LevelRisenError, NotAllowedError, RefusedError, SlopewardError
from monitor.api.queries.alerts import find_alert
from monitor.api.tables import alert_event
from monitor.api.text import N_
from monitor.features.telephony.tables import reply, reply_code

# How long a code is valid, unless the settings state another time.
GOOD_FOR_S: Final = 4 * 3600.0
# Codes, numbers and texts are deleted after this time. The outcome of a reply remains.
KEPT: Final = timedelta(days=30)
# After this many replies with a wrong code from one number within `WRONG_WITHIN`, its replies are ignored.
MAX_WRONG: Final = 5
WRONG_WITHIN: Final = timedelta(hours=1)
_CODE: Final = re.compile(r"\s*(?:[^\W\d_]{1,12}\W{0,3})?(\d{4})\b", re.UNICODE)
# Characters of a reply that are stored.
_TEXT_LENGTH: Final = 160
ACKNOWLEDGED, REPEATED, WRONG, LATE = "acknowledged", "repeated", "wrong", "late"
RISEN, REFUSED, LIMITED = "risen", "refused", "limited"
ANSWERS: Final = {
    ACKNOWLEDGED: N_("Acknowledged in the name of {person}."),
    REPEATED: N_("This alert is acknowledged already."),
    WRONG: N_("This code is unknown. Nothing was acknowledged."),
    LATE: N_("This code is too old. Acknowledge on the page."),
    RISEN: N_("The level has risen since. Wait for the newer message, or look at the page."),
    REFUSED: N_("Nothing was acknowledged. Look at the page."),
    LIMITED: N_("Too many wrong codes. Acknowledge on the page."),
}


@dataclass(frozen=True, slots=True)
class ReplyResult:
    """The outcome of a reply.

    Attributes:
        outcome: A key of `ANSWERS`.
        person: The person in whose name the code acknowledges; empty if the code is unknown.
        alert_id: The alert of the code.
        language: Language of the answer to the telephone; empty if no answer is sent.
    """

    outcome: str
    person: str = ""
    alert_id: int | None = None
    language: str = ""


# Acknowledges an alert. Called as act(connection, actor, alert_id, level that the message named, now). Raises
# SlopewardError if the acknowledgement is refused.
ReplyAct = Callable[[Connection, Actor, int, int, datetime], object]


def make_code(
    c: Connection,
    message: Notification,
    number: str,
    person: str,
    language: str,
    now: datetime,
    good_for: timedelta = timedelta(seconds=GOOD_FOR_S),
) -> str:
    """Return the code of a message: new at the first attempt, and the same at the next ones.

    A new code differs from all valid codes of the number.

    Args:
        message: The message that is about to be sent.
        number: Telephone number of the message, from `tidy_number`.
        person: Person in whose name a reply acknowledges.
        language: Language of the answer to a reply.
        good_for: How long the code is valid.
    """
    t = reply_code.c
    # Telephone numbers of people are stored no longer than necessary.
    c.execute(delete(reply_code).where(t.expires_at < now - KEPT))
    stored_code = c.execute(select(t.code).where(t.notification_id == message.id)).scalar()
    if stored_code is not None:
        c.execute(update(reply_code).where(t.notification_id == message.id).values(expires_at=now + good_for))
        return str(stored_code)
    valid = select(t.code).where(t.address == number, t.made_at > now - 2 * good_for)
    valid_codes = {*c.execute(valid).scalars()}
    code = f"{secrets.randbelow(10_000):04d}"
    while code in valid_codes:
        code = f"{secrets.randbelow(10_000):04d}"
    facts = {"address": number, "person": person, "language": language, "made_at": now, "expires_at": now + good_for}
    c.execute(insert(reply_code).values(fill_row(reply_code, message, **facts, notification_id=message.id, code=code)))
    return code


def tidy_number(text: str) -> str:
    """Return a telephone number without spaces and marks; empty if the text is no telephone number.

    >>> tidy_number(" +41 79 123-45 67"), tidy_number("0041791234567"), tidy_number("call me")
    ('+41791234567', '+41791234567', '')
    """
    digits = re.sub(r"[\s().\-/]", "", text)
    digits = f"+{digits[2:]}" if digits.startswith("00") else digits
    return digits if re.fullmatch(r"\+[1-9]\d{5,14}", digits) else ""


def take_reply(
    c: Connection, way: str, sender: str, text: str, provider_id: str, now: datetime, act: ReplyAct
) -> ReplyResult:
    """Process a text message. A second call with the same message changes nothing.

    Args:
        way: `sms`.
        sender: Number of the sender.
        text: Text such as `ACK 1234`.
        provider_id: Id of the text message at the gateway.
    """
    # PostgreSQL cannot store the character NUL.
    sender = sender.replace("\0", "")
    text = text.replace("\0", "")
    number = tidy_number(sender)
    match = _CODE.match(text)
    return _process(c, way, number or sender, match[1] if match else "", text, provider_id, now, act)


def take_digit(
    c: Connection, notification_id: int, number: str, call_id: str, now: datetime, act: ReplyAct
) -> ReplyResult:
    """Process the digit that acknowledges, which was pressed during the call of a message."""
    t = reply_code.c
    address = tidy_number(number)
    code = c.execute(select(t.code).where(t.notification_id == notification_id, t.address == address)).scalar()
    return _process(c, "voice", address or number, code or "", "1", f"{call_id} {notification_id}", now, act)


def _process(
    c: Connection, way: str, number: str, code: str, text: str, provider_id: str, now: datetime, act: ReplyAct
) -> ReplyResult:
    provider_id = provider_id[:100]
    row = {
        "way": way,
        "sender": number[:40],
        "text": text[:_TEXT_LENGTH],
        "outcome": REFUSED,
        "provider_id": provider_id,
    }
    c.execute(update(reply).where(reply.c.at < now - KEPT, reply.c.sender != "").values(sender="", text=""))
    if not add_if_absent(c, reply, row | {"at": now}):
        return ReplyResult(REPEATED)
    result, why = _acknowledge_by_code(c, way, number, code, now, act)
    values = {"outcome": result.outcome, "alert_id": result.alert_id, "person": result.person or None}
    c.execute(update(reply).where(reply.c.provider_id == provider_id).values(**values))
    # Replies beyond the limit must not fill the audit log either.
    if result.outcome not in {ACKNOWLEDGED, REPEATED, LIMITED}:
        subject = "service" if result.alert_id is None else f"alert:{result.alert_id}"
        detail = {"number": hide_number(number), "outcome": result.outcome, "why": why}
        sender = Actor(f"telephone {hide_number(number)}", "program", via=way)
        add_audit(c, sender, "reply.refused", subject, detail, now)
    return result


def _acknowledge_by_code(
    c: Connection, way: str, number: str, code: str, now: datetime, act: ReplyAct
) -> tuple[ReplyResult, str]:
    """Acknowledge the alert of a code. Return the result and, if nothing was acknowledged, why."""
    t, r = reply_code.c, reply.c
    recent = (r.sender == number) & (r.at > now - WRONG_WITHIN) & r.outcome.in_((WRONG, LIMITED))
    wrong_count = c.execute(select(func.count()).select_from(reply).where(recent)).scalar_one()
    last_language = select(t.language).where(t.address == number).order_by(t.notification_id.desc()).limit(1)
    # Empty if no message was sent to this number, which then gets no answer.
    language_of_number = str(c.execute(last_language).scalar() or "")
    # The limit is answered once, so that a telephone with automatic replies is not answered without end.
    if wrong_count >= MAX_WRONG:
        language = language_of_number if wrong_count == MAX_WRONG else ""
        return ReplyResult(LIMITED, language=language), "too many wrong codes within the hour"
    codes = select(reply_code).where(t.address == number, t.code == code).order_by(t.notification_id.desc())
    row = c.execute(codes.limit(1)).one_or_none()
    if row is None or not code:
        return ReplyResult(WRONG, language=language_of_number), "no message to this number has this code"
    person, alert_id, language = str(row.person), int(row.alert_id), str(row.language)
    if row.expires_at <= now:
        return ReplyResult(LATE, person, alert_id, language), "the code has expired"
    e = alert_event.c
    is_outdated = False
    if row.used_at is not None:
        raised_again = (e.alert_id == alert_id, e.to_state == AlertState.UNACKNOWLEDGED, e.at > row.used_at)
        is_outdated = c.execute(select(e.id).where(*raised_again).limit(1)).first() is not None
    if is_outdated:
        return ReplyResult(LATE, person, alert_id, language), "the alert was raised again after this code was used"
    try:
        act(c, Actor(person, via=way), alert_id, row.level, now)
    # The level rose: of the alert, or of the alert that the alarm "nobody confirmed" is about.
    except LevelRisenError as error:
        return ReplyResult(RISEN, person, alert_id, language), str(error)
    except SlopewardError as error:
        alert = find_alert(c, alert_id)
        is_done = row.used_at is not None or (alert is not None and alert.acknowledged_at is not None)
        is_repeated = is_done and isinstance(error, RefusedError) and not isinstance(error, NotAllowedError)
        return ReplyResult(REPEATED if is_repeated else REFUSED, person, alert_id, language), str(error)
    c.execute(update(reply_code).where(t.notification_id == row.notification_id).values(used_at=now))
    mark_confirmed(c, row.notification_id, now, person, way)
    return ReplyResult(ACKNOWLEDGED, person, alert_id, language), ""


def hide_number(number: str) -> str:
    """Return the end of a number, for records.

    >>> hide_number("+41791234567"), hide_number("77")
    ('…4567', '…')
    """
    return f"…{number[-4:]}" if len(number) > 6 else "…"
