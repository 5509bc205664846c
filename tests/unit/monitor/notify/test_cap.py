"""CAP 1.2: every message fits the schema of OASIS, in every language; a drill never leaves as an actual warning."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config.service import parse_service
from monitor.errors import ConfigError, RefusedError
from monitor.language.catalogue import LANGUAGES
from monitor.notify.cap import NAMESPACE, Rank, Source, write_cap
from monitor.store.alerting.alerts import Alert, AlertEvent, Outcome
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
    assert [root.find("c:msgType", ns).text for root, ns in sent] == ["Alert", "Update", "Update", "Update"]
    names = [root.find("c:identifier", ns).text for root, ns in sent]
    assert names[1] == names[2], "what changed no level is no message of its own"
    assert sent[0][0].find("c:references", sent[0][1]) is None
    before = [
        "slopeward@example.org,slopeward.pit.7.1,2026-03-01T06:01:00-00:00",
        "slopeward@example.org,slopeward.pit.7.2,2026-03-01T06:02:00-00:00",
    ]
    assert sent[3][0].find("c:references", sent[3][1]).text.split() == before
    assert sent[3][0].find("c:info/c:responseType", sent[3][1]).text == "AllClear"

    # people find that it was a false alarm: all that was sent is taken back, in a message of its own
    over = Outcome("false_instrument", T0 + timedelta(hours=2))
    root, ns = read(write_cap(alert, events, CARD, SOURCE, ["en", "it"], outcome=over))
    assert root.find("c:msgType", ns).text == "Cancel"
    assert root.find("c:identifier", ns).text == "slopeward.pit.7.cancel"
    said = root.find("c:references", ns).text.split()
    assert said == [*before, "slopeward@example.org,slopeward.pit.7.4,2026-03-01T06:04:00-00:00"]
    assert [e.text for e in root.findall("c:info/c:description", ns)] == [
        "False alarm: an instrument was the cause.", "Falso allarme: la causa era uno strumento.",
    ]  # fmt: skip
    standing = read(write_cap(*make([2]), CARD, SOURCE, ["en"], outcome=over))[0]
    assert standing.find("c:msgType", ns).text == "Alert", "a level that stands is not taken back"
    right = read(write_cap(alert, events, CARD, SOURCE, ["en"], outcome=Outcome("true", T0)))[0]
    assert right.find("c:msgType", ns).text == "Update"


def test_a_test_is_a_chain_of_its_own_and_says_how_long_it_holds():
    alert, events = make([1, 2], exercise=True)
    root, ns = read(write_cap(alert, events, CARD, SOURCE, ["en"], is_test=True, holds=timedelta(hours=6)))
    assert (root.find("c:status", ns).text, root.find("c:note", ns).text[:5]) == ("Test", "TEST ")
    assert root.find("c:identifier", ns).text == "slopeward.pit.7.test.2"
    assert root.find("c:references", ns).text.split(",")[1] == "slopeward.pit.7.test.1"
    assert root.find("c:info/c:expires", ns).text == "2026-03-01T12:02:00-00:00"
    plain = read(write_cap(alert, events, CARD, SOURCE, ["en"]))[0]
    assert plain.find("c:status", ns).text == "Exercise"
    assert plain.find("c:info/c:expires", ns) is None, "a level stands until it changes"


def read_table():
    """The table of the reference page: distance from the highest level -> codes."""
    page = (Path(__file__).parents[4] / "docs/reference/cap.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:the )?([a-z0-9 ]+?) \| `(\w+)` \| `(\w+)` \| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    return {row[0]: Rank(*row[1:]) for row in rows}


@pytest.mark.parametrize("top", [1, 2, 3, 5])
@pytest.mark.parametrize("state", ["Actual", "Exercise", "Test"])
def test_every_level_in_every_state_is_what_the_reference_says(schema, top, state):
    """Raised, updated, all clear and cancelled: each message fits the schema, and names all messages before it."""
    table = read_table()
    assert list(table) == ["highest level", "one below", "two below", "lower", "lowest"]
    ladder = [{"number": n, "name": f"level{n}", "action": ""} for n in range(top + 1)]
    card = SiteCard("pit", "North bench", 46.5, 8.25, ladder, {}, {})
    for level in range(1, top + 1):
        alert, events = make([level, max(1, level - 1), top, 0], exercise=state == "Exercise")
        events = [e for e in events if e.from_level != e.to_level]
        ends = [(events[:n], None) for n in range(1, len(events) + 1)]
        names = []
        for chain, outcome in [*ends, (events, Outcome("false_weather", T0 + timedelta(days=1)))]:
            text = write_cap(alert, chain, card, SOURCE, ["en"], outcome=outcome, is_test=state == "Test")
            schema.validate(text)
            root, ns = read(text)
            now = chain[-1].to_level
            place = ("highest level", "one below", "two below", "lower")[min(top - now, 3)] if now else "lowest"
            info = root.find("c:info", ns)
            codes = [info.find(f"c:{tag}", ns).text for tag in ("responseType", "urgency", "severity", "certainty")]
            assert Rank(*codes) == table[place], (level, now)
            assert info.find("c:category", ns).text == "Geo"
            assert root.find("c:status", ns).text == state
            assert root.find("c:msgType", ns).text == ("Cancel" if outcome else "Update" if names else "Alert")
            said = root.find("c:references", ns)
            assert ([] if said is None else [one.split(",")[1] for one in said.text.split()]) == names
            names.append(root.find("c:identifier", ns).text)
        assert len(set(names)) == len(names)


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
