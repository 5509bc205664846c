"""CAP 1.2: every message fits the schema of OASIS, in every language; a drill never leaves as an actual warning."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config.service import parse_service
from monitor.errors import ConfigError, RefusedError
from monitor.language.catalogue import LANGUAGES
from monitor.notify.cap import NAMESPACE, Source, write_cap
from monitor.store.alerting.alerts import Alert, AlertEvent
from monitor.store.pages import SiteCard

T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
NAMES = ("green", "yellow", "orange", "red")
REASON = "orange: G1: velocity 81.20 ± 0.30 mm/day in 6h, over 30 mm/day in 3 data epochs, 2 needed"
LEVELS = [{"number": n, "name": name, "action": "Close the road" if n == 3 else ""} for n, name in enumerate(NAMES)]
CARD = SiteCard("pit", "North bench, pit 4", 46.5, 8.25, LEVELS, {}, {})
SOURCE = Source("slopeward@example.org", "https://slopes.example.org")


@pytest.fixture(scope="module")
def schema(measured):
    xmlschema = pytest.importorskip("xmlschema")
    return xmlschema.XMLSchema(str(measured("cap/CAP-v1.2.xsd")))


def make(levels, *, exercise=False, reason=REASON, ledger="hazard"):
    """An alert that went through these levels."""
    before, events = None, []
    for n, level in enumerate(levels, 1):
        at = T0 + timedelta(minutes=n)
        events.append(
            AlertEvent(n, 7, n, at, at, None, "unacknowledged", before, level, "slopeward", "service", reason, 1)
        )
        before = level
    alert = Alert(
        7, "pit", ledger, "hazard", levels[-1], max(levels), "unacknowledged", exercise, T0, T0, reason, 1, "1", None,
        None, None,
    )  # fmt: skip
    return alert, events


def read(text):
    return ET.fromstring(text.encode()), {"c": NAMESPACE}


def test_one_block_for_each_language():
    alert, events = make([2])
    root, ns = read(write_cap(alert, events, CARD, SOURCE, ["it", "en", "zh", "es", "it"]))
    assert [e.text for e in root.findall("c:info/c:language", ns)] == ["it", "en", "zh", "es"]
    heads = [e.text for e in root.findall("c:info/c:headline", ns)]
    assert heads[0].startswith("[North bench, pit 4] ARANCIONE: arancione: G1: velocità 81.20 ± 0.30 mm/day in 6h")
    assert heads[1].startswith("[North bench, pit 4] ORANGE: orange: G1: velocity 81.20 ± 0.30 mm/day in 6h")
    assert all(len(head) <= 160 for head in heads)
    assert root.find("c:info/c:event", ns).text == "Pericolo di frana"
    assert {e.text for e in root.findall("c:info/c:severity", ns)} == {"Severe"}, "codes are the same in each language"
    assert root.find("c:info/c:web", ns).text == "https://slopes.example.org/alerts/7"


def test_a_chain_of_messages_names_those_before():
    alert, events = make([1, 2, 2, 0])
    sent = [read(write_cap(alert, events[:n], CARD, SOURCE, ["en"])) for n in (1, 2, 3, 4)]
    assert [root.find("c:msgType", ns).text for root, ns in sent] == ["Alert", "Update", "Update", "Cancel"]
    names = [root.find("c:identifier", ns).text for root, ns in sent]
    assert names[1] == names[2], "what changed no level is no message of its own"
    assert sent[0][0].find("c:references", sent[0][1]) is None
    said = sent[3][0].find("c:references", sent[3][1]).text.split()
    assert said == [
        "slopeward@example.org,slopeward.pit.7.1,2026-03-01T06:01:00-00:00",
        "slopeward@example.org,slopeward.pit.7.2,2026-03-01T06:02:00-00:00",
    ]


@settings(max_examples=150, deadline=None)
@given(
    levels=st.lists(st.integers(0, 3), min_size=1, max_size=6), exercise=st.booleans(),
    languages=st.lists(st.sampled_from(sorted(LANGUAGES)), min_size=1), reason=st.text(min_size=1, max_size=300),
    sender=st.text(min_size=1, max_size=20),
)  # fmt: skip
def test_every_message_fits_the_schema_and_no_drill_is_actual(schema, levels, exercise, languages, reason, sender):
    alert, events = make(levels, exercise=exercise, reason=reason)
    text = write_cap(alert, events, CARD, Source(sender, SOURCE.page_url), languages)
    schema.validate(text)
    root, ns = read(text)
    assert root.find("c:status", ns).text == ("Exercise" if exercise else "Actual")
    assert len(root.findall("c:info", ns)) == len(set(languages))


def test_only_hazards_are_warned_of_and_languages_are_known():
    alert, events = make([2], ledger="health")
    with pytest.raises(RefusedError, match="CAP warns of hazards only"):
        write_cap(alert, events, CARD, SOURCE, ["en"])
    alert, events = make([2])
    with pytest.raises(RefusedError, match="one language"):
        write_cap(alert, events, CARD, SOURCE, [])
    assert parse_service('[language]\ncap = ["en", "zh"]\n', "x").language.cap == ("en", "zh")
    assert parse_service("", "x", {"SLOPEWARD_LANGUAGE__CAP": "it, es"}).language.cap == ("it", "es")
    with pytest.raises(ConfigError, match="'fr' is unknown"):
        parse_service('[language]\ncap = ["fr"]\n', "x")
