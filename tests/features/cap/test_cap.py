"""CAP 1.2: every message fits the schema of OASIS, in every language; a drill never leaves as an actual warning."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.alerts.queries.alerts import Alert, AlertEvent, Outcome
from monitor.alerts.queries.overview import PlacedSite
from monitor.decision.alert_texts import OF_LEVEL
from monitor.errors import ConfigError, RefusedError
from monitor.features.cap import signature
from monitor.features.cap.message import CapCodes, CapSender, DecisionBasis, FailureWindow, write_cap
from monitor.features.cap.rules import NAMESPACE, find_faults
from monitor.features.cap.signature import make_key, sign_cap, verify_cap
from monitor.settings.service import parse_service
from monitor.text.catalogue import LANGUAGES
from monitor.text.message import LABELLED_TEXT, Term
from tests.tables import tabulated

T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
NAMES = ("green", "yellow", "orange", "red")
SPEED = "velocity 81.20 ± 0.30 mm/day in 6h, over 30 mm/day in 3 of its last 3 readings, 2 needed"
REASON = OF_LEVEL(level=Term("orange"), text=LABELLED_TEXT(name="G1", text=SPEED))
LEVELS = [{"number": n, "name": name, "action": "Close the road" if n == 3 else ""} for n, name in enumerate(NAMES)]
CARD = PlacedSite("pit", "North bench, pit 4", 46.5, 8.25, LEVELS)
SOURCE = CapSender("slopeward@example.org", "https://slopes.example.org")


@pytest.fixture(scope="module")
def schema(measured):
    """A function that says what is wrong by the schema of OASIS, nothing where all is well."""
    etree = pytest.importorskip("lxml.etree")
    try:
        read = etree.XMLSchema(etree.parse(str(measured("cap/CAP-v1.2.xsd"))))
    except pytest.skip.Exception:
        return None

    def check(content):
        return "" if read.validate(etree.fromstring(content)) else str(read.error_log.last_error)

    return check


def make(levels, *, exercise=False, reason=REASON, ledger="hazard"):
    before, events = None, []
    for n, level in enumerate(levels, 1):
        at = T0 + timedelta(minutes=n)
        events.append(
            AlertEvent(n, 7, n, at, at, None, "unacknowledged", before, level, "slopeward", "service", reason, 1)
        )
        before = level
    standing = (levels[-1], max(levels), "unacknowledged", exercise, T0, T0)
    return Alert(7, "pit", ledger, "hazard", *standing, reason, 1, "1", None, None, None), events


def read(text):
    return ET.fromstring(text.encode()), {"c": NAMESPACE}


def test_one_block_for_each_language():
    alert, events = make([2])
    root, ns = read(write_cap(alert, events, CARD, SOURCE, ["it", "en", "zh", "es", "it"]))
    assert [e.text for e in root.findall("c:info/c:language", ns)] == ["it", "en", "zh", "es"]
    heads = [e.text for e in root.findall("c:info/c:headline", ns)]
    assert heads[0].startswith("[North bench, pit 4] ARANCIONE: G1: velocity 81.20 ± 0.30 mm/day in 6h")
    assert heads[1].startswith("[North bench, pit 4] ORANGE: G1: velocity 81.20 ± 0.30 mm/day in 6h")
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
        "False alarm: an instrument was the cause.",
        "Falso allarme: la causa era uno strumento.",
    ]
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
    page = (Path(__file__).parents[3] / "docs/reference/cap.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:the )?([a-z0-9 ]+?) \| `(\w+)` \| `(\w+)` \| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    return {row[0]: CapCodes(*row[1:]) for row in rows}


@pytest.mark.parametrize("top", [1, 2, 3, 5])
def test_the_codes_of_every_level_are_what_the_reference_says(top):
    table = read_table()
    assert list(table) == ["highest level", "one below", "two below", "lower", "lowest"]
    ladder = [{"number": n, "name": f"level{n}", "action": ""} for n in range(top + 1)]
    card = PlacedSite("pit", "North bench", 46.5, 8.25, ladder)
    for now in range(top + 1):
        alert, events = make([top, now][now == top :])
        root, ns = read(write_cap(alert, events, card, SOURCE, ["en"]))
        place = ("highest level", "one below", "two below", "lower")[min(top - now, 3)] if now else "lowest"
        info = root.find("c:info", ns)
        codes = [info.find(f"c:{tag}", ns).text for tag in ("responseType", "urgency", "severity", "certainty")]
        assert CapCodes(*codes) == table[place], now
        assert info.find("c:category", ns).text == "Geo"


SPAN = timedelta(days=30)
PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
FAR = st.one_of(PLACES, st.tuples(st.floats(46.4, 46.6), st.floats(8.2, 8.3)))  # places around the site as well
GIVEN = {name: st.lists(FAR, max_size=4).map(tuple) for name in ("stations", "voting")}
GIVEN["votes"] = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=40)), max_size=10).map(tuple)
GIVEN |= {"votes_required": st.integers(0, 12), "evidence_sha256": st.sampled_from(["", "a" * 64])}
BOUNDS = st.tuples(st.timedeltas(-SPAN, SPAN), st.timedeltas(timedelta(0), SPAN))
WINDOWS = BOUNDS.map(lambda found: FailureWindow("G1", T0 + found[0], T0 + sum(found, timedelta())))
GROUNDS = st.builds(DecisionBasis, window=st.none() | WINDOWS, **GIVEN)


@settings(max_examples=50, deadline=None)
@given(
    levels=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    exercise=st.booleans(),
    is_test=st.booleans(),
    languages=st.lists(st.sampled_from(sorted(LANGUAGES)), min_size=1),
    reason=st.text(min_size=1, max_size=300),
    sender=st.text(min_size=1, max_size=20),
    ground=GROUNDS,
    place=PLACES,
    holds=st.one_of(st.none(), st.timedeltas(timedelta(minutes=1), SPAN)),
    outcome=st.sampled_from([None, "true", "false_weather"]),
)
def test_histories_fit_schema_and_rules_and_no_drill_is_actual(
    schema, levels, exercise, is_test, languages, reason, sender, ground, place, holds, outcome
):
    """Every message of a history: valid, of the right status, and naming exactly the messages before it."""
    assume(levels[0] > 0)
    alert, events = make(levels, exercise=exercise, reason=reason)
    changes = [e for e in events if e.from_level != e.to_level]
    card = PlacedSite("pit", "North bench", *place, LEVELS)
    said = None if outcome is None else Outcome(outcome, T0 + SPAN)
    chains = [(changes[:n], None) for n in range(1, len(changes) + 1)] + [(changes, said)]
    sent = []
    for chain, known in chains:
        by, facts = CapSender(sender, SOURCE.page_url), {"holds": holds, "is_test": is_test, "ground": ground}
        text = write_cap(alert, chain, card, by, languages, outcome=known, **facts)
        assert not find_faults(text.encode())
        if schema is not None:
            assert schema(text.encode()) == ""
        root, ns = read(text)
        status = root.find("c:status", ns).text
        assert status == ("Test" if is_test else "Exercise" if exercise else "Actual")
        assert (status == "Actual") == (not exercise and not is_test)
        name = root.find("c:identifier", ns).text
        kind = root.find("c:msgType", ns).text
        assert kind == ("Cancel" if name.endswith(".cancel") else "Update" if len(chain) > 1 else "Alert")
        names = root.find("c:references", ns)
        names = [] if names is None else [one.split(",")[1] for one in names.text.split()]
        assert names == list(dict.fromkeys(one for one in sent if one != name))
        sent.append(name)
        assert len(root.findall("c:info", ns)) == len(set(languages))


def test_the_ground_of_a_message_is_that_of_its_votes():
    alert, events = make([1])
    soon = FailureWindow("G2", T0 + timedelta(minutes=31), T0 + timedelta(hours=5))
    places = {"stations": ((46.5, 8.25), (46.518, 8.25)), "voting": ((46.501, 8.25), (46.502, 8.252))}
    votes = {"votes": (("G1", REASON), ("G2", "G2 moves")), "votes_required": 3}
    ground = DecisionBasis(**places, **votes, window=soon, evidence_sha256="e" * 64)
    root, ns = read(write_cap(alert, events, CARD, SOURCE, ["en"], ground=ground, holds=timedelta(hours=1)))
    info = root.find("c:info", ns)
    ring = [tuple(map(float, pair.split(","))) for pair in info.find("c:area/c:polygon", ns).text.split()]
    assert ring[0] == ring[-1]
    assert info.find("c:area/c:circle", ns) is None
    assert min(lat for lat, _ in ring) < 46.501 - 0.0008
    assert max(lat for lat, _ in ring) > 46.502 + 0.0008
    # a trusted window makes failure likely and urgent, whatever the level; nothing of it makes anything lower
    codes = [info.find(f"c:{tag}", ns).text for tag in ("urgency", "severity", "certainty")]
    assert (codes, info.find("c:onset", ns).text) == (["Expected", "Moderate", "Likely"], "2026-03-01T06:31:00-00:00")
    ends = info.find("c:expires", ns).text
    assert ends == "2026-03-01T11:00:00-00:00", "no message ends before the window that it names"
    said = [(p.find("c:valueName", ns).text, p.find("c:value", ns).text) for p in info.findall("c:parameter", ns)]
    assert said == [
        ("level", "1 of 3: yellow"),
        ("votes", "2 of 3 count"),
        ("vote", f"G1: {REASON}"),
        ("vote", "G2: G2 moves"),
        ("failure_window", "2026-03-01T06:31:00-00:00 2026-03-01T11:00:00-00:00 G2"),
        ("evidence_sha256", "e" * 64),
    ]
    # no vote has a place: a circle as far as the stations reach; a window that is over says nothing
    over = FailureWindow("G2", T0 - timedelta(hours=5), T0)
    root, _ = read(write_cap(alert, events, CARD, SOURCE, ["en"], ground=replace(ground, voting=(), window=over)))
    info = root.find("c:info", ns)
    assert info.find("c:area/c:circle", ns).text == "46.500000,8.250000 2.102"
    assert info.find("c:onset", ns) is None
    assert info.find("c:urgency", ns).text == "Future"


WRONG = [
    (b"<status>Exercise", b"<status>Real", "status: 'Real'"),
    (b"<sender>slopeward@example.org", b"<sender>a b", "sender: no spaces"),
    (b"T06:01:00-00:00</sent>", b"T06:01:00Z</sent>", "sent: "),
    (b"<scope>Restricted</scope>", b"", "scope is missing"),
    (b"<category>Geo</category>", b"<category>Geo</category><category>Land</category>", "category: 'Land'"),
    (b"<circle>46.5", b"<circle>146.5", "circle: "),
    (b"<areaDesc>", b"<altitude>1</altitude><areaDesc>", "areaDesc stands too late"),
    (b"<note>", b"<other>x</other><note>", "other does not belong here"),
]


@tabulated(("right", "wrong", "said"), WRONG)
def test_what_keeps_not_the_standard_is_named(right, wrong, said):
    text = write_cap(*make([2], exercise=True), CARD, SOURCE, ["en"]).encode()
    assert right in text
    assert [fault for fault in find_faults(text.replace(right, wrong)) if said in fault]


@tabulated(
    ("content", "said"),
    [
        (b"", "no XML in UTF-8"),
        (b"<a", "no XML"),
        (b"<a/>", "no CAP 1.2"),
        (b"\xff\xfe<\0a\0", "no XML in UTF-8"),
        (b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>', "document type"),
        (b'<?xml version="1.0" encoding="cp037"?><a/>', "no XML in UTF-8"),
        (b" " * 5_000_001, "more than 5 MB"),
    ],
)
def test_hostile_files_are_refused_in_one_line(content, said):
    with pytest.raises(RefusedError, match=said):
        find_faults(content)


@pytest.fixture(autouse=True)
def short_keys(monkeypatch):
    monkeypatch.setattr(signature, "RSA_BITS", 2048)  # made in a third of the time


@pytest.fixture
def pair():
    pytest.importorskip("signxml")
    return make_key("Slope office", T0)


def test_a_signature_proves_the_whole_message_and_nothing_else(pair, schema):
    key, certificate = pair
    text = write_cap(*make([1, 2]), CARD, SOURCE, ["en", "zh"])
    signed = sign_cap(text, key, certificate)
    assert signed == sign_cap(text, key, certificate), "the same message gives the same bytes"
    assert not find_faults(signed.encode())
    if schema is not None:
        assert schema(signed.encode()) == ""
    assert verify_cap(signed.encode(), certificate).subject == "CN=Slope office"
    foreign = make_key("Slope office", T0)[1]
    moved = signed.replace("<info>", "<!-- x --><info>", 1)
    for content, by, said in (
        (signed.replace("Severe", "Minor", 1), certificate, "does not hold"),
        (signed, foreign, "does not hold"),
        (text, certificate, "bears no signature"),
        (signed.replace("</alert>", "<info/></alert>"), certificate, "bears no signature, or not as its last"),
        (signed, "no PEM", "certificate cannot be read"),
    ):
        with pytest.raises((RefusedError, ConfigError), match=said):
            verify_cap(content.encode(), by)
    assert verify_cap(moved.encode(), certificate), "comments are no part of what is signed"
    with pytest.raises(ConfigError, match="cannot be signed with this key"):
        sign_cap(text, "no key", certificate)


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
