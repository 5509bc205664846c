"""CAP 1.2: messages are valid by the schema of OASIS in each language, and a drill is never an actual warning."""

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
    """Return a function that returns what violates the schema of OASIS, empty if nothing does."""
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


def test_message_has_one_block_per_language():
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


def test_message_refers_to_all_messages_before():
    alert, events = make([1, 2, 2, 0])
    sent = [read(write_cap(alert, events[:n], CARD, SOURCE, ["en"])) for n in (1, 2, 3, 4)]
    assert [root.find("c:msgType", ns).text for root, ns in sent] == ["Alert", "Update", "Update", "Update"]
    names = [root.find("c:identifier", ns).text for root, ns in sent]
    assert names[1] == names[2], "an event that changes no level is not a message"
    assert sent[0][0].find("c:references", sent[0][1]) is None
    before = [
        "slopeward@example.org,slopeward.pit.7.1,2026-03-01T06:01:00-00:00",
        "slopeward@example.org,slopeward.pit.7.2,2026-03-01T06:02:00-00:00",
    ]
    assert sent[3][0].find("c:references", sent[3][1]).text.split() == before
    assert sent[3][0].find("c:info/c:responseType", sent[3][1]).text == "AllClear"

    # an outcome of a false alarm cancels all messages
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
    assert standing.find("c:msgType", ns).text == "Alert", "a level in force is not cancelled"
    right = read(write_cap(alert, events, CARD, SOURCE, ["en"], outcome=Outcome("true", T0)))[0]
    assert right.find("c:msgType", ns).text == "Update"


def test_test_messages_form_a_chain_of_their_own_and_expire():
    alert, events = make([1, 2], exercise=True)
    root, ns = read(write_cap(alert, events, CARD, SOURCE, ["en"], is_test=True, validity=timedelta(hours=6)))
    assert (root.find("c:status", ns).text, root.find("c:note", ns).text[:5]) == ("Test", "TEST ")
    assert root.find("c:identifier", ns).text == "slopeward.pit.7.test.2"
    assert root.find("c:references", ns).text.split(",")[1] == "slopeward.pit.7.test.1"
    assert root.find("c:info/c:expires", ns).text == "2026-03-01T12:02:00-00:00"
    plain = read(write_cap(alert, events, CARD, SOURCE, ["en"]))[0]
    assert plain.find("c:status", ns).text == "Exercise"
    assert plain.find("c:info/c:expires", ns) is None, "a level is valid until it changes"


def read_table():
    """Return the table of the reference page: distance from the highest level -> codes."""
    page = (Path(__file__).parents[3] / "docs/reference/cap.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:the )?([a-z0-9 ]+?) \| `(\w+)` \| `(\w+)` \| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    return {row[0]: CapCodes(*row[1:]) for row in rows}


@pytest.mark.parametrize("top", [1, 2, 3, 5])
def test_codes_of_each_level_are_those_in_the_reference(top):
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
GIVEN |= {"vote_count": st.integers(0, 12), "evidence_sha256": st.sampled_from(["", "a" * 64])}
BOUNDS = st.tuples(st.timedeltas(-SPAN, SPAN), st.timedeltas(timedelta(0), SPAN))
WINDOWS = BOUNDS.map(lambda found: FailureWindow("G1", T0 + found[0], T0 + sum(found, timedelta())))
BASES = st.builds(DecisionBasis, window=st.none() | WINDOWS, **GIVEN)


@settings(max_examples=50, deadline=None)
@given(
    levels=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    exercise=st.booleans(),
    is_test=st.booleans(),
    languages=st.lists(st.sampled_from(sorted(LANGUAGES)), min_size=1),
    reason=st.text(min_size=1, max_size=300),
    sender=st.text(min_size=1, max_size=20),
    basis=BASES,
    place=PLACES,
    validity=st.one_of(st.none(), st.timedeltas(timedelta(minutes=1), SPAN)),
    outcome=st.sampled_from([None, "true", "false_weather"]),
)
def test_messages_are_valid_and_no_drill_is_actual(
    schema, levels, exercise, is_test, languages, reason, sender, basis, place, validity, outcome
):
    """Each message of a history is valid, has the right status, and refers to exactly the messages before it."""
    assume(levels[0] > 0)
    alert, events = make(levels, exercise=exercise, reason=reason)
    changes = [e for e in events if e.from_level != e.to_level]
    card = PlacedSite("pit", "North bench", *place, LEVELS)
    said = None if outcome is None else Outcome(outcome, T0 + SPAN)
    chains = [(changes[:n], None) for n in range(1, len(changes) + 1)] + [(changes, said)]
    sent = []
    for chain, known in chains:
        by, facts = CapSender(sender, SOURCE.page_url), {"validity": validity, "is_test": is_test, "basis": basis}
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


def test_message_contains_the_basis_of_its_decision():
    alert, events = make([1])
    soon = FailureWindow("G2", T0 + timedelta(minutes=31), T0 + timedelta(hours=5))
    places = {"stations": ((46.5, 8.25), (46.518, 8.25)), "voting": ((46.501, 8.25), (46.502, 8.252))}
    votes = {"votes": (("G1", REASON), ("G2", "G2 moves")), "vote_count": 3}
    basis = DecisionBasis(**places, **votes, window=soon, evidence_sha256="e" * 64)
    root, ns = read(write_cap(alert, events, CARD, SOURCE, ["en"], basis=basis, validity=timedelta(hours=1)))
    info = root.find("c:info", ns)
    ring = [tuple(map(float, pair.split(","))) for pair in info.find("c:area/c:polygon", ns).text.split()]
    assert ring[0] == ring[-1]
    assert info.find("c:area/c:circle", ns) is None
    assert min(lat for lat, _ in ring) < 46.501 - 0.0008
    assert max(lat for lat, _ in ring) > 46.502 + 0.0008
    # a trusted failure window makes failure likely and urgent at each level
    codes = [info.find(f"c:{tag}", ns).text for tag in ("urgency", "severity", "certainty")]
    assert (codes, info.find("c:onset", ns).text) == (["Expected", "Moderate", "Likely"], "2026-03-01T06:31:00-00:00")
    ends = info.find("c:expires", ns).text
    assert ends == "2026-03-01T11:00:00-00:00", "a message is valid until its failure window ends"
    said = [(p.find("c:valueName", ns).text, p.find("c:value", ns).text) for p in info.findall("c:parameter", ns)]
    assert said == [
        ("level", "1 of 3: yellow"),
        ("votes", "2 of 3 count"),
        ("vote", f"G1: {REASON}"),
        ("vote", "G2: G2 moves"),
        ("failure_window", "2026-03-01T06:31:00-00:00 2026-03-01T11:00:00-00:00 G2"),
        ("evidence_sha256", "e" * 64),
    ]
    # without positions of votes the area is a circle around all stations; a window that is over has no effect
    over = FailureWindow("G2", T0 - timedelta(hours=5), T0)
    root, _ = read(write_cap(alert, events, CARD, SOURCE, ["en"], basis=replace(basis, voting=(), window=over)))
    info = root.find("c:info", ns)
    assert info.find("c:area/c:circle", ns).text == "46.500000,8.250000 2.102"
    assert info.find("c:onset", ns) is None
    assert info.find("c:urgency", ns).text == "Future"


WRONG = [
    (b"<status>Exercise", b"<status>Real", "status: 'Real'"),
    (b"<sender>slopeward@example.org", b"<sender>a b", "sender: must not contain spaces"),
    (b"T06:01:00-00:00</sent>", b"T06:01:00Z</sent>", "sent: "),
    (b"<scope>Restricted</scope>", b"", "scope is missing"),
    (b"<category>Geo</category>", b"<category>Geo</category><category>Land</category>", "category: 'Land'"),
    (b"<circle>46.5", b"<circle>146.5", "circle: "),
    (b"<areaDesc>", b"<altitude>1</altitude><areaDesc>", "areaDesc is in the wrong place"),
    (b"<note>", b"<other>x</other><note>", "other is not allowed here"),
]


@tabulated(("right", "wrong", "said"), WRONG)
def test_violations_of_the_standard_are_found(right, wrong, said):
    text = write_cap(*make([2], exercise=True), CARD, SOURCE, ["en"]).encode()
    assert right in text
    assert [fault for fault in find_faults(text.replace(right, wrong)) if said in fault]


@tabulated(
    ("content", "said"),
    [
        (b"", "not XML in UTF-8"),
        (b"<a", "not XML"),
        (b"<a/>", "not CAP 1.2"),
        (b"\xff\xfe<\0a\0", "not XML in UTF-8"),
        (b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>', "document type"),
        (b'<?xml version="1.0" encoding="cp037"?><a/>', "not XML in UTF-8"),
        (b" " * 5_000_001, "more than 5 MB"),
    ],
)
def test_invalid_files_are_refused(content, said):
    with pytest.raises(RefusedError, match=said):
        find_faults(content)


@pytest.fixture(autouse=True)
def short_keys(monkeypatch):
    monkeypatch.setattr(signature, "RSA_BITS", 2048)  # made in a third of the time


@pytest.fixture
def pair():
    pytest.importorskip("signxml")
    return make_key("Slope office", T0)


def test_signature_covers_the_whole_message(pair, schema):
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
        (signed.replace("Severe", "Minor", 1), certificate, "signature is not valid"),
        (signed, foreign, "signature is not valid"),
        (text, certificate, "has no signature"),
        (signed.replace("</alert>", "<info/></alert>"), certificate, "has no signature as its last element"),
        (signed, "no PEM", "certificate cannot be read"),
    ):
        with pytest.raises((RefusedError, ConfigError), match=said):
            verify_cap(content.encode(), by)
    assert verify_cap(moved.encode(), certificate), "comments are not signed"
    with pytest.raises(ConfigError, match="cannot be signed with this key"):
        sign_cap(text, "no key", certificate)


def test_only_hazard_alerts_in_supported_languages_can_be_sent():
    alert, events = make([2], ledger="health")
    with pytest.raises(RefusedError, match="only hazard alerts can be sent as CAP"):
        write_cap(alert, events, CARD, SOURCE, ["en"])
    alert, events = make([2])
    with pytest.raises(RefusedError, match="one language"):
        write_cap(alert, events, CARD, SOURCE, [])
    assert parse_service('[language]\ncap = ["en", "zh"]\n', "x").language.cap == ("en", "zh")
    assert parse_service("", "x", {"SLOPEWARD_LANGUAGE__CAP": "it, es"}).language.cap == ("it", "es")
    with pytest.raises(ConfigError, match="'fr' is unknown"):
        parse_service('[language]\ncap = ["fr"]\n', "x")
