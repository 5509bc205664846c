"""A message goes out in the language of its recipient; nothing that goes wrong with that holds it back."""

import json
from datetime import UTC, datetime

import pytest

from monitor.config.site import parse_site
from monitor.domain.alert import AlertChange, Ledger, Notification
from monitor.domain.message import EXERCISE, name_level, write_message
from monitor.domain.site import Recipient
from monitor.errors import ConfigError
from monitor.language.catalogue import current
from monitor.notify import message
from monitor.notify.cutting import SUBJECT_LENGTH
from monitor.notify.message import deliver_in, find_language, translate
from monitor.notify.notifiers.mail import compose
from monitor.notify.notifiers.webhook import payload
from tests.data.watched_slope import SITE_TEXT

AT = datetime(2026, 3, 1, 6, tzinfo=UTC)
REASON = (
    "orange: G1: velocity 81.20 ± 0.30 mm/day in 6h, over 30 mm/day in 3 data epochs, 2 needed; "
    "G2: step of 12.0 mm at G2: nobody said within the clock that it was an instrument; "
    "rule wet, G1: rain 61.5 mm in 24 h is 1.21 of the bound, coverage 0.98 and 2 more"
)


def make(reason=REASON, *, exercise=False, channel="email:duty@example.org", ledger=Ledger.HAZARD, level=2):
    site = parse_site(SITE_TEXT, "north.toml")
    change = AlertChange(ledger, "hazard", level, open=True, reason=reason, data_time=AT, evidence="{}")
    name = name_level([v.name for v in site.levels], ledger, level)
    subject, body = write_message(site.id, site, change, level, name, 7, exercise=exercise)
    return Notification(
        1, 7, 9, site.id, str(ledger), level, name, "sala operativa", channel, exercise=exercise, subject=subject,
        body=body, idempotency_key="k" * 64, attempts=1, queued_at=AT,
    )  # fmt: skip


def test_subject_and_body_in_italian():
    said = translate(make(), "it")
    title = parse_site(SITE_TEXT, "north.toml").name
    assert said.subject.startswith(f"[{title}] ARANCIONE: arancione: G1: velocità 81.20 ± 0.30 mm/day in 6h, oltre 30")
    assert len(said.subject) <= SUBJECT_LENGTH
    assert said.subject.endswith(" …"), "cut anew, behind a whole part"
    lines = said.body.splitlines()
    assert lines[0] == (
        "arancione: G1: velocità 81.20 ± 0.30 mm/day in 6h, oltre 30 mm/day in 3 epoche di dati, 2 richieste; "
        "G2: salto di 12.0 mm a G2: nessuno ha detto in tempo che era uno strumento; "
        "regola wet, G1: pioggia 61.5 mm in 24 h, 1.21 della soglia, copertura 0.98 e altri 2"
    )
    assert "Ultimo dato usato: 2026-03-01T06:00:00.000000Z" in lines
    assert lines[-1] == f"Allerta 7, sito {said.site}. Perché: slopeward alerts explain 7"
    assert said.level_name == "orange", "programs read the name of the site file"


@pytest.mark.parametrize(
    ("language", "begins"),
    [("en", "Look and acknowledge: "), ("it", "Guardare e prendere in carico: "), ("zh", "查看并确认：")],
)
def test_a_message_links_to_its_alert_where_people_can_reach_the_page(language, begins):
    sent = []

    class Keeping:
        deliver = sent.append

    for url in ("https://slope.example", ""):
        deliver_in(language, Keeping, make(), page_url=url)
    with_link, without = (one.body.splitlines() for one in sent)
    assert with_link == [*without, f"{begins}https://slope.example/alerts/7"]


@pytest.mark.parametrize(
    ("language", "word", "level"),
    [("it", "ESERCITAZIONE", "ARANCIONE"), ("zh", "演练", "橙色"), ("es", "SIMULACRO", "NARANJA")],
)
def test_a_drill_says_so_in_every_language(language, word, level):
    said = translate(make(f"{EXERCISE}{REASON}", exercise=True), language)
    assert said.subject.startswith(word)
    assert level in said.subject
    assert said.body.startswith(word)


def test_an_escalated_message_of_health_is_translated():
    plain = make("verify now: step of 40.0 mm at G3; counts as movement until a person says no", ledger=Ledger.HEALTH)
    from dataclasses import replace

    said = translate(replace(plain, subject=f"not acknowledged for 20m: {plain.subject}"), "es")
    assert said.subject.startswith("sin reconocer desde hace 20m: [")
    assert "estado técnico: urgente: verificar ahora: salto de 40.0 mm en G3; cuenta como movimiento" in said.subject


def test_covered_messages_and_delay_are_translated():
    from dataclasses import replace

    body = (
        "red: nothing asks for more\n\nDelayed: this message is of 2026-03-01 06:00 UTC. A newer one (level yellow, "
        "2026-03-01 07:00 UTC) has been sent already and says what holds now.\n\nAlso happened (not sent separately):\n"
        "- 2026-03-01 05:00 UTC: [pit] RED: red: nothing asks for more"
    )
    said = translate(replace(make(), body=body), "zh").body.splitlines()
    assert said[0] == "红色\uff1a没有判据要求更高级别"
    assert "黄色" in said[2]
    assert "2026-03-01 07:00 UTC" in said[2]
    assert said[5].startswith("- 2026-03-01 05:00 UTC")
    assert said[5].endswith("[pit] 红色: 红色\uff1a没有判据要求更高级别")


def test_what_nobody_knows_stays_english_and_nothing_is_lost():
    said = translate(make("the moon has risen over bench 3: 12.5 mm"), "it")
    assert "the moon has risen over bench 3: 12.5 mm" in said.body


def test_a_fault_of_the_translation_sends_english(monkeypatch, caplog):
    monkeypatch.setattr(message, "say", lambda *_: 1 / 0)
    plain = make()
    said = translate(plain, "it")
    assert said.body == plain.body
    assert plain.subject.startswith(said.subject)
    assert len(said.subject) == SUBJECT_LENGTH
    assert "goes out in English" in caplog.text


class Taker:
    def deliver(self, notification):
        self.took, self.language = notification, current()


def test_the_log_is_english_and_mail_and_webhook_are_not():
    for channel, language in (("log:desk", "en"), ("webhook:X", "it")):
        taker = Taker()
        deliver_in("it", taker, make(channel=channel))
        assert taker.language == language
        assert ("ARANCIONE" in taker.took.subject) == (language == "it")

    class Mail:
        def deliver(self, n):
            self.mail, self.json = compose(n, "a@b.c", "d@e.f"), json.loads(payload(n))

    taker = Mail()
    deliver_in("it", taker, make())
    assert f"{make().site}, per sala operativa" in taker.mail.get_content()
    assert (taker.json["language"], taker.json["level_name"]) == ("it", "orange")
    assert "ARANCIONE" in taker.json["subject"]


def test_a_recipient_has_a_language_or_the_default():
    people = [Recipient("a", (), (), language="it"), Recipient("b", (), ())]
    assert [find_language(people, name, "es") for name in ("a", "b", "gone")] == ["it", "es", "es"]


def test_a_site_file_names_known_languages_only():
    text = f'{SITE_TEXT}\n[[recipient]]\nname = "x"\nchannels = ["log"]\nlanguage = "fr"\n'
    with pytest.raises(ConfigError, match=r"language 'fr' is unknown; known: en \(English\), it \(Italiano\), zh"):
        parse_site(text, "north.toml")
    read = parse_site(text.replace('"fr"', '"zh"'), "north.toml")
    assert read.recipients[-1].language == "zh"
