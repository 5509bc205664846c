"""Thresholds changed on the page: tried on the past in a process of its own, proposed, put in force by a second one."""

import re
import time

import pytest

from monitor.config.service import parse_site
from monitor.store.alerting.sites import load_proposals, save_site
from tests.data.watched_slope import HOUR, SITE_TEXT
from tests.integration.web.site.test_proposals import TIGHT, bench, in_force
from tests.integration.web.test_door import Clock, serving
from tests.integration.web.test_rules import enter, send

__all__ = ("bench",)  # a fixture


@pytest.fixture
def moved(bench):
    """A quiet day, then both rovers run away: with the file in force it turned red."""
    bench.fail()
    return bench


def page(moved, tmp_path):
    clock = Clock(moved.now + HOUR)
    return serving(moved.database, clock, f'[paths]\nsites = "{tmp_path}"\n')


def find_base(text):
    return re.search(r'name="base" value="([0-9a-f]{64})"', text)[1]


def wait(browser, place):
    for _ in range(300):
        if browser.get(f"{place}/state").json()["stage"] == "done":
            return browser.get(place).text
        time.sleep(0.1)
    raise AssertionError("the replay did not end")


def test_a_change_is_tried_on_the_past_proposed_and_put_in_force_by_another(moved, tmp_path):
    with page(moved, tmp_path) as address, enter(address, "ada") as ada, enter(address, "bo") as bo:
        text = ada.get("/sites/bench/thresholds").text
        keys = re.findall(r'name="key" value="([^"]+)"', text)
        values = re.findall(r'name="value" value="([^"]*)"', text)
        assert dict(zip(keys, values, strict=True))["0.red.over"] == "80"
        before = in_force(moved)
        changed = ["200" if k == "0.red.over" else v for k, v in zip(keys, values, strict=True)]
        begun = send(
            ada,
            "/sites/bench/thresholds",
            key=keys,
            value=changed,
            reason="noise is lower",
            months="1",
            base=find_base(text),
        )
        assert begun.status_code == 303, begun.text
        place = begun.headers["location"]
        assert bo.get(place).status_code == 404, "a draft is its author's"
        seen = wait(ada, place)
        for words in (
            "<td>80 mm/day</td><td>200 mm/day</td>",
            "Somebody other than ada must approve",
            "A, in force",
            "red first: ",
            "never with B",
            '<th scope="row">Hazard alerts</th>',
        ):
            assert words in seen, (words, re.findall(r"<li>[^<]*", seen))
        assert in_force(moved) == before, "trying changes nothing"
        stale = send(bo, "/sites/bench/thresholds", key=keys, value=changed, reason="drawn from another", base="0" * 64)
        assert (stale.status_code, "the site file changed meanwhile" in stale.text) == (422, True)
        for text, status in ((TIGHT, 409), (SITE_TEXT, 303)):
            with moved.database.write() as c:
                save_site(c, parse_site(text, "bench"), "bo", "meanwhile", moved.now)
            assert send(ada, f"{place}/propose").status_code == status, "proposed against what was replayed alone"
        assert ada.get(place).status_code == 404, "the draft is a proposal now"
        shown = bo.get("/sites/bench/proposals").text
        assert "never with B" in shown
        assert 'class="ribbon low"' in shown
        number = re.search(r"proposals/(\d+)/approve", shown)[1]
        assert send(bo, f"/sites/bench/proposals/{number}/approve", reason="seen, agreed").status_code == 303
    assert in_force(moved) != before
    assert "red = {over = 200.0, window" in (tmp_path / "bench.toml").read_text()
    with moved.database.read() as c:
        (one,) = load_proposals(c, everything=True)
    assert (one.author, one.second_by, one.effect["months"]) == ("ada", "bo", 1)


def test_what_cannot_be_used_comes_back_with_the_reason_and_what_was_written(moved, tmp_path):
    with page(moved, tmp_path) as address, enter(address, "bo") as bo, enter(address, "cy") as viewer:
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
            assert f'name="value" value="{value}"' in answer.text
        assert send(viewer, "/sites/bench/thresholds", key=["0.red.over"], value=["90"], reason="x").status_code == 403
        assert "may look but not change here" in viewer.get("/sites/bench/thresholds").text
        assert bo.get("/sites/bench/thresholds/0123456789abcdef").status_code == 404
