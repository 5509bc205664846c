"""Messages show states, categories and quantities in words, never the names under which the database stores them."""

import re
from collections.abc import Iterator, Mapping

import pytest

from monitor.alerts.notification import DeliveryState
from monitor.alerts.records import AlertState
from monitor.decision.alert_texts import name_series
from monitor.decision.changes import AlertCategory
from monitor.sites.quantities import QUANTITIES
from monitor.text.catalogue import LANGUAGES
from monitor.text.message import PLACE, Message, MessageList
from monitor.text.rendering import translate
from tests.property.alerting_laws import draw_story, play
from tests.property.test_messages import TEMPLATES
from tests.tables import tabulated

STORED = {name for name in (*AlertState, *DeliveryState, *AlertCategory, *QUANTITIES) if "_" in name}
IDENTIFIER = re.compile(r"(?<![\w.$/-])[a-z]+(?:_[a-z0-9]+)+\b(?!\()")
"""A lower-case name with underscores that is not part of a path, an attribute or a call."""
SERIES_KEY = re.compile(r"\w\|\w")
"""`velocity-1|G1`, the key of a criterion and station in stored memory."""


def find_stored_names(text: str) -> list[str]:
    """Return the stored names and keys that a text contains outside backquotes."""
    text = re.sub(r"`[^`]*`", "", text)
    return [name for name in IDENTIFIER.findall(text) if name in STORED] + SERIES_KEY.findall(text)


def test_stored_names_are_found():
    assert find_stored_names("alert 6 is out_of_service") == ["out_of_service"]
    assert find_stored_names("red holds: velocity-1|G1") == ["1|G"]
    assert find_stored_names("write noise_floor = 0.3, then `crack_opening`") == []


def test_no_template_contains_a_stored_name():
    found = {
        template_id: names
        for template_id, english in TEMPLATES
        if (names := find_stored_names(PLACE.sub("…", english)))
    }
    assert found == {}


def list_messages(value: object) -> Iterator[Message]:
    """Yield every message in nested plain data."""
    if isinstance(value, Message):
        yield value
    elif isinstance(value, Mapping):
        for child in value.values():
            yield from list_messages(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from list_messages(child)
    elif isinstance(value, MessageList):
        yield from list_messages(value.items)


@pytest.mark.parametrize("seed", range(4))
def test_messages_of_decisions_contain_no_stored_name(seed):
    messages = 0
    for look in play(draw_story(seed)):
        decision = look.decision
        reasons = [change.reason for change in decision.changes]
        reasons += [health.reason for health in decision.health]
        reasons += [condition.reason for condition in decision.memory.conditions.values()]
        for message in list_messages([decision.evidence, reasons]):
            messages += 1
            assert find_stored_names(message) == [], message.id
    assert messages


@tabulated("language", LANGUAGES)
@tabulated("quantity", sorted(QUANTITIES))
def test_a_series_is_named_in_words(language, quantity):
    assert find_stored_names(translate(name_series(f"G1.{quantity}"), language)) == []
