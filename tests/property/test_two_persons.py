"""Rule 15 on random sequences of acts: nobody alone hides the two highest levels, and every act is in the audit log."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from monitor.alerts.acts import operator_acts
from monitor.alerts.queries import alerts
from monitor.alerts.queries.alerts import (
    ChangeContext,
    acknowledge,
    apply_changes,
    close_alert,
    find_alert,
    set_outcome,
    shelve,
)
from monitor.alerts.records import AlertState
from monitor.alerts.tables import alert
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.errors import RefusedError
from monitor.storage.actor import Actor
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from tests.fixtures.soak import with_soak
from tests.property.alerting_histories import SITE, START

ADA, BOB, SAME = Actor("ada"), Actor("bob"), Actor(" \uff21d\u200ba\u00a0 ")
ROBOT = Actor("job", "service")
TOP = SITE.top_level
HIDDEN = {AlertState.SHELVED, AlertState.CLOSED}


class Desk:
    """Performs random acts on one alert and checks each against rule 15."""

    def __init__(self, c, number):
        self.c, self.rng, self.now = c, random.Random(number), START + timedelta(seconds=number)
        self.ledger = self.rng.choice((AlertCategory.HAZARD, AlertCategory.HEALTH, AlertCategory.ADVICE))
        self.site, self.key = f"slope{number}", "hazard" if self.ledger == AlertCategory.HAZARD else f"{self.ledger}:x"
        self.level = self.rng.randint(1, TOP if self.ledger == AlertCategory.HAZARD else 2)
        self.change(self.level)
        newest = select(func.max(alert.c.id)).where(alert.c.site == self.site)
        self.id = c.execute(newest).scalar()
        self.acts = 0

    def change(self, level):
        """Let the service change the level of the alert."""
        alert_change = AlertChange(self.ledger, self.key, level, level > 0, "seen", self.now, "{}")
        apply_changes(self.c, [alert_change], ChangeContext(self.site, None, (), ROBOT, self.now, "v"))
        self.level = level

    def entries(self):
        """Return the number of acts for the audit log. They are written at the end of the transaction."""
        return len(self.c.get_execution_options()["slopeward_sealing"].acts)

    def act(self):
        """Perform one random act and check it against the rule."""
        before, state = self.entries(), find_alert(self.c, self.id).state
        second = self.rng.choice((None, BOB, SAME, ROBOT))
        two = second is BOB
        grave = self.level >= (TOP - 1 if self.ledger == AlertCategory.HAZARD else 2)
        name = self.rng.choice(("shelve", "close", "acknowledge", "outcome", "worsen", "nameless"))
        try:
            if name == "shelve":
                shelve(self.c, self.id, ADA, "quiet", self.now + timedelta(hours=1), self.now, second=second)
            elif name == "close":
                close_alert(self.c, self.id, ADA, "done", self.now, second=second)
            elif name == "acknowledge":
                acknowledge(self.c, self.id, ADA, "seen", self.now)
            elif name == "outcome":
                set_outcome(self.c, self.id, "true", ADA, "it fell", self.now)
            elif name == "nameless":
                shelve(self.c, self.id, Actor(" "), " ", self.now + timedelta(hours=1), self.now, second=BOB)
            elif self.level < (TOP if self.ledger == AlertCategory.HAZARD else 2) and state != AlertState.CLOSED:
                self.change(self.level + 1)
                assert find_alert(self.c, self.id).state not in HIDDEN, "the level rose and the alert is still hidden"
                return
            else:
                return
        except RefusedError:
            assert self.entries() == before, "a refused act is in the audit log"
            assert find_alert(self.c, self.id).state == state, "a refused act changed the alert"
            return
        self.acts += 1
        assert name != "nameless", "an act without a name was accepted"
        assert self.entries() == before + 1, f"{name} is not in the audit log"
        hidden = find_alert(self.c, self.id).state in HIDDEN
        if name in {"shelve", "close"} and hidden and grave:
            assert two, f"{name} of level {self.level} in {self.ledger} by one person"
        if name == "close" and self.ledger == AlertCategory.HAZARD:
            assert self.level == 0, "closed above the lowest level"


def check_acts(database, numbers):
    """Perform a short sequence of acts on each of many alerts."""
    acts = 0
    with database.write() as c:
        for number in numbers:
            desk = Desk(c, number)
            for _ in range(2):
                desk.act()
            acts += desk.acts
    assert acts > len(numbers) // 2, "too few acts were accepted"


@pytest.mark.parametrize("acts", with_soak(200, 10_000))
def test_one_person_cannot_hide_a_high_level_and_every_act_is_logged(database, acts):
    count = acts // (1 if database.engine.dialect.name == "sqlite" else 20)
    check_acts(database, range(count))
    with database.read() as c:
        assert verify_chain(c) == []
        entries = c.execute(select(func.count()).select_from(audit_entry)).scalar()
    rng = random.Random(count)
    # The check of the chain finds one altered word anywhere.
    for _ in range(5):
        chosen = rng.randint(1, entries)
        with database.write() as c:
            detail = c.execute(select(audit_entry.c.detail).where(audit_entry.c.id == chosen)).scalar()
            c.execute(update(audit_entry).where(audit_entry.c.id == chosen).values(detail=detail.replace("a", "e", 1)))
            assert verify_chain(c), f"entry {chosen} was altered and the chain is still valid"
            c.execute(update(audit_entry).where(audit_entry.c.id == chosen).values(detail=detail))


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(
    ("module", "attribute", "broken"),
    [
        (alerts, "_are_two_people", lambda *_: True),
        (alerts, "is_grave", lambda *_: False),
        (alerts, "add_audit", lambda *_: ""),
    ],
)
def test_a_broken_variant_of_the_rule_is_caught(module, attribute, broken, database, monkeypatch):
    monkeypatch.setattr(module, attribute, broken)
    with pytest.raises(AssertionError):
        check_acts(database, range(120))


def test_manual_level_needs_a_person_and_a_reason(database):
    for actor, reason in ((ROBOT, "because"), (ADA, " ")):
        with pytest.raises(RefusedError):
            operator_acts.set_level(database, SITE, 1, actor, reason, START)
