"""Changed site files on the page: described in words, approved by a second account, rejected or withdrawn."""

import re

import pytest

from monitor.alerts.acts.change_control import propose
from monitor.people.queries import users
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import find_version, load_proposal, load_proposals
from monitor.storage.actor import Actor
from monitor.storage.audit import load_entries, verify_chain
from tests.data.accounts import add_account
from tests.data.filled import NOW, PASSWORD
from tests.data.store_rows import ask
from tests.data.watched_slope import HOUR, SITE_TEXT, START, WatchedSlope
from tests.markup import flatten_html
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter, send

LOOSE = SITE_TEXT.replace("red = {over = 80.0", "red = {over = 90.0")
TIGHT = SITE_TEXT.replace("red = {over = 80.0", "red = {over = 70.0")
RUNS = [{"time_in_level_h": {"green": 48.0}, "alerts": [], "alarm_days": 0, "misses": 0, "events": []}] * 2
SCORES = {"runs": RUNS, "differences": ["red on 2 February is gone"]}
EFFECT = {"from": "2026-01-01", "to": "2026-03-01", "names": ["A, in force", "B, proposed"], "scorecard": SCORES}


@pytest.fixture
def bench(database, tmp_path):
    """Return a slope with its file and accounts: the operators Ada and Bo, the viewer Cy, and Eve of another site."""
    slope = WatchedSlope(database)
    (tmp_path / "bench.toml").write_text(SITE_TEXT)
    with database.write() as c:
        for name, role in (("ada", "operator"), ("bo", "operator"), ("cy", "viewer"), ("eve", "operator")):
            add_account(c, name, PASSWORD, role, START)
        c.execute(users.user_account.update().where(users.user_account.c.name == "eve").values(sites=["elsewhere"]))
    return slope


def suggest(bench, text, effect=EFFECT):
    found = propose(bench.database, text, "bench.toml", Actor("ada"), "noise is lower", NOW, lambda *_: effect)
    return found.id, f"/sites/bench/proposals/{found.id}"


def page(bench, tmp_path):
    return serving(bench.database, Clock(), f'[paths]\nsites = "{tmp_path}"\n')


def in_force(bench):
    return ask(bench.database, find_version, "bench")


def test_loosening_change_is_read_and_approved_by_a_second_account(bench, tmp_path):
    number, place = suggest(bench, LOOSE)
    with page(bench, tmp_path) as address, enter(address, "ada") as ada, enter(address, "bo") as bo:
        assert "changes of the site file: 1 waiting" in bo.get("/sites/bench").text
        text = flatten_html(bo.get("/sites/bench/proposals").text)
        for words in (
            "<td>criterion rate-1, red, over</td><td>80 mm/day</td><td>90 mm/day</td>",
            "noise is lower",
            "criterion rate-1, level 3 (red): over changes from 80 to 90",
            "red on 2 February is gone",
            "Anyone with the role operator or admin for bench can do it, except ada.",
        ):
            assert words in text, words
        assert 'href="/sites/bench/proposals">Open and decide</a>' in bo.get("/signatures").text
        own = ada.get("/sites/bench/proposals").text
        shown = [words in own for words in ("a second person approves it", f"{place}/approve", "Withdraw change")]
        assert shown == [True, False, True]
        assert send(ada, f"{place}/approve", reason="looks fine").status_code == 409, "one person cannot approve alone"
        assert in_force(bench) == parse_site(SITE_TEXT, "x").version
        done = send(bo, f"{place}/approve", reason="seen, agreed")
        assert done.status_code == 303
        assert "is in force; the service takes it" in bo.get(done.headers["location"]).text
        assert "approved by bo: seen, agreed" in flatten_html(bo.get("/sites/bench/proposals").text)
        assert send(bo, f"{place}/approve", reason="once more").status_code == 409
    assert (in_force(bench), (tmp_path / "bench.toml").read_text()) == (parse_site(LOOSE, "x").version, LOOSE)
    with bench.database.read() as c:
        assert verify_chain(c) == []
        (entry,) = load_entries(c, 5, action="site.approve")
        assert (entry.actor, entry.detail["author"], load_proposal(c, number).second_by) == ("bo", "ada", "bo")


def test_proposal_is_withdrawn_by_its_author_and_rejected_by_others(bench, tmp_path):
    with page(bench, tmp_path) as address, enter(address, "ada") as ada, enter(address, "bo") as bo:
        for person, text in ((ada, LOOSE), (bo, TIGHT)):
            _, place = suggest(bench, text)
            assert send(person, f"{place}/reject", reason="no").status_code == 409, "a reason is required"
            assert send(person, f"{place}/reject", reason="one month is too short").status_code == 303
            assert send(bo, f"{place}/approve", reason="too late").status_code == 409
        assert "No change is proposed" in bo.get("/sites/bench/proposals").text
    found = [(p.state, p.approved_by) for p in ask(bench.database, load_proposals, everything=True)]
    assert found == [("rejected", "ada"), ("rejected", "bo")]


def test_account_without_the_role_cannot_decide_on_proposals(bench, tmp_path):
    _, place = suggest(bench, TIGHT)
    _, bare = suggest(bench, LOOSE, {"skipped": "not asked for"})
    with page(bench, tmp_path) as address:
        with enter(address, None) as nobody:
            assert nobody.get("/sites/bench/proposals").status_code == 401
            assert "/proposals" not in nobody.get("/sites/bench").text
        with enter(address, "cy") as viewer, enter(address, "eve") as other, enter(address, "bo") as bo:
            assert "You may read this page but not decide" in viewer.get("/sites/bench/proposals").text
            assert other.get("/sites/bench/proposals").status_code == 403
            for act in ("approve", "reject"):
                assert send(viewer, f"{place}/{act}", reason="just so").status_code == 403
                assert send(other, f"{place}/{act}", reason="just so").status_code == 403
                mine = place.replace("bench", "elsewhere")
                assert send(other, f"{mine}/{act}", reason="just so").status_code == 404, (
                    "the proposal is not found under another site"
                )
                assert bo.post(f"{place}/{act}", data={"reason": "just so", "csrf": "x"}).status_code == 403
            assert "without its effect on the past" in bo.get("/sites/bench/proposals").text
            assert send(bo, f"{bare}/approve", reason="just so").status_code == 409
            (tmp_path / "bench.toml").write_text("# edited meanwhile\n" + SITE_TEXT)
            answer = send(bo, f"{place}/approve", reason="just so")
            assert (answer.status_code, "was edited since" in answer.text) == (409, True)
    assert in_force(bench) == parse_site(SITE_TEXT, "x").version


# ---- thresholds changed on the page: replayed on past readings in a process, and proposed ----
__all__ = ("bench",)  # a fixture


@pytest.fixture
def moved(bench):
    """Store a quiet day and a failure of both rovers, which leads to red with the file in force."""
    bench.fail()
    return bench


def page_thresholds(moved, tmp_path):
    return serving(moved.database, Clock(moved.now + HOUR), f'[paths]\nsites = "{tmp_path}"\n')


def find_base(text):
    return re.search(r'name="base" value="([0-9a-f]{64})"', text)[1]


def test_change_is_proposed_with_its_backtest_and_approved_by_another_person(moved, tmp_path):
    with page_thresholds(moved, tmp_path) as address, enter(address, "ada") as ada, enter(address, "bo") as bo:
        text = flatten_html(ada.get("/sites/bench/thresholds").text)
        keys = re.findall(r'name="key" value="([^"]+)"', text)
        values = re.findall(r'name="value" value="([^"]*)"', text)
        assert dict(zip(keys, values, strict=True))["0.red.over"] == "80"
        before = in_force(moved)
        changed = ["200" if k == "0.red.over" else v for k, v in zip(keys, values, strict=True)]
        form = {"key": keys, "value": changed, "reason": "noise is lower", "months": "1", "base": find_base(text)}
        stale = send(bo, "/sites/bench/thresholds", **form | {"base": "0" * 64})
        assert (stale.status_code, "the site file changed while you edited it" in stale.text) == (422, True)
        ada.timeout = 300  # The process replays a month.
        begun = send(ada, "/sites/bench/thresholds", **form)
        assert begun.status_code == 303, begun.text
        seen = flatten_html(bo.get("/sites/bench/proposals").text)
        for words in (
            "<td>80 mm/day</td><td>200 mm/day</td>",
            "Anyone with the role operator or admin for bench can do it, except ada.",
            "A, in force",
            "red first: ",
            "never with B",
            '<th scope="row">Hazard alerts</th>',
        ):
            assert words in seen, (words, re.findall(r"<li>[^<]*", seen))
        assert in_force(moved) == before, "a proposal changes nothing yet"
        number = re.search(r"proposals/(\d+)/approve", seen)[1]
        assert send(bo, f"/sites/bench/proposals/{number}/approve", reason="seen, agreed").status_code == 303
    assert in_force(moved) != before
    lines = (tmp_path / "bench.toml").read_text().splitlines()
    changed = [line for was, line in zip(SITE_TEXT.splitlines(), lines, strict=True) if was != line]
    assert changed == ['red = {over = 200.0, window = "8h"}', 'author = "ada"', 'reason = "noise is lower"']
    (one,) = ask(moved.database, load_proposals, everything=True)
    assert (one.author, one.second_by, one.effect["months"]) == ("ada", "bo", 1)


def test_invalid_thresholds_are_returned_with_the_reason_and_the_input(moved, tmp_path):
    with page_thresholds(moved, tmp_path) as address, enter(address, "bo") as bo, enter(address, "cy") as viewer:
        base = find_base(bo.get("/sites/bench/thresholds").text)
        for value, reason, words in (
            ("abc", "because", "expected a number"),
            ("-3", "because", "expected at least 24"),
            ("80", "because", "nothing was changed"),
            ("20", "because", "the bound of the level below"),
            ("90", "", "a reason is needed"),
        ):
            answer = send(bo, "/sites/bench/thresholds", key=["0.red.over"], value=[value], reason=reason, base=base)
            assert (answer.status_code, words in answer.text) == (422, True), (value, answer.text)
            assert f'name="value" value="{value}"' in flatten_html(answer.text)
        assert send(viewer, "/sites/bench/thresholds", key=["0.red.over"], value=["90"], reason="x").status_code == 403
        assert "cannot change thresholds" in viewer.get("/sites/bench/thresholds").text
