"""The lease of the core on a real server: taken over from one that is cut off while it writes, and never in haste."""

import time

import pytest

from monitor.domain.alert import SERVICE
from monitor.errors import StoreBusyError
from monitor.store.database import core_turn
from monitor.store.database.audit import add_audit
from monitor.store.database.core_turn import CoreTurn
from monitor.store.database.engine import Database
from tests.conftest import wait_for
from tests.data.far.cable import Cable
from tests.integration.store.test_reader_attacks import NOW

pytestmark = pytest.mark.server


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(core_turn, "TRUST_S", 0.6)
    monkeypatch.setattr(core_turn, "EXPIRED_S", 1.0)
    monkeypatch.setattr(core_turn, "GRACE_S", 0.5)


def test_a_core_that_is_cut_off_in_mid_transaction_is_followed_and_writes_nothing_more(
    postgresql_url, postgresql, hasty
):
    cable = Cable(postgresql.port)
    far = postgresql_url.replace(f":{postgresql.port}/", f":{cable.port}/")
    with Database(far, "slopeward core far") as cut_off, Database(postgresql_url, "slopeward core near") as db:
        first, second = CoreTurn(cut_off, "a"), CoreTurn(db, "b")
        cut_off.guard, cut_off.holds = first.guard, first.holds
        db.guard = second.guard
        assert first.take_over()
        assert not second.take_over()
        first.keep()
        assert cut_off.holds()
        with pytest.raises(StoreBusyError), cut_off.write() as c:
            add_audit(c, SERVICE, "test", "test", {}, NOW)
            cable.cut()
            wait_for(second.take_over, what="the one that stands by to take over")
            assert not cut_off.holds(), "what it would send now is not its own"
            with db.write() as other:
                add_audit(other, SERVICE, "test", "after", {}, NOW)
            cable.mend()
        lease = second.find_lease()
        assert (lease.holder, lease.fence, second.fence) == ("b", first.fence + 1, first.fence + 1)
        with pytest.raises(StoreBusyError, match="another core"), cut_off.write():
            pass
        first.keep()
        assert first.is_lost
        with db.read() as c:
            told = c.exec_driver_sql("SELECT subject FROM audit_entry WHERE action = 'test'").scalars().all()
        assert told == ["after"]
        second.give_up()
    cable.close()


def test_a_core_that_only_starts_anew_keeps_its_turn(postgresql_url, hasty):
    with Database(postgresql_url) as one, Database(postgresql_url) as other:
        first, second = CoreTurn(one, "a"), CoreTurn(other, "b")
        assert first.take()
        first.give_up()
        assert not second.take_over()
        anew = CoreTurn(one, "a")
        assert anew.take_over(), "the grace is for the others"
        anew.give_up()
        began_s = time.monotonic()
        wait_for(second.take_over, what="the other one, as nobody came back")
        assert time.monotonic() - began_s < 5.0
        second.give_up()
