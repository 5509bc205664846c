"""A message goes out in the language of its recipient; nothing that goes wrong with that holds it back.
The stages as pure functions: nothing hides a high raise, nothing urgent waits, nothing is dropped.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.notification import DeliveryState, Notification
from monitor.alerts.records import is_urgent
from monitor.decision.alert_texts import (
    EXERCISE,
    OF_LEVEL,
    ChangeNotice,
    describe_delay,
    join_lines,
    list_covered,
    name_level,
    write_message,
)
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.headline import find_headline
from monitor.decision.subjects import LONGEST, make_subject, mark_open, translate_subject
from monitor.delivery import message
from monitor.delivery.circuit import Circuit, backoff_s
from monitor.delivery.holding import (
    HOLDING_RULES,
    HoldingContext,
    Postponed,
    Superseded,
    group_notices,
    hold_quiet,
    replace_older,
    throttle,
)
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.message import add_acknowledgement, deliver_in, find_language, translate
from monitor.delivery.notifiers.mail import compose
from monitor.delivery.notifiers.webhook import payload
from monitor.delivery.queries.outbox import TRANSITIONS, OpenAlert, QueuedMessage, SentNotification
from monitor.delivery.stages import find_due_rows
from monitor.errors import ConfigError
from monitor.sites.parsing import parse_site
from monitor.sites.quiet_hours import read_quiet
from monitor.sites.records import Recipient
from monitor.text.catalogue import current_language, use_language
from monitor.text.local_time import use_zone
from monitor.text.message import LABELLED_TEXT, Figure, Template, Term, Timestamp, join, messages_to_plain
from tests.data.watched_slope import SITE_TEXT
from tests.tables import tabulated

AT = datetime(2026, 3, 1, 6, tzinfo=UTC)
RAIN = join(["rain 61.5 mm in 24 h is 121 % of the bound of 50.8 mm", "known for 98 % of that time"], ", ")
JUMPED = Template("step.jumped", "{station} jumped by {size} at {at}")
BECAUSE = Template("step.because", "{step}: {text}")
FAST = "velocity 81.20 ± 0.30 mm/day in 6h, over 30 mm/day in 3 of its last 3 readings"
JUMP = "step of 12.0 mm at G2: nobody said within the clock that it was an instrument"
PARTS = [LABELLED_TEXT(name=name, text=text) for name, text in (("G1", FAST), ("G2", JUMP), ("rule wet, G1", RAIN))]
REASON = OF_LEVEL(level=Term("orange"), text=join(PARTS))


def word(station, rate, level):
    fit = {"window_s": 21600.0, "rate": rate, "error": 0.3}
    bounds = [{"level": n, "bound": bound, **fit} for n, bound in ((1, 6.0), (2, 24.0))]
    said = {"criterion": "rate-1", "station": station, "raise_level": level, "heard": True, "reason": "rate of crack"}
    return said | {"facts": {"bounds": bounds}, "newest_s": AT.timestamp()}


def freeze(rates, *, failures=()):
    """What a decision on two stations froze, as far as messages read it."""
    votes = {f"rate-1|{k}": {"level": 2 if v > 24.0 else 0, "counted": v > 24.0} for k, v in rates.items()}
    words = [word(k, v, 2 if v > 24.0 else 0) for k, v in rates.items()]
    evidence = {"votes": votes, "words": words, "steps": {}}
    outcome = {"evidence": evidence, "witnesses_available": 2, "observability": "degraded"}
    return {"view": {"failures": list(failures)}, "outcome": outcome}


MOVING = freeze({"G1": 81.2, "G2": 40.0})
TEXT = SITE_TEXT.replace("longitude = 8.9\n", 'longitude = 8.9\ntimezone = "Europe/Zurich"\n', 1)
ACTION = '[levels.orange]\naction = "Close the road, call the manager"\n[levels.red]'
SITE = parse_site(TEXT.replace("[levels.red]", ACTION), "north.toml")


MAIL, HAZARD = "email:duty@example.org", AlertCategory.HAZARD


def make(
    reason=REASON, *, exercise=False, channel=MAIL, ledger=HAZARD, level=2, before=0, frozen=MOVING, site=SITE, now=AT
):
    change = AlertChange(ledger, "hazard", level, open=level > 0, reason=reason, data_time=AT, evidence="{}")
    name = name_level([v.name for v in SITE.levels], ledger, level)
    facts = {"site_id": SITE.id, "site": site, "alert_id": 7, "change": change, "level": level, "name": name}
    facts |= {"before": before, "now": now, "frozen": frozen, "recipients": ["duty", "manager"]}
    subject, body = write_message(ChangeNotice(**facts, exercise=exercise))
    text = {"exercise": exercise, "subject": subject, "body": body}
    way = {"idempotency_key": "k" * 64, "attempts": 1, "queued_at": AT}
    return Notification(1, 7, 9, SITE.id, str(ledger), level, name, "sala operativa", channel, **text, **way)


def read(notification, language="en", zone="Europe/Zurich"):
    with use_language(language), use_zone(zone):
        return translate(notification)


def test_subject_fits_lock_screen_and_body_has_one_fact_on_each_line():
    said = read(make())
    assert said.subject == "ORANGE North bench: Close the road. 81.2 mm/day, 2 stations. 07:00"
    assert said.body.splitlines() == [
        "Rate of crack opening is 81.2 mm/day over 6 h at 2 of 2 stations, orange from 24 mm/day",
        "Where: North bench (46.2000°, 8.9000°)",
        "Since 2026-03-01 07:00 CET",
        (
            "How sure: 2 independent witnesses can request the highest level, 2 needed; data of some series "
            "that can raise a level are missing, in doubt or do not count"
        ),
        "Action: Close the road, call the manager",
        "Newest reading used: 2026-03-01 07:00 CET",
        "Notified: duty, manager",
        f"Why: {join(PARTS)}",
        "Alert 7, site bench. Details: slopeward alerts explain 7",
    ]


def read_how_sure(frozen):
    lines = read(make(frozen=frozen)).body.splitlines()
    return next(line for line in lines if line.startswith("How sure: "))


def test_level_raised_from_backlog_states_that_readings_are_being_stored():
    outcome = MOVING["outcome"] | {"observability": "blind"}
    backlog = MOVING | {"view": {"failures": [], "draining": True}, "outcome": outcome}
    assert "no valid data" not in read_how_sure(backlog)
    assert read_how_sure(backlog).endswith(
        "older readings are still being stored; this level contains those stored so far"
    )
    old = MOVING | {"outcome": outcome}
    assert read_how_sure(old).endswith(
        "the newest reading behind this level is from 2026-03-01 07:00 CET; the motion since then is unknown"
    )


def test_blind_site_without_reading_behind_level_states_no_valid_data():
    frozen = freeze({"G1": 0.0, "G2": 0.0})
    frozen["outcome"]["observability"] = "blind"
    assert read_how_sure(frozen).endswith(
        "no valid data from the stations behind this level, or from those that can raise a level"
    )


def test_subject_and_body_in_italian():
    said = read(make(), "it")
    assert said.subject == "ARANCIONE North bench: Close the road. 81.2 mm/day, 2 stazioni. 07:00"
    first = said.body.splitlines()[0]
    expected = "La velocità di variazione di apertura fessura è 81.2 mm/day in 6 h presso 2 di 2 stazioni, "
    assert first == f"{expected}arancione da 24 mm/day"
    assert said.level_name == "orange", "programs read the name of the site file"
    assert "Perché: G1: velocity 81.20" in said.body, "what a program wrote as plain text stays"


@tabulated("language", ["en", "it", "zh"])
@tabulated(
    ("title", "action"),
    [
        ("Nordhang", "evacuate the houses below the road at once and call everyone who is on the slope"),
        ("Nordhang above the cantonal road between Oberdorf and Unterdorf", "close the road, call the manager"),
        ("Nordhang above the cantonal road between Oberdorf and Unterdorf up to the crest", "close the road"),
    ],
)
@tabulated("repeated", [False, True])
def test_long_subject_keeps_level_site_action_and_figure(language, title, action, repeated):
    at = datetime(2026, 3, 1, 19, 34, tzinfo=UTC)
    essence = join([Figure(302, "g", "mm/day"), "5 stations"], ", ")
    subject = make_subject(Term("RED"), title, action, essence, at)
    with use_language(language):
        said = translate_subject(mark_open(subject, 900.0) if repeated else subject)
    assert len(said) <= LONGEST
    assert "Nordhang" in said
    assert action[:9] in said
    assert "302 mm/day" in said or repeated, "a message sent once more says so first"
    assert "…." not in said
    assert said.endswith(" 19:34")


def test_headline_is_about_criterion_and_station_farthest_beyond_bound():
    frozen = freeze({"G1": 81.2})
    tilt = {"criterion": "tilt-1", "station": "T9", "raise_level": 2, "heard": True, "reason": "", "newest_s": 1e9}
    tilt["facts"] = {"bounds": [{"level": 2, "bound": 500.0, "window_s": None, "rate": 510.0}]}
    frozen["outcome"]["evidence"]["words"].append(tilt)
    frozen["outcome"]["evidence"]["votes"]["tilt-1|T9"] = {"level": 2, "counted": True}
    site = replace(SITE, criteria=(*SITE.criteria, replace(SITE.criteria[0], id="tilt-1")))
    assert find_headline(frozen, site, 2).short == "81.2 mm/day, G1"
    assert find_headline(freeze({"G1": 1.0}), site, 2) is None, "nobody asks for it"
    frozen = freeze({"G1": 240.0, "G2": 40.0})
    fast = frozen["outcome"]["evidence"]["words"][0]["facts"]["bounds"]
    fast[1] |= {"rate": 9.0}
    fast.append({"level": 3, "bound": 200.0, "window_s": 7200.0, "rate": 240.0})
    frozen["outcome"]["evidence"]["votes"]["rate-1|G1"]["level"] = 3
    found = find_headline(frozen, SITE, 2)
    assert found.sentence.endswith("240 mm/day over 2 h at G1, 1 of 2 stations, red from 200 mm/day")
    assert (found.short, found.stations) == ("240 mm/day, G1", ("G1", "G2"))


def test_jump_or_rule_without_a_rate_has_its_reason_as_headline():
    frozen = freeze({"G1": 1.0})
    jump = JUMPED(station="G1", size=Figure(310, "g", "mm"), at=Timestamp.of(AT, "minute"))
    reason = BECAUSE(step=jump, text="silence followed it")
    step = messages_to_plain({"level": 2, "state": "counted", "reason": reason})
    frozen["outcome"]["evidence"]["steps"] = {"G1@2026-03-01T06:00:00.000000Z": step}
    assert find_headline(frozen, SITE, 2).short == jump
    message = read(make("orange: x", frozen=frozen))
    assert message.subject == "ORANGE North bench: Close the road. G1 jumped by 310 mm at 2026-03-01 … 07:00"
    assert message.body.startswith("G1 jumped by 310 mm at 2026-03-01 07:00 CET: silence followed it\n")
    frozen["outcome"]["evidence"]["votes"] = {"wet|R1": {"level": 2, "counted": True}}
    rain = messages_to_plain({"reason": RAIN, "facts": {}, "newest_s": 1e9})
    frozen["outcome"]["evidence"]["words"].append({"criterion": "wet", "station": "R1", "heard": True, **rain})
    assert find_headline(frozen, SITE, 2).short == "R1: rain 61.5 mm in 24 h is 121 % of the bound of 50.8 mm"


def test_time_in_repeated_hour_has_utc_offset():
    said = [read(make(now=datetime(2026, 10, 25, hour, 30, tzinfo=UTC))).subject[-12:] for hour in (0, 1)]
    assert said == ["02:30 +02:00", "02:30 +01:00"]


def test_outlook_is_earliest_trusted_window_without_newer_reading():
    def window(begin_h, end_h, *, trusted=True):
        begin, end = (AT.timestamp() + 3600 * hours for hours in (begin_h, end_h))
        return {"trusted": trusted, "from_s": begin, "to_s": end}

    late = freeze({"G1": 81.2}, failures=[window(-5, -1), window(1, 2, trusted=False), window(3, 4), window(2, 4)])
    assert "Next: failure possible 2026-03-01 09:00 to 2026-03-01 11:00 CET" in read(make(frozen=late)).body
    begun = read(make(frozen=freeze({"G1": 81.2}, failures=[window(-1, 1)]))).body
    assert "Next: failure possible now, until 2026-03-01 08:00 CET" in begun
    ended = freeze({"G1": 81.2}, failures=[window(-5, 0.5), window(3, 4)])
    said = read(make(frozen=ended, now=AT + timedelta(hours=1))).body
    assert (
        "Next: the failure window 2026-03-01 02:00 to 2026-03-01 07:30 CET has passed without a newer reading" in said
    )
    assert "Next" not in read(make()).body


def test_lowered_level_and_end_have_same_form_as_raised_level():
    lower = read(make(OF_LEVEL(level=Term("orange"), text="all that asked for red is back"), before=3))
    assert lower.subject == "ORANGE North bench: Close the road, call the manager. down from red. 07:00"
    assert "Since 2026-03-01 07:00 CET, before that the level was red" in lower.body
    over = read(make(OF_LEVEL(level=Term("green"), text="nothing requests a higher level"), level=0, before=2))
    assert over.subject == "GREEN North bench: nothing requests a higher level. 07:00"
    health = read(make("verify now: step of 40.0 mm at G3", ledger=AlertCategory.HEALTH))
    assert health.subject == "Health urgent North bench: verify now: step of 40.0 mm at G3. 07:00"
    service = read(make("the audit chain holds", ledger=AlertCategory.HEALTH, level=1, site=None))
    assert service.subject == "Health notice Slopeward service: the audit chain holds. 07:00"


@pytest.mark.parametrize("frozen", [{}, {"outcome": None}, {"outcome": {"evidence": {"votes": {"a": 1}}}}, {"view": 3}])
def test_message_is_written_from_unreadable_evidence(frozen):
    said = read(make(frozen=frozen))
    assert said.subject.startswith("ORANGE North bench: Close the road. G1")
    assert len(said.subject) <= LONGEST


@pytest.mark.parametrize(
    ("language", "begins"),
    [("en", "View and acknowledge: "), ("it", "Guardare e prendere in carico: "), ("zh", "查看并确认：")],
)
def test_message_links_to_alert_if_page_has_public_address(language, begins):
    sent = []

    class Keeping:
        deliver = sent.append

    for url in ("https://slope.example", ""):
        deliver_in(language, Keeping, make(), page_url=url)
    with_link, without = (one.body.splitlines() for one in sent)
    assert with_link == [*without[:-1], f"{begins}https://slope.example/alerts/7"]


@pytest.mark.parametrize("language", ["en", "it", "zh", "es"])
def test_message_without_link_states_how_to_acknowledge(language):
    sent = []

    class Keeping:
        deliver = sent.append

    deliver_in(language, Keeping, make())
    assert "slopeward ack 7 --by NAME --reason TEXT" in sent[0].body.splitlines()[-1]


def test_message_of_an_ended_alert_or_without_an_alert_states_no_acknowledgement():
    for notification in (make(level=0, before=2), replace(make(), alert_id=0)):
        assert add_acknowledgement(notification, "").body == notification.body


@pytest.mark.parametrize(
    ("language", "word", "level"),
    [("it", "ESERCITAZIONE", "ARANCIONE"), ("zh", "演练", "橙色"), ("es", "SIMULACRO", "NARANJA")],
)
def test_drill_is_marked_in_every_language(language, word, level):
    said = read(make(EXERCISE(text=REASON), exercise=True), language)
    assert said.subject.startswith(word)
    assert level in said.subject
    assert said.body.startswith(word)


def test_escalated_message_is_translated_and_unknown_text_stays_english():
    plain = make(join(["step of 40.0 mm", "It counts as movement"]), ledger=AlertCategory.HEALTH)
    said = read(replace(plain, subject=mark_open(plain.subject, 1200.0)), "es")
    assert said.subject == "abierta 20 min: Estado técnico (urgente) North bench: step of 40.0 mm … 07:00"
    said = read(make("the moon has risen over bench 3: 12.5 mm"), "it")
    assert "the moon has risen over bench 3: 12.5 mm" in said.body


def test_covered_messages_and_delay_are_translated():
    calm = OF_LEVEL(level=Term("red"), text=Template("level.no_request", "nothing requests a higher level")())
    covered = list_covered([(AT - timedelta(hours=1), make_subject(Term("RED"), "pit", "", calm, AT))])
    lines = [calm, "", describe_delay(AT, "yellow", AT + timedelta(hours=1)), "", *covered]
    said = read(replace(make(), body=join_lines(lines)), "zh", "UTC").body.splitlines()
    assert said[0] == "红色\uff1a没有判据要求更高级别"
    assert "黄色" in said[2]
    assert "2026-03-01 07:00 UTC" in said[2]
    assert said[5].startswith("- 2026-03-01 05:00 UTC")
    assert said[5].endswith("红色 pit: 红色\uff1a没有判据要求更高级别. 06:00")


def test_failed_translation_sends_english(monkeypatch, caplog):
    monkeypatch.setattr(message, "translate_subject", lambda *_: 1 / 0)
    plain = make()
    said = read(plain, "it")
    assert said.body == plain.body
    assert plain.subject.startswith(said.subject)
    assert len(said.subject) <= LONGEST
    assert "it is sent in English" in caplog.text


class Taker:
    def deliver(self, notification):
        self.took, self.language = notification, current_language()


def test_mail_and_webhook_are_translated_and_log_is_english():
    for channel, language in (("log:desk", "en"), ("webhook:X", "it")):
        taker = Taker()
        deliver_in("it", taker, make(channel=channel))
        assert taker.language == language
        assert ("ARANCIONE" in taker.took.subject) == (language == "it")

    taker = Taker()
    deliver_in("it", taker, make(channel="log:desk"), zone="Europe/Zurich")
    assert taker.took.subject.endswith(" 06:00 UTC"), "the log names the zone of its times"
    deliver_in("it", taker, make(), zone="Europe/Zurich")
    assert taker.took.subject.endswith(" 07:00"), "a mail shows the time of the site"

    class Mail:
        def deliver(self, n):
            self.mail, self.json = compose(n, "a@b.c", "d@e.f"), json.loads(payload(n))

    taker = Mail()
    deliver_in("it", taker, make())
    assert f"{make().site}, per sala operativa" in taker.mail.get_content()
    assert (taker.json["language"], taker.json["level_name"]) == ("it", "orange")
    assert "ARANCIONE" in taker.json["subject"]


def test_recipient_without_language_gets_default_language():
    people = [Recipient("a", (), (), language="it"), Recipient("b", (), ())]
    assert [find_language(people, name, "es") for name in ("a", "b", "gone")] == ["it", "es", "es"]
    text = f'{SITE_TEXT}\n[[recipient]]\nname = "x"\nchannels = ["log"]\nlanguage = "fr"\n'
    with pytest.raises(
        ConfigError, match=r"language 'fr' is unknown; expected one of: en \(English\), it \(Italiano\), zh"
    ):
        parse_site(text, "north.toml")
    read = parse_site(text.replace('"fr"', '"zh"'), "north.toml")
    assert read.recipients[-1].language == "zh"


T0 = datetime(2026, 3, 1, tzinfo=UTC)
LEDGERS = ["hazard", "health", "advice"]


def waiting(
    number, level=1, ledger="hazard", alert_id=1, queued_at=T0, attempts=0, state="unacknowledged", recipient="duty"
):
    urgent = is_urgent(ledger, level, 3)
    return QueuedMessage(
        number, alert_id, "north", ledger, level, recipient, "log:x", queued_at, None, attempts, state, urgent
    )


@st.composite
def draw_messages(draw):
    some, early = st.sampled_from, T0 - timedelta(hours=1)
    row = st.tuples(st.integers(0, 3), some(LEDGERS), st.integers(1, 3), st.integers(0, 3))
    row = st.tuples(row, some(["unacknowledged", "shelved"]), some(["duty", "head"]))
    return [
        waiting(n, level, ledger, alert_id * 10 + LEDGERS.index(ledger), early, attempts, state, who)
        for n, ((level, ledger, alert_id, attempts), state, who) in enumerate(draw(st.lists(row, max_size=12)), 1)
    ]


NIGHT = read_quiet("22:00-06:00", "UTC")


def view_of(sent, quiet):
    """At midnight in the quiet hours of "duty", or at six when they end; or of nobody."""
    at = {"in": T0, "after": T0 + timedelta(hours=6), "none": T0}[quiet]
    return HoldingContext(
        at, sent, find_quiet=lambda _site, name: NIGHT if quiet != "none" and name == "duty" else None
    )


@given(draw_messages(), st.integers(0, 100), st.sampled_from(["in", "after", "none"]))
def test_superseded_message_is_contained_in_sent_message_of_same_urgency(found, sent, quiet):
    left = {w.id: w for w in found}
    replaced = {}
    for stage in HOLDING_RULES.values():
        for verdict in stage(list(left.values()), view_of(sent, quiet)):
            message = left.pop(verdict.id)
            replaced[verdict.id] = verdict.by if isinstance(verdict, Superseded) else None  # waits, is not lost
            if message.urgent:
                assert isinstance(verdict, Superseded)
                by = next(w for w in found if w.id == verdict.by)
                assert (by.alert_id, by.recipient) == (message.alert_id, message.recipient)
                assert by.level >= message.level
                assert by.id > message.id
    for by in replaced.values():
        while by in replaced and replaced[by] is not None:
            by = replaced[by]
        assert by is None or by in left or replaced.get(by, 0) is None


def test_newest_message_replaces_older_ones_except_raised_red_and_only_health_is_grouped():
    found = replace_older([waiting(1, 1), waiting(2, 3), waiting(3, 1), waiting(4, 0)], HoldingContext(T0, 0))
    assert sorted((v.id, v.by) for v in found) == [(1, 2), (3, 4)]
    assert group_notices([waiting(n, 1, alert_id=n) for n in range(5)], HoldingContext(T0, 0)) == []
    crowd = [waiting(n, 1, "health", alert_id=n) for n in range(1, 4)]
    early = group_notices(crowd, HoldingContext(T0 + timedelta(seconds=1), 0))
    assert {type(v) for v in early} == {Postponed}
    later = group_notices(crowd, HoldingContext(T0 + timedelta(seconds=6), 0))
    assert [(v.id, v.by) for v in later] == [(1, 3), (2, 3)]


def test_quiet_hours_postpone_messages_that_are_not_urgent():
    kinds = [(1, "hazard"), (2, "hazard"), (3, "hazard"), (1, "health"), (2, "health"), (1, "advice")]
    crowd = [waiting(n, *kind, n, T0 + timedelta(minutes=n)) for n, kind in enumerate(kinds, 1)]
    crowd.append(waiting(7, 1, "hazard", 7, T0, recipient="head"))
    held = hold_quiet(crowd, view_of(0, "in"))
    assert {v.id for v in held} == {1, 4, 6}  # the two highest levels and the top route of health pass, and others do
    assert {v.until for v in held} == {T0 + timedelta(hours=1)}  # looked at again before anybody takes it for lost
    late = HoldingContext(T0 + timedelta(hours=5, minutes=30), 0, find_quiet=view_of(0, "in").find_quiet)
    assert {v.until for v in hold_quiet(crowd, late)} == {T0 + timedelta(hours=6)}
    assert hold_quiet(crowd, view_of(0, "after")) == []


def test_after_quiet_hours_each_hazard_has_its_own_message_with_present_level():
    night = [waiting(1), waiting(2, 0), waiting(3, alert_id=2), waiting(4, 1, "health", 3), waiting(5, 1, "health", 4)]
    night += [replace(one, site="south") for one in (waiting(6, alert_id=5), waiting(7, 1, "health", 6))]
    left = {w.id: w for w in night}
    for stage in HOLDING_RULES.values():
        for verdict in stage([*left.values()], view_of(0, "after")):
            left.pop(verdict.id)
    assert sorted(left) == [2, 3, 5, 6, 7]


@given(
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    st.sampled_from(["Europe/Zurich", "America/Santiago", "Australia/Lord_Howe"]),
)
def test_quiet_hours_start_and_end_on_every_night_of_the_year(first, last, at, zone):
    if first == last:
        return
    at, spelled = at.replace(tzinfo=UTC), f"{first // 60:02}:{first % 60:02}-{last // 60:02}:{last % 60:02}"
    start, end = read_quiet(spelled, zone).find_window(at)
    assert start <= at
    assert start <= end <= start + timedelta(hours=25)
    assert read_quiet(spelled, zone).find_window(start)[0] == start


def test_throttle_postpones_lowest_levels_and_health_first_and_never_urgent_messages():
    crowd = [waiting(n, level, alert_id=n) for n, level in enumerate([0, 1, 2, 3, 1], 1)]
    held = throttle(crowd, HoldingContext(T0, 9, DeliveryLimits(sends_per_hour=10)))
    assert {v.id for v in held} == {1, 2}
    assert all(v.until > T0 for v in held)
    mixed = [waiting(n, 1, ledger, n) for n, ledger in enumerate(LEDGERS, 1)]
    held = throttle(mixed, HoldingContext(T0, 9, DeliveryLimits(sends_per_hour=10)))
    assert {v.id for v in held} == {2, 3}


def test_delivery_is_withdrawn_only_if_provider_could_not_deliver():
    for end in (DeliveryState.CONFIRMED, DeliveryState.FAILED_FINAL, DeliveryState.SUPERSEDED):
        assert TRANSITIONS[end] == frozenset()
    failed = {DeliveryState.FAILED_RETRY, DeliveryState.FAILED_FINAL}
    assert TRANSITIONS[DeliveryState.DELIVERED] == {DeliveryState.CONFIRMED, *failed}
    assert set(TRANSITIONS) == set(DeliveryState)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e9))
def test_backoff_stays_within_bounds(attempts, draw, asked):
    wait = backoff_s(attempts, lambda: draw, asked)
    assert wait <= max(300.0, min(asked or 0.0, 3600.0))
    assert wait >= max(1.0, min(asked or 0.0, 3600.0))


def test_circuit_opens_after_consecutive_failures_across_restart_and_closes_on_success():
    circuit = Circuit()
    circuit.resume(5, T0)
    assert not circuit.is_open(T0)  # it may try at once
    circuit.fail(T0 + timedelta(seconds=1), 10.0)  # and rests after one failure
    assert circuit.is_open(T0 + timedelta(seconds=2))
    circuit.end_pause()
    assert not circuit.is_open(T0 + timedelta(seconds=2))
    assert (circuit.failures, circuit.failing_since) == (6, T0)
    circuit.succeed()
    assert (circuit.failures, circuit.failing_since) == (0, None)
    circuit, found = Circuit(), []
    for _ in range(3):
        circuit.fail(T0, 10.0)
        found.append(circuit.is_open(T0))
    assert found == [False, False, True]
    assert not circuit.is_open(T0 + timedelta(seconds=10))
    circuit.succeed()
    assert not circuit.is_open(T0)


@tabulated(
    ("ledger", "level", "top", "urgent"),
    [
        ("hazard", 3, 3, True),
        ("hazard", 2, 3, True),
        ("hazard", 1, 3, False),
        ("hazard", 0, 1, False),
        ("hazard", 1, 1, True),
        ("hazard", 0, None, True),
        ("health", 2, 9, True),
        ("advice", 9, 3, False),
    ],
)
def test_two_highest_levels_and_urgent_health_are_urgent(ledger, level, top, urgent):
    assert is_urgent(ledger, level, top) is urgent


def test_advice_waits_in_quiet_hours_and_is_not_escalated():
    night = view_of(0, "in")
    (waits,) = hold_quiet([waiting(1, 1, "advice")], night)
    assert isinstance(waits, Postponed)
    late, told = T0 + timedelta(days=1), (SentNotification("duty", "log:x", T0, "delivered"),)
    every = ("hazard", "health", "advice")
    chain = [[Recipient(name, ("log:x",), (1, 2, 3), every, escalate_after_s=60.0)] for name in ("duty", "head")]

    def escalate(ledger, state="delivered"):
        alert = OpenAlert(1, 1, "n", ledger, 1, "x", False, "s", "b", False, T0, (replace(told[0], state=state),))
        return find_due_rows(alert, chain, (), late, DeliveryLimits())

    assert [e.recipient for e in escalate("health")] == ["head"]
    assert escalate("advice") == []
    assert escalate("advice", "failed_final") == []
