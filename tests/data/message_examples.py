"""Write docs/reference/messages.md: twelve messages of a simulated slope, as people receive them.

`python -m tests.data.message_examples` writes the page. tests/docs/test_message_examples.py compares it.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from monitor.alerts.acts.operator_acts import set_level
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.notification import Notification
from monitor.alerts.queries.alerts import ChangeContext, apply_changes, shelve, unshelve_due
from monitor.app.checks.broker import _DROPPED, _QUEUE_ALL
from monitor.app.self_monitoring.alarms import make_alarm
from monitor.decision.alert_texts import EXERCISE, OF_LEVEL
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.criteria.kinds.forecast import describe_chance
from monitor.delivery import digest
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.message import add_acknowledgement, translate
from monitor.delivery.queries import outbox
from monitor.delivery.trial import make_test_message
from monitor.features.telephony.telephone import format_sms
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.text.local_time import use_zone
from monitor.text.message import LABELLED_TEXT, Figure, Term, join
from tests.data.watched_slope import SITE_TEXT, WatchedSlope

PAGE: Final = Path(__file__).parents[2] / "docs/reference/messages.md"
MAIL: Final = "email:duty@example.org"
ZONE: Final = "Europe/Zurich"
RECIPIENTS: Final = f"""[[recipient]]
name = "duty engineer"
channels = ["{MAIL}"]
levels = ["orange", "red"]
ledgers = ["hazard", "health", "advice"]
escalate_after = "10m"
digest = "07:00"
[[recipient]]
name = "head of operations"
channels = ["email:head@example.org"]
levels = ["red"]
"""
TEXT: Final = (
    (SITE_TEXT[: SITE_TEXT.index("[[recipient]]")] + RECIPIENTS)
    .replace("longitude = 8.9\n", f'longitude = 8.9\ntimezone = "{ZONE}"\n', 1)
    .replace('action = "Clear the pit floor"', 'action = "Clear the pit floor, call the manager"')
    .replace("noise_floor_mm = 1.0", "noise_floor_mm = 1.0\nverify_step_mm = 20.0")
)
INTRODUCTION: Final = """# Example messages

These are the messages that Slopeward sends in twelve situations. Each states what happened, what it means and what to
do, in this order. A test writes them from a simulated slope with two crack meters, so they are as the service sends
them. The first line is the subject. [Notify the right people](../how-to/notifications.md) explains who gets which
message.
"""


# A third instrument, so that the highest level has its two witnesses while one is silent.
_G2: Final = TEXT[TEXT.index('[[station]]\nid = "G2"') : TEXT.index("[[criterion]]")]
TEXT_WITH_THREE: Final = TEXT.replace(_G2, _G2 + _G2.replace('"G2"', '"G3"'))


class SlopeMessages:
    """A simulated slope with a separate database, and its messages."""

    def __init__(self, database: Database, text: str = TEXT) -> None:
        self.database = database
        self.slope = WatchedSlope(database, text)

    def deliver(self, now: datetime) -> list[Notification]:
        """Mark the due messages as delivered and return them, the most important first."""
        with self.database.write() as c:
            messages = [
                message
                for channel in sorted(outbox.load_due_channels(c, now))
                for message in outbox.claim_due(c, now, "example", 30.0, 50, channel)
            ]
            for message in messages:
                outbox.mark_delivered(c, message.id, "example", now)
        return messages

    def apply(self, change: AlertChange, now: datetime, *, exercise: bool = False, site: bool = True) -> Notification:
        """Write a change of an alert and return its first message."""
        declared = self.slope.site
        context = ChangeContext(
            declared.id if site else "status",
            declared if site else None,
            declared.recipients,
            SERVICE_ACTOR,
            now,
            "1",
            exercise=exercise,
        )
        with self.database.write() as c:
            apply_changes(c, [change], context)
        return self.deliver(now)[0]

    def escalate(self, now: datetime) -> list[Notification]:
        """Return the messages of the stages that are due."""
        sites = {self.slope.site.id: self.slope.site}
        Dispatcher(self.database, sites, lambda: now, environ={}).escalate_once(now)
        return self.deliver(now)


def _find_message(messages: list[Notification], part: str) -> Notification:
    return next(message for message in messages if part in f"{message.subject}\n{message.body}")


def _collect_failure(slope_messages: SlopeMessages) -> dict[str, Notification]:
    """Return messages of a level that is raised, escalated, and lowered by an operator."""
    slope = slope_messages.slope
    slope.live(26, looks=1)
    while slope.live(1, {"G1": 150.0, "G2": 140.0}).level < slope.site.top_level:
        pass
    now = slope.now
    examples = {"Level raised": _find_message(slope_messages.deliver(now), "RED")}
    now += timedelta(minutes=10)
    examples["Escalated to the next recipient"] = _find_message(slope_messages.escalate(now), "open for")
    set_level(slope_messages.database, slope.site, 0, Actor("ada"), "inspected, the cracks have closed", now)
    examples["All clear"] = _find_message(slope_messages.deliver(now), "GREEN")
    return examples


def _collect_silent_instrument(slope_messages: SlopeMessages) -> dict[str, Notification]:
    """Return messages about one of three instruments that becomes silent. Its alert is shelved for an hour."""
    slope = slope_messages.slope
    slope.live(26, looks=1)
    slope_messages.deliver(slope.now)
    del slope.position["G2"]
    slope.live(8)
    silent = _find_message(slope_messages.deliver(slope.now), "G2")
    now = slope.now
    end = now + timedelta(hours=1)
    with slope_messages.database.write() as c:
        shelve(c, silent.alert_id, Actor("ada"), "battery ordered", end, now, second=Actor("bo"))
    with slope_messages.database.write() as c:
        unshelve_due(c, slope.site.id, SERVICE_ACTOR, end)
    returned = _find_message(slope_messages.escalate(end + timedelta(minutes=1)), "G2")
    return {"An instrument is silent": silent, "An alert that was shelved is back": returned}


def _collect_jump(slope_messages: SlopeMessages) -> dict[str, Notification]:
    slope = slope_messages.slope
    slope.live(26, looks=1)
    slope_messages.deliver(slope.now)
    slope.position["G1"] += 40.0
    slope.live(3)
    return {"A question about a jump": _find_message(slope_messages.deliver(slope.now), "jumped")}


def _collect_silent_slope(slope_messages: SlopeMessages) -> dict[str, Notification]:
    slope = slope_messages.slope
    slope.fail()
    slope_messages.deliver(slope.now)
    for _ in range(12):
        slope.now += timedelta(hours=1)
        evaluate_site(slope_messages.database, slope.site, slope.now, "time")
    return {
        "All instruments on the slope are silent": _find_message(
            slope_messages.deliver(slope.now), "have been silent since"
        )
    }


def _collect_others(slope_messages: SlopeMessages) -> dict[str, Notification]:
    slope = slope_messages.slope
    slope.live(26, looks=1)
    slope_messages.deliver(slope.now)
    now = slope.now
    dropped = join([_DROPPED(n=Figure(12, ".0f")), _QUEUE_ALL], ". ")
    notice = make_alarm("broker:dropped", 1, dropped, is_open=True)
    chance = {
        "chance_from": 0.6,
        "chance_to": 0.6,
        "over_mm_per_day": 24.0,
        "window_s": 86400.0,
        "probability": 0.5,
    }
    forecast = LABELLED_TEXT(name="G1", text=describe_chance(chance))
    reason = OF_LEVEL(level=Term("orange"), text=forecast)
    moves = OF_LEVEL(level=Term("red"), text="G1 and G2 move at 310 mm/day")
    raised = AlertChange(AlertCategory.HAZARD, "hazard", 2, True, reason, now - timedelta(minutes=12), "{}")
    drilled = replace(raised, key="drill", level=3, reason=EXERCISE(text=moves), data_time=None)
    examples = {
        "A notice of the service": slope_messages.apply(notice, now, site=False),
        "A forecast raised the level": slope_messages.apply(raised, now),
        "A drill": slope_messages.apply(drilled, now, exercise=True),
    }
    recipient = slope.site.recipients[0]
    with slope_messages.database.read() as c:
        subject, body = digest._write(c, slope.site, recipient, now)
    examples["Daily digest"] = replace(
        examples["A drill"], alert_id=0, level=0, exercise=False, subject=subject, body=body
    )
    examples["A test of a channel"] = make_test_message(MAIL, now)
    return examples


STORIES: Final[tuple[Callable[[SlopeMessages], dict[str, Notification]], ...]] = (
    _collect_failure,
    _collect_silent_instrument,
    _collect_jump,
    _collect_silent_slope,
    _collect_others,
)


def write_page() -> str:
    """Return the text of the page."""
    sections = [INTRODUCTION]
    for tell in STORIES:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/x.db"
            with Database(url) as database:
                upgrade(database)
                examples = tell(
                    SlopeMessages(database, TEXT_WITH_THREE if tell is _collect_silent_instrument else TEXT)
                )
        for title, message in examples.items():
            with use_zone(ZONE):
                translated = translate(message)
                rendered = add_acknowledgement(translated, "")
                text = format_sms(replace(translated, code="0412"))
            sections.append(f"## {title}\n\n```text\n{rendered.subject}\n\n{rendered.body}\n```\n")
            if title == "Level raised":
                sections.append(f"The same as a text message:\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
