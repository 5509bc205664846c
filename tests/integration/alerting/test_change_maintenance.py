"""Maintenance: declared with limits and people, known as of an instant, over by itself."""

import json

import pytest

from monitor.cli.main import run_verb
from monitor.domain.alert import SERVICE, Actor
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.store.alerting.events import ChangeDetector
from monitor.store.alerting.maintenance import (
    add_maintenance,
    end_maintenance,
    load_maintenance,
    load_maintenance_facts,
)
from monitor.store.database.audit import verify_chain
from monitor.store.people.users import add_user, disable_user
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import HOUR, START, write_service

ADA, BO = Actor("Ada"), Actor("Bo")


def add(bench, from_h=0.0, to_h=4.0, *, station="G1", actor=ADA, reason="new mast", **more):
    span = (START + from_h * HOUR, START + to_h * HOUR)
    return tell(bench.database, add_maintenance, "bench", station, *span, actor, reason, START, **more)


def known(bench, hours):
    facts = ask(bench.database, load_maintenance_facts, "bench", START + hours * HOUR)
    return [(f.station, f.by, f.second_by) for f in facts]


def test_a_window_is_known_from_its_beginning_and_ends_by_itself(bench):
    add(bench, 1, 4, second=BO)
    assert known(bench, 0.5) == []
    assert known(bench, 1) == known(bench, 3.99) == [("G1", "Ada", "Bo")]
    assert known(bench, 4) == []


def test_a_window_that_is_ended_stays_known_for_the_time_before(bench):
    number = add(bench)
    assert tell(bench.database, end_maintenance, number, BO, "done", START + HOUR)
    assert (known(bench, 0.99), known(bench, 1)) == ([("G1", "Ada", None)], [])
    assert tell(bench.database, end_maintenance, number, BO, "again", START + HOUR) is False
    with bench.database.read() as c:
        assert load_maintenance(c, "bench", START + 2 * HOUR) == []
        assert [m.ended_by for m in load_maintenance(c, None, START, everything=True)] == ["Bo"]
        assert verify_chain(c) == []


def test_what_may_not_be_is_refused(bench):
    for more, error in (
        ({"to_h": 7 * 24 + 0.1}, "at most 7d"),
        ({"to_h": 0.0}, "at most 7d"),
        ({"from_h": -1.0}, "past"),
        ({"actor": SERVICE}, "person"),
        ({"reason": " "}, "reason"),
        ({"second": Actor(" ADA ")}, "second person"),
        ({"second": Actor("robot", "program")}, "two people"),
        ({"station": "G9"}, "G1, G2"),
    ):
        with pytest.raises((RefusedError, NotFoundError), match=error):
            add(bench, **more)
    assert known(bench, 0) == []


def test_where_accounts_exist_both_people_need_one(bench):
    with bench.database.write() as c:
        for name, role in (("Ada", "operator"), ("Bo", "operator"), ("Cy", "viewer")):
            add_user(c, name, "long enough 1", role, START)
    for nobody in ("Di", "Cy"):
        with pytest.raises(RefusedError, match="no open account as operator"):
            add(bench, second=Actor(nobody))
    add(bench, second=BO)
    tell(bench.database, disable_user, "Bo", START)
    with pytest.raises(RefusedError, match="no open account"):
        add(bench, second=BO)


def test_a_window_and_its_end_are_news_for_the_running_service(bench):
    news = ChangeDetector()
    ask(bench.database, news.find_changed)
    number = add(bench)
    with bench.database.read() as c:
        assert (news.find_changed(c), news.find_changed(c)) == ({"bench"}, frozenset())
    tell(bench.database, end_maintenance, number, ADA, "done", START + HOUR)
    assert ask(bench.database, news.find_changed) == {"bench"}


def test_the_commands_add_list_and_end(bench, tmp_path, capsys):
    config = str(write_service(tmp_path, bench.database))

    def call(*words):
        code = run_verb([*words, "--config", config])
        return code, capsys.readouterr()

    assert call("maintenance", "list")[0] == 4
    code, out = call("maintenance", "add", "bench", "G1", "--for", "2h", "--by", "Ada", "--reason", "mast", "--json")
    assert code == 0
    number = str(json.loads(out.out)["id"])
    code, out = call("maintenance", "list")
    assert (code, "bench G1" in out.out, "Ada: mast" in out.out) == (0, True, True)
    assert call("maintenance", "add", "bench", "G1", "--for", "2 h o", "--reason", "new mast")[0] == 1
    assert call("maintenance", "add", "nowhere", "G1", "--reason", "new mast")[0] == 1
    assert call("maintenance", "end", number, "--by", "Bo", "--reason", "done")[0] == 0
    assert call("maintenance", "list", "--site", "bench")[0] == 4
    code, out = call("maintenance", "list", "--all", "--json")
    assert json.loads(out.out)["ended_by"] == "Bo"
